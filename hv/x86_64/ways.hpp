#pragma once

// The two ways in which a CPU virtualises memory, and which one this CPU has.

#include <cstdint>

#include "hv/x86_64/cpuid_policy.hpp"
#include "hv/x86_64/svm_way.hpp"
#include "hv/x86_64/vmx_way.hpp"

namespace hv {

enum class Virtualisation : std::uint8_t { none, vmx, svm };

/// `one` and `extended` are leaves 1 and 8000_0001.
constexpr Virtualisation virtualisation(const CpuidLeaf& one, const CpuidLeaf& extended) {
  if ((one.ecx >> 5 & 1) != 0) return Virtualisation::vmx;
  return (extended.ecx >> 2 & 1) != 0 ? Virtualisation::svm : Virtualisation::none;
}

}  // namespace hv
