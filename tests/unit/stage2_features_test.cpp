// What CPUs say of themselves. The raw values were read at EL2 from QEMU 7.2's models.

#include <gtest/gtest.h>

#include <slat/arch/aarch64/features.hpp>

namespace slat::aarch64 {
namespace {

constexpr IdRegisters cortex_a53{0x410F'D034, 0x1122, 0, 0, 0x1'1120};
constexpr IdRegisters cortex_a57{0x411F'D070, 0x1124, 0, 0, 0x1'1120};
constexpr IdRegisters cortex_a72{0x410F'D083, 0x1124, 0, 0, 0x1'1120};
constexpr IdRegisters cortex_a76{0x414F'D0B1, 0x10'1122, 0x1021'2122, 0x1011, 0x1000'1021'1120};
constexpr IdRegisters neoverse_n1{0x414F'D0C1, 0x10'1125, 0x1021'2122, 0x1011, 0x1000'1021'1120};
constexpr IdRegisters a64fx{0x461F'0010, 0x1122, 0x1121'2100, 0x1011, 0x1021'1120};
constexpr IdRegisters max{0x000F'0510, 0x0323'1020'1126, 0x0110'1021'1122, 0x1021'0110'1001'1011,
                          0x1221'1111'1021'2120};
constexpr IdRegisters max_without_lpa2{0x000F'0510, 0x0222'0010'1126, 0x0110'1021'1122, 0x1021'0110'1001'1011,
                                       0x1221'1111'1021'2120};

TEST(Features, OfOldCpus) {
  constexpr Features expected{.pa_bits = 40, .granule_4k = true, .granule_64k = true};
  EXPECT_EQ(features(cortex_a53), expected);
  auto wider = expected;
  wider.pa_bits = 44;
  EXPECT_EQ(features(cortex_a57), wider);
  EXPECT_EQ(features(cortex_a72), wider);
}

TEST(Features, OfCpusWithHardwareDirtyState) {
  Features expected{.pa_bits = 40,
                    .granule_4k = true,
                    .granule_16k = true,
                    .granule_64k = true,
                    .vmid_bits = 16,
                    .hardware_accessed = true,
                    .hardware_dirty = true,
                    .xnx = true};
  EXPECT_EQ(features(cortex_a76), expected);
  expected.pa_bits = 48;
  EXPECT_EQ(features(neoverse_n1), expected);
}

TEST(Features, OfA64fx) {
  EXPECT_EQ(features(a64fx), (Features{.pa_bits = 40, .granule_4k = true, .granule_64k = true, .xnx = true}));
}

TEST(Features, OfTheCpuThatHasEverything) {
  constexpr Features expected{.pa_bits = 52,
                              .granule_4k = true,
                              .granule_16k = true,
                              .granule_64k = true,
                              .vmid_bits = 16,
                              .bbm = 2,
                              .hardware_accessed = true,
                              .hardware_dirty = true,
                              .xnx = true,
                              .fwb = true,
                              .small_tables = true,
                              .ttl = true,
                              .tlbi_range = true};
  EXPECT_EQ(features(max, Bbm::reported), expected);
  // Its stage-2 granules are spelled otherwise, and are the same.
  EXPECT_EQ(features(max_without_lpa2, Bbm::reported), expected);
}

TEST(Features, BbmLevelTwoIsBelievedOnRequestOrFromListedCpus) {
  EXPECT_EQ(features(max).bbm, 0u);
  EXPECT_EQ(features(max, Bbm::listed).bbm, 0u);
  EXPECT_EQ(features(max, Bbm::reported).bbm, 2u);
  EXPECT_EQ(features(max, Bbm::never).bbm, 0u);
  auto const with_midr = [](std::uint64_t midr) {
    auto id = max;
    id.midr = midr;
    return id;
  };
  EXPECT_EQ(features(with_midr(0x410F'D823)).bbm, 2u) << "Cortex-X4 r0p3";
  EXPECT_EQ(features(with_midr(0x411F'D820)).bbm, 0u) << "r1p0, of which nothing is said";
  EXPECT_EQ(features(with_midr(0x410F'D822)).bbm, 0u) << "r0p2";
  EXPECT_EQ(features(with_midr(0x410F'D842)).bbm, 0u) << "Neoverse V3, withdrawn";
  EXPECT_EQ(features(with_midr(0x510F'D823)).bbm, 0u) << "another maker";
  EXPECT_EQ(features(with_midr(0x410F'D823), Bbm::never).bbm, 0u);
}

TEST(Features, BbmLevelOneCountsAsZero) {
  auto id = max;
  id.mmfr2 = (id.mmfr2 & ~(0xFull << 52)) | 1ull << 52;
  EXPECT_EQ(features(id, Bbm::reported).bbm, 0u);
}

TEST(Features, LowerLevelsOfAFeatureAreNotTheHigherOnes) {
  auto id = max;
  id.mmfr1 = (id.mmfr1 & ~0xFull) | 1;
  EXPECT_TRUE(features(id).hardware_accessed);
  EXPECT_FALSE(features(id).hardware_dirty) << "the access flag alone";
  id.isar0 = (id.isar0 & ~(0xFull << 56)) | 1ull << 56;
  EXPECT_FALSE(features(id).tlbi_range) << "outer shareable TLBIs alone";
}

TEST(Features, GranulesOfStage2CanDifferFromStage1) {
  auto const with = [](std::uint64_t mmfr0) { return features({.mmfr0 = mmfr0}); };
  // 4K and 64K: 0 or 1 at stage 1 is "yes", F is "no". 16K: 0 is "no".
  EXPECT_TRUE(with(0).granule_4k && with(0).granule_64k && !with(0).granule_16k);
  EXPECT_FALSE(with(0xFF00'0000).granule_4k || with(0xFF00'0000).granule_64k);
  // TGran4_2, TGran64_2 and TGran16_2: 1 is "no" and 2 is "yes" whatever stage 1 has.
  auto const no = with(0x0000'0111'0010'0000), yes = with(0x0000'0222'FF00'0000);
  EXPECT_FALSE(no.granule_4k || no.granule_64k || no.granule_16k);
  EXPECT_TRUE(yes.granule_4k && yes.granule_64k && yes.granule_16k);
}

TEST(Features, PhysicalAddressSizes) {
  constexpr unsigned sizes[] = {32, 36, 40, 42, 44, 48, 52, 56};
  for (std::uint64_t code = 0; code < 8; ++code) EXPECT_EQ(features({.mmfr0 = code}).pa_bits, sizes[code]);
}

TEST(Features, OfAMachineAreWhatAllItsCpusHave) {
  auto const both = common(features(neoverse_n1), features(a64fx));
  EXPECT_EQ(both, (Features{.pa_bits = 40, .granule_4k = true, .granule_64k = true, .xnx = true}));
  EXPECT_EQ(common(features(cortex_a53), features(max, Bbm::reported)), features(cortex_a53));
  EXPECT_EQ(common(features(max), features(max)), features(max));
}

TEST(Features, WhatOneCpuLacksItsMachineLacksWhicheverOfItsCpusThatIs) {
  using Flag = bool Features::*;
  constexpr Flag flags[] = {&Features::granule_4k,
                            &Features::granule_16k,
                            &Features::granule_64k,
                            &Features::hardware_accessed,
                            &Features::hardware_dirty,
                            &Features::xnx,
                            &Features::fwb,
                            &Features::small_tables,
                            &Features::ttl,
                            &Features::tlbi_range};
  Features all{.pa_bits = 48, .vmid_bits = 16, .bbm = 2};
  for (auto const flag : flags) all.*flag = true;
  for (auto const flag : flags) {
    auto one = all;
    one.*flag = false;
    EXPECT_NE(one, all);
    EXPECT_EQ(common(one, all), one);
    EXPECT_EQ(common(all, one), one);
  }
  auto less = all;
  less.pa_bits = 40;
  less.vmid_bits = 8;
  less.bbm = 0;
  EXPECT_EQ(common(less, all), less);
  EXPECT_EQ(common(all, less), less);
}

}  // namespace
}  // namespace slat::aarch64
