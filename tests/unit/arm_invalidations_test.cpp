// Arm, instruction by instruction: each way of getting an invalidation wrong is named, and the same done right passes.

#include "unit/told_guest.hpp"

namespace slat::test {
namespace {

constexpr Event dsb{What::dsb_ish}, dsb_here{What::dsb_nsh}, isb{What::isb};
constexpr Event vmalle1is{What::tlbi_vmalle1is}, vmalls12e1is{What::tlbi_vmalls12e1is};
constexpr Event vmalls12e1{What::tlbi_vmalls12e1};
constexpr Event ipas2e1is(std::uint64_t operand = 0) { return tlbi(What::tlbi_ipas2e1is, operand); }
constexpr Event ripas2e1is(std::uint64_t operand) { return tlbi(What::tlbi_ripas2e1is, operand); }
constexpr Event vttbr(std::uint64_t vmid, HostPhys at = root) { return {What::vttbr, 0, {vmid << 48 | at.raw()}}; }
constexpr Event no_vttbr{What::vttbr};

// TTL: 4K granule, and the level of a page or of a block.
constexpr std::uint64_t page_hint = 0b0111ull << 44, block_hint = 0b0110ull << 44;
/// 2^(5 * SCALE + 1) * (NUM + 1) pages of 4K from `first` on.
constexpr std::uint64_t pages(std::uint64_t first, std::uint64_t scale, std::uint64_t num) {
  return 1ull << 46 | scale << 44 | num << 39 | first;
}
constexpr std::uint64_t whole_table = pages(0, 1, 7), half_table = pages(0, 1, 3), upper_half = pages(256, 1, 3);

/// What a full and correct invalidation is, by address and of the whole VMID.
Steps by_address(const Steps& stage2) { return Steps{dsb} + stage2 + Steps{dsb, vmalle1is, dsb, isb}; }
const Steps by_vmid{dsb, vmalls12e1is, dsb, isb};

Steps one_by_one(What what, std::uint64_t count) {
  Steps steps;
  for (std::uint64_t i = 0; i != count; ++i) steps.push_back(tlbi(what, i));
  return steps;
}

/// CPUs 0 and 1 run the guest, with VMID 7.
const Steps two_cpus{vttbr(7), isb, on(1, vttbr(7)), on(1, isb)};
const Steps nobody{no_vttbr, isb, on(1, no_vttbr), on(1, isb)};

const std::vector<Row> pages_and_tables{
    // Right.
    {"BothKindsWithTheirBarriersPass", Steps{unmap_first} + by_address({ipas2e1is(page_hint)}), Offence::none},
    {"OneForTheWholeVmidPasses", Steps{unmap_first} + by_vmid, Offence::none},
    {"AnUnlinkedTableMayGoOnceItsWholeSpanIsInvalidated",
     Steps{unlink} + by_address({ripas2e1is(whole_table)}) + Steps{release(leaves)}, Offence::none},
    {"TheQuartersOfASpanMayComeInAnyOrder",
     Steps{unlink} +
         by_address({ripas2e1is(pages(128, 1, 1)), ripas2e1is(pages(384, 1, 1)), ripas2e1is(pages(0, 1, 1)),
                     ripas2e1is(pages(256, 1, 1))}) +
         Steps{release(leaves)},
     Offence::none},
    {"TwoCpusThatInvalidateAtOnceBothCount",
     {unmap_first, dsb, vmalls12e1is, on(1, vmalls12e1is), dsb, isb, store(leaves, ArmMachine::leaf(0, other_ram)),
      publish, on(1, dsb), on(1, isb)},
     Offence::none},
    {"WhatSoftwareKeepsInInvalidEntriesIsItsOwn", {store(leaf_slot(40), 0xff00), publish}, Offence::none},

    // Order, and barriers.
    {"ATlbiBeforeTheStoreIsVisibleIsNamed", {unmap_first, vmalls12e1is, dsb, isb}, Offence::hook_before_publish},
    {"ATlbiThatNothingWaitsForIsNamed", {unmap_first, dsb, vmalls12e1is}, Offence::not_completed},
    {"ABarrierForStoresAloneDoesNotWaitForATlbi", {unmap_first, dsb, vmalls12e1is, publish}, Offence::not_completed},
    {"ABarrierOnAnotherCpuDoesNotWaitForATlbi", {unmap_first, dsb, vmalls12e1is, on(1, dsb)}, Offence::not_completed},
    {"ABarrierForThisCpuAloneDoesNotWaitForOthers",
     {unmap_first, dsb, vmalls12e1is, dsb_here, isb},
     Offence::not_completed},
    {"AMissingIsbIsNamed", {unmap_first, dsb, vmalls12e1is, dsb}, Offence::no_context_sync},
    {"CombinedEntriesLeftAreNamed", {unmap_first, dsb, ipas2e1is(), dsb, isb}, Offence::one_kind_left},
    {"BothKindsWithoutABarrierBetweenAreNamed",
     {unmap_first, dsb, ipas2e1is(), vmalle1is, dsb, isb},
     Offence::wrong_order},

    // What the instruction means.
    {"AHintForAnotherLevelIsNamed", Steps{unmap_first} + by_address({ipas2e1is(block_hint)}), Offence::wrong_level},
    {"ARangeForAnotherGranuleIsNamed", Steps{unmap_first} + by_address({ripas2e1is(3ull << 46)}),
     Offence::wrong_granule},
    {"ARangeThatEndsTooEarlyIsNamed", Steps{store(leaf_slot(2), 0)} + by_address({ripas2e1is(pages(0, 0, 0))}),
     Offence::too_narrow},
    {"ALeafOnlyTlbiLeavesATablePointer", Steps{unlink} + by_address({tlbi(What::tlbi_ripas2le1is, whole_table)}),
     Offence::tables_not_named},
    {"ALevelHintLeavesATablePointer", Steps{unlink} + by_address({ripas2e1is(whole_table | 3ull << 37)}),
     Offence::tables_not_named},
    {"HalfOfASpanLeavesATablePointer", Steps{unlink} + by_address({ripas2e1is(half_table)}) + Steps{release(leaves)},
     Offence::released_while_cached},
    {"PartsThatReachOtherCpusDoNotAddUp",
     Steps{unlink, dsb} + one_by_one(What::tlbi_ipas2e1, 256) + by_address({ripas2e1is(upper_half)}) +
         Steps{release(leaves)},
     Offence::released_while_cached},
    {"PartsThatOtherCpusMustWaitForDoNotAddUp",
     Steps{unlink, dsb, ripas2e1is(half_table)} + on(1, by_address({ripas2e1is(upper_half)}) + Steps{release(leaves)}),
     Offence::released_while_cached},

    // Which guest, which CPUs.
    {"AnotherVmidIsNamed", Steps{unmap_first, vttbr(8, spare), isb} + by_vmid + Steps{vttbr(7), isb},
     Offence::wrong_tag},
    {"AVmidThatIsNotSynchronisedYetIsNotMeant",
     {no_vttbr, isb, unmap_first, dsb, vttbr(7), vmalls12e1is, dsb, isb},
     Offence::wrong_tag},
    {"VmidZeroIsOneLikeAnyOther", nobody + Steps{vttbr(0), isb, unmap_first, dsb}, Offence::missing_invalidation},
    {"ATlbiInTheHostsRegimeIsNamed", Steps{unmap_first, {What::host_mode, 0, {1}}} + by_vmid, Offence::wrong_tag},
    {"ALocalTlbiLeavesOtherCpusOut", {unmap_first, dsb, vmalls12e1, dsb, isb}, Offence::cpu_left_out},
    {"ACpuLeavesOnlyWhenItsRegisterIsSynchronised",
     {on(1, no_vttbr), unmap_first, dsb, vmalls12e1, dsb, isb},
     Offence::cpu_left_out},
    {"ACpuMayLoadItsRegisterToPayWhatItOwes",
     Steps{on(1, no_vttbr), on(1, isb), unmap_first, dsb, vmalls12e1, dsb, isb, finish} +
         on(1, Steps{vttbr(7), isb, vmalls12e1, dsb, isb}),
     Offence::none},
    {"AndMustPayThen",
     Steps{on(1, no_vttbr), on(1, isb), unmap_first, dsb, vmalls12e1, dsb, isb, finish} + on(1, Steps{vttbr(7), isb}),
     Offence::entered_stale},

    // Frames.
    {"ATableThatMayBeWalkedIsNotFilledAnew", {unlink, zero(leaves)}, Offence::written_while_cached},
    {"TheRootStaysAsLongAsACpuMayWalkIt", Steps{store(root, 0)} + by_vmid + Steps{release(root)},
     Offence::released_while_linked},
    {"AVmidServesAnotherTreeOnceItIsInvalidated",
     nobody + Steps{store(root, 0), dsb, vttbr(7), isb, vmalls12e1is, dsb, no_vttbr, isb} + allocate(spare) +
         Steps{vttbr(7, spare), isb, on(1, vttbr(7, spare)), on(1, isb)},
     Offence::none},
    {"AndOnlyWhenThatHasCompleted",
     nobody + Steps{store(root, 0), dsb, vttbr(7), isb, vmalls12e1is} + allocate(spare) + Steps{vttbr(7, spare)},
     Offence::tag_reused},
    {"AVmidForAnotherTreeWithoutInvalidationIsNamed", allocate(spare) + Steps{vttbr(7, spare)}, Offence::tag_reused},
};

class ArmInvalidations : public ::testing::TestWithParam<Row> {};
TEST_P(ArmInvalidations, AreJudged) { ToldGuest<ArmMachine>{}.run(two_cpus).expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Told, ArmInvalidations, ::testing::ValuesIn(pages_and_tables), promise);

TEST(ArmInvalidation, ACpuThatRanTheRootBeforeItWasATablesIsSpokenOf) {
  ToldGuest<ArmMachine> guest{{vttbr(7), isb}};
  // Nobody is left who could have it cached, nor anybody implied.
  guest.run({no_vttbr, isb, unmap_first, finish}).expect(Offence::none);
}

TEST(ArmInvalidation, AReportNamesTheAddressInHex) {
  ToldGuest<ArmMachine> guest;
  guest.run(two_cpus + Steps{store(leaf_slot(2), 0)} + by_address({ripas2e1is(pages(0, 0, 0))}) + Steps{finish});
  ASSERT_TRUE(guest.machine.violation());
  EXPECT_NE(guest.machine.violation()->text.find("[0x2000, 0x3000)"), std::string::npos);
}

// ---- the contiguous bit: sixteen pages that may be cached as one, or singly

constexpr Entry joined = 1ull << 52;
template <class Make>
Steps all(Make make) {
  Steps steps;
  for (std::uint64_t i = 0; i != 16; ++i) steps.push_back(make(i));
  return steps;
}
Entry member(std::uint64_t i) { return ArmMachine::leaf(0, ram + i * page) | joined; }
const Steps broken = all([](std::uint64_t i) { return store(leaf_slot(i), 0); });
const Steps whole_set =
    broken + by_vmid + all([](std::uint64_t i) { return store(leaf_slot(i), member(i)); }) + Steps{publish, finish};
const Steps moved = all([](std::uint64_t i) { return store(leaf_slot(i), ArmMachine::leaf(0, other_ram + i * page)); });
const Steps parted = all([](std::uint64_t i) { return exchange(leaf_slot(i), member(i) & ~joined); });

const std::vector<Row> sets{
    {"AWholeSetPasses", {}, Offence::none},
    {"AllBrokenInvalidatedAndMadeAnewPasses", broken + by_vmid + moved + Steps{publish}, Offence::none},
    {"AllMustBreakAndBeInvalidatedBeforeOneIsMade", broken + moved, Offence::break_before_make},
    {"OnePageOfASetIsNotTheSet",
     broken + by_address({ipas2e1is(page_hint)}) + Steps{store(leaf_slot(5), ArmMachine::leaf(0, other_ram))},
     Offence::break_before_make},
    {"AMemberWithoutTheBitIsNamed", {exchange(leaf_slot(3), member(3) & ~joined)}, Offence::break_before_make},
    {"AMemberMadeAnewWithoutTheBitIsNamedAtOnce",
     Steps{store(leaf_slot(3), 0)} + by_vmid + Steps{store(leaf_slot(3), member(3) & ~joined)} + broken + by_vmid +
         moved + Steps{publish},
     Offence::contiguous_mixed},
    {"AMemberWithOtherRightsIsNamed",
     {exchange(leaf_slot(3), ArmMachine::not_executable(member(3)))},
     Offence::contiguous_mixed},
    {"AMemberThatIsMissingAtRestIsNamed", Steps{store(leaf_slot(3), 0)} + by_vmid, Offence::contiguous_mixed},
};
class ArmContiguousSets : public ::testing::TestWithParam<Row> {};
TEST_P(ArmContiguousSets, AreJudged) { ToldGuest<ArmMachine>{}.run(two_cpus + whole_set).expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Told, ArmContiguousSets, ::testing::ValuesIn(sets), promise);

const std::vector<Row> resized{
    {"TheBitMayGoInPlace", parted + by_vmid, Offence::none},
    {"ButFromAllOfThem", Steps{exchange(leaf_slot(3), member(3) & ~joined)} + by_vmid, Offence::contiguous_mixed},
};
class ArmContiguousSetsWithBbm2 : public ::testing::TestWithParam<Row> {};
TEST_P(ArmContiguousSetsWithBbm2, AreJudged) {
  ToldGuest<ArmBbm2Machine>{}.run(two_cpus + whole_set).expect(GetParam());
}
INSTANTIATE_TEST_SUITE_P(Told, ArmContiguousSetsWithBbm2, ::testing::ValuesIn(resized), promise);

}  // namespace
}  // namespace slat::test
