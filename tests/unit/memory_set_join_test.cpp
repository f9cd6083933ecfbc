// Which areas become one again, and which backend each part of a split area gets.

#include <optional>
#include <type_traits>
#include <utility>

#include "unit/mock_backend.hpp"

namespace slat::test {
namespace {

constexpr auto to(MockFlags flags) {
  return [flags](MockFlags) { return flags; };
}

class MemorySetJoin : public ::testing::Test {
 protected:
  using Set = MemorySet<MockFlags, HostTable<64>, LinearMock>;

  void map(std::uint64_t start, std::uint64_t size, MockFlags flags, std::uint64_t host) {
    ASSERT_TRUE(set_.map({gpa(start), size, flags, LinearMock{host}}, pt_));
  }
  void protect(std::uint64_t start, std::uint64_t size, MockFlags flags) {
    ASSERT_TRUE(set_.protect(gpa(start), size, to(flags), pt_));
    ASSERT_TRUE(describes(set_, pt_));
  }

  HostTable<64> pt_;
  Set set_;
};

TEST_F(MemorySetJoin, EveryPartOfASplitAreaHasTheHostAddressThatItHadBefore) {
  map(8, 32, 1, 1000);
  ASSERT_TRUE(set_.unmap(gpa(16), 4, pt_));
  protect(24, 4, 2);
  ASSERT_TRUE(set_.map({gpa(32), 4, 3, LinearMock{5000}}, pt_, true));
  ASSERT_TRUE(describes(set_, pt_));
  std::vector<std::pair<GuestRange, std::uint64_t>> parts;
  for (auto const& area : set_.iter()) parts.emplace_back(area.range(), area.backend().base);
  EXPECT_EQ(parts, (decltype(parts){{bytes(8, 16), 1000},
                                    {bytes(20, 24), 1012},
                                    {bytes(24, 28), 1016},
                                    {bytes(28, 32), 1020},
                                    {bytes(32, 36), 5000},
                                    {bytes(36, 40), 1028}}));
}

TEST_F(MemorySetJoin, PartsThatBecomeEqualAgainAreOneAreaAgain) {
  map(8, 32, 1, 1000);
  protect(16, 8, 2);
  ASSERT_EQ(set_.len(), 3u);
  protect(16, 8, 1);
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 40), 1}}));
  EXPECT_EQ(set_.find(gpa(39))->backend().base, 1000u);
}

TEST_F(MemorySetJoin, OnlyTheSeamThatHasBecomeEqualIsJoined) {
  map(8, 32, 1, 1000);
  protect(16, 8, 2);
  protect(24, 16, 2);
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 16), 1}, {bytes(16, 40), 2}}));
}

TEST_F(MemorySetJoin, AWholeAreaIsJoinedWithTheOneBeforeTheOneBehindOrBoth) {
  for (std::uint64_t const at : {8u, 16u, 24u}) {
    map(8, 24, 1, 1000);
    protect(at, 8, 2);
    protect(at, 8, 1);
    EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 32), 1}})) << at;
    EXPECT_TRUE(set_.clear(pt_));
  }
}

TEST_F(MemorySetJoin, AGrowingPartIsJoinedToWhatWasCutOffBefore) {
  map(8, 32, 1, 1000);
  for (std::uint64_t at = 8; at != 40; at += 4) protect(at, 4, 2);
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 40), 2}}));
}

TEST_F(MemorySetJoin, ProtectToTheFlagsItHasCutsNothing) {
  map(8, 32, 1, 1000);
  protect(16, 8, 1);
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 40), 1}}));
}

TEST_F(MemorySetJoin, SeamsInsideTheRangeStay) {
  map(8, 8, 1, 1000);
  map(16, 8, 2, 1008);
  map(24, 8, 1, 1016);
  protect(8, 24, 3);
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 16), 3}, {bytes(16, 24), 3}, {bytes(24, 32), 3}}));
}

TEST_F(MemorySetJoin, NeighboursThatWereEqualBeforeStayTwo) {
  map(8, 8, 1, 1000);
  map(16, 8, 1, 1008);
  protect(16, 8, 1);
  EXPECT_EQ(set_.len(), 2u);
  ASSERT_TRUE(set_.protect(
      gpa(16), 8, [](MockFlags) { return std::optional<MockFlags>{}; }, pt_));
  EXPECT_EQ(set_.len(), 2u);
  // Elsewhere in the same range something changes: still no reason to join here.
  map(24, 8, 2, 1016);
  protect(16, 16, 1);
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 16), 1}, {bytes(16, 24), 1}, {bytes(24, 32), 1}}));
}

TEST_F(MemorySetJoin, OtherHostMemoryIsNotMoreOfTheSame) {
  map(8, 8, 1, 1000);
  map(16, 8, 2, 1009);
  protect(16, 8, 1);
  EXPECT_EQ(set_.len(), 2u);
}

TEST_F(MemorySetJoin, AHoleIsNoSeam) {
  map(8, 8, 1, 1000);
  map(20, 8, 2, 1012);
  protect(20, 8, 1);
  EXPECT_EQ(set_.len(), 2u);
}

TEST_F(MemorySetJoin, MapAndUnmapJoinNothing) {
  map(8, 8, 1, 1000);
  map(24, 8, 1, 1016);
  map(16, 8, 1, 1008);
  EXPECT_EQ(set_.len(), 3u);
  ASSERT_TRUE(set_.unmap(gpa(12), 16, pt_));
  map(12, 16, 1, 1004);
  EXPECT_EQ(set_.len(), 3u);
}

TEST_F(MemorySetJoin, BothSeamsAreJoinedAfterAFailureOnlyWhereNothingChanged) {
  map(8, 16, 1, 1000);
  map(24, 16, 2, 1016);
  pt_.calls = 0;
  pt_.failing = {2};
  ASSERT_FALSE(set_.protect(gpa(12), 20, to(3), pt_));
  EXPECT_EQ(shape_of(set_), (Shape{{bytes(8, 12), 1}, {bytes(12, 24), 3}, {bytes(24, 40), 2}}));
  EXPECT_TRUE(describes(set_, pt_));
}

// An area knows by its type alone whether it can be compared.

struct Opaque {  // flags and backend without operator==
  std::uint8_t value = 0;
};
struct StatefulBackend {
  int state = 0;
  bool map(GuestPhys, std::uint64_t, MockFlags, int&) { return true; }
  bool unmap(GuestPhys, std::uint64_t, int&) { return true; }
  bool protect(GuestPhys, std::uint64_t, MockFlags, int&) { return true; }
};
struct OpaqueFlagsBackend {
  bool map(GuestPhys, std::uint64_t, Opaque, int&) { return true; }
  bool unmap(GuestPhys, std::uint64_t, int&) { return true; }
  bool protect(GuestPhys, std::uint64_t, Opaque, int& calls) { return --calls != 0; }
};

TEST(MemorySetJoinByType, AnEmptyBackendCountsAsEqual) {
  MemorySet<MockFlags, ByteTable<64>, MockBackend> set;
  ByteTable<64> pt{};
  ASSERT_TRUE(set.map({gpa(0), 64, 1}, pt));
  ASSERT_TRUE(set.protect(gpa(16), 8, to(2), pt));
  ASSERT_TRUE(set.protect(gpa(16), 8, to(1), pt));
  EXPECT_EQ(set.len(), 1u);
}

TEST(MemorySetJoinByType, ABackendThatCannotBeComparedIsNeverJoined) {
  MemorySet<MockFlags, int, StatefulBackend> set;
  int pt = 0;
  ASSERT_TRUE(set.map({gpa(0), 64, 1}, pt));
  ASSERT_TRUE(set.protect(gpa(16), 8, to(2), pt));
  ASSERT_TRUE(set.protect(gpa(16), 8, to(1), pt));
  EXPECT_EQ(set.len(), 3u);
}

TEST(MemorySetJoinByType, FlagsThatCannotBeComparedAreNeverJoinedButACutIsUndone) {
  MemorySet<Opaque, int, OpaqueFlagsBackend> set;
  int pt = 0;
  ASSERT_TRUE(set.map({gpa(0), 64, Opaque{1}}, pt));
  pt = 1;
  ASSERT_FALSE(set.protect(
      gpa(16), 8, [](Opaque o) { return o; }, pt));
  EXPECT_EQ(set.len(), 1u);
  ASSERT_TRUE(set.protect(
      gpa(16), 8, [](Opaque o) { return o; }, pt));
  EXPECT_EQ(set.len(), 3u);
}

TEST(MemorySetJoinByType, FlagsThatCannotBeComparedAndAreGivenToAWholeAreaJoinItToNothing) {
  MemorySet<Opaque, int, OpaqueFlagsBackend> set;
  int pt = -1;
  for (std::uint64_t const at : {0u, 8u, 16u}) ASSERT_TRUE(set.map({gpa(at), 8, Opaque{1}}, pt));
  ASSERT_TRUE(set.protect(
      gpa(8), 8, [](Opaque o) { return o; }, pt));
  EXPECT_EQ(set.len(), 3u);
}

TEST(MemorySetJoinByType, AnAreaIsContinuedOnlyWhereItEnds) {
  MemoryArea<MockFlags, LinearMock> const area{gpa(16), 8, 1, LinearMock{1016}};
  EXPECT_TRUE(area.continued_by({gpa(24), 8, 1, LinearMock{1024}}));
  EXPECT_FALSE(area.continued_by({gpa(25), 8, 1, LinearMock{1025}})) << "a hole lies between";
  EXPECT_FALSE(area.continued_by({gpa(8), 8, 1, LinearMock{1008}})) << "it lies before";
  EXPECT_FALSE(area.continued_by({gpa(24), 8, 2, LinearMock{1024}}));
  EXPECT_FALSE(area.continued_by({gpa(24), 8, 1, LinearMock{1025}}));
}

TEST(MemorySetJoinByType, AnAreaThatEndsAtTwoToThe64IsNotContinuedAtZero) {
  MemoryArea<MockFlags, MockBackend> const last{gpa(~std::uint64_t{0}), 1, 1};
  MemoryArea<MockFlags, MockBackend> const first{gpa(0), 1, 1};
  EXPECT_FALSE(last.continued_by(first));
  EXPECT_TRUE(first.continued_by({gpa(1), 1, 1}));
}

// A set is a value that moves.

using Plain = MemorySet<MockFlags, ByteTable<64>, MockBackend>;
static_assert(!std::is_copy_constructible_v<Plain> && !std::is_copy_assignable_v<Plain>);
static_assert(std::is_nothrow_move_constructible_v<Plain> && std::is_nothrow_move_assignable_v<Plain>);

TEST(MemorySetMove, TheSourceIsEmptyAndCanBeUsedAgain) {
  for (std::uint64_t const count : {3u, 16u, 17u, 60u}) {
    SCOPED_TRACE(count);
    ByteTable<64> pt{};
    Plain from;
    for (std::uint64_t s = 0; s != count; ++s) ASSERT_TRUE(from.map({gpa(s), 1, 1}, pt));
    auto const before = shape_of(from);
    Plain into{std::move(from)};
    EXPECT_EQ(shape_of(into), before);
    EXPECT_TRUE(from.is_empty());  // NOLINT(bugprone-use-after-move): that is the promise
    EXPECT_EQ(from.find(gpa(0)), nullptr);
    ByteTable<64> other{};
    for (std::uint64_t s = 0; s != 20; ++s) ASSERT_TRUE(from.map({gpa(s), 1, 2}, other));
    from = std::move(into);
    EXPECT_EQ(shape_of(from), before);
    EXPECT_TRUE(into.is_empty());  // NOLINT(bugprone-use-after-move)
    ASSERT_TRUE(from.clear(pt));
    EXPECT_EQ(pt, (ByteTable<64>{}));
  }
}

TEST(MemorySetMove, ASetThatIsMovedOntoItselfKeepsItsAreas) {
  for (std::uint64_t const count : {3u, 17u}) {
    ByteTable<64> pt{};
    Plain set;
    for (std::uint64_t s = 0; s != count; ++s) ASSERT_TRUE(set.map({gpa(s), 1, 1}, pt));
    auto const before = shape_of(set);
    auto& same = set;
    set = std::move(same);
    EXPECT_EQ(shape_of(set), before);
    ASSERT_TRUE(set.clear(pt));
  }
}

}  // namespace
}  // namespace slat::test
