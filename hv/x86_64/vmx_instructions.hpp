#pragma once

// The VMX instructions, each with its verdict, and the registers that they go by.

#include <cstdint>

#include <slat/mm/address.hpp>

#include "hv/x86_64/vmcs.hpp"

namespace hv::vmx {

/// How a VMX instruction ended. [intel/vol3] "Conventions" of the VMX instruction reference
enum class Verdict : std::uint8_t {
  succeeded,
  failed,         // and the current VMCS has an error number
  failed_without  // there is no current VMCS to put one into
};

constexpr Verdict verdict(bool carry, bool zero) {
  return carry ? Verdict::failed_without : zero ? Verdict::failed : Verdict::succeeded;
}

[[nodiscard]] inline Verdict vmxon(slat::HostPhys region) {
  bool carry, zero;
  auto const operand = region.raw();
  asm volatile("vmxon %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(operand) : "memory");
  return verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmclear(slat::HostPhys vmcs) {
  bool carry, zero;
  auto const operand = vmcs.raw();
  asm volatile("vmclear %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(operand) : "memory");
  return verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmptrld(slat::HostPhys vmcs) {
  bool carry, zero;
  auto const operand = vmcs.raw();
  asm volatile("vmptrld %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(operand) : "memory");
  return verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmread(Field field, std::uint64_t& value) {
  bool carry, zero;
  asm volatile("vmread %3, %2"
               : "=@ccc"(carry), "=@ccz"(zero), "=r"(value)
               : "r"(static_cast<std::uint64_t>(field))
               : "memory");
  return verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmwrite(Field field, std::uint64_t value) {
  bool carry, zero;
  asm volatile("vmwrite %2, %3"
               : "=@ccc"(carry), "=@ccz"(zero)
               : "r"(value), "r"(static_cast<std::uint64_t>(field))
               : "memory");
  return verdict(carry, zero);
}

}  // namespace hv::vmx
