#pragma once

// The only instruction of the library on x86: INVEPT, on this CPU alone. AMD has none for one root: there the next
// VMRUN flushes. What a failure leaves to do vmx_verdict.hpp decides, and which other CPUs must do the same,
// shootdown.hpp.

#include <slat/arch/x86_64/vmx_verdict.hpp>

namespace slat::x86_64 {

/// In VMX root operation. Serialises: stores to tables before it are seen by every walk after it. A hypervisor that
/// counts, or leaves it out to see a test fail, wraps it.
struct Invept {
  /// `type` is 1 for the EPTP in the descriptor, 2 for all. Changes nothing but what this CPU has cached.
  [[nodiscard]] VmxVerdict operator()(std::uint64_t type, const InveptDescriptor& descriptor) const noexcept {
    bool carry;
    bool zero;
    asm volatile("invept %[descriptor], %[type]"
                 : "=@ccc"(carry), "=@ccz"(zero)
                 : [type] "r"(type), [descriptor] "m"(descriptor)
                 : "memory");
    return vmx_verdict(carry, zero);
  }
};

}  // namespace slat::x86_64
