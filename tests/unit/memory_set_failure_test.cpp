// What a failing backend leaves behind.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "unit/mock_world.hpp"

namespace slat::test {
namespace {

/// Every kind of edit, cut at both ends where it can be.
template <class Set>
std::vector<Call<Set>> calls() {
  auto const flip = [](MockFlags old) { return static_cast<MockFlags>(old ^ 0x40); };
  auto const odd = [flip](MockFlags old) { return old % 2 == 1 ? std::optional{flip(old)} : std::nullopt; };
  return {
      {"map", [](World<Set>& w) { return w.set.map(area<Set>(50, 4, 9, 2000), w.pt); }},
      {"replace all of several", [](World<Set>& w) { return w.set.map(area<Set>(0, 64, 9, 2000), w.pt, true); }},
      {"replace parts of several", [](World<Set>& w) { return w.set.map(area<Set>(4, 40, 9, 2000), w.pt, true); }},
      {"replace inside one", [](World<Set>& w) { return w.set.map(area<Set>(2, 3, 9, 2000), w.pt, true); }},
      {"replace, nothing there", [](World<Set>& w) { return w.set.map(area<Set>(50, 4, 9, 2000), w.pt, true); }},
      {"unmap all", [](World<Set>& w) { return w.set.unmap(gpa(0), 64, w.pt); }},
      {"unmap parts", [](World<Set>& w) { return w.set.unmap(gpa(4), 40, w.pt); }},
      {"unmap one", [](World<Set>& w) { return w.set.unmap(gpa(20), 8, w.pt); }},
      {"unmap inside one", [](World<Set>& w) { return w.set.unmap(gpa(22), 2, w.pt); }},
      {"protect all", [flip](World<Set>& w) { return w.set.protect(gpa(0), 64, flip, w.pt); }},
      {"protect parts", [flip](World<Set>& w) { return w.set.protect(gpa(4), 40, flip, w.pt); }},
      {"protect some", [odd](World<Set>& w) { return w.set.protect(gpa(4), 40, odd, w.pt); }},
      {"protect one", [flip](World<Set>& w) { return w.set.protect(gpa(20), 8, flip, w.pt); }},
      {"protect inside one", [flip](World<Set>& w) { return w.set.protect(gpa(22), 2, flip, w.pt); }},
      {"clear", [](World<Set>& w) { return w.set.clear(w.pt); }},
  };
}

TEST(MemorySetWithThreeOperations, AfterAnyFailureTheSetIsWhatTheTableHolds) {
  for (auto const& call : calls<PlainSet>()) {
    unsigned k = 1;
    for (;; ++k) {
      SCOPED_TRACE(call.name + ", call " + std::to_string(k));
      World<PlainSet> w;
      w.pt.failing = {k};
      auto const done = call.run(w);
      ASSERT_TRUE(describes(w.set, w.pt));
      if (w.pt.calls < k) {
        EXPECT_TRUE(done);
        break;
      }
      ASSERT_FALSE(done) << "the failure was swallowed";
      EXPECT_EQ(done.error(), Errc::bad_state);
      EXPECT_FALSE(done.error().range.empty());
    }
    EXPECT_GT(k, 1u) << call.name;
  }
}

TEST(MemorySetWithThreeOperations, AFailingFirstOperationLeavesNoCutBehind) {
  for (auto const& call : calls<PlainSet>()) {
    SCOPED_TRACE(call.name);
    World<PlainSet> w;
    auto const before = w.areas();
    w.pt.failing = {1};
    ASSERT_FALSE(call.run(w));
    EXPECT_EQ(w.areas(), before);
  }
}

TEST(MemorySetWithThreeOperations, AFailureHalfWayLeavesNoCutBeforeAnUntouchedPart) {
  World<PlainSet> w;
  w.pt.failing = {3};
  ASSERT_FALSE(w.set.unmap(gpa(4), 20, w.pt));  // fails at [20, 24), a part of [20, 28)
  EXPECT_EQ(shape_of(w.set), (Shape{{bytes(0, 4), 1}, {bytes(20, 28), 3}, {bytes(28, 36), 4}, {bytes(40, 48), 5}}));
}

TEST(MemorySetWithThreeOperations, AFailedReplaceMapsTheOldAreasAgain) {
  for (auto const& call : calls<PlainSet>()) {
    if (call.name.find("replace") != 0) continue;
    for (unsigned k = 1;; ++k) {
      SCOPED_TRACE(call.name + ", call " + std::to_string(k));
      World<PlainSet> w;
      auto const before = w.areas();
      auto const table = w.pt.cells;
      w.pt.failing = {k};
      if (call.run(w)) break;
      EXPECT_EQ(w.areas(), before);
      EXPECT_TRUE(w.pt.cells == table);
    }
  }
}

TEST(MemorySetWithThreeOperations, AReplaceWhoseWayBackFailsTooShowsTheHole) {
  unsigned holes = 0;
  for (auto const& call : calls<PlainSet>()) {
    if (call.name.find("replace") != 0) continue;
    for (unsigned k = 1; k != 8; ++k)
      for (unsigned from = k + 1; from != 16; ++from)
        for (unsigned to = from; to != 16; ++to) {
          SCOPED_TRACE(call.name + ", calls " + std::to_string(k) + " and " + std::to_string(from) + " to " +
                       std::to_string(to));
          World<PlainSet> w;
          auto const before = w.areas();
          w.pt.failing = {k};
          for (auto i = from; i <= to; ++i) w.pt.failing.insert(i);
          auto const done = call.run(w);
          ASSERT_TRUE(describes(w.set, w.pt));
          if (!done && w.areas() != before) ++holes;
        }
  }
  EXPECT_GT(holes, 100u);
}

TEST(MemorySetWithThreeOperations, TheBackendsOwnErrorIsReturned) {
  MemorySet<MockFlags, MockPageTable, ResultBackend> set;
  auto const pt = std::make_unique<MockPageTable>();
  auto const done = set.map({gpa(0xffff), 2, 1}, *pt);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), Errc::out_of_range);
  EXPECT_TRUE(set.is_empty());
}

// Promise 2: a call that returns an error changed nothing.

TEST(MemorySetWithPlans, WhenAnyPlanFailsNothingHasChanged) {
  for (auto const& call : calls<PlanningSet>()) {
    unsigned k = 1;
    for (;; ++k) {
      SCOPED_TRACE(call.name + ", plan " + std::to_string(k));
      World<PlanningSet> w;
      auto const before = w.areas();
      auto const table = w.pt.cells;
      auto const* const found = w.set.find(gpa(0));
      w.pt.failing = {k};
      auto const done = call.run(w);
      EXPECT_EQ(w.pt.begins, 1u) << "one edit per call";
      EXPECT_EQ(w.pt.open, 0u);
      if (w.pt.calls < k) {
        EXPECT_TRUE(done);
        ASSERT_TRUE(describes(w.set, w.pt));
        break;
      }
      ASSERT_FALSE(done);
      EXPECT_EQ(done.error(), Errc::no_memory);
      EXPECT_EQ(w.areas(), before);
      EXPECT_TRUE(w.pt.cells == table);
      EXPECT_EQ(w.set.find(gpa(0)), found);
    }
    EXPECT_GT(k, 1u) << call.name;
  }
}

TEST(MemorySetWithPlans, EveryCallFromInsideTheHookIsBusy) {
  for (auto const& call : calls<PlanningSet>()) {
    SCOPED_TRACE(call.name);
    World<PlanningSet> w;
    auto const before = w.areas();
    w.pt.in_hook = true;
    auto const done = call.run(w);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), Errc::busy);
    EXPECT_EQ(w.areas(), before);
    EXPECT_EQ(w.pt.calls, 0u);
  }
}

}  // namespace
}  // namespace slat::test
