// What a missing index node leaves behind, and where nodes go.

#include <optional>
#include <utility>
#include <vector>

#include "unit/mock_world.hpp"

namespace slat::test {
namespace {

template <class Set>
class MemorySetNodes : public ::testing::Test {
 protected:
  /// Sixteen areas of three bytes in steps of four: one more does not fit inside the set.
  static void fill(World<Set>& w) {
    ASSERT_TRUE(w.set.clear(w.pt));
    for (std::uint64_t s = 0; s != 64; s += 4) w.add(s, 3, static_cast<MockFlags>(1 + s % 3), 1000);
    ASSERT_TRUE(w.ledger.live.empty());
  }
};
using Sets = ::testing::Types<PlainSet, PlanningSet>;
TYPED_TEST_SUITE(MemorySetNodes, Sets);

TYPED_TEST(MemorySetNodes, SixteenAreasNeedNoMemoryAndOneMoreDoes) {
  World<TypeParam> w;
  w.ledger.empty = true;
  this->fill(w);
  EXPECT_EQ(w.set.len(), 16u);
  EXPECT_EQ(w.ledger.calls, 0u);
  auto const done = w.set.map(area<TypeParam>(3, 1, 1, 0), w.pt);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(),
            (Error{.code = Errc::no_memory, .argument = Argument::nodes, .value = 1, .range = bytes(3, 4)}));
  EXPECT_EQ(w.ledger.calls, 1u);
}

TYPED_TEST(MemorySetNodes, WithoutANodeACallChangesNothingAndDoesNotReachTheBackend) {
  auto const flip = [](MockFlags old) { return static_cast<MockFlags>(old ^ 0x40); };
  std::vector<Call<TypeParam>> const needing{
      {"map", [](auto& w) { return w.set.map(area<TypeParam>(3, 1, 9, 2000), w.pt); }},
      {"replace inside one", [](auto& w) { return w.set.map(area<TypeParam>(1, 1, 9, 2000), w.pt, true); }},
      {"replace parts", [](auto& w) { return w.set.map(area<TypeParam>(1, 4, 9, 2000), w.pt, true); }},
      {"unmap inside one", [](auto& w) { return w.set.unmap(gpa(1), 1, w.pt); }},
      {"protect inside one", [flip](auto& w) { return w.set.protect(gpa(1), 1, flip, w.pt); }},
      {"protect one end", [flip](auto& w) { return w.set.protect(gpa(1), 2, flip, w.pt); }},
  };
  for (auto const& call : needing) {
    SCOPED_TRACE(call.name);
    World<TypeParam> w;
    this->fill(w);
    w.ledger.empty = true;
    auto const before = w.areas();
    auto const done = call.run(w);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), Errc::no_memory);
    EXPECT_EQ(done.error().argument, Argument::nodes);
    EXPECT_EQ(w.areas(), before);
    EXPECT_EQ(w.pt.calls, 0u);
    EXPECT_TRUE(describes(w.set, w.pt));
    w.ledger.empty = false;
    ASSERT_TRUE(call.run(w));
    EXPECT_TRUE(describes(w.set, w.pt));
  }
}

TYPED_TEST(MemorySetNodes, UnmappingAndReplacingWholeAreasAndClearNeedNoMemory) {
  World<TypeParam> w;
  this->fill(w);
  w.ledger.empty = true;
  auto const flip = [](MockFlags old) { return static_cast<MockFlags>(old ^ 0x40); };
  EXPECT_TRUE(w.set.protect(gpa(0), 64, flip, w.pt));
  EXPECT_TRUE(w.set.protect(
      gpa(1), 1, [](MockFlags) { return std::optional<MockFlags>{}; }, w.pt));
  EXPECT_TRUE(w.set.map(area<TypeParam>(60, 4, 9, 2000), w.pt, true));
  EXPECT_TRUE(w.set.unmap(gpa(4), 7, w.pt));
  EXPECT_TRUE(describes(w.set, w.pt));
  EXPECT_TRUE(w.set.clear(w.pt));
  EXPECT_EQ(w.ledger.calls, 0u);
  EXPECT_TRUE(w.set.is_empty());
}

TYPED_TEST(MemorySetNodes, AFailingCallGivesBackTheNodesItReserved) {
  World<TypeParam> w;
  this->fill(w);
  w.pt.failing = {1};
  ASSERT_FALSE(w.set.map(area<TypeParam>(3, 1, 1, 0), w.pt));
  EXPECT_EQ(w.ledger.calls, 2u);  // leaves, and what is above them
  EXPECT_TRUE(w.ledger.live.empty());
}

TYPED_TEST(MemorySetNodes, TheKthMissingNodeIsSurvivedForEveryK) {
  for (unsigned k = 1;; ++k) {
    SCOPED_TRACE(k);
    World<TypeParam> w;
    ASSERT_TRUE(w.set.clear(w.pt));
    w.ledger.fail_at = k;
    unsigned failed = 0;
    for (std::uint64_t s = 0; s != 64; ++s) {
      auto const at = s * 37 % 64;
      auto const before = w.areas();
      if (auto const done = w.set.map(area<TypeParam>(at, 1, 1, 1000), w.pt); !done) {
        EXPECT_EQ(done.error(), Errc::no_memory);
        EXPECT_EQ(w.areas(), before);
        ++failed;
        ASSERT_TRUE(w.set.map(area<TypeParam>(at, 1, 1, 1000), w.pt));
      }
    }
    EXPECT_EQ(w.set.len(), 64u);
    ASSERT_TRUE(describes(w.set, w.pt));
    ASSERT_TRUE(w.set.unmap(gpa(0), 64, w.pt));
    EXPECT_TRUE(w.ledger.live.empty());
    if (failed == 0) break;
  }
}

TYPED_TEST(MemorySetNodes, UnmappingEverythingReturnsAllNodes) {
  World<TypeParam> w;
  ASSERT_TRUE(w.set.clear(w.pt));
  for (std::uint64_t s = 0; s != 64; ++s) w.add(s, 1, 1, 1000);
  EXPECT_FALSE(w.ledger.live.empty());
  for (std::uint64_t s = 0; s != 64; ++s) ASSERT_TRUE(w.set.unmap(gpa(s), 1, w.pt));
  EXPECT_TRUE(w.ledger.live.empty());
}

TYPED_TEST(MemorySetNodes, DestroyingASetReturnsItsNodesAndLeavesTheTableAlone) {
  World<TypeParam> w;
  {
    TypeParam set{CountedNodes{&w.ledger}};
    Table pt;
    for (std::uint64_t s = 0; s != 64; ++s) ASSERT_TRUE(set.map(area<TypeParam>(s, 1, 1, 1000), pt));
    EXPECT_FALSE(w.ledger.live.empty());
    TypeParam gone{std::move(set)};
    w.pt = pt;
    w.pt.calls = 0;
  }
  EXPECT_TRUE(w.ledger.live.empty());
  EXPECT_EQ(w.pt.calls, 0u);
  EXPECT_EQ(w.pt.cells[63].flags, 1);
}

}  // namespace
}  // namespace slat::test
