// The oracle is held to its word: frames and a hook are driven by hand, wrongly, and each wrong is named; and the same
// done right passes.

#include <gtest/gtest.h>

#include <string>

#include "unit/by_hand.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

using namespace slat::literals;

template <class Machine>
class OracleTest : public ::testing::Test {
 protected:
  ByHand<Machine> by_hand;
};
using Machines = ::testing::Types<ArmMachine, ArmBbm2Machine, EptMachine, EptErratumMachine, NptMachine>;
TYPED_TEST_SUITE(OracleTest, Machines);

// Where a slot can be broken at all.
template <class Machine>
class OracleBreaks : public OracleTest<Machine> {};
using Breaking = ::testing::Types<ArmMachine, ArmBbm2Machine, EptErratumMachine>;
TYPED_TEST_SUITE(OracleBreaks, Breaking);

// Where a block may be linked while the table that it replaces is cached.
template <class Machine>
class OracleResizesLive : public OracleTest<Machine> {};
using ResizingLive = ::testing::Types<ArmBbm2Machine, EptMachine, EptErratumMachine, NptMachine>;
TYPED_TEST_SUITE(OracleResizesLive, ResizingLive);

// ---- invalidation

TYPED_TEST(OracleTest, UnmapWithItsInvalidationPasses) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::none);
}

TYPED_TEST(OracleTest, AMissingInvalidationIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.publish();
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::missing_invalidation);
}

TYPED_TEST(OracleTest, ARightThatShrinksWithoutInvalidationIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::dirty(0, ram), rwx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rx));
  hand.store(table, 0, TypeParam::leaf(0, ram));
  hand.publish();
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::missing_invalidation);
}

TYPED_TEST(OracleTest, ARightThatGrowsNeedsNoInvalidation) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rwx));
  hand.store(table, 0, TypeParam::clean(0, ram));
  hand.publish();
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::none);
}

TYPED_TEST(OracleTest, ARangeTooNarrowIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap({0_gpa, 2 * page}));
  hand.store(table, 0, 0);
  hand.store(table, 1, 0);
  hand.publish();
  hand.invalidate(first_page, 0);
  EXPECT_EQ(hand.offence(), Offence::too_narrow);
}

TYPED_TEST(OracleTest, APartOfABlockIsTooNarrow) {
  auto& hand = this->by_hand;
  hand.link(hand.blocks(), 0, TypeParam::leaf(1, ram), first_block, ram, rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.invalidate({0_gpa, block / 2}, 1);
  EXPECT_EQ(hand.offence(), Offence::too_narrow);
}

TYPED_TEST(OracleTest, AnInvalidationOfPagesLeavesABlock) {
  auto& hand = this->by_hand;
  hand.link(hand.blocks(), 0, TypeParam::leaf(1, ram), first_block, ram, rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.invalidate(first_block, 0);
  EXPECT_EQ(hand.offence(), Offence::wrong_level);
}

TYPED_TEST(OracleTest, ALeafHintLeavesATablePointer) {
  auto& hand = this->by_hand;
  hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.invalidate(first_block, Stale::unknown_level);
  EXPECT_EQ(hand.offence(), Offence::tables_not_named);
}

TYPED_TEST(OracleTest, AnUnlinkedTableIsStaleInItsWholeSpan) {
  auto& hand = this->by_hand;
  auto const table = hand.table();
  hand.frames_.view(table)[0] = TypeParam::leaf(0, ram);
  hand.link(hand.blocks(), 0, TypeParam::table(table), first_page, ram, rx);
  hand.begin(Change::unmap(first_page));
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.invalidate(first_page, Stale::unknown_level, true);
  EXPECT_EQ(hand.offence(), Offence::too_narrow);
}

TYPED_TEST(OracleTest, AnInvalidationTooWideIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.publish();
  hand.invalidate({0_gpa, 2 * page}, 0);
  EXPECT_EQ(hand.offence(), Offence::over_invalidation);
}

TYPED_TEST(OracleTest, TablesNamedWhereNoneWentAreTooMuch) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.publish();
  hand.invalidate(first_page, 0, true);
  EXPECT_EQ(hand.offence(), Offence::over_invalidation);
}

TYPED_TEST(OracleTest, AnInvalidationOfEverythingForNothingIsNamed) {
  auto& hand = this->by_hand;
  Stale stale;
  stale.add_everything();
  hand.hook_(hand.root(), stale);
  EXPECT_EQ(hand.offence(), Offence::over_invalidation);
}

TYPED_TEST(OracleTest, TheHookOfAnotherRootIsNamed) {
  auto& hand = this->by_hand;
  Stale stale;
  stale.add_everything();
  hand.hook_(hand.root() + page, stale);
  EXPECT_EQ(hand.offence(), Offence::wrong_root);
}

// ---- publishing

TYPED_TEST(OracleTest, AHookBeforePublishIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.invalidate(first_page, 0);
  EXPECT_EQ(hand.offence(), Offence::hook_before_publish);
}

TYPED_TEST(OracleTest, AnEntryThatBecomesValidUnpublishedIsNamed) {
  auto& hand = this->by_hand;
  hand.begin(Change::map(first_block, ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::leaf(1, ram));
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::unpublished);
}

// ---- frames

TYPED_TEST(OracleTest, ATableReleasedInOrderPasses) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.invalidate(first_block, Stale::unknown_level, true);
  hand.wait();
  hand.release(table);
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::none);
}

TYPED_TEST(OracleTest, ATableReleasedBeforeItsInvalidationIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.release(table);
  EXPECT_EQ(hand.offence(), Offence::released_while_cached);
}

TYPED_TEST(OracleTest, ATableReleasedUnderReadersIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_block));
  hand.wait();  // too early: a query may begin after it and before the unlinking
  hand.store(hand.blocks(), 0, 0);
  hand.publish();
  hand.invalidate(first_block, Stale::unknown_level, true);
  hand.release(table);
  EXPECT_EQ(hand.offence(), Offence::released_before_readers);
}

TYPED_TEST(OracleTest, ALinkedTableReleasedIsNamed) {
  auto& hand = this->by_hand;
  hand.release(hand.pages(TypeParam::leaf(0, ram), rx));
  EXPECT_EQ(hand.offence(), Offence::released_while_linked);
}

TYPED_TEST(OracleTest, TheRootReleasedWithSomethingInItIsNamed) {
  auto& hand = this->by_hand;
  hand.release(hand.root());
  EXPECT_EQ(hand.offence(), Offence::released_while_linked);
}

TYPED_TEST(OracleTest, ATableWrittenWhileUnlinkedAndCachedIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.store(table, 7, 0);
  EXPECT_EQ(hand.offence(), Offence::written_while_cached);
}

TYPED_TEST(OracleTest, ATableLinkedElsewhereWhileCachedIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_block));
  hand.store(hand.blocks(), 0, 0);
  hand.commit();
  hand.begin(Change::map({GuestPhys{block}, block}, ram, rx));
  hand.store(hand.blocks(), 1, TypeParam::table(table));
  EXPECT_EQ(hand.offence(), Offence::table_reused);
}

TYPED_TEST(OracleTest, ATableInTwoPlacesIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::map({GuestPhys{block}, block}, ram, rx));
  hand.store(hand.blocks(), 1, TypeParam::table(table));
  EXPECT_EQ(hand.offence(), Offence::table_shared);
}

TYPED_TEST(OracleTest, AReleasedTableThatIsLinkedIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.table();
  hand.release(table);
  hand.store(hand.blocks(), 0, TypeParam::table(table));
  EXPECT_EQ(hand.offence(), Offence::table_foreign);
}

TYPED_TEST(OracleTest, AStoreIntoAReleasedTableIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.table();
  hand.release(table);
  hand.store(table, 0, 0);
  EXPECT_EQ(hand.offence(), Offence::access_after_release);
}

TYPED_TEST(OracleTest, APlainStoreIntoALiveTableIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.tlb_.check_tables();
  EXPECT_EQ(hand.offence(), Offence::none);
  hand.frames_.view(table)[3] = 0;
  hand.tlb_.check_tables();
  EXPECT_EQ(hand.offence(), Offence::unseen_store);
}

TYPED_TEST(OracleTest, AnEmptyTableLeftBehindIsNamed) {
  auto& hand = this->by_hand;
  hand.tlb_.check_tables();
  EXPECT_EQ(hand.offence(), Offence::table_idle);
}

TYPED_TEST(OracleTest, FramesHoldTheirUserToTheRules) {
  auto& hand = this->by_hand;
  auto const table = hand.table();
  hand.release(table);
  EXPECT_EQ(hand.offence(), Offence::none);
  hand.release(table);
  EXPECT_EQ(hand.offence(), Offence::double_release);
  hand.frames_.release(ram, page);
  EXPECT_EQ(hand.offence(), Offence::foreign_release);
  hand.frames_.release(table + 8, page);
  EXPECT_EQ(hand.offence(), Offence::foreign_release);
  EXPECT_EQ(hand.frames_.view(table)[0], RecordingFrames::dead);
  auto const again = *hand.frames_.allocate(page);
  EXPECT_EQ(again, table);
  EXPECT_EQ(hand.frames_.view(again)[511], RecordingFrames::fresh);
}

TYPED_TEST(OracleTest, FramesFailWhenToldTo) {
  auto& frames = this->by_hand.frames_;
  auto const in_use = frames.in_use();
  frames.fail_after(2);
  EXPECT_TRUE(frames.allocate(page));
  EXPECT_TRUE(frames.allocate(4 * page)->aligned_to(4 * page));
  EXPECT_FALSE(frames.allocate(page));
  EXPECT_FALSE(frames.allocate(page));
  EXPECT_EQ(frames.in_use(), in_use + 5);
  frames.never_fail();
  EXPECT_TRUE(frames.allocate(page));
}

// ---- store by store

TYPED_TEST(OracleTest, AnAddressOutsideThatChangesIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rwx));
  hand.store(table, 1, TypeParam::clean(0, ram + page));
  EXPECT_EQ(hand.offence(), Offence::outside_changed);
}

TYPED_TEST(OracleTest, AnAddressOutsideThatIsLostIsNamed) {
  auto& hand = this->by_hand;
  hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(hand.blocks(), 0, 0);
  EXPECT_EQ(hand.offence(), Offence::outside_lost);
}

TYPED_TEST(OracleTest, AnAddressInsideThatGoesAstrayIsNamed) {
  auto& hand = this->by_hand;
  hand.begin(Change::map(first_block, ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::leaf(1, other_ram));
  EXPECT_EQ(hand.offence(), Offence::inside_wrong);
}

TYPED_TEST(OracleTest, OneWrongPageInALinkedTableIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.table(TypeParam::leaf(0, ram), page);
  hand.frames_.view(table)[300] = TypeParam::leaf(0, ram);
  hand.begin(Change::map(first_block, ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::table(table));
  EXPECT_EQ(hand.offence(), Offence::inside_wrong);
}

TYPED_TEST(OracleTest, AnAddressInsideThatIsAbsentForAWhileIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rwx));
  hand.store(table, 0, 0);
  EXPECT_EQ(hand.offence(), Offence::inside_lost);
}

TYPED_TEST(OracleTest, TheWrongMemoryTypeIsNamed) {
  auto& hand = this->by_hand;
  hand.begin(Change::map(first_block, ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::uncached(1, ram));
  EXPECT_EQ(hand.offence(), Offence::inside_wrong);
}

TYPED_TEST(OracleTest, AnOperationThatDoesNothingIsNamed) {
  auto& hand = this->by_hand;
  hand.begin(Change::map(first_block, ram, rx));
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::wrong_translation);
}

TYPED_TEST(OracleTest, ABrokenSlotLeftBehindIsNamed) {
  auto& hand = this->by_hand;
  hand.begin(Change::map(first_block, ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::broken(TypeParam::leaf(1, ram)));
  hand.publish();
  hand.commit();
  auto const expected = TypeParam::reader().can_break() ? Offence::broken_left : Offence::broken_forbidden;
  EXPECT_EQ(hand.end(), expected);
}

// ---- changes of size, address and type

TYPED_TEST(OracleTest, ABlockSplitInPlacePassesWhereSizesMayChange) {
  auto& hand = this->by_hand;
  hand.link(hand.blocks(), 0, TypeParam::leaf(1, ram), first_block, ram, rx);
  auto const table = hand.table(TypeParam::leaf(0, ram), page);
  hand.begin(Change::same(hand.tlb_.intent(), first_block));
  hand.store(hand.blocks(), 0, TypeParam::table(table));
  hand.publish();
  hand.invalidate(first_block, 1);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().size_breaks() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, ABlockMadeOfPagesInPlacePassesWhereSizesMayChange) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::same(hand.tlb_.intent(), first_block));
  hand.store(hand.blocks(), 0, TypeParam::leaf(1, ram));
  hand.publish();
  hand.invalidate(first_block, Stale::unknown_level, true);
  hand.wait();
  hand.release(table);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().size_breaks() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, ASplitThatBreaksFirstPassesWhereSlotsBreak) {
  auto& hand = this->by_hand;
  hand.link(hand.blocks(), 0, TypeParam::leaf(1, ram), first_block, ram, rx);
  auto const table = hand.table(TypeParam::leaf(0, ram), page);
  hand.begin(Change::same(hand.tlb_.intent(), first_block));
  hand.store(hand.blocks(), 0, TypeParam::broken(TypeParam::table(table)));
  hand.publish();
  hand.invalidate(first_block, 1);
  hand.store(hand.blocks(), 0, TypeParam::table(table));
  hand.publish();
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().can_break() ? Offence::none : Offence::broken_forbidden);
}

TYPED_TEST(OracleBreaks, MendingBeforeTheInvalidationConflicts) {
  auto& hand = this->by_hand;
  hand.link(hand.blocks(), 0, TypeParam::leaf(1, ram), first_block, ram, rx);
  auto const table = hand.table(TypeParam::leaf(0, other_ram), page);
  hand.begin(Change::map(first_block, other_ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::broken(TypeParam::table(table)));
  hand.store(hand.blocks(), 0, TypeParam::table(table));
  EXPECT_EQ(hand.offence(), Offence::break_before_make);
}

TYPED_TEST(OracleTest, AnotherAddressAndSizeInPlaceConflictWhereSlotsBreak) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::map(first_block, other_ram, rx));
  hand.store(hand.blocks(), 0, TypeParam::leaf(1, other_ram));
  hand.publish();
  hand.invalidate(first_block, Stale::unknown_level, true);
  hand.wait();
  hand.release(table);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().can_break() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, AnotherAddressInPlaceConflictsOnArm) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::map(first_page, other_ram, rx));
  hand.store(table, 0, TypeParam::leaf(0, other_ram));
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().pointers_conflict() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, AnotherMemoryTypeInPlaceConflictsOnArm) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rx | Memory::uncached));
  hand.store(table, 0, TypeParam::uncached(0, ram));
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().pointers_conflict() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, AnotherTableInPlaceConflictsOnArm) {
  auto& hand = this->by_hand;
  auto const old = hand.pages(TypeParam::leaf(0, ram), rx);
  auto const next = hand.table(TypeParam::leaf(0, ram), page);
  hand.begin(Change::same(hand.tlb_.intent(), first_block));
  hand.store(hand.blocks(), 0, TypeParam::table(next));
  hand.publish();
  hand.invalidate(first_block, Stale::unknown_level, true);
  hand.wait();
  hand.release(old);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().pointers_conflict() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, AbsentInBetweenIsNoInvalidation) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.publish();
  hand.commit();
  hand.begin(Change::map(first_page, other_ram, rx));
  hand.store(table, 0, TypeParam::leaf(0, other_ram));
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), TypeParam::reader().pointers_conflict() ? Offence::break_before_make : Offence::none);
}

TYPED_TEST(OracleTest, ABrokenEdgeBlockIsAllowedOnlyWhereSizesBreak) {
  auto& hand = this->by_hand;
  hand.link(hand.blocks(), 0, TypeParam::leaf(1, ram), first_block, ram, rx);
  auto const table = hand.table(TypeParam::leaf(0, ram), page);
  hand.begin(Change::unmap(first_page));
  hand.store(hand.blocks(), 0, TypeParam::broken(TypeParam::table(table)));
  auto const expected = !TypeParam::reader().can_break()    ? Offence::broken_forbidden
                        : TypeParam::reader().size_breaks() ? Offence::none
                                                            : Offence::needless_break;
  EXPECT_EQ(hand.offence(), expected);
}

TYPED_TEST(OracleTest, ABrokenNeighbourIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 1, TypeParam::broken(TypeParam::leaf(0, ram + page)));
  EXPECT_EQ(hand.offence(), TypeParam::reader().can_break() ? Offence::needless_break : Offence::broken_forbidden);
}

TYPED_TEST(OracleBreaks, ALeafBrokenForItsRightsAloneIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rwx));
  hand.store(table, 0, TypeParam::broken(TypeParam::leaf(0, ram)));
  hand.publish();
  hand.invalidate(first_page, 0);
  ASSERT_EQ(hand.offence(), Offence::none);
  hand.store(table, 0, TypeParam::clean(0, ram));
  EXPECT_EQ(hand.offence(), Offence::needless_break);
}

TEST(OracleOfSets, ToGetTheContiguousBitLeavesBreakThoughNothingElseChanges) {
  ByHand<ArmMachine> hand;
  auto const table = hand.pages(ArmMachine::leaf(0, ram), rx);
  GuestRange const set{0_gpa, 16 * page};
  hand.begin(Change::same(hand.tlb_.intent(), set));
  for (std::uint64_t i = 0; i != 16; ++i) hand.store(table, i, ArmMachine::broken(ArmMachine::leaf(0, ram + i * page)));
  hand.publish();
  hand.invalidate(set, 0);
  for (std::uint64_t i = 0; i != 16; ++i) hand.store(table, i, ArmMachine::leaf(0, ram + i * page) | 1ull << 52);
  hand.publish();
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::none);
}

// ---- accessed and dirty

TYPED_TEST(OracleTest, HardwareSetsTheDirtyBit) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
  hand.tlb_.use(0_gpa, false);
  EXPECT_EQ(hand.load(table, 0), TypeParam::clean(0, ram));
  hand.tlb_.use(0_gpa, true);
  EXPECT_EQ(hand.load(table, 0), TypeParam::dirty(0, ram));
  EXPECT_EQ(hand.end(), Offence::none);
}

TYPED_TEST(OracleTest, APlainStoreOverAFreshDirtyBitIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
  hand.begin(Change::attributes(hand.tlb_.intent(), first_page, rw));
  auto const old = hand.load(table, 0);
  hand.tlb_.use(0_gpa, true);
  hand.store(table, 0, TypeParam::not_executable(old));
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::lost_dirty);
}

TYPED_TEST(OracleTest, ALostAccessedBitIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.tlb_.use(0_gpa, false);
  hand.begin(Change::same(hand.tlb_.intent(), first_page));
  hand.store(table, 0, TypeParam::leaf(0, ram) & ~TypeParam::accessed);
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::lost_accessed);
}

TYPED_TEST(OracleTest, AHarvestedDirtyBitIsNotLost) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
  hand.tlb_.use(0_gpa, true);
  hand.begin(Change::harvest(hand.tlb_.intent(), first_page));
  hand.tlb_.harvested(first_page, {false, true});
  hand.store(table, 0, TypeParam::clean(0, ram));
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::none);
}

TYPED_TEST(OracleTest, AMarkThatGoesUntoldIsNamedWhereAllAreToldOf) {
  for (bool const told : {false, true}) {
    ByHand<TypeParam> hand;
    auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
    hand.tlb_.use(0_gpa, true);
    hand.begin(Change::unmap(first_page));
    hand.store(table, 0, 0);
    hand.publish();
    hand.invalidate(first_page, 0);
    if (told) hand.tlb_.harvested(first_page, {false, true});
    hand.tlb_.told(first_page, {false, true});
    hand.commit();
    EXPECT_EQ(hand.end(), told ? Offence::none : Offence::lost_dirty);
  }
}

TYPED_TEST(OracleTest, ANoteOfWhatGoesIsInvalidToHardwareAndPasses) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, TypeParam::broken(TypeParam::clean(0, ram)));
  hand.publish();
  hand.invalidate(first_page, 0);
  hand.store(table, 0, 0);
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::none);
}

TYPED_TEST(OracleTest, AClearedDirtyBitWithoutInvalidationIsNamed) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
  hand.tlb_.use(0_gpa, true);
  hand.begin(Change::harvest(hand.tlb_.intent(), first_page));
  hand.tlb_.harvested(first_page, {false, true});
  hand.store(table, 0, TypeParam::clean(0, ram));
  hand.publish();
  hand.commit();
  EXPECT_EQ(hand.end(), Offence::missing_invalidation);
}

TYPED_TEST(OracleResizesLive, AWriteThroughAnUnlinkedTableIsLostUnlessTheNextIsBornDirty) {
  for (auto const dirty : {false, true}) {
    ByHand<TypeParam> hand;
    auto const table = hand.pages(TypeParam::clean(0, ram), rwx);
    hand.begin(Change::same(hand.tlb_.intent(), first_block));
    hand.store(hand.blocks(), 0, dirty ? TypeParam::dirty(1, ram) : TypeParam::clean(1, ram));
    // By the cached pointer sooner or later, and not by the new block.
    for (auto i = 0; i != 64; ++i)
      if (hand.frames_.view(table)[5] == TypeParam::clean(0, ram + 5 * page)) hand.tlb_.use(GuestPhys{5 * page}, true);
    ASSERT_EQ(hand.frames_.view(table)[5], TypeParam::dirty(0, ram + 5 * page));
    // The new block is as it was born.
    hand.frames_.view(hand.blocks())[0] = dirty ? TypeParam::dirty(1, ram) : TypeParam::clean(1, ram);
    hand.publish();
    hand.invalidate(first_block, Stale::unknown_level, true);
    hand.wait();
    hand.release(table);
    hand.commit();
    EXPECT_EQ(hand.end(), dirty ? Offence::none : Offence::lost_dirty);
  }
}

// ---- what is told

TYPED_TEST(OracleTest, AViolationComesWithItsTrace) {
  auto& hand = this->by_hand;
  auto const table = hand.pages(TypeParam::leaf(0, ram), rx);
  hand.recorder_.remark("the operation");
  hand.begin(Change::unmap(first_page));
  hand.store(table, 0, 0);
  hand.publish();
  hand.invalidate({0_gpa, 2 * page}, 0);
  ASSERT_TRUE(hand.recorder_.violation());
  auto const& text = hand.recorder_.violation()->text;
  EXPECT_NE(text.find("what is not stale (rule P3): 0x1000 in [0x0, 0x2000)"), std::string::npos) << text;
  auto const at = text.find("--- the operation");
  ASSERT_NE(at, std::string::npos) << text;
  EXPECT_LT(at, text.find("store " + hex(table.raw()) + " " + hex(TypeParam::leaf(0, ram)) + " 0x0")) << text;
  EXPECT_NE(text.find("asked 0x0 0x2000 0x0 0x0", at), std::string::npos) << text;
}

}  // namespace
}  // namespace slat::test
