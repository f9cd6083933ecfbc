// EPTP, the controls and INVEPT against values worked out by hand, and some that were seen to work on Bochs 2.7.

#include <gtest/gtest.h>

#include <slat/arch/x86_64/eptp.hpp>

namespace slat::x86_64 {
namespace {

// Bochs 2.7, corei7_skylake_x.
constexpr auto bochs = ept_features({.ept_vpid_cap = 0xF01'0633'4141, .pa_bits = 40});
constexpr HostPhys root{0x12'3456'7000};

TEST(Eptp, MatchesWhatWorkedOnBochs) {
  EXPECT_EQ(eptp(*Ept::create(bochs, {.accessed_dirty = false}), root), root.raw() | 0x1E);
  EXPECT_EQ(eptp(*Ept::create(bochs, {}), root), root.raw() | 0x5E);
}

TEST(Eptp, SaysHowDeepTheTablesAreAndHowTheyAreRead) {
  auto cpu = bochs;
  cpu.five_levels = true;
  EXPECT_EQ(eptp(*Ept::create(cpu, {.levels = 5}), root), root.raw() | 0x66);
  cpu.accessed_dirty = false;
  EXPECT_EQ(eptp(*Ept::create(cpu, {.levels = 5}), root), root.raw() | 0x26);
  cpu.write_back_tables = false;
  EXPECT_EQ(eptp(*Ept::create(cpu, {.levels = 4}), root), root.raw() | 0x18);
}

TEST(SecondaryControls, AreEptAndModeBasedExecution) {
  auto cpu = bochs;
  EXPECT_EQ(secondary_controls(*Ept::create(cpu, {})), 0x2u);
  cpu.mode_based_execute = true;
  EXPECT_EQ(secondary_controls(*Ept::create(cpu, {})), 0x40'0002u);
  EXPECT_EQ(secondary_controls(*Ept::create(cpu, {.mode_based_execute = false})), 0x2u);
  EXPECT_EQ(secondary_controls_mask, 0x40'0002u);
}

TEST(InveptOperands, NameOneEptpWhereTheCpuCanAndAllWhereItCannot) {
  auto const one = eptp(*Ept::create(bochs, {}), root);
  auto cpu = bochs;
  EXPECT_EQ(*invept_operands(cpu, one), (InveptOperands{1, {one, 0}}));
  cpu.invept_single = false;
  EXPECT_EQ(*invept_operands(cpu, one), (InveptOperands{2, {0, 0}}));
  cpu.invept_all = false;
  auto const none = invept_operands(cpu, one);
  ASSERT_FALSE(none);
  EXPECT_EQ(none.error().code, Errc::unsupported);
}

}  // namespace
}  // namespace slat::x86_64
