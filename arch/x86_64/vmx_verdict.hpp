#pragma once

// How a VMX instruction ended, and what is left to do when an INVEPT failed.

#include <array>
#include <cstdint>

namespace slat::x86_64 {

/// [intel/vol3] "Conventions" of "VMX instruction reference".
enum class VmxVerdict : std::uint8_t {
  succeeded,
  failed_invalid,  // VMfailInvalid: without a current VMCS, so there is no error number
  failed_valid,    // VMfailValid: the current VMCS has the error number
};
/// From the flags that the instruction left: CF, and ZF.
constexpr VmxVerdict vmx_verdict(bool carry, bool zero) {
  if (carry) return VmxVerdict::failed_invalid;
  return zero ? VmxVerdict::failed_valid : VmxVerdict::succeeded;
}

/// What INVEPT reads: an EPTP, and 64 bits of 0.
using InveptDescriptor = std::array<std::uint64_t, 2>;
inline constexpr std::uint64_t invept_all = 2;  // the type that drops the mappings of every EPTP

/// This CPU forgets what it knows by way of one EPTP: `execute(type, descriptor)` is an INVEPT and tells its verdict. A
/// CPU may lack the type, or refuse the EPTP: then it forgets every guest, which is right too and only dearer. False
/// when it refuses that as well: it has forgotten nothing, and must not enter the guest.
template <class Execute>
[[nodiscard]] constexpr bool forget_eptp(Execute&& execute, std::uint64_t type, const InveptDescriptor& descriptor) {
  return execute(type, descriptor) == VmxVerdict::succeeded ||
         execute(invept_all, InveptDescriptor{}) == VmxVerdict::succeeded;
}

}  // namespace slat::x86_64
