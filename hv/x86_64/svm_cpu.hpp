#pragma once

// SVM on this CPU. [amd/vol2] "Enabling SVM"

#include <array>
#include <cstddef>
#include <cstdint>

#include <slat/arch/x86_64/asid.hpp>
#include <slat/arch/x86_64/features.hpp>

#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/svm_guest_state.hpp"

namespace hv::svm {

namespace msr {
inline constexpr std::uint32_t vm_cr = 0xc001'0114;
inline constexpr std::uint32_t host_save = 0xc001'0117;
}  // namespace msr

/// What the CPU and its firmware say of SVM.
inline bool available() {
  constexpr std::uint32_t svm = 1u << 2;
  constexpr std::uint64_t disabled = 1u << 4;
  if (cpuid(0x8000'0000).eax < 0x8000'000a || (cpuid(0x8000'0001).ecx & svm) == 0) return false;
  return (read_msr(msr::vm_cr) & disabled) == 0;
}

/// Of this CPU.
inline slat::x86_64::NptFeatures features() {
  auto const highest = cpuid(0x8000'0000).eax;
  auto const leaf = [&](std::uint32_t number) { return number <= highest ? cpuid(number) : CpuidAnswer{}; };
  return slat::x86_64::npt_features({
      .structured_ecx = cpuid(0).eax >= 7 ? cpuid(7).ecx : 0,
      .extended_ecx = leaf(0x8000'0001).ecx,
      .extended_edx = leaf(0x8000'0001).edx,
      .address_eax = leaf(0x8000'0008).eax,
      .svm_ebx = leaf(0x8000'000a).ebx,
      .svm_edx = leaf(0x8000'000a).edx,
  });
}

/// One for each CPU that runs guests, and made there: turns SVM on. It stays on.
class HostCpu {
 public:
  HostCpu(std::uint32_t number, const slat::x86_64::NptFeatures& features) : asids{number, features} {
    write_msr(hv::msr::efer, read_msr(hv::msr::efer) | efer_svme);
    write_msr(msr::host_save, reinterpret_cast<std::uint64_t>(save_.data()));
  }
  HostCpu(const HostCpu&) = delete;
  HostCpu& operator=(const HostCpu&) = delete;

  /// Where the entry code keeps the host's segments that VMRUN leaves alone.
  std::uint64_t segments() const { return reinterpret_cast<std::uint64_t>(&segments_); }

  slat::x86_64::AsidAllocator asids;

 private:
  alignas(4096) std::array<std::byte, 4096> save_{};  // the hardware's own
  Vmcb segments_;
};

}  // namespace hv::svm
