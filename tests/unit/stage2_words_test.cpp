// Arm stage-2 entries bit by bit, worked out by hand from the register descriptions, and what create() refuses.

#include <gtest/gtest.h>

#include "unit/formats.hpp"

namespace slat::aarch64 {
namespace {

using test::detail::new_arm;
using test::detail::old_arm;

template <Granule G = Granule::k4>
constexpr Stage2<G> make(const Features& cpu, const Stage2Options& options = {}) {
  return *Stage2<G>::create(cpu, options);
}

constexpr auto classic = make(old_arm);
constexpr auto modern = make(new_arm);

TEST(Stage2Words, OfAnOldCpu) {
  // valid 1, page 2, write-back 3C, read 40, write 80, inner shareable 300, accessed 400; write intent is bit 57.
  EXPECT_EQ(classic.leaf(0, HostPhys{0x8000'0000}, rwx), 0x0200'0000'8000'07FFu);
  EXPECT_EQ(classic.leaf(0, HostPhys{0x8000'0000}, rx), 0x0000'0000'8000'077Fu);
  // Blocks lack bit 1. Execute never is bit 54.
  EXPECT_EQ(classic.leaf(1, HostPhys{0x8020'0000}, ro), 0x0040'0000'8020'077Du);
  EXPECT_EQ(classic.leaf(2, HostPhys{0xC0'4000'0000}, rw), 0x0240'00C0'4000'07FDu);
  EXPECT_EQ(classic.leaf(0, HostPhys{0x8000'0000}, {}), 0x0040'0000'8000'073Fu);
  EXPECT_EQ(classic.leaf(0, HostPhys{0x8000'0000}, {Prot::x}), 0x0000'0000'8000'073Fu);
  EXPECT_EQ(classic.leaf(0, HostPhys{0x8000'0000}, rw | Memory::uncached), 0x0240'0000'8000'07D7u);
  EXPECT_EQ(classic.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device), 0x0240'0000'0900'07C7u);
  EXPECT_EQ(classic.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device_strict), 0x0240'0000'0900'07C3u);
  // The user's two bits are 55 and 56.
  EXPECT_EQ(classic.leaf(0, HostPhys{0}, {Prot::r, Memory::normal, 1}), 0x00C0'0000'0000'077Fu);
  EXPECT_EQ(classic.leaf(0, HostPhys{0}, {Prot::r, Memory::normal, 2}), 0x0140'0000'0000'077Fu);
  EXPECT_EQ(classic.table(2, HostPhys{0x8000'1000}), 0x0000'0000'8000'1003u);
}

TEST(Stage2Words, OfANewCpu) {
  // Born not accessed and clean: the dirty modifier (bit 51) is the write right. Forced write-back is 18.
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, rwx), 0x0008'0000'8000'035Bu);
  EXPECT_EQ(modern.leaf(1, HostPhys{0x8020'0000}, ro), 0x0040'0000'8020'0359u);
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, {Prot::r | Prot::x_user}), 0x0020'0000'8000'035Bu);
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, {Prot::r | Prot::x_supervisor}), 0x0060'0000'8000'035Bu);
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, rw | Memory::uncached), 0x0048'0000'8000'0357u);
  EXPECT_EQ(modern.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device), 0x0048'0000'0900'0347u);
}

TEST(Stage2Words, OfOtherGranules) {
  constexpr auto k16 = make<Granule::k16>(old_arm, {.ipa_bits = 47});
  constexpr auto k64 = make<Granule::k64>(old_arm, {.ipa_bits = 48});
  EXPECT_EQ(k16.leaf(0, HostPhys{0x8000'4000}, rwx), 0x0200'0000'8000'47FFu);
  EXPECT_EQ(k16.leaf(1, HostPhys{0x8200'0000}, rw), 0x0240'0000'8200'07FDu);
  EXPECT_EQ(k64.leaf(0, HostPhys{0x8001'0000}, rwx), 0x0200'0000'8001'07FFu);
  EXPECT_EQ(k64.leaf(1, HostPhys{0xA000'0000}, ro), 0x0040'0000'A000'077Du);
}

TEST(Stage2Words, HardwareMarksWhatTheEmulatorWasSeenToMark) {
  // QEMU, -cpu max, VTCR_EL2 with HA and HD: a write to R+DBM 0x800006100177f made it 0x80000610017ff.
  constexpr auto format = make(new_arm, {.force_write_back = false});
  constexpr Entry before = 0x0008'0000'6100'177F, after = 0x0008'0000'6100'17FF;
  EXPECT_EQ(format.leaf(0, HostPhys{0x6100'1000}, rwx) | Stage2<>::accessed, before);
  EXPECT_EQ(format.age(0, before), (Age{true, false}));
  EXPECT_EQ(format.age(0, after), (Age{true, true}));
  EXPECT_EQ(format.aged(0, before, {.dirty = true}), after);
  EXPECT_EQ(format.swap(0, before, after), Swap::free);
  EXPECT_EQ(format.swap(0, after, before), Swap::flush);
}

TEST(Stage2Words, DirtyTrackingByWriteProtection) {
  auto const born = classic.leaf(0, HostPhys{0}, rw);
  auto const clean = classic.cleared(0, born, {.dirty = true});
  EXPECT_EQ(born ^ clean, Stage2<>::s2ap_w) << "the intent stays";
  EXPECT_EQ(classic.swap(0, born, clean), Swap::flush);
  EXPECT_EQ(classic.swap(0, clean, classic.unprotected(0, clean)), Swap::free);
  // A dirty leaf that loses the right remembers, and hardware does not see it.
  auto const dirty_ro = classic.recast(0, born, ro);
  EXPECT_EQ(dirty_ro, classic.leaf(0, HostPhys{0}, ro) | Stage2<>::software_dirty);
  EXPECT_EQ(classic.swap(0, dirty_ro, classic.cleared(0, dirty_ro, {.dirty = true})), Swap::free);
  EXPECT_EQ(classic.recast(0, clean, ro), classic.leaf(0, HostPhys{0}, ro));
}

TEST(Stage2Words, ABreakClearsTheValidBitAlone) {
  for (auto const e : {classic.leaf(0, HostPhys{0x1000}, rwx), classic.table(1, HostPhys{0x1000})})
    EXPECT_EQ(e ^ classic.broken(e), 1u);
}

TEST(Stage2Words, UserAndSupervisorExecutionNeedFeatXnx) {
  for (auto const half : {Prot::x_user, Prot::x_supervisor}) {
    EXPECT_FALSE(classic.supports({Prot::r | half}));
    EXPECT_TRUE(modern.supports({Prot::r | half}));
  }
  // Hardware without it looks at the upper bit alone, and so does who reads such an entry.
  EXPECT_EQ(classic.attr(0, classic.leaf(0, HostPhys{0}, rx) | 1ull << 53), rx);
  EXPECT_EQ(classic.attr(0, classic.leaf(0, HostPhys{0}, ro) | 1ull << 53), ro);
  EXPECT_FALSE(modern.supports(ro | Memory::write_through));
}

TEST(Stage2Words, BitsThatSlatNeverSetsAreNotWellFormed) {
  auto const page = classic.leaf(0, HostPhys{0x8000'0000}, ro);
  auto const block = classic.leaf(1, HostPhys{0x8020'0000}, ro);
  EXPECT_FALSE(classic.well_formed(0, page | 1ull << 52)) << "contiguous";
  EXPECT_FALSE(classic.well_formed(1, block | 1ull << 16)) << "nT";
  EXPECT_FALSE(classic.well_formed(0, page | 1ull << 51)) << "dirty modifier without hardware dirty state";
  EXPECT_FALSE(classic.well_formed(0, page | 1ull << 53)) << "XN[0] without FEAT_XNX";
  EXPECT_FALSE(classic.well_formed(0, page & ~Stage2<>::accessed)) << "faults for ever";
  EXPECT_FALSE(classic.well_formed(0, page & ~Stage2<>::table_or_page)) << "reserved at Arm's level 3";
  EXPECT_FALSE(classic.well_formed(0, (page & ~0x3Cull) | 0b1010 << 2)) << "write-through";
}

TEST(Stage2Words, AnAddressThatTheCpuLacksIsNotWellFormed) {
  auto cpu = old_arm;
  cpu.pa_bits = 40;
  auto const format = make(cpu);
  EXPECT_EQ(format.output_bits(), 40u);
  EXPECT_TRUE(format.well_formed(0, format.leaf(0, HostPhys{0xFF'FFFF'F000}, rw)));
  EXPECT_FALSE(format.well_formed(0, format.leaf(0, HostPhys{0x100'0000'0000}, rw)));
  EXPECT_FALSE(format.well_formed(1, format.table(1, HostPhys{0x100'0000'0000})));
  cpu.pa_bits = 52;
  EXPECT_EQ(make(cpu).output_bits(), 48u) << "longer addresses want descriptors of another shape";
}

TEST(Stage2Words, WithoutTheAccessFlagNothingIsAllowedUnlessHardwareSetsIt) {
  auto const page = classic.leaf(0, HostPhys{0x8000'0000}, rwx);
  EXPECT_TRUE(classic.permits(0, page, Prot::rwx));
  EXPECT_FALSE(classic.permits(0, page & ~Stage2<>::accessed, Prot::r)) << "it faults, and nobody sets the flag";
  auto const born = modern.leaf(0, HostPhys{0x8000'0000}, rwx);
  EXPECT_EQ(born & Stage2<>::accessed, 0u);
  EXPECT_TRUE(modern.permits(0, born, Prot::r));
}

TEST(Stage2Words, BbmLevelTwoResizesInPlaceAndNothingElse) {
  auto cpu = old_arm;
  cpu.bbm = 2;
  auto const level2 = make(cpu);
  auto const block = classic.leaf(1, HostPhys{0x8020'0000}, rw);
  auto const table = classic.table(1, HostPhys{0x8000'1000});
  EXPECT_EQ(classic.swap(1, block, table), Swap::break_);
  EXPECT_EQ(level2.swap(1, block, table), Swap::flush);
  EXPECT_EQ(level2.swap(1, table, block), Swap::flush);
  EXPECT_EQ(level2.swap(1, table, classic.table(1, HostPhys{0x8000'2000})), Swap::break_);
  EXPECT_EQ(level2.swap(1, block, classic.leaf(1, HostPhys{0x8040'0000}, rw)), Swap::break_);
  EXPECT_EQ(level2.swap(1, block, classic.recast(1, block, rw | Memory::uncached)), Swap::break_);
  EXPECT_EQ(level2.swap(1, block, block ^ 0b11ull << 8), Swap::break_) << "shareability";
  EXPECT_TRUE(level2.can_break());
}

TEST(Stage2Create, TheStartLevelIsTheLowestThatSixteenTablesReach) {
  struct Case {
    unsigned ipa_bits;
    Level root;
    unsigned root_bits;
  };
  auto const check = [](auto granule, bool concatenate, std::initializer_list<Case> cases) {
    for (auto const& c : cases) {
      auto const made = Stage2<granule()>::create(new_arm, {.ipa_bits = c.ipa_bits, .concatenate = concatenate});
      ASSERT_TRUE(made) << c.ipa_bits;
      EXPECT_EQ(made->geometry().root, c.root) << c.ipa_bits;
      EXPECT_EQ(made->geometry().root_bits, c.root_bits) << c.ipa_bits;
      EXPECT_EQ(made->geometry().input_bits(), c.ipa_bits);
    }
  };
  using K4 = std::integral_constant<Granule, Granule::k4>;
  using K16 = std::integral_constant<Granule, Granule::k16>;
  using K64 = std::integral_constant<Granule, Granule::k64>;
  check(K4{}, true,
        {{16, 0, 4},
         {20, 0, 8},
         {25, 0, 13},
         {26, 1, 5},
         {30, 1, 9},
         {34, 1, 13},
         {35, 2, 5},
         {39, 2, 9},
         {40, 2, 10},
         {43, 2, 13},
         {44, 3, 5},
         {48, 3, 9}});
  check(K4{}, false, {{21, 0, 9}, {22, 1, 1}, {30, 1, 9}, {31, 2, 1}, {39, 2, 9}, {40, 3, 1}, {48, 3, 9}});
  check(K16{}, true,
        {{25, 0, 11}, {29, 0, 15}, {30, 1, 5}, {36, 1, 11}, {40, 1, 15}, {41, 2, 5}, {47, 2, 11}, {48, 2, 12}});
  // Two level-0 entries are no root table: 48 bits of 16K are two concatenated ones in any case.
  check(K16{}, false, {{25, 0, 11}, {36, 1, 11}, {40, 2, 4}, {47, 2, 11}, {48, 2, 12}});
  check(K64{}, true,
        {{17, 0, 1}, {29, 0, 13}, {33, 0, 17}, {34, 1, 5}, {42, 1, 13}, {46, 1, 17}, {47, 2, 5}, {48, 2, 6}});
  check(K64{}, false, {{29, 0, 13}, {30, 1, 1}, {42, 1, 13}, {43, 2, 1}, {48, 2, 6}});
}

TEST(Stage2Create, ShortPhysicalAddressesLackTheHighestStartLevel) {
  auto cpu = new_arm;
  cpu.pa_bits = 42;
  EXPECT_EQ(make(cpu, {.ipa_bits = 42, .concatenate = false}).geometry().root, 2u);
  EXPECT_EQ(make<Granule::k64>(cpu, {.ipa_bits = 42}).geometry().root, 1u);
  cpu.pa_bits = 40;
  EXPECT_EQ(make<Granule::k16>(cpu, {.ipa_bits = 40, .concatenate = false}).geometry().root, 1u);
  cpu.pa_bits = 44;
  EXPECT_EQ(make(cpu, {.ipa_bits = 44}).geometry().root, 3u);
}

TEST(Stage2Create, BlocksAreAsLargeAsTheGranuleAllows) {
  EXPECT_EQ(classic.geometry().span(classic.geometry().top_leaf), 1_GiB);
  auto const k16 = make<Granule::k16>(old_arm, {.ipa_bits = 47}).geometry();
  EXPECT_EQ(k16.span(k16.top_leaf), 32_MiB);
  auto const k64 = make<Granule::k64>(old_arm, {.ipa_bits = 48}).geometry();
  EXPECT_EQ(k64.span(k64.top_leaf), 512_MiB);
  EXPECT_EQ(make(old_arm, {.ipa_bits = 30}).geometry().top_leaf, 1u) << "never above the root";
}

TEST(Stage2Create, RefusesWhatTheCpuLacks) {
  auto cpu = old_arm;
  cpu.granule_16k = false;
  auto const granule = Stage2<Granule::k16>::create(cpu, {});
  ASSERT_FALSE(granule);
  EXPECT_EQ(granule.error(), (Error{Errc::unsupported, Argument::granule, 16_KiB}));

  cpu.pa_bits = 40;
  auto const wide = Stage2<>::create(cpu, {.ipa_bits = 41});
  ASSERT_FALSE(wide);
  EXPECT_EQ(wide.error(), (Error{Errc::out_of_range, Argument::input_bits, 41}));
  EXPECT_TRUE(Stage2<>::create(cpu, {.ipa_bits = 40}));

  auto const narrow = Stage2<>::create(cpu, {.ipa_bits = 24});
  ASSERT_FALSE(narrow);
  EXPECT_EQ(narrow.error(), (Error{Errc::out_of_range, Argument::input_bits, 24}));
  EXPECT_TRUE(Stage2<>::create(cpu, {.ipa_bits = 25}));
  EXPECT_FALSE(Stage2<>::create(new_arm, {.ipa_bits = 15}));
  EXPECT_FALSE(Stage2<Granule::k64>::create(new_arm, {.ipa_bits = 16}));

  // More than 48 bits would want another descriptor.
  cpu.pa_bits = 52;
  EXPECT_FALSE(Stage2<Granule::k64>::create(cpu, {.ipa_bits = 49}));
  EXPECT_EQ(make<Granule::k64>(cpu, {.ipa_bits = 48}).output_bits(), 48u);
}

TEST(Stage2Create, UsesWhatIsAskedForWhereTheCpuHasIt) {
  EXPECT_EQ(classic.hardware_age(), (Age{false, false}));
  EXPECT_EQ(modern.hardware_age(), (Age{true, true}));
  EXPECT_EQ(make(new_arm, {.hardware_dirty = false}).hardware_age(), (Age{true, false}));
  // HD without HA has no effect, so the one is not used without the other.
  EXPECT_EQ(make(new_arm, {.hardware_accessed = false}).hardware_age(), (Age{false, false}));
  EXPECT_FALSE(make(new_arm, {.force_write_back = false}).forces_write_back());
}

}  // namespace
}  // namespace slat::aarch64
