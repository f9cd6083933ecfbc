// VTCR_EL2, VTTBR_EL2 and HCR_EL2 against values that were seen to work on QEMU 7.2 (-cpu max).

#include <gtest/gtest.h>

#include <slat/arch/aarch64/registers.hpp>

namespace slat::aarch64 {
namespace {

// What -cpu max can do, with nothing used that shows in VTCR_EL2.
constexpr Features max{.pa_bits = 52,
                       .granule_4k = true,
                       .granule_16k = true,
                       .granule_64k = true,
                       .vmid_bits = 16,
                       .hardware_accessed = true,
                       .hardware_dirty = true,
                       .fwb = true,
                       .small_tables = true};
constexpr Stage2Options plain{.hardware_accessed = false, .hardware_dirty = false, .force_write_back = false};

struct Seen {
  unsigned ipa_bits;
  bool concatenate;
  std::uint64_t vtcr;
  Level root;  // Arm's level is three minus this
  std::uint64_t root_entries;
};

template <Granule G>
void expect_seen(std::initializer_list<Seen> values) {
  for (auto const& seen : values) {
    auto options = plain;
    options.ipa_bits = seen.ipa_bits;
    options.concatenate = seen.concatenate;
    auto const made = Stage2<G>::create(max, options);
    ASSERT_TRUE(made) << seen.ipa_bits;
    EXPECT_EQ(vtcr_el2(*made), seen.vtcr) << seen.ipa_bits;
    EXPECT_EQ(made->geometry().root, seen.root) << seen.ipa_bits;
    EXPECT_EQ(made->geometry().entries(seen.root), seen.root_entries) << seen.ipa_bits;
  }
}

TEST(Vtcr, MatchesWhatWorkedWith4K) {
  expect_seen<Granule::k4>({{39, true, 0x8005'3559, 2, 512},
                            {40, true, 0x8005'3558, 2, 2 * 512},
                            {48, true, 0x8005'3590, 3, 512},
                            {33, true, 0x8005'351F, 1, 8 * 512},
                            {30, true, 0x8005'3522, 1, 512},
                            {20, true, 0x8005'35EC, 0, 256},
                            {16, true, 0x8005'35F0, 0, 16}});
}

TEST(Vtcr, MatchesWhatWorkedWith16K) {
  expect_seen<Granule::k16>(
      {{40, false, 0x8005'B598, 2, 16}, {40, true, 0x8005'B558, 1, 16 * 2048}, {48, true, 0x8005'B590, 2, 2 * 2048}});
}

TEST(Vtcr, MatchesWhatWorkedWith64K) {
  expect_seen<Granule::k64>({{40, true, 0x8006'7558, 1, 2048}, {42, true, 0x8006'7556, 1, 8192}});
}

TEST(Vtcr, HardwareUpdatesAndWideVmidsAreBits21To22And19) {
  auto const with = [](bool accessed, bool dirty, unsigned vmid_bits) {
    return vtcr_el2(*Stage2<>::create(max, {.ipa_bits = 40, .hardware_accessed = accessed, .hardware_dirty = dirty}),
                    vmid_bits);
  };
  EXPECT_EQ(with(false, false, 8), 0x8005'3558u);
  EXPECT_EQ(with(true, false, 8), 0x8025'3558u);
  EXPECT_EQ(with(true, true, 8), 0x8065'3558u);
  EXPECT_EQ(with(true, true, 16), 0x806D'3558u);
}

TEST(Vtcr, PhysicalSizeIsTheCpus) {
  auto const ps = [](unsigned pa_bits) {
    auto cpu = max;
    cpu.pa_bits = pa_bits;
    return vtcr_el2(*Stage2<>::create(cpu, {.ipa_bits = 30})) >> 16 & 7;
  };
  EXPECT_EQ(ps(32), 0u);
  EXPECT_EQ(ps(36), 1u);
  EXPECT_EQ(ps(40), 2u);
  EXPECT_EQ(ps(42), 3u);
  EXPECT_EQ(ps(44), 4u);
  EXPECT_EQ(ps(48), 5u);
  EXPECT_EQ(ps(52), 5u) << "52 bits of 4K want other descriptors";
  EXPECT_EQ(ps(56), 5u);
}

TEST(Vttbr, HoldsTheVmidAboveTheRoot) {
  EXPECT_EQ(vttbr_el2(HostPhys{0x8000'2000}, 1), 0x0001'0000'8000'2000u);
  EXPECT_EQ(vttbr_el2(HostPhys{0xFFFF'FFFF'0000}, 0xFFFF), 0xFFFF'FFFF'FFFF'0000u);
}

TEST(Hcr, SaysWhetherWriteBackIsForced) {
  auto const with = [](bool force) { return hcr_el2(*Stage2<>::create(max, {.force_write_back = force})); };
  EXPECT_EQ(with(false), 1u);
  EXPECT_EQ(with(true), 0x4000'0000'0001u);
}

}  // namespace
}  // namespace slat::aarch64
