#pragma once

// A VMCB when its guest begins, as a value. [amd/vol2] "VMRUN instruction", "Canonicalization and consistency checks"

#include <cstdint>

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
