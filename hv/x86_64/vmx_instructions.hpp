#pragma once

// The VMX instructions, each with its verdict, and the registers that they go by.

#include <cstdint>

#include <slat/arch/x86_64/vmx_verdict.hpp>
#include <slat/mm/address.hpp>

#include "hv/x86_64/vmcs.hpp"

namespace hv::vmx {

using Verdict = slat::x86_64::VmxVerdict;

[[nodiscard]] inline Verdict vmxon(slat::HostPhys region) {
  bool carry, zero;
  auto const operand = region.raw();
  asm volatile("vmxon %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(operand) : "memory");
  return slat::x86_64::vmx_verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmxoff() {
  bool carry, zero;
  asm volatile("vmxoff" : "=@ccc"(carry), "=@ccz"(zero) : : "memory");
  return slat::x86_64::vmx_verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmclear(slat::HostPhys vmcs) {
  bool carry, zero;
  auto const operand = vmcs.raw();
  asm volatile("vmclear %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(operand) : "memory");
  return slat::x86_64::vmx_verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmptrld(slat::HostPhys vmcs) {
  bool carry, zero;
  auto const operand = vmcs.raw();
  asm volatile("vmptrld %2" : "=@ccc"(carry), "=@ccz"(zero) : "m"(operand) : "memory");
  return slat::x86_64::vmx_verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmread(Field field, std::uint64_t& value) {
  bool carry, zero;
  asm volatile("vmread %3, %2"
               : "=@ccc"(carry), "=@ccz"(zero), "=r"(value)
               : "r"(static_cast<std::uint64_t>(field))
               : "memory");
  return slat::x86_64::vmx_verdict(carry, zero);
}
[[nodiscard]] inline Verdict vmwrite(Field field, std::uint64_t value) {
  bool carry, zero;
  asm volatile("vmwrite %2, %3"
               : "=@ccc"(carry), "=@ccz"(zero)
               : "r"(value), "r"(static_cast<std::uint64_t>(field))
               : "memory");
  return slat::x86_64::vmx_verdict(carry, zero);
}

}  // namespace hv::vmx
