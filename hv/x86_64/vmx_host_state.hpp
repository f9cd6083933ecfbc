#pragma once

// The host's half of a VMCS, and what a CPU must be before it can be in VMX operation.
//
// [intel/vol3] "Host-State Area", "Enabling and Entering VMX Operation".

#include <array>
#include <cstdint>

#include "hv/x86_64/vmcs.hpp"

namespace hv::vmx {

/// IA32_FEATURE_CONTROL: bit 0 locks it until the next reset, bit 2 permits VMXON.
enum class Permission : std::uint8_t { given, ours_to_give, refused };
inline constexpr std::uint64_t permit_and_lock = 0b101;
constexpr Permission permission(std::uint64_t feature_control) {
  if ((feature_control & 1) == 0) return Permission::ours_to_give;
  return (feature_control >> 2 & 1) != 0 ? Permission::given : Permission::refused;
}

/// A control register with the bits that VMX operation fixes: those of `fixed0` are 1, those not in `fixed1` are 0.
/// [intel/vol3] "VMX-Fixed Bits in CR0"
constexpr std::uint64_t with_fixed_bits(std::uint64_t value, std::uint64_t fixed0, std::uint64_t fixed1) {
  return (value | fixed0) & fixed1;
}

/// The base in a 16-byte descriptor of a 64-bit TSS. [intel/vol3] "TSS Descriptor in 64-bit mode"
constexpr std::uint64_t task_base(std::uint64_t low, std::uint64_t high) {
  return (low >> 16 & 0xff'ffff) | (low >> 56 & 0xff) << 24 | high << 32;
}

/// What of the running CPU an exit has to restore.
struct HostRegisters {
  std::uint64_t cr0 = 0, cr3 = 0, cr4 = 0, efer = 0, pat = 0;
  std::uint16_t cs = 0, ss = 0, ds = 0, es = 0, fs = 0, gs = 0, tr = 0;
  std::uint64_t fs_base = 0, gs_base = 0, tr_base = 0, gdt_base = 0, idt_base = 0;
  std::uint64_t exit_rip = 0;  // RSP the entry code writes
};

constexpr auto host_state(const HostRegisters& host) {
  // Privilege level and table indicator of a host's selector must be 0.
  constexpr auto plain = [](std::uint16_t selector) { return std::uint64_t{selector} & 0xfff8; };
  return std::to_array<FieldValue>({
      {Field::host_cr0, host.cr0},
      {Field::host_cr3, host.cr3},
      {Field::host_cr4, host.cr4},
      {Field::host_efer, host.efer},
      {Field::host_pat, host.pat},
      {Field::host_cs_selector, plain(host.cs)},
      {Field::host_ss_selector, plain(host.ss)},
      {Field::host_ds_selector, plain(host.ds)},
      {Field::host_es_selector, plain(host.es)},
      {Field::host_fs_selector, plain(host.fs)},
      {Field::host_gs_selector, plain(host.gs)},
      {Field::host_tr_selector, plain(host.tr)},
      {Field::host_fs_base, host.fs_base},
      {Field::host_gs_base, host.gs_base},
      {Field::host_tr_base, host.tr_base},
      {Field::host_gdtr_base, host.gdt_base},
      {Field::host_idtr_base, host.idt_base},
      {Field::host_sysenter_cs, 0},
      {Field::host_sysenter_esp, 0},
      {Field::host_sysenter_eip, 0},
      {Field::host_rip, host.exit_rip},
  });
}

}  // namespace hv::vmx
