#pragma once

// What CPUID tells the guest: the machine's CPU, without what a guest does not get. What stays visible works; a feature
// whose MSRs are not passed through (msr_policy.hpp) is not visible.
//
// [intel/vol2] CPUID, [amd/vol3] "Obtaining Processor Information Via the CPUID Instruction".

#include <cstdint>

namespace hv {

struct CpuidLeaf {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
  friend constexpr bool operator==(const CpuidLeaf&, const CpuidLeaf&) = default;
};

namespace cpuid_words {
constexpr std::uint32_t bit(unsigned n) { return std::uint32_t{1} << n; }
template <class... N>
constexpr std::uint32_t bits(N... n) {
  return (bit(static_cast<unsigned>(n)) | ...);
}
constexpr std::uint32_t with(std::uint32_t word, unsigned n, bool set) { return set ? word | bit(n) : word & ~bit(n); }

// Leaf 1, ECX: DTES64, MONITOR, VMX, SMX, EIST, TM2, SDBG, PDCM, DCA, x2APIC.
inline constexpr auto hidden_1_ecx = bits(2, 3, 5, 6, 7, 8, 11, 15, 18, 21);
inline constexpr unsigned osxsave = 27;
inline constexpr unsigned hypervisor = 31;
// Leaf 1, EDX: MCE, MTRR, MCA, DS, ACPI, HTT, TM, PBE.
inline constexpr auto hidden_1_edx = bits(7, 12, 14, 21, 22, 28, 29, 31);
// Leaf 7, EBX: SGX, HLE, RTM, RDT-M, RDT-A, PT.
inline constexpr auto hidden_7_ebx = bits(2, 4, 11, 12, 15, 25);
// Leaf 7, ECX: WAITPKG, CET_SS, TME, KL, bus lock, ENQCMD, SGX_LC, PKS.
inline constexpr auto hidden_7_ecx = bits(5, 7, 13, 23, 24, 29, 30, 31);
inline constexpr unsigned ospke = 4;
// Leaf 7, EDX: UINTR, SRBDS_CTRL, RTM_FORCE_ABORT, hybrid, PCONFIG, LBR, CET_IBT, AMX (22, 24, 25), IBRS, STIBP,
// L1D_FLUSH, ARCH_CAPABILITIES, CORE_CAPABILITIES, SSBD.
inline constexpr auto hidden_7_edx = bits(5, 9, 11, 13, 15, 18, 19, 20, 22, 24, 25, 26, 27, 28, 29, 30, 31);
// Leaf 8000_0001, ECX: CmpLegacy, SVM, ExtApicSpace, IBS, SKINIT, WDT, LWP, NodeId, TopologyExtensions,
// PerfCtrExtCore and NB, DataBreakpoint, PerfTsc, PerfCtrExtLLC, MONITORX.
inline constexpr auto hidden_8000_0001_ecx = bits(1, 2, 3, 10, 12, 13, 15, 19, 22, 23, 24, 26, 27, 28, 29);
// And EDX: MCE, MTRR, MCA, as in leaf 1.
inline constexpr auto hidden_8000_0001_edx = bits(7, 12, 14);
// Leaf 8000_0008, EBX: CLZERO, XSaveErPtr, WBNOINVD.
inline constexpr auto shown_8000_0008_ebx = bits(0, 2, 9);
// Leaf 8000_0021, EAX: LFENCE serialises, a null selector clears the base.
inline constexpr auto shown_8000_0021_eax = bits(2, 6);

inline constexpr std::uint32_t hypervisor_leaf = 0x4000'0000;
inline constexpr std::uint32_t slat = 0x7461'6c73;  // "slat"
}  // namespace cpuid_words

/// The guest's answer, out of the CPU's own `raw` for the same leaf and subleaf. `cr4` is the guest's.
constexpr CpuidLeaf guest_cpuid(std::uint32_t leaf, std::uint32_t subleaf, CpuidLeaf raw, std::uint64_t cr4) {
  using namespace cpuid_words;
  constexpr unsigned cr4_osxsave = 18;
  constexpr unsigned cr4_pke = 22;
  auto const in_cr4 = [&](unsigned n) { return (cr4 >> n & 1) != 0; };

  if (leaf >> 16 == hypervisor_leaf >> 16)
    return leaf == hypervisor_leaf ? CpuidLeaf{hypervisor_leaf, slat, slat, slat} : CpuidLeaf{};
  switch (leaf) {
    case 0x1:
      raw.ebx = (raw.ebx & ~0x00ff'0000u) | 1u << 16;  // one logical CPU
      raw.ecx = with(with(raw.ecx & ~hidden_1_ecx, osxsave, in_cr4(cr4_osxsave)), hypervisor, true);
      raw.edx &= ~hidden_1_edx;
      return raw;
    case 0x4: raw.eax &= 0x3fff; return raw;     // caches; no count of CPUs
    case 0x6: return {.eax = raw.eax & bit(2)};  // the APIC timer never stops
    case 0x7:
      if (subleaf != 0) return {};
      raw.eax = 0;
      raw.ebx &= ~hidden_7_ebx;
      raw.ecx = with(raw.ecx & ~hidden_7_ecx, ospke, (raw.ecx & bit(3)) != 0 && in_cr4(cr4_pke));
      raw.edx &= ~hidden_7_edx;
      return raw;
    case 0x8000'0001:
      raw.ecx &= ~hidden_8000_0001_ecx;
      raw.edx &= ~hidden_8000_0001_edx;
      return raw;
    case 0x8000'0007: return {.edx = raw.edx & bit(8)};  // the time-stamp counter is invariant
    case 0x8000'0008: return {.eax = raw.eax, .ebx = raw.ebx & shown_8000_0008_ebx};
    case 0x8000'0021: return {.eax = raw.eax & shown_8000_0021_eax};
    case 0x5:          // MONITOR
    case 0xa:          // performance counters
    case 0xb:          // topology
    case 0xf:          // resource monitoring
    case 0x10:         // resource allocation
    case 0x12:         // SGX
    case 0x14:         // processor trace
    case 0x19:         // key locker
    case 0x1b:         // memory encryption
    case 0x1c:         // last branch records
    case 0x1d:         // tiles
    case 0x1e:         //
    case 0x1f:         // topology
    case 0x20:         // history reset
    case 0x23:         // performance counters
    case 0x8000'000a:  // SVM
    case 0x8000'001b:  // IBS
    case 0x8000'001c:  // LWP
    case 0x8000'001e:  // topology
    case 0x8000'001f:  // memory encryption
    case 0x8000'0020:  // resource control
    case 0x8000'0022:  // performance counters
      return {};
    default: return raw;
  }
}

}  // namespace hv
