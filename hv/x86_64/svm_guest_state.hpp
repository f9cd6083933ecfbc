#pragma once

// A VMCB when its guest begins, as a value. [amd/vol2] "VMRUN instruction", "Canonicalization and consistency checks"

#include <cstdint>
#include <optional>

#include <slat/arch/x86_64/vmcb.hpp>
#include <slat/mm/address.hpp>

#include "hv/x86_64/svm_vmcb.hpp"
#include "hv/x86_64/vcpu.hpp"

namespace hv::svm {

/// What the VMCB points to.
struct Pointers {
  std::uint64_t nested_cr3 = 0;
  slat::HostPhys port_map;
  slat::HostPhys msr_map;
};

/// The bit of EFER without which no guest is entered. The guest may read it.
inline constexpr std::uint64_t efer_svme = 1u << 12;

/// EFER after a guest's WRMSR, or nothing where that is #GP: a bit that does not exist, or another mode while paging is
/// on. LMA is the hardware's, SVME the host's, and what a guest says of them makes no difference. [amd/vol2] "Extended
/// feature enable register (EFER)"
constexpr std::optional<std::uint64_t> written_efer(std::uint64_t value, std::uint64_t current, std::uint64_t cr0) {
  constexpr std::uint64_t system_call = 1u << 0, long_mode = 1u << 8, long_mode_active = 1u << 10;
  constexpr std::uint64_t no_execute = 1u << 11, fast_save = 1u << 14, paging = 1u << 31;
  constexpr auto own = system_call | long_mode | no_execute | fast_save;
  if ((value & ~(own | long_mode_active | efer_svme)) != 0) return std::nullopt;
  if ((cr0 & paging) != 0 && ((value ^ current) & long_mode) != 0) return std::nullopt;
  return (value & own) | (current & long_mode_active) | efer_svme;
}

/// The controls, of a VMCB that is otherwise zero.
constexpr Vmcb controls(const Traps& traps, const Pointers& pointers) {
  Vmcb vmcb{};
  vmcb.intercepts = intercept::cpuid | intercept::invlpga | intercept::ports | intercept::msrs | intercept::shutdown |
                    (traps.interrupts ? intercept::interrupt : 0) | (traps.halt ? intercept::halt : 0);
  vmcb.more_intercepts = more_intercept::svm_instructions | more_intercept::xsetbv;
  vmcb.port_map = pointers.port_map.raw();
  vmcb.msr_map = pointers.msr_map.raw();
  // The guest's IF masks its own interrupts only: the host's come out by the host's.
  vmcb.virtual_interrupts = traps.interrupts ? 1u << 24 : 0;
  vmcb.nested_paging = slat::x86_64::np_enable;
  vmcb.nested_cr3 = pointers.nested_cr3;
  return vmcb;
}

/// Puts the beginning of a guest into a VMCB that has its controls. The selectors are of a table that the guest has yet
/// to make, and no descriptor table has an entry: an exception is a triple fault.
constexpr void begin(Vmcb& vmcb, const Start& start) {
  constexpr std::uint16_t code_selector = 0x08, data_selector = 0x10, task_selector = 0x18;
  constexpr std::uint16_t code_64 = 0xa9b, code_32 = 0xc9b, data = 0xc93, local_table = 0x82, busy_task = 0x8b;
  constexpr std::uint32_t whole = 0xffff'ffff;
  constexpr std::uint64_t paging = 1u << 31, ne_et_pe = 0x31;
  constexpr std::uint64_t physical_address_extension = 1u << 5;
  constexpr std::uint64_t long_mode = 1u << 8 | 1u << 10;
  bool const paged = start.mode == Start::Mode::long64;

  vmcb.cs = {code_selector, paged ? code_64 : code_32, whole, 0};
  vmcb.ds = vmcb.es = vmcb.fs = vmcb.gs = vmcb.ss = {data_selector, data, whole, 0};
  vmcb.ldtr = {0, local_table, 0, 0};
  vmcb.tr = {task_selector, busy_task, 0x67, 0};
  vmcb.gdtr = vmcb.idtr = {};
  vmcb.privilege = 0;
  vmcb.efer = efer_svme | (paged ? long_mode : 0);
  vmcb.cr0 = ne_et_pe | (paged ? paging : 0);
  vmcb.cr3 = paged ? start.cr3 : 0;
  vmcb.cr4 = paged ? physical_address_extension : 0;
  vmcb.dr6 = 0xffff'0ff0;
  vmcb.dr7 = 0x400;
  vmcb.rflags = start.rflags | 2;
  vmcb.rip = start.rip;
  vmcb.rsp = start.rsp;
  vmcb.rax = 0;
  vmcb.star = vmcb.lstar = vmcb.cstar = vmcb.sfmask = vmcb.kernel_gs_base = 0;
  vmcb.sysenter_cs = vmcb.sysenter_esp = vmcb.sysenter_eip = vmcb.cr2 = 0;
  vmcb.pat = 0x0007'0406'0007'0406;  // as after a reset
  vmcb.interrupt_shadow = 0;
  vmcb.event = 0;
}

}  // namespace hv::svm
