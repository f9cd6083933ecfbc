#pragma once

// What EPT and NPT code must know of a CPU, computed from CPUID leaves and MSRs by pure functions: so one binary runs
// on every CPU, and the laptop can test what the machine will decide.

#include <cstdint>

namespace slat::x86_64 {

/// What an Intel CPU's EPT can do, or, with common(), what all of a machine's CPUs can. The default is the least that
/// any has.
struct EptFeatures {
  unsigned pa_bits = 36;            // host addresses have as many bits
  bool four_levels = true;          // a walk of 4
  bool five_levels = false;         // a walk of 5
  bool leaf_2m = false;             // large leaves
  bool leaf_1g = false;             // the same
  bool execute_only = false;        // a leaf may be executable and not readable
  bool accessed_dirty = false;      // EPTP[6]: hardware sets A and D
  bool mode_based_execute = false;  // user and supervisor execution apart
  bool pschange_mc_no = false;      // a page's size may change together with its address or type: no machine check
  bool write_back_tables = false;   // tables may be walked through the caches
  bool invept_single = false;       // INVEPT forgets one EPTP's translations
  bool invept_all = false;          // INVEPT forgets those of every EPTP

  friend constexpr bool operator==(const EptFeatures&, const EptFeatures&) = default;
};

/// Raw values that EptFeatures are computed from.
struct VmxRegisters {
  std::uint64_t ept_vpid_cap = 0;        // IA32_VMX_EPT_VPID_CAP
  std::uint64_t secondary_controls = 0;  // IA32_VMX_PROCBASED_CTLS2: its upper half says what may be 1
  std::uint64_t arch_capabilities = 0;   // IA32_ARCH_CAPABILITIES, 0 where the MSR does not exist
  unsigned pa_bits = 36;                 // CPUID 8000_0008H, EAX[7:0]
};

/// What an AMD CPU's nested paging can do, or, with common(), what all of a machine's CPUs can. The default is the
/// least that any has.
struct NptFeatures {
  unsigned pa_bits = 36;       // host addresses have as many bits
  bool nested_paging = false;  // SVM, and nested paging in it
  bool five_levels = false;    // CR4.LA57, which the nested walk follows
  bool leaf_1g = false;        // large leaves; 2M ones are always there
  bool no_execute = false;     // bit 63, once the host's EFER.NXE is on
  bool flush_by_asid = false;  // TLB_CONTROL can flush one ASID
  std::uint32_t asids = 0;     // ASIDs are below this number

  friend constexpr bool operator==(const NptFeatures&, const NptFeatures&) = default;
};

/// Raw values that NptFeatures are computed from: a leaf that the CPU does not have is 0.
struct SvmLeaves {
  std::uint32_t structured_ecx = 0;  // CPUID 7H, subleaf 0, ECX
  std::uint32_t extended_ecx = 0;    // CPUID 8000_0001H, ECX
  std::uint32_t extended_edx = 0;    // CPUID 8000_0001H, EDX
  std::uint32_t address_eax = 0;     // CPUID 8000_0008H, EAX
  std::uint32_t svm_ebx = 0;         // CPUID 8000_000AH, EBX
  std::uint32_t svm_edx = 0;         // CPUID 8000_000AH, EDX
};

namespace detail {
constexpr bool bit(std::uint64_t reg, unsigned n) { return (reg >> n & 1) != 0; }
}  // namespace detail

/// [intel/vol3] "VMX capability reporting facility".
constexpr EptFeatures ept_features(const VmxRegisters& raw) {
  auto const has = [&](unsigned n) { return detail::bit(raw.ept_vpid_cap, n); };
  return {
      .pa_bits = raw.pa_bits,
      .four_levels = has(6),
      .five_levels = has(7),
      .leaf_2m = has(16),
      .leaf_1g = has(17),
      .execute_only = has(0),
      .accessed_dirty = has(21),
      .mode_based_execute = detail::bit(raw.secondary_controls, 32 + 22),
      .pschange_mc_no = detail::bit(raw.arch_capabilities, 6),
      .write_back_tables = has(14),
      .invept_single = has(20) && has(25),
      .invept_all = has(20) && has(26),
  };
}

/// [amd/vol3] "Obtaining processor information via the CPUID instruction". A host with memory encryption on has fewer
/// address bits than the CPU says: it takes them from `pa_bits` itself.
constexpr NptFeatures npt_features(const SvmLeaves& raw) {
  auto const svm = detail::bit(raw.extended_ecx, 2);
  auto const has = [&](unsigned n) { return svm && detail::bit(raw.svm_edx, n); };
  auto const pa_bits = raw.address_eax & 0xFF;
  return {
      .pa_bits = pa_bits != 0 ? pa_bits : 36,
      .nested_paging = has(0),
      .five_levels = detail::bit(raw.structured_ecx, 16),
      .leaf_1g = detail::bit(raw.extended_edx, 26),
      .no_execute = detail::bit(raw.extended_edx, 20),
      .flush_by_asid = has(6),
      .asids = svm ? raw.svm_ebx : 0,
  };
}

/// What both have: guests move between the CPUs of a machine, and its tables with them.
constexpr EptFeatures common(const EptFeatures& a, const EptFeatures& b) {
  return {
      .pa_bits = a.pa_bits < b.pa_bits ? a.pa_bits : b.pa_bits,
      .four_levels = a.four_levels && b.four_levels,
      .five_levels = a.five_levels && b.five_levels,
      .leaf_2m = a.leaf_2m && b.leaf_2m,
      .leaf_1g = a.leaf_1g && b.leaf_1g,
      .execute_only = a.execute_only && b.execute_only,
      .accessed_dirty = a.accessed_dirty && b.accessed_dirty,
      .mode_based_execute = a.mode_based_execute && b.mode_based_execute,
      .pschange_mc_no = a.pschange_mc_no && b.pschange_mc_no,
      .write_back_tables = a.write_back_tables && b.write_back_tables,
      .invept_single = a.invept_single && b.invept_single,
      .invept_all = a.invept_all && b.invept_all,
  };
}
/// The same of AMD CPUs.
constexpr NptFeatures common(const NptFeatures& a, const NptFeatures& b) {
  return {
      .pa_bits = a.pa_bits < b.pa_bits ? a.pa_bits : b.pa_bits,
      .nested_paging = a.nested_paging && b.nested_paging,
      .five_levels = a.five_levels && b.five_levels,
      .leaf_1g = a.leaf_1g && b.leaf_1g,
      .no_execute = a.no_execute && b.no_execute,
      .flush_by_asid = a.flush_by_asid && b.flush_by_asid,
      .asids = a.asids < b.asids ? a.asids : b.asids,
  };
}

}  // namespace slat::x86_64
