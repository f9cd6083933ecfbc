// What an edit gathers for its one shootdown: ranges that join where they may, and never forget.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>

#include <slat/mm/stale.hpp>

namespace slat {
namespace {

constexpr GuestRange pages(std::uint64_t first, std::uint64_t count) {
  return {GuestPhys{first * 0x1000}, count * 0x1000};
}

TEST(Stale, IsEmptyUntilSomethingIsAddedAndAfterItIsCleared) {
  Stale stale;
  EXPECT_TRUE(stale.empty());
  EXPECT_FALSE(stale.only_rights_shrank());
  stale.add(pages(1, 1), 0, false, true);
  EXPECT_FALSE(stale.empty());
  EXPECT_TRUE(stale.only_rights_shrank());
  stale.clear();
  EXPECT_TRUE(stale.empty());
}

TEST(Stale, NeighboursAreOneRange) {
  Stale stale;
  stale.add(pages(4, 2), 0, false, false);
  stale.add(pages(6, 1), 0, false, false);
  stale.add(pages(3, 1), 0, false, false);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, pages(3, 4));
  EXPECT_EQ(stale.ranges()[0].level, 0u);
}

TEST(Stale, ARangeThatFillsAGapJoinsBothSidesOfIt) {
  Stale stale;
  for (auto const n : {0u, 2u, 4u, 6u}) stale.add(pages(n, 1), 0, false, false);
  EXPECT_EQ(stale.ranges().size(), 4u);
  for (auto const n : {1u, 3u, 5u}) stale.add(pages(n, 1), 0, false, false);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, pages(0, 7));
}

TEST(Stale, ARangeThatGrowsByOneReachesTheNext) {
  Stale stale;
  // Neighbours that may not join, because one of them owes table pointers, until a third overlaps both.
  stale.add(pages(4, 2), 0, true, false);
  stale.add(pages(0, 2), 0, true, false);
  stale.add(pages(2, 2), 0, false, false);
  EXPECT_EQ(stale.ranges().size(), 3u);
  stale.add(pages(1, 2), 0, false, false);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, pages(0, 6));
  EXPECT_TRUE(stale.ranges()[0].tables);
}

TEST(Stale, UnequalLevelsThatJoinGiveNoLevelHint) {
  Stale stale;
  stale.add(pages(0, 512), 1, false, false);
  stale.add(pages(512, 1), 0, false, false);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].level, Stale::unknown_level);
}

TEST(Stale, ARangeInsideTheLastOneTakesItsHintAwayAndBringsItsTables) {
  for (auto const inside : {pages(16, 1), pages(20, 2), pages(31, 1), pages(16, 16)}) {
    Stale stale;
    stale.add(pages(2, 1), 0, false, false);
    stale.add(pages(16, 16), 1, false, false);
    stale.add(inside, 0, true, false);
    ASSERT_EQ(stale.ranges().size(), 2u);
    EXPECT_EQ(stale.ranges()[1].range, pages(16, 16));
    EXPECT_EQ(stale.ranges()[1].level, Stale::unknown_level);
    EXPECT_TRUE(stale.ranges()[1].tables);
    EXPECT_FALSE(stale.ranges()[0].tables);
  }
}

TEST(Stale, OnlyRightsShrankUntilAnythingElseIsOwed) {
  Stale stale;
  stale.add(pages(0, 1), 0, false, true);
  stale.add(pages(8, 1), 0, false, false);
  EXPECT_FALSE(stale.only_rights_shrank());
  stale.clear();
  stale.add(pages(0, 1), 0, false, true);
  EXPECT_TRUE(stale.only_rights_shrank());
}

// Page after page is one range, but only after the highest, and only of its kind.
TEST(Stale, WhatFollowsTheLastRangeMayReachTheNext) {
  Stale stale;
  stale.add(pages(8, 1), 0, false, false);
  stale.add(pages(4, 1), 0, false, false);
  for (auto const n : {5u, 6u, 7u}) stale.add(pages(n, 1), 0, false, false);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, pages(4, 5));
  stale.add(pages(9, 1), 0, false, true);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, pages(4, 6));
  EXPECT_FALSE(stale.only_rights_shrank());
}

TEST(Stale, WhatFollowsTheLastRangeIsOfAnotherKind) {
  Stale stale;
  stale.add(pages(0, 1), 0, false, true);
  stale.add(pages(1, 1), 0, true, true);
  EXPECT_EQ(stale.ranges().size(), 2u);
  EXPECT_TRUE(stale.tables());
  stale.add(pages(2, 1), 1, true, false);
  ASSERT_EQ(stale.ranges().size(), 2u);
  EXPECT_EQ(stale.ranges()[1].range, pages(1, 2));
  EXPECT_EQ(stale.ranges()[1].level, Stale::unknown_level);
  EXPECT_FALSE(stale.only_rights_shrank());
}

TEST(Stale, WhatWasSetIsAllThatIsOwed) {
  Stale stale;
  for (std::uint64_t n = 0; n != Stale::capacity + 1; ++n) stale.add(pages(2 * n, 1), 1, true, false);
  ASSERT_TRUE(stale.everything());
  stale.set(pages(6, 1), 0, false, true);
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, pages(6, 1));
  EXPECT_EQ(stale.ranges()[0].level, 0u);
  EXPECT_FALSE(stale.everything() || stale.tables() || stale.ranges()[0].tables);
  EXPECT_TRUE(stale.only_rights_shrank());
  stale.clear();
  EXPECT_FALSE(stale.tables());
  stale.add_everything(true);
  EXPECT_TRUE(stale.everything() && stale.only_rights_shrank());
  stale.add(pages(0, 1), 0, false, false);
  EXPECT_FALSE(stale.only_rights_shrank());
  stale.add_everything(true);
  EXPECT_FALSE(stale.only_rights_shrank()) << "it never forgets";
}

// Beside a page by page account: random ranges, many of them page after page.
TEST(Stale, NeverForgetsAndNeverOverlapsItself) {
  std::uint64_t random = 1;
  auto const below = [&random](std::uint64_t limit) {
    random = random * 6364136223846793005u + 1442695040888963407u;
    return (random >> 33) % limit;
  };
  for (auto round = 0; round != 300; ++round) {
    Stale stale;
    std::array<bool, 80> owed{};
    std::uint64_t next = 0;
    for (auto i = 0; i != 14; ++i) {
      auto const first = below(2) == 0 && next < 60 ? next : below(60), count = 1 + below(4);
      next = first + count;
      stale.add(pages(first, count), static_cast<Level>(below(2)), below(4) == 0, false);
      for (auto n = first; n != next; ++n) owed[n] = true;
    }
    if (stale.everything()) continue;
    for (std::uint64_t n = 0; n != owed.size(); ++n) {
      auto covered = 0;
      for (auto const& known : stale.ranges()) covered += known.range.overlaps(pages(n, 1)) ? 1 : 0;
      EXPECT_EQ(covered, owed[n] ? 1 : 0) << "page " << n << " of round " << round;
    }
  }
}

TEST(Stale, WhatWasClearedOwesNoTablesAndNoRights) {
  Stale stale;
  stale.add(pages(0, 1), 0, true, false);
  ASSERT_TRUE(stale.tables());
  stale.clear();
  EXPECT_FALSE(stale.tables());
  stale.set(pages(0, 1), 0, false, true);
  ASSERT_TRUE(stale.only_rights_shrank());
  stale.clear();
  EXPECT_FALSE(stale.only_rights_shrank());
}

TEST(Stale, AListThatIsFullBecomesEverything) {
  Stale stale;
  for (std::uint64_t n = 0; n != Stale::capacity; ++n) stale.add(pages(2 * n, 1), 0, false, false);
  EXPECT_FALSE(stale.everything());
  EXPECT_FALSE(stale.overlaps(pages(1000, 1)));
  stale.add(pages(1000, 1), 0, false, false);
  EXPECT_TRUE(stale.everything());
  EXPECT_TRUE(stale.tables());
  EXPECT_TRUE(stale.ranges().empty());
  EXPECT_TRUE(stale.overlaps(pages(5000, 1)));
  stale.add(pages(0, 1), 0, false, false);
  EXPECT_TRUE(stale.everything()) << "nothing makes it narrower";
}

}  // namespace
}  // namespace slat
