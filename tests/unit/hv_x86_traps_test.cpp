// How what a guest may do alone reaches the hardware: the bitmaps of both makers, and the registers of which a part is
// the host's.

#include <array>
#include <cstdint>

#include <gtest/gtest.h>

#include "hv/x86_64/msr_bitmap.hpp"
#include "hv/x86_64/msr_policy.hpp"
#include "hv/x86_64/svm_exit.hpp"
#include "hv/x86_64/svm_guest_state.hpp"
#include "hv/x86_64/svm_msr_map.hpp"
#include "hv/x86_64/vmx_exit.hpp"

namespace hv {
namespace {

/// Whether the hardware would make the access an exit, read out of the bytes as the manuals say.
bool vmx_exits(const vmx::MsrBitmap& bitmap, std::uint32_t index, Direction direction) {
  std::size_t half = direction == Direction::read ? 0 : 2048;
  if (index < 0x2000) return (bitmap.bytes()[half + index / 8] >> index % 8 & 1) != 0;
  if (index < 0xc000'0000 || index > 0xc000'1fff) return true;
  index -= 0xc000'0000;
  return (bitmap.bytes()[half + 1024 + index / 8] >> index % 8 & 1) != 0;
}
bool svm_exits(const svm::MsrMap& map, std::uint32_t index, Direction direction) {
  for (std::size_t i = 0; i != 3; ++i) {
    auto const first = std::array{0u, 0xc000'0000u, 0xc001'0000u}[i];
    if (index < first || index - first > 0x1fff) continue;
    auto const bit = 2 * (index - first) + (direction == Direction::write ? 1 : 0);
    return (map.bytes()[i * 2048 + bit / 8] >> bit % 8 & 1) != 0;
  }
  return true;
}

constexpr std::uint32_t efer = 0xc000'0080;
constexpr std::uint32_t ends[] = {0x0, 0x1fff, 0x2000, 0xbfff'ffff, 0xc000'0000, 0xc000'1fff, 0xc000'2000};

template <class Body>
void each_interesting_msr(Body body) {
  for (auto const index : ends) body(index);
  for (auto const base : {0u, 0xc000'0000u, 0xc001'0000u})
    for (std::uint32_t i = 0; i != 0x1000; ++i) body(base + i);
}

TEST(VmxMsrs, ExactlyThePassedOnesAreNoExits) {
  vmx::MsrBitmap bitmap;
  bitmap.pass_only(passed_msrs);
  each_interesting_msr([&](std::uint32_t index) {
    for (auto const direction : {Direction::read, Direction::write})
      ASSERT_NE(vmx_exits(bitmap, index, direction), passes_msr(index, direction)) << std::hex << index;
  });
}

TEST(SvmMsrs, ExactlyThePassedOnesAreNoExitsButForEfer) {
  svm::MsrMap map;
  map.pass_only(passed_msrs);
  each_interesting_msr([&](std::uint32_t index) {
    for (auto const direction : {Direction::read, Direction::write})
      ASSERT_NE(svm_exits(map, index, direction), passes_msr(index, direction) && index != efer) << std::hex << index;
  });
}

TEST(SvmEfer, KeepsSvmeAndTheHardwaresLma) {
  constexpr std::uint64_t svme = 1u << 12, paging = 1u << 31;
  EXPECT_EQ(svm::written_efer(0x901, svme, 0), svme | 0x901);
  EXPECT_EQ(svm::written_efer(0x901, svme | 0xd00, paging), svme | 0xd01) << "LMA stays while paging is on";
  EXPECT_EQ(svm::written_efer(0xd00, svme, 0), svme | 0x900) << "and is not the guest's to set";
  EXPECT_EQ(svm::written_efer(svme, svme, 0), svme);
}

TEST(SvmEfer, RefusesWhatHardwareWould) {
  constexpr std::uint64_t svme = 1u << 12, paging = 1u << 31;
  EXPECT_FALSE(svm::written_efer(0x2, svme, 0)) << "a bit that is reserved";
  EXPECT_FALSE(svm::written_efer(1ull << 32, svme, 0));
  EXPECT_FALSE(svm::written_efer(0x800, svme | 0xd00, paging)) << "out of long mode under paging";
  EXPECT_FALSE(svm::written_efer(0x100, svme, paging)) << "into it";
}

TEST(Exit, SaysWhetherAnEventWasBeingDelivered) {
  EXPECT_TRUE(vmx::decode({.reason = 48, .vectoring = 0x8000'0030}).delivering);
  EXPECT_FALSE(vmx::decode({.reason = 48, .vectoring = 0x30}).delivering);
  svm::Vmcb vmcb;
  vmcb.exit_code = svm::exit_code::nested_page_fault;
  EXPECT_FALSE(svm::decode(vmcb).delivering);
  vmcb.exit_event = 0x8000'0030;
  EXPECT_TRUE(svm::decode(vmcb).delivering);
}

}  // namespace
}  // namespace hv
