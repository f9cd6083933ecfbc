#pragma once

// The fields of a VMCS by their encodings, and what may be set in its control words.
//
// [intel/vol3] "Field Encoding in VMCS", "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control
// Fields".

#include <cstdint>
#include <string_view>

#include "hv/x86_64/vcpu.hpp"

namespace hv::vmx {

/// 14:13 width (0: 16 bits, 1: 64, 2: 32, 3: natural), 11:10 type (0 control, 1 read-only, 2 guest, 3 host), 9:1 index.
enum class Field : std::uint32_t {
  guest_es_selector = 0x0800,
  guest_cs_selector = 0x0802,
  guest_ss_selector = 0x0804,
  guest_ds_selector = 0x0806,
  guest_fs_selector = 0x0808,
  guest_gs_selector = 0x080a,
  guest_ldtr_selector = 0x080c,
  guest_tr_selector = 0x080e,
  page_log_index = 0x0812,

  host_es_selector = 0x0c00,
  host_cs_selector = 0x0c02,
  host_ss_selector = 0x0c04,
  host_ds_selector = 0x0c06,
  host_fs_selector = 0x0c08,
  host_gs_selector = 0x0c0a,
  host_tr_selector = 0x0c0c,

  port_bitmap_low = 0x2000,
  port_bitmap_high = 0x2002,
  msr_bitmap = 0x2004,
  page_log_address = 0x200e,
  ept_pointer = 0x201a,
  xss_exiting_bitmap = 0x202c,

  guest_physical_address = 0x2400,

  vmcs_link_pointer = 0x2800,
  guest_debug_control = 0x2802,
  guest_pat = 0x2804,
  guest_efer = 0x2806,

  host_pat = 0x2c00,
  host_efer = 0x2c02,

  pin_controls = 0x4000,
  primary_controls = 0x4002,
  exception_bitmap = 0x4004,
  page_fault_mask = 0x4006,
  page_fault_match = 0x4008,
  cr3_target_count = 0x400a,
  exit_controls = 0x400c,
  exit_msr_store_count = 0x400e,
  exit_msr_load_count = 0x4010,
  entry_controls = 0x4012,
  entry_msr_load_count = 0x4014,
  entry_interruption_information = 0x4016,
  entry_exception_error_code = 0x4018,
  entry_instruction_length = 0x401a,
  secondary_controls = 0x401e,

  instruction_error = 0x4400,
  exit_reason = 0x4402,
  exit_interruption_information = 0x4404,
  vectoring_information = 0x4408,
  vectoring_error_code = 0x440a,
  exit_instruction_length = 0x440c,

  guest_es_limit = 0x4800,
  guest_cs_limit = 0x4802,
  guest_ss_limit = 0x4804,
  guest_ds_limit = 0x4806,
  guest_fs_limit = 0x4808,
  guest_gs_limit = 0x480a,
  guest_ldtr_limit = 0x480c,
  guest_tr_limit = 0x480e,
  guest_gdtr_limit = 0x4810,
  guest_idtr_limit = 0x4812,
  guest_es_access = 0x4814,
  guest_cs_access = 0x4816,
  guest_ss_access = 0x4818,
  guest_ds_access = 0x481a,
  guest_fs_access = 0x481c,
  guest_gs_access = 0x481e,
  guest_ldtr_access = 0x4820,
  guest_tr_access = 0x4822,
  guest_interruptibility = 0x4824,
  guest_activity = 0x4826,
  guest_sysenter_cs = 0x482a,

  host_sysenter_cs = 0x4c00,

  cr0_mask = 0x6000,
  cr4_mask = 0x6002,
  cr0_shadow = 0x6004,
  cr4_shadow = 0x6006,

  exit_qualification = 0x6400,

  guest_cr0 = 0x6800,
  guest_cr3 = 0x6802,
  guest_cr4 = 0x6804,
  guest_es_base = 0x6806,
  guest_cs_base = 0x6808,
  guest_ss_base = 0x680a,
  guest_ds_base = 0x680c,
  guest_fs_base = 0x680e,
  guest_gs_base = 0x6810,
  guest_ldtr_base = 0x6812,
  guest_tr_base = 0x6814,
  guest_gdtr_base = 0x6816,
  guest_idtr_base = 0x6818,
  guest_dr7 = 0x681a,
  guest_rsp = 0x681c,
  guest_rip = 0x681e,
  guest_rflags = 0x6820,
  guest_pending_debug = 0x6822,
  guest_sysenter_esp = 0x6824,
  guest_sysenter_eip = 0x6826,

  host_cr0 = 0x6c00,
  host_cr3 = 0x6c02,
  host_cr4 = 0x6c04,
  host_fs_base = 0x6c06,
  host_gs_base = 0x6c08,
  host_tr_base = 0x6c0a,
  host_gdtr_base = 0x6c0c,
  host_idtr_base = 0x6c0e,
  host_sysenter_esp = 0x6c10,
  host_sysenter_eip = 0x6c12,
  host_rsp = 0x6c14,
  host_rip = 0x6c16,
};

struct FieldValue {
  Field field;
  std::uint64_t value;

  friend constexpr bool operator==(const FieldValue&, const FieldValue&) = default;
};

// ---- control words -------------------------------------------------------------------------------------------------

namespace pin {
inline constexpr std::uint32_t external_interrupt_exiting = 1u << 0;
}  // namespace pin

namespace primary {
inline constexpr std::uint32_t hlt_exiting = 1u << 7;
inline constexpr std::uint32_t port_exiting = 1u << 24;
inline constexpr std::uint32_t use_port_bitmaps = 1u << 25;
inline constexpr std::uint32_t use_msr_bitmap = 1u << 28;
inline constexpr std::uint32_t activate_secondary = 1u << 31;
}  // namespace primary

namespace secondary {
inline constexpr std::uint32_t ept = 1u << 1;
inline constexpr std::uint32_t rdtscp = 1u << 3;
inline constexpr std::uint32_t unrestricted_guest = 1u << 7;
inline constexpr std::uint32_t invpcid = 1u << 12;
inline constexpr std::uint32_t page_modification_log = 1u << 17;
inline constexpr std::uint32_t xsaves = 1u << 20;
inline constexpr std::uint32_t mode_based_execute = 1u << 22;
}  // namespace secondary

namespace on_exit {
inline constexpr std::uint32_t save_debug_controls = 1u << 2;
inline constexpr std::uint32_t host_64_bit = 1u << 9;
inline constexpr std::uint32_t save_pat = 1u << 18;
inline constexpr std::uint32_t load_pat = 1u << 19;
inline constexpr std::uint32_t save_efer = 1u << 20;
inline constexpr std::uint32_t load_efer = 1u << 21;
}  // namespace on_exit

namespace on_entry {
inline constexpr std::uint32_t load_debug_controls = 1u << 2;
inline constexpr std::uint32_t guest_64_bit = 1u << 9;
inline constexpr std::uint32_t load_pat = 1u << 14;
inline constexpr std::uint32_t load_efer = 1u << 15;
}  // namespace on_entry

/// A control word as this CPU takes it, or the bits that it lacks.
struct Controls {
  std::uint32_t value;
  std::uint32_t missing;

  constexpr explicit operator bool() const { return missing == 0; }
  friend constexpr bool operator==(const Controls&, const Controls&) = default;
};

/// `capability` is the word's capability MSR: its lower half says what must be 1, its upper half what may be. Bits of
/// `wanted` that may not be 1 are missing; bits of `wished` that may not are left out.
/// [intel/vol3] "Reserved Controls and Default Settings"
constexpr Controls controls(std::uint64_t capability, std::uint32_t wanted, std::uint32_t wished = 0) {
  auto const must = static_cast<std::uint32_t>(capability);
  auto const may = static_cast<std::uint32_t>(capability >> 32);
  return {must | ((wanted | wished) & may), wanted & ~may};
}

/// The five words of one VMCS.
struct ControlWords {
  Controls pin;
  Controls primary;
  Controls secondary;
  Controls exit;
  Controls entry;

  /// The first word that lacks something, or nothing.
  constexpr std::string_view lacking() const {
    if (!pin) return "pin-based controls";
    if (!primary) return "processor-based controls";
    if (!secondary) return "secondary controls";
    if (!exit) return "VM-exit controls";
    if (!entry) return "VM-entry controls";
    return {};
  }
  constexpr std::uint32_t missing() const {
    return !pin         ? pin.missing
           : !primary   ? primary.missing
           : !secondary ? secondary.missing
           : !exit      ? exit.missing
                        : entry.missing;
  }
};

/// What the capability MSRs say.
struct Capabilities {
  std::uint64_t pin;
  std::uint64_t primary;
  std::uint64_t secondary;
  std::uint64_t exit;
  std::uint64_t entry;
};

/// Their numbers: of the TRUE ones where IA32_VMX_BASIC has bit 55, because the others demand exits on CR3 accesses.
/// [intel/vol3] "VM-Execution Controls" of "VMX Capability Reporting Facility"
struct CapabilityMsrs {
  std::uint32_t pin, primary, secondary, exit, entry;
  friend constexpr bool operator==(const CapabilityMsrs&, const CapabilityMsrs&) = default;
};
constexpr CapabilityMsrs capability_msrs(std::uint64_t vmx_basic) {
  constexpr std::uint32_t secondary = 0x48b;
  if ((vmx_basic >> 55 & 1) != 0) return {0x48d, 0x48e, secondary, 0x48f, 0x490};
  return {0x481, 0x482, secondary, 0x483, 0x484};
}

/// RDTSCP, INVPCID and XSAVES are the guest's where the CPU has them: without their controls they are undefined
/// instructions, whatever CPUID says. The guest's debug registers, PAT and EFER are kept apart from the host's.
/// `for_ept` are the secondary controls that the guest's tables need.
constexpr ControlWords control_words(const Capabilities& cpu, const Traps& traps, std::uint32_t for_ept) {
  return {
      .pin = controls(cpu.pin, traps.interrupts ? pin::external_interrupt_exiting : 0),
      .primary = controls(cpu.primary, primary::use_msr_bitmap | primary::activate_secondary |
                                           (traps.halt ? primary::hlt_exiting : 0) |
                                           (traps.ports ? primary::use_port_bitmaps : primary::port_exiting)),
      .secondary = controls(cpu.secondary, for_ept | secondary::unrestricted_guest,
                            secondary::rdtscp | secondary::invpcid | secondary::xsaves),
      .exit = controls(cpu.exit, on_exit::save_debug_controls | on_exit::host_64_bit | on_exit::save_pat |
                                     on_exit::load_pat | on_exit::save_efer | on_exit::load_efer),
      .entry = controls(cpu.entry, on_entry::load_debug_controls | on_entry::load_pat | on_entry::load_efer),
  };
}

}  // namespace hv::vmx
