// Addresses at both ends of the address space, arguments that make no sense, and the search for a free place.

#include <limits>
#include <memory>
#include <optional>

#include "unit/mock_backend.hpp"

namespace slat::test {
namespace {

constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();  // the last address
using Set = MemorySet<MockFlags, HostTable<64>, LinearMock>;

/// A table of the last 64 addresses there are.
class MemorySetAtTheTop : public ::testing::Test {
 protected:
  MemorySetAtTheTop() { pt_.origin = first; }
  static constexpr std::uint64_t first = top - 63;

  HostTable<64> pt_;
  Set set_;
};

TEST_F(MemorySetAtTheTop, AnAreaMayEndAtTwoToThe64) {
  ASSERT_TRUE(set_.map({gpa(first + 32), 32, 1, LinearMock{100}}, pt_));
  ASSERT_NE(set_.find(gpa(top)), nullptr);
  EXPECT_EQ(set_.find(gpa(top))->range(), (GuestRange{gpa(first + 32), 32}));
  EXPECT_EQ(set_.find(gpa(0)), nullptr);
  EXPECT_EQ(set_.find(gpa(first + 31)), nullptr);
  EXPECT_TRUE(set_.overlaps({gpa(top), 1}));
  EXPECT_FALSE(set_.overlaps({gpa(0), 1}));
  EXPECT_TRUE(describes(set_, pt_));
}

TEST_F(MemorySetAtTheTop, ProtectAndUnmapReachTwoToThe64) {
  ASSERT_TRUE(set_.map({gpa(first), 64, 1, LinearMock{100}}, pt_));
  ASSERT_TRUE(set_.protect(
      gpa(first + 32), 32, [](MockFlags) { return MockFlags{2}; }, pt_));
  ASSERT_TRUE(describes(set_, pt_));
  EXPECT_EQ(set_.len(), 2u);
  ASSERT_TRUE(set_.protect(
      gpa(first + 32), 32, [](MockFlags) { return MockFlags{1}; }, pt_));
  EXPECT_EQ(set_.len(), 1u);
  ASSERT_TRUE(set_.unmap(gpa(first + 48), 16, pt_));
  ASSERT_TRUE(describes(set_, pt_));
  EXPECT_EQ(shape_of(set_), (Shape{{{gpa(first), 48}, 1}}));
  ASSERT_TRUE(set_.map({gpa(first + 48), 16, 1, LinearMock{7}}, pt_));
  ASSERT_TRUE(set_.map({gpa(first + 40), 24, 3, LinearMock{9}}, pt_, true));
  ASSERT_TRUE(describes(set_, pt_));
  ASSERT_TRUE(set_.unmap(gpa(1), top, pt_));
  EXPECT_TRUE(set_.is_empty());
}

TEST_F(MemorySetAtTheTop, AnAreaAtAddressZeroDoesNotMeetOneThatEndsAtTwoToThe64) {
  struct Anything {
    bool map(GuestPhys, std::uint64_t, MockFlags, int&) { return true; }
    bool unmap(GuestPhys, std::uint64_t, int&) { return true; }
    bool protect(GuestPhys, std::uint64_t, MockFlags, int&) { return true; }
  };
  MemorySet<MockFlags, int, Anything> set;
  int pt = 0;
  ASSERT_TRUE(set.map({gpa(0), std::uint64_t{1} << 63, 1}, pt));
  ASSERT_TRUE(set.map({gpa(std::uint64_t{1} << 63), std::uint64_t{1} << 63, 2}, pt));
  ASSERT_TRUE(set.protect(
      gpa(0), 16, [](MockFlags) { return MockFlags{2}; }, pt));
  EXPECT_EQ(set.len(), 3u);
  ASSERT_TRUE(set.protect(
      gpa(top), 1, [](MockFlags) { return MockFlags{1}; }, pt));
  EXPECT_EQ(set.len(), 4u);
  // All of the address space is in use: more than a size can say.
  EXPECT_TRUE(set.audit(pt));
  ASSERT_TRUE(set.clear(pt));
  EXPECT_TRUE(set.is_empty());
}

TEST_F(MemorySetAtTheTop, PassingTwoToThe64IsRefusedAndNamed) {
  auto const expect_wrap = [](const auto& done) {
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(),
              (Error{.code = Errc::invalid_param, .argument = Argument::size, .value = 65, .range = {gpa(first), 65}}));
  };
  expect_wrap(set_.map({gpa(first), 65, 1, LinearMock{100}}, pt_));
  expect_wrap(set_.map({gpa(first), 65, 1, LinearMock{100}}, pt_, true));
  expect_wrap(set_.unmap(gpa(first), 65, pt_));
  expect_wrap(set_.protect(
      gpa(first), 65, [](MockFlags f) { return f; }, pt_));
  EXPECT_EQ(pt_.calls, 0u);
}

TEST(MemorySetBadInput, MapOfSizeZeroIsRefusedAndNamed) {
  HostTable<64> pt;
  Set set;
  auto const done = set.map({gpa(8), 0, 1}, pt);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), Errc::invalid_param);
  EXPECT_EQ(done.error().argument, Argument::size);
  EXPECT_TRUE(set.is_empty());
  EXPECT_EQ(pt.calls, 0u);
}

TEST(MemorySetBadInput, AnOverlapNamesBothRangesAndNeverReachesTheBackend) {
  HostTable<64> pt;
  Set set;
  ASSERT_TRUE(set.map({gpa(8), 8, 1}, pt));
  ASSERT_TRUE(set.map({gpa(16), 8, 1}, pt));
  pt.calls = 0;
  for (auto const range : {bytes(15, 17), bytes(8, 16), bytes(0, 9), bytes(10, 11), bytes(0, 64)}) {
    auto const done = set.map({range.begin, range.size, 1}, pt);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), (Error{.code = Errc::already_exists, .range = range, .other = bytes(8, 16)}));
  }
  EXPECT_EQ(pt.calls, 0u);
  EXPECT_TRUE(set.map({gpa(0), 8, 1}, pt));
  EXPECT_TRUE(set.map({gpa(24), 8, 1}, pt));
}

TEST(MemorySetRead, FindAndOverlapsAreHalfOpen) {
  HostTable<64> pt;
  Set set;
  EXPECT_EQ(set.find(gpa(0)), nullptr);
  ASSERT_TRUE(set.map({gpa(8), 8, 1}, pt));
  ASSERT_TRUE(set.map({gpa(24), 8, 2}, pt));
  EXPECT_EQ(set.find(gpa(7)), nullptr);
  EXPECT_EQ(set.find(gpa(8))->flags(), 1);
  EXPECT_EQ(set.find(gpa(15))->flags(), 1);
  EXPECT_EQ(set.find(gpa(16)), nullptr);
  EXPECT_EQ(set.find(gpa(24))->flags(), 2);
  EXPECT_EQ(set.find(gpa(32)), nullptr);
  EXPECT_FALSE(set.overlaps(bytes(0, 8)));
  EXPECT_FALSE(set.overlaps(bytes(16, 24)));
  EXPECT_FALSE(set.overlaps({gpa(10), 0}));
  EXPECT_TRUE(set.overlaps(bytes(15, 24)));
  EXPECT_TRUE(set.overlaps(bytes(16, 25)));
  EXPECT_TRUE(set.overlaps(bytes(0, 64)));
}

TEST(MemorySetRead, IterIsInAddressOrderWhateverTheOrderOfMapping) {
  HostTable<64> pt;
  Set set;
  for (std::uint64_t n = 0; n != 32; ++n) ASSERT_TRUE(set.map({gpa(n * 13 % 32 * 2), 1, 1}, pt));
  std::uint64_t expected = 0;
  for (auto const& area : set.iter()) {
    EXPECT_EQ(area.start(), gpa(expected));
    expected += 2;
  }
  EXPECT_EQ(expected, 64u);
  EXPECT_EQ(set.len(), 32u);
}

// find_free_area

class FindFreeArea : public ::testing::Test {
 protected:
  void use(std::uint64_t from, std::uint64_t to) { ASSERT_TRUE(set_.map({gpa(from), to - from, 1}, pt_)); }
  std::optional<GuestPhys> find(std::uint64_t hint, std::uint64_t size, GuestRange limit, std::uint64_t align = 1,
                                Wrap wrap = Wrap::no) const {
    auto const found = set_.find_free_area(gpa(hint), size, limit, align, wrap);
    EXPECT_TRUE(found);
    return *found;
  }
  HostTable<64> pt_;
  Set set_;
};

TEST_F(FindFreeArea, SizeZeroAndBadAlignmentsAndWrappingLimitsAreRefusedAndNamed) {
  auto const argument = [&](std::uint64_t size, GuestRange limit, std::uint64_t align) {
    auto const found = set_.find_free_area(gpa(0), size, limit, align);
    EXPECT_FALSE(found);
    EXPECT_EQ(found.error(), Errc::invalid_param);
    return found.error().argument;
  };
  EXPECT_EQ(argument(0, bytes(0, 64), 1), Argument::size);
  EXPECT_EQ(argument(1, bytes(0, 64), 0), Argument::align);
  EXPECT_EQ(argument(1, bytes(0, 64), 3), Argument::align);
  EXPECT_EQ(argument(1, bytes(0, 64), 6), Argument::align);
  EXPECT_EQ(argument(1, {gpa(2), top}, 1), Argument::limit);
}

TEST_F(FindFreeArea, StaysInsideItsLimit) {
  EXPECT_EQ(find(0, 8, bytes(16, 24)), gpa(16));
  EXPECT_EQ(find(0, 9, bytes(16, 24)), std::nullopt);
  EXPECT_EQ(find(17, 8, bytes(16, 24)), std::nullopt);
  EXPECT_EQ(find(24, 1, bytes(16, 24)), std::nullopt);
  EXPECT_EQ(find(23, 1, bytes(16, 24)), gpa(23));
  EXPECT_EQ(find(0, 1, {gpa(16), 0}), std::nullopt);
  use(16, 20);
  EXPECT_EQ(find(0, 4, bytes(16, 24)), gpa(20));
  EXPECT_EQ(find(0, 5, bytes(16, 24)), std::nullopt);
  use(22, 30);
  EXPECT_EQ(find(0, 2, bytes(16, 24)), gpa(20));
  EXPECT_EQ(find(0, 3, bytes(16, 24)), std::nullopt);
}

TEST_F(FindFreeArea, NeverOverlapsWhenAreasAreSmallerThanTheAlignment) {
  for (std::uint64_t s = 1; s < 48; s += 4) use(s, s + 1);
  // Every place aligned to 16 has an area within its 16 bytes, up to 48.
  EXPECT_EQ(find(0, 16, bytes(0, 64), 16), gpa(48));
  EXPECT_EQ(find(0, 3, bytes(0, 64), 16), gpa(48));
  EXPECT_EQ(find(0, 1, bytes(0, 64), 16), gpa(0));
  EXPECT_EQ(find(1, 1, bytes(0, 64), 16), gpa(16));
  EXPECT_EQ(find(0, 3, bytes(0, 64), 2), gpa(2));
  EXPECT_EQ(find(0, 4, bytes(0, 64), 2), gpa(46));
}

TEST_F(FindFreeArea, AlignsTheAddressAndNotTheDistanceFromTheLimit) {
  EXPECT_EQ(find(0, 4, bytes(3, 64), 8), gpa(8));
  use(8, 9);
  EXPECT_EQ(find(0, 4, bytes(3, 64), 8), gpa(16));
}

TEST_F(FindFreeArea, GoesOnBelowTheHintOnRequestOnly) {
  use(32, 64);
  EXPECT_EQ(find(40, 8, bytes(0, 64)), std::nullopt);
  EXPECT_EQ(find(40, 8, bytes(0, 64), 1, Wrap::yes), gpa(0));
  EXPECT_EQ(find(20, 16, bytes(8, 64), 1, Wrap::yes), gpa(8));
  EXPECT_EQ(find(30, 8, bytes(24, 64), 1, Wrap::yes), gpa(24));
  EXPECT_EQ(find(20, 25, bytes(8, 64), 1, Wrap::yes), std::nullopt);
  EXPECT_EQ(find(top, 8, bytes(8, 64), 1, Wrap::yes), gpa(8));
}

TEST_F(FindFreeArea, SearchesUpToTwoToThe64AndNotPastIt) {
  GuestRange const limit{gpa(1), top};
  EXPECT_EQ(find(top - 7, 8, limit), gpa(top - 7));
  EXPECT_EQ(find(top - 6, 8, limit), std::nullopt);
  EXPECT_EQ(find(top, 1, limit), gpa(top));
  EXPECT_EQ(find(top - 6, 1, limit, 8), std::nullopt);
  EXPECT_EQ(find(0, 1, limit, std::uint64_t{1} << 63), gpa(std::uint64_t{1} << 63));
  EXPECT_EQ(find(0, top, limit), gpa(1));
  EXPECT_EQ(find(0, top, {gpa(0), top}), gpa(0));
  EXPECT_EQ(find(1, top, {gpa(0), top}), std::nullopt);
  EXPECT_EQ(find(2, top, {gpa(0), top}), std::nullopt);
  EXPECT_EQ(find(top - 6, 1, {gpa(0), top}, 8), std::nullopt);
  pt_.origin = top - 63;
  use(top - 7, 0);
  EXPECT_EQ(find(top - 20, 14, limit), std::nullopt);
  EXPECT_EQ(find(top - 20, 13, limit), gpa(top - 20));
}

TEST_F(FindFreeArea, AgreesWithTryingEveryAddress) {
  std::uint64_t seed = 12345;
  auto const random = [&seed](std::uint64_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (seed >> 33) % n;
  };
  for (int round = 0; round != 300; ++round) {
    ASSERT_TRUE(set_.clear(pt_));
    for (int n = 0; n != 8; ++n) {
      auto const start = random(64);
      auto const size = 1 + random(std::min<std::uint64_t>(64 - start, 5));
      (void)!set_.map({gpa(start), size, 1}, pt_);
    }
    for (int n = 0; n != 30; ++n) {
      auto const from = random(64);
      GuestRange const limit{gpa(from), random(65 - from)};
      auto const hint = random(64), size = 1 + random(12), align = std::uint64_t{1} << random(4);
      std::optional<GuestPhys> expected;
      for (auto at = hint; at != 64 && !expected; ++at)
        if (at % align == 0 && at + size <= 64 && limit.contains({gpa(at), size}) && !set_.overlaps({gpa(at), size}))
          expected = gpa(at);
      EXPECT_EQ(find(hint, size, limit, align), expected)
          << hint << " " << size << " " << align << ::testing::PrintToString(limit);
    }
  }
}

}  // namespace
}  // namespace slat::test
