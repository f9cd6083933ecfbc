// What a VMCB is told of nested tables, against values worked out by hand.

#include <gtest/gtest.h>

#include <slat/arch/x86_64/vmcb.hpp>

namespace slat::x86_64 {
namespace {

constexpr NptFeatures cpu{.pa_bits = 48, .nested_paging = true, .five_levels = true, .no_execute = true};
constexpr HostPhys root{0x12'3456'7000};

TEST(Vmcb, HoldsTheRootAndItsCacheability) {
  EXPECT_EQ(nested_cr3(*Npt::create(cpu, {}), root), root.raw());
  EXPECT_EQ(nested_cr3(*Npt::create(cpu, {.pat = 0x0000'0000'0007'0600}), root), root.raw() | 0x8) << "PWT";
  EXPECT_EQ(nested_cr3(*Npt::create(cpu, {.pat = 0x0000'0000'0600'0000}), root), root.raw() | 0x18) << "PCD and PWT";
  EXPECT_EQ(np_enable, 1u);
}

TEST(Vmcb, EncodesWhatIsFlushed) {
  EXPECT_EQ(static_cast<unsigned>(TlbControl::nothing), 0u);
  EXPECT_EQ(static_cast<unsigned>(TlbControl::everything), 1u);
  EXPECT_EQ(static_cast<unsigned>(TlbControl::this_asid), 3u);
  EXPECT_EQ(static_cast<unsigned>(TlbControl::this_asid_non_global), 7u);
  EXPECT_EQ(clean_asid, 4u);
  EXPECT_EQ(clean_nested_paging, 0x10u);
}

TEST(Vmcb, NeedsAHostThatWalksAsTheFormatWrites) {
  EXPECT_EQ(host_efer(*Npt::create(cpu, {})), 0x800u);
  EXPECT_EQ(host_efer(*Npt::create(cpu, {.no_execute = false})), 0u);
  EXPECT_EQ(host_cr4(*Npt::create(cpu, {})), 0u);
  EXPECT_EQ(host_cr4(*Npt::create(cpu, {.levels = 5})), 0x1000u);
}

}  // namespace
}  // namespace slat::x86_64
