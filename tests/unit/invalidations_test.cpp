// Instruction by instruction: each way of getting an invalidation wrong is named, with its rule; and the same done
// right passes. Driven as a mapper that is not slat would drive it, by events alone.

#include <gtest/gtest.h>

#include <array>
#include <string>

#include <slat/testing/machine.hpp>
#include <slat/testing/oracle.hpp>

#include "unit/by_hand.hpp"
#include "unit/formats.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

constexpr std::array<std::uint8_t, 2> cpus_0_and_1{0, 1}, cpus_1_and_2{1, 2};

/// Three tables of 4K deep down, the last with pages of `ram` in its first sixteen entries.
template <class Kind>
class Guest : public ::testing::Test {
 protected:
  using Reader = decltype(Kind::reader());
  static constexpr HostPhys root{0x7'0000'0000}, middle = root + page, leaves = root + 2 * page,
                                                 spare = root + 3 * page;

  explicit Guest(Reader reader = Kind::reader()) : machine{reader, {.frames = 16}} {
    auto const depth = reader.shape().root;
    auto table = root;
    machine.allocate(root);
    machine.zero(root);
    machine.tell(What::root, root);
    // Deeper trees have more tables in between.
    for (auto level = depth; level != 0; --level) {
      auto const below = level == 1 ? leaves : level == 2 ? middle : root + (2 + level) * page;
      machine.allocate(below);
      machine.zero(below);
      machine.store(table, Kind::table(below));
      table = below;
    }
    for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, Kind::leaf(0, ram + i * page));
    publish();
  }
  void publish() { machine.tell(What::dsb_ishst); }
  void unmap_first() { machine.store(leaves, 0); }
  Offence end() {
    machine.finish();
    return machine.offence();
  }
  std::string why() const { return machine.violation() ? machine.violation()->text : "sound"; }

  Machine<Reader> machine;
};

// ---- Arm

class ArmGuest : public Guest<ArmMachine> {
 protected:
  static constexpr std::uint64_t vttbr = 7ull << 48 | root.raw();
  static constexpr std::uint64_t no_hint = 0, page_hint = 0b0111ull << 44, block_hint = 0b0110ull << 44;

  ArmGuest() {
    for (std::uint8_t const cpu : cpus_0_and_1) machine.on(cpu).tell(What::vttbr, vttbr), machine.tell(What::isb);
    machine.on(0);
  }
  void tlbi(What what, std::uint64_t operand = 0) { machine.tell(what, operand); }
  void dsb() { machine.tell(What::dsb_ish); }
  void isb() { machine.tell(What::isb); }
  void both_kinds(std::uint64_t operand) {
    dsb();
    tlbi(What::tlbi_ipas2e1is, operand);
    dsb();
    tlbi(What::tlbi_vmalle1is);
    dsb();
    isb();
  }
  /// The end of a table of 512 pages, by one range operation: scale 1, num 7.
  static constexpr std::uint64_t whole_table = 1ull << 46 | 1ull << 44 | 7ull << 39;
};

TEST_F(ArmGuest, BothKindsWithTheirBarriersPass) {
  unmap_first();
  both_kinds(page_hint);
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(ArmGuest, OneForTheWholeVmidPasses) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(ArmGuest, ATlbiBeforeTheStoreIsVisibleIsNamed) {
  unmap_first();
  tlbi(What::tlbi_vmalls12e1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::hook_before_publish) << why();
}
TEST_F(ArmGuest, ATlbiThatNothingWaitsForIsNamed) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  EXPECT_EQ(end(), Offence::not_completed) << why();
}
TEST_F(ArmGuest, ABarrierForStoresAloneDoesNotWaitForATlbi) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  publish();
  EXPECT_EQ(end(), Offence::not_completed) << why();
}
TEST_F(ArmGuest, ABarrierOnAnotherCpuDoesNotWaitForATlbi) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  machine.on(1);
  dsb();
  machine.on(0);
  EXPECT_EQ(end(), Offence::not_completed) << why();
}
TEST_F(ArmGuest, CombinedEntriesLeftAreNamed) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_ipas2e1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::one_kind_left) << why();
}
TEST_F(ArmGuest, BothKindsWithoutABarrierBetweenAreNamed) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_ipas2e1is);
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::wrong_order) << why();
}
TEST_F(ArmGuest, AMissingIsbIsNamed) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  dsb();
  EXPECT_EQ(end(), Offence::no_context_sync) << why();
}
TEST_F(ArmGuest, AnotherVmidIsNamed) {
  unmap_first();
  machine.tell(What::vttbr, 8ull << 48 | spare.raw());
  isb();
  both_kinds(no_hint);
  machine.tell(What::vttbr, vttbr);
  isb();
  EXPECT_EQ(end(), Offence::wrong_tag) << why();
}
TEST_F(ArmGuest, AVmidThatIsNotSynchronisedYetIsNotMeant) {
  machine.tell(What::vttbr, 0);
  isb();
  unmap_first();
  dsb();
  machine.tell(What::vttbr, vttbr);  // and no ISB
  tlbi(What::tlbi_vmalls12e1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::wrong_tag) << why();
}
TEST_F(ArmGuest, ATlbiInTheHostsRegimeIsNamed) {
  unmap_first();
  machine.tell(What::host_mode, 1);
  both_kinds(no_hint);
  EXPECT_EQ(end(), Offence::wrong_tag) << why();
}
TEST_F(ArmGuest, ALocalTlbiLeavesOtherCpusOut) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::cpu_left_out) << why();
}
TEST_F(ArmGuest, AHintForAnotherLevelIsNamed) {
  unmap_first();
  both_kinds(block_hint);
  EXPECT_EQ(end(), Offence::wrong_level) << why();
}
TEST_F(ArmGuest, ARangeForAnotherGranuleIsNamed) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_ripas2e1is, 3ull << 46);
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::wrong_granule) << why();
}
TEST_F(ArmGuest, ARangeThatEndsTooEarlyIsNamed) {
  machine.store(leaves, 0);
  machine.store(leaves + 8 * 2, 0);
  dsb();
  tlbi(What::tlbi_ripas2e1is, 1ull << 46);  // two pages
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  EXPECT_NE(end(), Offence::none);
  EXPECT_NE(why().find("[0x2000, 0x3000)"), std::string::npos) << why();
}
TEST_F(ArmGuest, AnUnlinkedTableMayGoAfterItsWholeSpanWasInvalidated) {
  machine.store(middle, 0);
  dsb();
  tlbi(What::tlbi_ripas2e1is, whole_table);
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  machine.release(leaves);
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(ArmGuest, AnUnlinkedTableMayNotGoAfterAHalf) {
  machine.store(middle, 0);
  dsb();
  tlbi(What::tlbi_ripas2e1is, 1ull << 46 | 1ull << 44 | 3ull << 39);
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  machine.release(leaves);
  EXPECT_EQ(machine.offence(), Offence::released_while_cached) << why();
}
TEST_F(ArmGuest, ALeafOnlyTlbiLeavesATablePointer) {
  machine.store(middle, 0);
  dsb();
  tlbi(What::tlbi_ripas2le1is, whole_table);
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::tables_not_named) << why();
}
TEST_F(ArmGuest, ALevelHintLeavesATablePointer) {
  machine.store(middle, 0);
  dsb();
  tlbi(What::tlbi_ripas2e1is, whole_table | 3ull << 37);
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::tables_not_named) << why();
}
TEST_F(ArmGuest, AVmidServesAnotherTreeOnceItIsInvalidated) {
  for (auto const cpu : cpus_0_and_1) machine.on(cpu).tell(What::vttbr, 0), isb();
  machine.on(0).store(root, 0);
  dsb();
  machine.tell(What::vttbr, vttbr);
  isb();
  tlbi(What::tlbi_vmalls12e1is);
  dsb();
  machine.tell(What::vttbr, 0);
  isb();
  machine.allocate(spare);
  machine.zero(spare);
  for (auto const cpu : cpus_0_and_1) machine.on(cpu).tell(What::vttbr, 7ull << 48 | spare.raw()), isb();
  EXPECT_EQ(machine.offence(), Offence::none) << why();
}
TEST_F(ArmGuest, AVmidForAnotherTreeWithoutInvalidationIsNamed) {
  machine.allocate(spare);
  machine.zero(spare);
  machine.tell(What::vttbr, 7ull << 48 | spare.raw());
  EXPECT_EQ(machine.offence(), Offence::tag_reused) << why();
}

// ---- the contiguous bit: sixteen pages that may be cached as one

class ArmContiguousGuest : public ArmGuest {
 protected:
  static constexpr Entry joined = 1ull << 52;
  ArmContiguousGuest() {
    for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, 0);
    whole_vmid();
    for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, ArmMachine::leaf(0, ram + i * page) | joined);
    publish();
    machine.finish();
  }
  void whole_vmid() {
    dsb();
    tlbi(What::tlbi_vmalls12e1is);
    dsb();
    isb();
  }
};

TEST_F(ArmContiguousGuest, AWholeSetPasses) { EXPECT_EQ(end(), Offence::none) << why(); }
TEST_F(ArmContiguousGuest, AMemberWithoutTheBitIsNamed) {
  machine.exchange(leaves + 8 * 3, ArmMachine::leaf(0, ram + 3 * page));
  EXPECT_EQ(machine.offence(), Offence::break_before_make) << why();
}
TEST_F(ArmContiguousGuest, AMemberWithOtherRightsIsNamed) {
  machine.exchange(leaves + 8 * 3, ArmMachine::not_executable(ArmMachine::leaf(0, ram + 3 * page) | joined));
  EXPECT_EQ(machine.offence(), Offence::contiguous_mixed) << why();
}
TEST_F(ArmContiguousGuest, AMemberThatIsMissingAtRestIsNamed) {
  machine.store(leaves + 8 * 3, 0);
  whole_vmid();
  EXPECT_EQ(end(), Offence::contiguous_mixed) << why();
}
TEST_F(ArmContiguousGuest, AllMustBreakBeforeOneIsMadeAnew) {
  for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, 0);
  machine.store(leaves, ArmMachine::leaf(0, ram));
  EXPECT_EQ(machine.offence(), Offence::break_before_make) << why();
}
TEST_F(ArmContiguousGuest, AllBrokenInvalidatedAndMadeAnewPasses) {
  for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, 0);
  whole_vmid();
  for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, ArmMachine::leaf(0, other_ram + i * page));
  publish();
  EXPECT_EQ(end(), Offence::none) << why();
}

// ---- Intel

class EptGuest : public Guest<EptMachine> {
 protected:
  static constexpr std::uint64_t eptp = root.raw() | 0x5e, single = 1, all = 2;
  EptGuest() {
    for (std::uint8_t const cpu : cpus_1_and_2) machine.on(cpu).tell(What::enter, root, 0);
    machine.on(0);
  }
  void invept(std::uint8_t cpu, std::uint64_t type = single, std::uint64_t of = eptp) {
    machine.on(cpu).tell(What::invept, type, of);
    machine.on(0);
  }
};

TEST_F(EptGuest, InveptOnEveryCpuThatIsInsidePasses) {
  unmap_first();
  invept(1);
  invept(2, all);
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(EptGuest, ACpuThatDoesNotInvalidateIsLeftOut) {
  unmap_first();
  invept(1);
  EXPECT_EQ(end(), Offence::cpu_left_out) << why();
}
TEST_F(EptGuest, InveptOnTheCpuThatEditsIsNotEnough) {
  unmap_first();
  invept(0);
  EXPECT_NE(end(), Offence::none);
}
TEST_F(EptGuest, InveptOfAnotherRootIsNamed) {
  unmap_first();
  invept(1, single, eptp + page);
  invept(2, single, eptp + page);
  EXPECT_EQ(end(), Offence::wrong_tag) << why();
}
TEST_F(EptGuest, ACpuOutsideInvalidatesBeforeItEnters) {
  machine.on(2).tell(What::leave);
  machine.on(0);
  unmap_first();
  invept(1);
  ASSERT_EQ(end(), Offence::none) << why();
  invept(2);
  machine.on(2).tell(What::enter, root, 0);
  EXPECT_EQ(machine.offence(), Offence::none) << why();
}
TEST_F(EptGuest, ACpuOutsideThatEntersWithWhatItHasIsNamed) {
  machine.on(2).tell(What::leave);
  machine.on(0);
  unmap_first();
  invept(1);
  ASSERT_EQ(end(), Offence::none) << why();
  machine.on(2).tell(What::enter, root, 0);
  EXPECT_EQ(machine.offence(), Offence::entered_stale) << why();
}
TEST_F(EptGuest, ATableReleasedBeforeTheLastCpuHasForgottenItIsNamed) {
  machine.store(middle, 0);
  invept(1);
  machine.release(leaves);
  EXPECT_EQ(machine.offence(), Offence::released_while_cached) << why();
}
TEST_F(EptGuest, ATableEntryThatTakesRightsAwayIsMoreThanIsUnderstood) {
  machine.exchange(middle, EptMachine::table(leaves) & ~2ull);
  EXPECT_EQ(machine.offence(), Offence::unmodelled) << why();
}

// ---- AMD

class NptGuest : public Guest<NptMachine> {
 protected:
  NptGuest() {
    machine.on(1).tell(What::enter, root, 5);
    machine.on(0);
  }
};

TEST_F(NptGuest, AFlushOfItsAsidPasses) {
  unmap_first();
  machine.on(1).tell(What::leave);
  machine.tell(What::flush_asid, 5);
  machine.tell(What::enter, root, 5);
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(NptGuest, AFreshAsidPasses) {
  unmap_first();
  machine.on(1).tell(What::leave);
  machine.tell(What::enter, root, 6);
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(NptGuest, AFlushOfAnotherAsidIsNamed) {
  unmap_first();
  machine.on(1).tell(What::flush_asid, 6);
  EXPECT_EQ(end(), Offence::wrong_tag) << why();
}
TEST_F(NptGuest, TheOldAsidAgainIsNamed) {
  unmap_first();
  machine.on(1).tell(What::leave);
  ASSERT_EQ(end(), Offence::none) << why();
  machine.on(1).tell(What::enter, root, 5);
  EXPECT_EQ(machine.offence(), Offence::entered_stale) << why();
}
TEST_F(NptGuest, AnAsidForTwoTreesIsNamed) {
  machine.allocate(spare);
  machine.zero(spare);
  machine.on(1).tell(What::enter, spare, 5);
  EXPECT_EQ(machine.offence(), Offence::tag_reused) << why();
}

// ---- what only looks right

TEST_F(ArmGuest, ATableThatMayBeWalkedIsNotFilledAnew) {
  machine.store(middle, 0);
  machine.zero(leaves);
  EXPECT_EQ(machine.offence(), Offence::written_while_cached) << why();
}
TEST_F(ArmGuest, TheRootStaysAsLongAsACpuMayWalkIt) {
  machine.store(root, 0);
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  dsb();
  isb();
  machine.release(root);
  EXPECT_EQ(machine.offence(), Offence::released_while_linked) << why();
}
TEST_F(ArmGuest, ABarrierForThisCpuAloneDoesNotWaitForOthers) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_ipas2e1is);
  machine.tell(What::dsb_nsh);
  tlbi(What::tlbi_vmalle1is);
  machine.tell(What::dsb_nsh);
  isb();
  EXPECT_NE(end(), Offence::none) << why();
}
TEST_F(ArmGuest, TwoCpusThatInvalidateAtOnceBothCount) {
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1is);
  machine.on(1);
  tlbi(What::tlbi_vmalls12e1is);
  machine.on(0);
  dsb();
  isb();
  machine.store(leaves, ArmMachine::leaf(0, other_ram));
  EXPECT_EQ(machine.offence(), Offence::none) << why();
}
TEST_F(ArmGuest, PartsThatReachOtherCpusDoNotAddUp) {
  machine.store(middle, 0);
  dsb();
  for (std::uint64_t i = 0; i != 512; ++i) tlbi(What::tlbi_ipas2e1, i);
  machine.on(1);
  tlbi(What::tlbi_ipas2e1);
  dsb();
  machine.on(0);
  dsb();
  tlbi(What::tlbi_vmalle1is);
  dsb();
  isb();
  machine.release(leaves);
  EXPECT_EQ(machine.offence(), Offence::released_while_cached) << why();
}
TEST_F(ArmGuest, AVmidIsReusedOnlyOnceItsInvalidationHasCompleted) {
  for (auto const cpu : cpus_0_and_1) machine.on(cpu).tell(What::vttbr, 0), isb();
  machine.on(0).store(root, 0);
  dsb();
  machine.tell(What::vttbr, vttbr);
  isb();
  tlbi(What::tlbi_vmalls12e1is);
  machine.allocate(spare);
  machine.zero(spare);
  machine.tell(What::vttbr, 7ull << 48 | spare.raw());
  EXPECT_EQ(machine.offence(), Offence::tag_reused) << why();
}
TEST_F(ArmGuest, ACpuLeavesWhenItsRegisterIsSynchronised) {
  machine.on(1).tell(What::vttbr, 0);  // and no ISB
  machine.on(0);
  unmap_first();
  dsb();
  tlbi(What::tlbi_vmalls12e1);
  dsb();
  isb();
  EXPECT_EQ(end(), Offence::cpu_left_out) << why();
}
TEST_F(ArmGuest, WhatSoftwareKeepsInInvalidEntriesIsItsOwn) {
  machine.store(leaves + 8 * 40, 0xff00);
  publish();
  EXPECT_EQ(end(), Offence::none) << why();
}
TEST_F(ArmContiguousGuest, OnePageOfASetIsNotTheSet) {
  for (std::uint64_t i = 0; i != 16; ++i) machine.store(leaves + 8 * i, 0);
  both_kinds(page_hint);
  machine.store(leaves + 8 * 5, ArmMachine::leaf(0, other_ram));
  EXPECT_EQ(machine.offence(), Offence::break_before_make) << why();
}
TEST_F(EptGuest, ACpuOutsideMustForgetGuestMemoryThatIsGone) {
  machine.on(0).allocate(spare);
  machine.store(leaves + 8 * 20, EptMachine::leaf(0, spare));
  machine.on(2).tell(What::leave);
  machine.on(0).store(leaves + 8 * 20, 0);
  invept(1);
  machine.release(spare);
  ASSERT_EQ(machine.offence(), Offence::none) << why();
  machine.on(2).tell(What::enter, root, 0);
  EXPECT_EQ(machine.offence(), Offence::entered_stale) << why();
}
TEST_F(EptGuest, ATableMayGoWhileACpuThatIsOutsideStillOwes) {
  machine.on(2).tell(What::leave);
  machine.on(0).store(middle, 0);
  invept(1);
  machine.release(leaves);
  EXPECT_EQ(machine.offence(), Offence::none) << why();
}
TEST_F(EptGuest, HardwareSetsNoMarksButItsOwn) {
  EXPECT_FALSE(machine.apply({What::mark, 1, {leaves.raw(), 0, EptMachine::table(root)}}));
  EXPECT_TRUE(machine.apply({What::mark, 1, {leaves.raw(), 0, EptMachine::leaf(0, ram) | EptMachine::accessed}}));
  EXPECT_EQ(machine.offence(), Offence::none) << why();
}
TEST(Machines, ARootThatIsNotAlignedToItsSizeIsNamed) {
  Machine machine{ArmReader{{.granule_bits = 12, .input_bits = 40, .root = 2, .output_bits = 48}}};
  HostPhys const root{0x7'0000'1000};
  machine.allocate(root, 2 * page);
  machine.zero(root, 2 * page);
  machine.tell(What::root, root);
  EXPECT_EQ(machine.offence(), Offence::malformed) << machine.violation()->text;
}
TEST(Machines, NoFramesBeyondTheirEndAreGivenOut) {
  Machine machine{EptMachine::reader()};
  EXPECT_FALSE(machine.apply({What::allocate, 0, {0x7'0000'8000, ~0xfffull}}));
  EXPECT_FALSE(machine.apply({What::root, 0, {0x7'0000'0123}}));
  machine.apply({What::use, 255, {0, 0, 0}});
  machine.apply({What::release, 0, {1, 1}});
  EXPECT_EQ(machine.offence(), Offence::foreign_release);
}

// ---- on every architecture

template <class Kind>
class AnyGuest : public Guest<Kind> {};
using Kinds = ::testing::Types<ArmMachine, EptMachine, NptMachine>;
TYPED_TEST_SUITE(AnyGuest, Kinds);

TYPED_TEST(AnyGuest, WithoutAWordOfCpusOneIsAlwaysInside) {
  this->unmap_first();
  EXPECT_EQ(this->end(), Offence::missing_invalidation) << this->why();
}
TYPED_TEST(AnyGuest, AStoreInTwoHalvesIsNamed) {
  this->machine.store(this->leaves, 0, 4);
  EXPECT_EQ(this->machine.offence(), Offence::torn_store) << this->why();
}
TYPED_TEST(AnyGuest, AMisalignedStoreIsNamed) {
  this->machine.store(this->leaves + 4, 0);
  EXPECT_EQ(this->machine.offence(), Offence::torn_store) << this->why();
}
TYPED_TEST(AnyGuest, APlainStoreWhereHardwareMarksIsNamed) {
  this->machine.store(this->leaves, TypeParam::clean(0, ram));
  this->machine.store(this->leaves, TypeParam::not_executable(TypeParam::clean(0, ram)));
  EXPECT_EQ(this->machine.offence(), Offence::plain_store) << this->why();
}
TYPED_TEST(AnyGuest, AnAtomicOneIsNot) {
  this->machine.store(this->leaves, TypeParam::clean(0, ram));
  this->machine.exchange(this->leaves, TypeParam::not_executable(TypeParam::clean(0, ram)));
  EXPECT_EQ(this->machine.offence(), Offence::none) << this->why();
}
TYPED_TEST(AnyGuest, GuestMemoryReleasedWhileItIsMappedIsNamed) {
  this->machine.allocate(this->spare);
  this->machine.store(this->leaves + 8 * 20, TypeParam::leaf(0, this->spare));
  this->machine.release(this->spare);
  EXPECT_EQ(this->machine.offence(), Offence::host_released) << this->why();
}
TYPED_TEST(AnyGuest, GuestMemoryReleasedWhileItMayBeCachedIsNamed) {
  this->machine.allocate(this->spare);
  this->machine.store(this->leaves + 8 * 20, TypeParam::leaf(0, this->spare));
  this->publish();
  this->machine.store(this->leaves + 8 * 20, 0);
  this->machine.release(this->spare);
  EXPECT_EQ(this->machine.offence(), Offence::host_released) << this->why();
}
TYPED_TEST(AnyGuest, GuestMemoryReleasedUnderAnUnlinkedTableIsNamed) {
  this->machine.allocate(this->spare);
  this->machine.store(this->leaves + 8 * 20, TypeParam::leaf(0, this->spare));
  this->publish();
  this->machine.store(this->middle, 0);
  this->machine.release(this->spare);
  EXPECT_EQ(this->machine.offence(), Offence::host_released) << this->why();
}
TYPED_TEST(AnyGuest, GuestMemoryThatNothingLeadsToMayGo) {
  this->machine.allocate(this->spare);
  this->machine.release(this->spare);
  EXPECT_EQ(this->machine.offence(), Offence::none) << this->why();
}
TYPED_TEST(AnyGuest, AReaderInAReleasedTableIsNamed) {
  this->machine.tell(What::reader_begins, 1);
  this->machine.tell(What::reader_loads, 1, this->spare);
  EXPECT_EQ(this->machine.offence(), Offence::access_after_release) << this->why();
}
TYPED_TEST(AnyGuest, ATableGoesOnlyWhenItsReadersHave) {
  for (auto const waits : {true, false}) {
    SCOPED_TRACE(waits);
    auto& guest = this->machine;
    guest.tell(What::reader_begins, 1);
    guest.store(this->middle, 0);
    this->publish();
    guest.tell(What::hook, this->root);
    guest.tell(What::asked, 0, block, 1, 1);
    guest.tell(What::granted);
    guest.tell(What::settled, this->root);
    if (waits) guest.tell(What::reader_ends, 1);
    guest.release(this->leaves);
    EXPECT_EQ(guest.offence(), waits ? Offence::none : Offence::released_before_readers) << this->why();
    if (!waits) break;
    guest.allocate(this->leaves);
    guest.zero(this->leaves);
    guest.store(this->middle, TypeParam::table(this->leaves));
    this->publish();
  }
}
TYPED_TEST(AnyGuest, ReportsNameTheRuleOfTheArchitecture) {
  this->unmap_first();
  this->end();
  auto const wanted = "(rule " + std::string{rule(Offence::missing_invalidation, TypeParam::reader().family)} + ")";
  EXPECT_NE(this->why().find(wanted), std::string::npos) << this->why();
}
TYPED_TEST(AnyGuest, WhatCannotBeIsRefusedAndChangesNothing) {
  auto& guest = this->machine;
  auto const before = guest.trace().events.size();
  EXPECT_FALSE(guest.apply({What::store, 0, {0x1000, 0, 1, 8}}));
  EXPECT_FALSE(guest.apply({What::store, 0, {this->leaves.raw(), 0, 1, 9}}));
  EXPECT_FALSE(guest.apply({What::word, 0, {this->spare.raw(), 1}}));
  EXPECT_FALSE(guest.apply({What::zero, 0, {this->leaves.raw(), 0x10'0000}}));
  EXPECT_FALSE(guest.apply({What::root, 0, {this->spare.raw()}}));
  EXPECT_FALSE(guest.apply({What::allocate, 0, {this->leaves.raw(), page}}));
  EXPECT_FALSE(guest.apply({What::mark, 0, {0, 0, 1}}));
  EXPECT_FALSE(guest.apply({What::use, 0, {~0ull, 0, 1}}));
  EXPECT_FALSE(guest.apply({What::change, 0, {1, page, 0}}));
  EXPECT_FALSE(guest.apply({What::piece, 0, {0, page, 0, 0}}));
  EXPECT_FALSE(guest.apply({What::commit, 0, {}}));
  EXPECT_FALSE(guest.apply({What::abandon, 0, {}}));
  EXPECT_FALSE(guest.apply({What::asked, 0, {~0xfffull, 2 * page, 0, 0}}));
  EXPECT_EQ(guest.trace().events.size(), before);
  EXPECT_EQ(guest.offence(), Offence::none) << this->why();
}

// ---- rights that grew

/// What was cached with fewer rights may linger: no hook ran. The guest must get on all the same.
template <class Variant>
class Progress : public ::testing::Test {};
using Growing = ::testing::Types<Arm4k, Arm4kDirty, Arm64k, Ept4, Ept4NoAge, Npt4>;
TYPED_TEST_SUITE(Progress, Growing);

TYPED_TEST(Progress, AGuestThatFaultsOnAnEntryThatLingersGetsOn) {
  auto const format = TypeParam::make();
  Oracle<typename TypeParam::Format> oracle{format, {.tlb = {.period = 0, .keep_narrower = true}}};
  auto const bytes = format.geometry().page_size();
  GuestRange const one{GuestPhys{bytes}, bytes};
  ASSERT_TRUE(oracle.map(one, HostPhys{16 * bytes}, ro));
  auto const hooks = oracle.recorder().shootdowns();
  ASSERT_TRUE(oracle.protect(one, rw));
  ASSERT_EQ(oracle.recorder().shootdowns(), hooks) << "rights only grew";
  auto const inside = [&](std::uint8_t cpu) { return oracle.tlb().faults(cpu, one.begin, Prot::w); };
  auto const leaf = oracle.table().query(one.begin);
  // By whichever CPUs are inside: each sees its own fault, and after the handler's answer no more.
  auto faulted = 0;
  for (std::uint8_t cpu = 0; cpu != cpu_count; ++cpu) {
    if (!inside(cpu)) continue;
    ++faulted;
    ASSERT_TRUE(format.permits(leaf.level, oracle.table().query(one.begin).entry, Prot::w)) << "it is spurious";
    if constexpr (requires { oracle.cpus().forget_here(one.begin); }) {
      EXPECT_TRUE(inside(cpu)) << "Arm drops nothing because it faulted";
      on_cpu(oracle.recorder(), cpu, [&] { oracle.cpus().forget_here(one.begin); });
    }
    EXPECT_FALSE(inside(cpu)) << static_cast<int>(cpu);
  }
  EXPECT_GT(faulted, 0);
  EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
}

}  // namespace
}  // namespace slat::test
