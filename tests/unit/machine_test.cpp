// What the machine judges alike on every architecture, what it refuses to be told, and that a guest gets on although
// hardware may keep what allows less.

#include <slat/testing/oracle.hpp>

#include "unit/formats.hpp"
#include "unit/told_guest.hpp"

namespace slat::test {
namespace {

template <class Kind>
std::vector<Row> rows() {
  auto const map_spare = store(leaf_slot(20), Kind::leaf(0, spare));
  auto const unmap_spare = store(leaf_slot(20), 0);
  auto const clean = Kind::clean(0, ram);
  Event const reader_begins{What::reader_begins, 0, {1}}, reader_ends{What::reader_ends, 0, {1}};
  Steps const unlinked_and_invalidated{unlink,
                                       publish,
                                       {What::hook, 0, {root.raw()}},
                                       {What::asked, 0, {0, block, 1, 1}},
                                       {What::granted},
                                       {What::settled, 0, {root.raw()}}};
  return {
      {"WithoutAWordOfCpusOneIsAlwaysInside", {unmap_first}, Offence::missing_invalidation},
      {"ACpuThatEntersAnotherGuestIsNoneOfThisOnes",
       {unmap_first, on(3, enter(spare, 9))},
       Offence::missing_invalidation},
      {"AStoreInTwoHalvesIsNamed", {store(leaves, 0, 4)}, Offence::torn_store},
      {"AMisalignedStoreIsNamed", {store(leaves + 4, 0)}, Offence::torn_store},
      {"APlainStoreWhereHardwareMarksIsNamed",
       {exchange(leaves, clean), store(leaves, Kind::not_executable(clean))},
       Offence::plain_store},
      {"AnAtomicOneIsNot",
       {exchange(leaves, clean), exchange(leaves, Kind::not_executable(clean)), publish, {What::granted}},
       Offence::none},

      {"GuestMemoryReleasedWhileItIsMappedIsNamed", allocate(spare) + Steps{map_spare, release(spare)},
       Offence::host_released},
      {"GuestMemoryReleasedWhileItMayBeCachedIsNamed",
       allocate(spare) + Steps{map_spare, publish, unmap_spare, release(spare)}, Offence::host_released},
      {"GuestMemoryReleasedUnderAnUnlinkedTableIsNamed",
       allocate(spare) + Steps{map_spare, publish, unlink, release(spare)}, Offence::host_released},
      {"GuestMemoryThatNothingLeadsToMayGo", allocate(spare) + Steps{release(spare)}, Offence::none},

      {"AReaderInAReleasedTableIsNamed",
       {reader_begins, {What::reader_loads, 0, {1, spare.raw()}}},
       Offence::access_after_release},
      {"ATableMayGoWhenItsReadersHave",
       Steps{reader_begins} + unlinked_and_invalidated + Steps{reader_ends, release(leaves)}, Offence::none},
      {"ATableMayNotGoUnderAReader", Steps{reader_begins} + unlinked_and_invalidated + Steps{release(leaves)},
       Offence::released_before_readers},
      {"AReaderThatBeganLaterIsNoneOfIt", unlinked_and_invalidated + Steps{reader_begins, release(leaves)},
       Offence::none},
  };
}

template <class Kind>
class AnyMachine : public ::testing::Test {};
using Kinds = ::testing::Types<ArmMachine, EptMachine, NptMachine>;
TYPED_TEST_SUITE(AnyMachine, Kinds);

TYPED_TEST(AnyMachine, JudgesWhatIsAlikeEverywhere) {
  for (auto const& row : rows<TypeParam>()) {
    SCOPED_TRACE(row.promise);
    ToldGuest<TypeParam>{}.expect(row);
  }
}

TYPED_TEST(AnyMachine, NamesTheRuleOfItsArchitecture) {
  ToldGuest<TypeParam> guest;
  guest.run({unmap_first, finish});
  auto const wanted = "(rule " + std::string{rule(Offence::missing_invalidation, TypeParam::reader().family)} + ")";
  ASSERT_TRUE(guest.machine.violation());
  EXPECT_NE(guest.machine.violation()->text.find(wanted), std::string::npos) << guest.machine.violation()->text;
}

TYPED_TEST(AnyMachine, RefusesWhatCannotBeAndChangesNothing) {
  ToldGuest<TypeParam> guest;
  auto& machine = guest.machine;
  auto const before = machine.trace().events.size();
  auto const past_the_end = ~0xfffull;
  for (auto const& event : Steps{
           store(HostPhys{0x1000}, 1),                                  // no frame of the machine's
           store(leaves, 1, 9),                                         // more than an entry
           {What::word, 0, {spare.raw(), 1}},                           // in nobody's frame
           {What::zero, 0, {leaves.raw(), 0x10'0000}},                  // past the frames
           {What::root, 0, {spare.raw()}},                              // in nobody's frame
           {What::root, 0, {root.raw() + 0x123}},                       // within one
           {What::allocate, 0, {leaves.raw(), page}},                   // in use
           {What::allocate, 0, {root.raw() + 8 * page, past_the_end}},  // past the frames, and past 2^64
           {What::mark, 0, {0, 0, 1}},                                  // no entry
           {What::mark, 0, {leaves.raw(), 0, TypeParam::table(root)}},  // no mark
           {What::use, 0, {past_the_end, 0, 1}},                        // past the input size
           {What::change, 0, {1, page, 0}},                             // not aligned
           {What::piece, 0, {0, page, 0, 0}},                           // of no change
           {What::commit},                                              // of no change
           {What::abandon},                                             //
           {What::asked, 0, {past_the_end, 2 * page, 0, 0}},            // past 2^64
       })
    EXPECT_FALSE(machine.apply(event)) << text(event);
  EXPECT_EQ(machine.trace().events.size(), before);
  guest.expect(Offence::none);
}

TYPED_TEST(AnyMachine, TakesTheMarksThatHardwareSets) {
  ToldGuest<TypeParam> guest;
  auto const unmarked = TypeParam::leaf(0, ram + page) & ~TypeParam::accessed;
  guest.run({exchange(leaf_slot(1), unmarked), publish, {What::granted}, finish})
      .run({{What::mark, 1, {leaf_slot(1).raw(), 0, unmarked | TypeParam::accessed}}})
      .expect(Offence::none);
}

TEST(ArmMachineTold, ARootThatIsNotAlignedToItsSizeIsNamed) {
  Machine machine{ArmReader{{.granule_bits = 12, .input_bits = 40, .root = 2, .output_bits = 48}}};
  machine.allocate(root + page, 2 * page);
  machine.zero(root + page, 2 * page);
  machine.tell(What::root, root + page);
  EXPECT_EQ(machine.offence(), Offence::malformed);
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
  auto const faults = [&](std::uint8_t cpu) { return oracle.tlb().faults(cpu, one.begin, Prot::w); };
  auto faulted = 0;
  for (std::uint8_t cpu = 0; cpu != cpu_count; ++cpu) {
    if (!faults(cpu)) continue;  // it is not in the guest
    ++faulted;
    auto const leaf = oracle.table().query(one.begin);
    ASSERT_TRUE(format.permits(leaf.level, leaf.entry, Prot::w)) << "the fault is spurious";
    if constexpr (requires { oracle.cpus().forget_here(one.begin); }) {
      EXPECT_TRUE(faults(cpu)) << "Arm drops nothing because it faulted";
      on_cpu(oracle.recorder(), cpu, [&] { oracle.cpus().forget_here(one.begin); });
    }
    EXPECT_FALSE(faults(cpu)) << static_cast<int>(cpu);
  }
  EXPECT_GT(faulted, 0);
  EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
}

}  // namespace
}  // namespace slat::test
