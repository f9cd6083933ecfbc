#pragma once

// Which MSRs the guest has to itself. Those that are part of the state of its own CPU are passed through; nearly all
// others answer as MSRs that do not exist, with #GP.

#include <array>
#include <cstdint>
#include <optional>

#include "hv/x86_64/vcpu.hpp"

namespace hv {

inline constexpr std::array passed_msrs{
    PassedMsrs{0x10, 0x10},                // TSC
    PassedMsrs{0x1b, 0x1b, false},         // IA32_APIC_BASE
    PassedMsrs{0x3b, 0x3b},                // IA32_TSC_ADJUST
    PassedMsrs{0x174, 0x176},              // SYSENTER_CS, _ESP, _EIP
    PassedMsrs{0x1a0, 0x1a0, false},       // IA32_MISC_ENABLE
    PassedMsrs{0x277, 0x277},              // PAT
    PassedMsrs{0x6e0, 0x6e0},              // IA32_TSC_DEADLINE
    PassedMsrs{0xda0, 0xda0},              // IA32_XSS
    PassedMsrs{0xc000'0080, 0xc000'0084},  // EFER, STAR, LSTAR, CSTAR, SFMASK
    PassedMsrs{0xc000'0100, 0xc000'0103},  // FS.base, GS.base, KernelGSbase, TSC_AUX
};

enum class Direction : std::uint8_t { read, write };

constexpr bool passes_msr(std::uint32_t index, Direction direction) {
  for (auto const& range : passed_msrs)
    if (index >= range.first && index <= range.last) return direction == Direction::read || range.write;
  return false;
}

/// What a read finds that was not passed through; nothing: #GP. Kernels read without care the revision of the
/// microcode, and on old AMD CPUs whether an idle one sleeps deeper than asked: none, and no.
constexpr std::optional<std::uint64_t> read_msr_as(std::uint32_t index) {
  constexpr std::uint32_t microcode = 0x8b;
  constexpr std::uint32_t interrupt_pending = 0xc001'0055;
  if (index == microcode || index == interrupt_pending) return 0;
  return std::nullopt;
}

/// What becomes of a write that was not passed through: nothing happens, or #GP. The local APIC stays where it is and
/// as it is, and `current` is what is there: saying so again is no offence.
enum class MsrAnswer : std::uint8_t { ignore, fault };
constexpr MsrAnswer written_msr(std::uint32_t index, std::uint64_t value, std::uint64_t current) {
  constexpr std::uint32_t apic_base = 0x1b;
  if (read_msr_as(index)) return MsrAnswer::ignore;
  return index == apic_base && value == current ? MsrAnswer::ignore : MsrAnswer::fault;
}

/// Whether XSETBV may put `value` into the extended control register `index`: x87 state always, each set of vector
/// registers only with what it widens. `supported` is CPUID leaf 0DH's EDX:EAX. [intel/vol1] "Enabling the XSAVE
/// Feature Set and XSAVE-Enabled Features".
constexpr bool valid_xcr(std::uint32_t index, std::uint64_t value, std::uint64_t supported) {
  constexpr std::uint64_t x87 = 1u << 0, sse = 1u << 1, avx = 1u << 2, mpx = 0b11u << 3, avx512 = 0b111u << 5;
  auto const has = [&](std::uint64_t set) { return (value & set) == set; };
  auto const any = [&](std::uint64_t set) { return (value & set) != 0; };
  return index == 0 && (value & ~supported) == 0 && has(x87) && (!has(avx) || has(sse)) && (!any(mpx) || has(mpx)) &&
         (!any(avx512) || (has(avx512) && has(avx)));
}

}  // namespace hv
