#pragma once

// The guest's half of a VMCS when it begins: the fields' values for each way to start.
//
// [intel/vol3] "Guest Register State", "Checks on the Guest-State Area".

#include <array>
#include <cstdint>

#include "hv/x86_64/vcpu.hpp"
#include "hv/x86_64/vmcs.hpp"

namespace hv::vmx {

namespace cr0 {
inline constexpr std::uint64_t protection = 1u << 0;
inline constexpr std::uint64_t extension_type = 1u << 4;
inline constexpr std::uint64_t numeric_error = 1u << 5;
inline constexpr std::uint64_t paging = 1u << 31;
}  // namespace cr0

namespace cr4 {
inline constexpr std::uint64_t physical_address_extension = 1u << 5;
inline constexpr std::uint64_t vmx_enable = 1u << 13;
}  // namespace cr4

namespace efer {
inline constexpr std::uint64_t long_mode_enable = 1u << 8;
inline constexpr std::uint64_t long_mode_active = 1u << 10;
}  // namespace efer

/// IA32_PAT after a reset.
inline constexpr std::uint64_t reset_pat = 0x0007'0406'0007'0406;

/// Access rights of segments, in the VMCS's layout: type 3:0, S 4, DPL 6:5, P 7, L 13, D/B 14, G 15, unusable 16.
namespace access {
inline constexpr std::uint32_t long_code = 1u << 13;
inline constexpr std::uint32_t code_64 = 0xa09b;
inline constexpr std::uint32_t code_32 = 0xc09b;
inline constexpr std::uint32_t data = 0xc093;
inline constexpr std::uint32_t busy_task = 0x8b;
inline constexpr std::uint32_t unusable = 0x10000;
}  // namespace access

/// Selectors into a table that the guest has yet to make: its own GDT, when it loads one, need not have these.
inline constexpr std::uint16_t code_selector = 0x08, data_selector = 0x10, task_selector = 0x18;

/// Privilege level of a guest, which is that of its SS. [intel/vol3] "Guest Register State"
constexpr unsigned privilege(std::uint32_t ss_access) { return ss_access >> 5 & 0b11; }

constexpr bool is_long(const Start& start) { return start.mode == Start::Mode::long64; }

/// CR0.NE and CR4.VMXE must be 1 while the CPU is in VMX operation. The guest owns every bit but VMXE, which it sees as
/// 0; its NE it sees as 1, and may keep so. No descriptor table has an entry yet: an exception is a triple fault.
constexpr auto guest_state(const Start& start) {
  bool const paged = is_long(start);
  constexpr std::uint32_t whole = 0xffff'ffff;
  std::uint64_t const cr0_value =
      cr0::protection | cr0::extension_type | cr0::numeric_error | (paged ? cr0::paging : 0);
  std::uint64_t const cr4_value = cr4::vmx_enable | (paged ? cr4::physical_address_extension : 0);
  std::uint64_t const efer_value = paged ? efer::long_mode_enable | efer::long_mode_active : 0;
  return std::to_array<FieldValue>({
      {Field::guest_cr0, cr0_value},
      {Field::cr0_mask, 0},
      {Field::cr0_shadow, cr0_value},
      {Field::guest_cr3, paged ? start.cr3 : 0},
      {Field::guest_cr4, cr4_value},
      {Field::cr4_mask, cr4::vmx_enable},
      {Field::cr4_shadow, cr4_value & ~cr4::vmx_enable},
      {Field::guest_efer, efer_value},
      {Field::guest_pat, reset_pat},

      {Field::guest_rip, start.rip},
      {Field::guest_rsp, start.rsp},
      {Field::guest_rflags, start.rflags | 2},
      {Field::guest_dr7, 0x400},
      {Field::guest_debug_control, 0},
      {Field::guest_pending_debug, 0},

      {Field::guest_cs_selector, code_selector},
      {Field::guest_cs_base, 0},
      {Field::guest_cs_limit, whole},
      {Field::guest_cs_access, paged ? access::code_64 : access::code_32},
      {Field::guest_ss_selector, data_selector},
      {Field::guest_ss_base, 0},
      {Field::guest_ss_limit, whole},
      {Field::guest_ss_access, access::data},
      {Field::guest_ds_selector, data_selector},
      {Field::guest_ds_base, 0},
      {Field::guest_ds_limit, whole},
      {Field::guest_ds_access, access::data},
      {Field::guest_es_selector, data_selector},
      {Field::guest_es_base, 0},
      {Field::guest_es_limit, whole},
      {Field::guest_es_access, access::data},
      {Field::guest_fs_selector, data_selector},
      {Field::guest_fs_base, 0},
      {Field::guest_fs_limit, whole},
      {Field::guest_fs_access, access::data},
      {Field::guest_gs_selector, data_selector},
      {Field::guest_gs_base, 0},
      {Field::guest_gs_limit, whole},
      {Field::guest_gs_access, access::data},
      {Field::guest_ldtr_selector, 0},
      {Field::guest_ldtr_base, 0},
      {Field::guest_ldtr_limit, 0},
      {Field::guest_ldtr_access, access::unusable},
      {Field::guest_tr_selector, task_selector},
      {Field::guest_tr_base, 0},
      {Field::guest_tr_limit, 0x67},
      {Field::guest_tr_access, access::busy_task},
      {Field::guest_gdtr_base, 0},
      {Field::guest_gdtr_limit, 0},
      {Field::guest_idtr_base, 0},
      {Field::guest_idtr_limit, 0},

      {Field::guest_sysenter_cs, 0},
      {Field::guest_sysenter_esp, 0},
      {Field::guest_sysenter_eip, 0},
      {Field::guest_interruptibility, 0},
      {Field::guest_activity, 0},
      {Field::vmcs_link_pointer, ~0ull},
  });
}

}  // namespace hv::vmx
