// Intel and AMD, CPU by CPU: each way of getting a shootdown wrong is named, and the same done right passes.

#include "unit/told_guest.hpp"

namespace slat::test {
namespace {

// ---- Intel: CPUs 1 and 2 run the guest

constexpr std::uint64_t eptp = root.raw() | 0x5e, single_context = 1, all_contexts = 2;
constexpr Event invept(std::uint8_t cpu, std::uint64_t type = single_context, std::uint64_t of = eptp) {
  return {What::invept, cpu, {type, of}};
}
const Steps two_cpus{on(1, enter(root)), on(2, enter(root))};
const Event map_spare = store(leaf_slot(20), EptMachine::leaf(0, spare)), unmap_spare = store(leaf_slot(20), 0);

const std::vector<Row> invepts{
    {"InveptOnEveryCpuThatIsInsidePasses", {unmap_first, invept(1), invept(2, all_contexts)}, Offence::none},
    {"ACpuThatDoesNotInvalidateIsLeftOut", {unmap_first, invept(1)}, Offence::cpu_left_out},
    {"InveptOnTheCpuThatEditsIsNotEnough", {unmap_first, invept(0)}, Offence::wrong_tag},
    {"InveptOfAnotherRootIsNamed",
     {unmap_first, invept(1, single_context, eptp + page), invept(2, single_context, eptp + page)},
     Offence::wrong_tag},
    {"AnInveptOfNoKnownTypeDoesNothing", {unmap_first, invept(1, 3), invept(2, 3)}, Offence::missing_invalidation},

    {"ACpuOutsideInvalidatesBeforeItEnters",
     {on(2, leave), unmap_first, invept(1), finish, invept(2), on(2, enter(root))},
     Offence::none},
    {"ACpuOutsideThatEntersWithWhatItHasIsNamed",
     {on(2, leave), unmap_first, invept(1), finish, on(2, enter(root))},
     Offence::entered_stale},
    {"ATableMayGoWhileACpuOutsideStillOwes", {on(2, leave), unlink, invept(1), release(leaves)}, Offence::none},
    {"ACpuOutsideMustForgetGuestMemoryThatIsGone",
     allocate(spare) + Steps{map_spare, on(2, leave), unmap_spare, invept(1), release(spare), on(2, enter(root))},
     Offence::entered_stale},

    {"ATableReleasedBeforeTheLastCpuHasForgottenItIsNamed",
     {unlink, invept(1), release(leaves)},
     Offence::released_while_cached},
    {"ATableEntryThatTakesRightsAwayIsMoreThanIsUnderstood",
     {exchange(middle, EptMachine::table(leaves) & ~2ull)},
     Offence::unmodelled},
};
class EptInvalidations : public ::testing::TestWithParam<Row> {};
TEST_P(EptInvalidations, AreJudged) { ToldGuest<EptMachine>{}.run(two_cpus).expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Told, EptInvalidations, ::testing::ValuesIn(invepts), promise);

// ---- AMD: CPU 1 runs the guest, with ASID 5

constexpr Event flush_asid(std::uint64_t asid) { return {What::flush_asid, 1, {asid}}; }
const Steps one_cpu{on(1, enter(root, 5))};

const std::vector<Row> flushes{
    {"AFlushOfItsAsidPasses", {unmap_first, on(1, leave), flush_asid(5), on(1, enter(root, 5))}, Offence::none},
    {"AFlushOfAllPasses", {unmap_first, on(1, leave), {What::flush_all, 1}, on(1, enter(root, 5))}, Offence::none},
    {"AFreshAsidPasses", {unmap_first, on(1, leave), on(1, enter(root, 6))}, Offence::none},
    {"AFlushOfAnotherAsidIsNamed", {unmap_first, flush_asid(6)}, Offence::wrong_tag},
    {"TheOldAsidAgainIsNamed", {unmap_first, on(1, leave), finish, on(1, enter(root, 5))}, Offence::entered_stale},
    {"AnAsidForTwoTreesIsNamed", allocate(spare) + Steps{on(1, enter(spare, 5))}, Offence::tag_reused},
};
class NptInvalidations : public ::testing::TestWithParam<Row> {};
TEST_P(NptInvalidations, AreJudged) { ToldGuest<NptMachine>{}.run(one_cpu).expect(GetParam()); }
INSTANTIATE_TEST_SUITE_P(Told, NptInvalidations, ::testing::ValuesIn(flushes), promise);

}  // namespace
}  // namespace slat::test
