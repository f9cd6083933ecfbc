// What x86_64 CPUs say of themselves. The raw values were read from the models of QEMU 7.2 (TCG) and Bochs 2.7.

#include <gtest/gtest.h>

#include <slat/arch/x86_64/features.hpp>

namespace slat::x86_64 {
namespace {

// Bochs. The control MSR is read at 48BH; of the two only tigerlake has IA32_ARCH_CAPABILITIES.
constexpr VmxRegisters skylake_x{0xF01'0633'4141, 0x0217'7FFF'0000'0000, 0, 40};
constexpr VmxRegisters tigerlake{0xF01'06B3'4141, 0x0297'7FFF'0000'0000, 0x1F, 40};

// CPUID 7 ECX, 8000_0001 ECX and EDX, 8000_0008 EAX, 8000_000A EBX and EDX.
constexpr SvmLeaves qemu_max{0x8001'020C, 0x75, 0xEDD3'FBFD, 0x3928, 0x10, 0x1001'0001};
constexpr SvmLeaves qemu64{0, 0x5, 0x2593'FBFD, 0x3028, 0x10, 0x1};  // with +svm,+npt,+pdpe1gb
constexpr SvmLeaves qemu_epyc_rome{0x4, 0x75, 0x2DD3'FBFD, 0x3028, 0x10, 0x1};
constexpr SvmLeaves bochs_ryzen{0, 0x35C2'23FF, 0x2FD3'FBFF, 0x3028, 0x8000, 0x44F};
constexpr SvmLeaves bochs_skylake_x{0, 0x121, 0x2C10'0000, 0x3028, 0xFA0, 0};  // it has no leaf 8000_000A and answers

TEST(EptFeatures, OfBochs) {
  constexpr EptFeatures expected{.pa_bits = 40,
                                 .four_levels = true,
                                 .leaf_2m = true,
                                 .leaf_1g = true,
                                 .execute_only = true,
                                 .accessed_dirty = true,
                                 .write_back_tables = true,
                                 .invept_single = true,
                                 .invept_all = true};
  EXPECT_EQ(ept_features(skylake_x), expected);
  EXPECT_EQ(ept_features(tigerlake), expected);
}

// One bit of EPT_VPID_CAP each, and what INVEPT's types need besides.
TEST(EptFeatures, EachHasItsBit) {
  auto const with = [](std::uint64_t cap) { return ept_features({.ept_vpid_cap = cap}); };
  constexpr EptFeatures none{.four_levels = false};
  EXPECT_EQ(with(0), none);
  auto const only = [none](bool EptFeatures::*feature) {
    auto features = none;
    features.*feature = true;
    return features;
  };
  EXPECT_EQ(with(1ull << 0), only(&EptFeatures::execute_only));
  EXPECT_EQ(with(1ull << 6), only(&EptFeatures::four_levels));
  EXPECT_EQ(with(1ull << 7), only(&EptFeatures::five_levels));
  EXPECT_EQ(with(1ull << 14), only(&EptFeatures::write_back_tables));
  EXPECT_EQ(with(1ull << 16), only(&EptFeatures::leaf_2m));
  EXPECT_EQ(with(1ull << 17), only(&EptFeatures::leaf_1g));
  EXPECT_EQ(with(1ull << 21), only(&EptFeatures::accessed_dirty));
  EXPECT_EQ(with(1ull << 20 | 1ull << 25), only(&EptFeatures::invept_single));
  EXPECT_EQ(with(1ull << 20 | 1ull << 26), only(&EptFeatures::invept_all));
  EXPECT_EQ(with(1ull << 25 | 1ull << 26), none) << "the instruction itself is bit 20";
  EXPECT_EQ(with(1ull << 20), none);
}

TEST(EptFeatures, TwoComeFromOtherRegisters) {
  EXPECT_TRUE(ept_features({.secondary_controls = 1ull << (32 + 22)}).mode_based_execute);
  EXPECT_FALSE(ept_features({.secondary_controls = 1ull << 22}).mode_based_execute)
      << "the lower half says what must be 1";
  EXPECT_TRUE(ept_features({.arch_capabilities = 1ull << 6}).pschange_mc_no);
  EXPECT_FALSE(ept_features({.arch_capabilities = ~(1ull << 6)}).pschange_mc_no);
}

TEST(NptFeatures, OfQemu) {
  EXPECT_EQ(npt_features(qemu_max), (NptFeatures{.pa_bits = 40,
                                                 .nested_paging = true,
                                                 .five_levels = true,
                                                 .leaf_1g = true,
                                                 .no_execute = true,
                                                 .asids = 16}));
  constexpr NptFeatures expected{
      .pa_bits = 40, .nested_paging = true, .leaf_1g = true, .no_execute = true, .asids = 16};
  EXPECT_EQ(npt_features(qemu64), expected);
  EXPECT_EQ(npt_features(qemu_epyc_rome), expected);
}

TEST(NptFeatures, OfBochs) {
  EXPECT_EQ(npt_features(bochs_ryzen), (NptFeatures{.pa_bits = 40,
                                                    .nested_paging = true,
                                                    .leaf_1g = true,
                                                    .no_execute = true,
                                                    .flush_by_asid = true,
                                                    .asids = 0x8000}));
}

TEST(NptFeatures, OfACpuWithoutSvmAreNoNestedPaging) {
  constexpr NptFeatures expected{.pa_bits = 40, .leaf_1g = true, .no_execute = true};
  EXPECT_EQ(npt_features(bochs_skylake_x), expected);
  auto lying = bochs_skylake_x;
  lying.svm_edx = ~0u;
  EXPECT_EQ(npt_features(lying), expected) << "that leaf is another's there";
}

TEST(NptFeatures, EachHasItsBit) {
  auto const svm = [](SvmLeaves raw) {
    raw.extended_ecx = 1u << 2;
    return npt_features(raw);
  };
  EXPECT_EQ(svm({}), (NptFeatures{}));
  EXPECT_EQ(svm({.structured_ecx = 1u << 16}), (NptFeatures{.five_levels = true}));
  EXPECT_EQ(svm({.extended_edx = 1u << 20}), (NptFeatures{.no_execute = true}));
  EXPECT_EQ(svm({.extended_edx = 1u << 26}), (NptFeatures{.leaf_1g = true}));
  EXPECT_EQ(svm({.address_eax = 0x12'3930}), (NptFeatures{.pa_bits = 48}));
  EXPECT_EQ(svm({.svm_ebx = 99}), (NptFeatures{.asids = 99}));
  EXPECT_EQ(svm({.svm_edx = 1u << 0}), (NptFeatures{.nested_paging = true}));
  EXPECT_EQ(svm({.svm_edx = 1u << 6}), (NptFeatures{.flush_by_asid = true}));
}

// Of two CPUs that differ in everything, either way round, nothing is left but the smaller numbers.
TEST(Common, IsWhatBothHave) {
  constexpr EptFeatures much{46, true, true, true, true, true, true, true, true, true, true, true};
  constexpr EptFeatures little{39, false, false, false, false, false, false, false, false, false, false, false};
  EXPECT_EQ(common(much, little), little);
  EXPECT_EQ(common(little, much), little);
  EXPECT_EQ(common(much, much), much);
  constexpr NptFeatures most{52, true, true, true, true, true, 32768};
  constexpr NptFeatures least{40, false, false, false, false, false, 8};
  EXPECT_EQ(common(most, least), least);
  EXPECT_EQ(common(least, most), least);
  EXPECT_EQ(common(most, most), most);
  EXPECT_EQ(common(npt_features(qemu_max), npt_features(bochs_ryzen)),
            (NptFeatures{.pa_bits = 40, .nested_paging = true, .leaf_1g = true, .no_execute = true, .asids = 16}));
}

}  // namespace
}  // namespace slat::x86_64
