#pragma once

// Puts a CPU into VMX operation.

#include <array>
#include <cstddef>
#include <cstdint>

#include <slat/arch/x86_64/features.hpp>

#include "hv/outcome.hpp"
#include "hv/print.hpp"
#include "hv/x86_64/console.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/vmx_guest_state.hpp"
#include "hv/x86_64/vmx_host_state.hpp"
#include "hv/x86_64/vmx_instructions.hpp"

namespace hv::vmx {

namespace msr {
inline constexpr std::uint32_t feature_control = 0x3a;
inline constexpr std::uint32_t arch_capabilities = 0x10a;
inline constexpr std::uint32_t pat = 0x277;
inline constexpr std::uint32_t basic = 0x480;
inline constexpr std::uint32_t cr0_fixed0 = 0x486, cr0_fixed1 = 0x487, cr4_fixed0 = 0x488, cr4_fixed1 = 0x489;
inline constexpr std::uint32_t procbased_controls2 = 0x48b, ept_vpid_cap = 0x48c;
inline constexpr std::uint32_t efer = 0xc000'0080, fs_base = 0xc000'0100, gs_base = 0xc000'0101;
}  // namespace msr

/// Memory that belongs to the CPU, for VMXON or a VMCS: it begins with the revision of the layout.
/// [intel/vol3] "Format of the VMCS Region"
struct alignas(4096) Region {
  std::uint32_t revision = 0;
  std::array<std::byte, 4092> rest{};

  /// The hypervisor maps memory at its own address.
  slat::HostPhys address() const { return slat::HostPhys{reinterpret_cast<std::uint64_t>(this)}; }
};
static_assert(sizeof(Region) == 4096);

inline std::uint32_t revision() { return static_cast<std::uint32_t>(read_msr(msr::basic) & 0x7fff'ffff); }

/// Whether this CPU has VMX with secondary controls, EPT among them.
inline bool available() {
  constexpr std::uint32_t vmx = 1u << 5;
  constexpr unsigned may_be_1 = 32;
  if ((cpuid(1).ecx & vmx) == 0) return false;
  auto const primary_controls = read_msr(capability_msrs(read_msr(msr::basic)).primary);
  if ((primary_controls >> may_be_1 & primary::activate_secondary) == 0) return false;
  return (read_msr(msr::procbased_controls2) >> may_be_1 & secondary::ept) != 0;
}

/// Of this CPU, where VMX is available.
inline slat::x86_64::EptFeatures features() {
  bool const lists_flaws = cpuid(0).eax >= 7 && (cpuid(7).edx >> 29 & 1) != 0;
  return slat::x86_64::ept_features({.ept_vpid_cap = read_msr(msr::ept_vpid_cap),
                                     .secondary_controls = read_msr(msr::procbased_controls2),
                                     .arch_capabilities = lists_flaws ? read_msr(msr::arch_capabilities) : 0,
                                     .pa_bits = cpuid(0x8000'0008).eax & 0xff});
}

inline Capabilities capabilities() {
  auto const numbers = capability_msrs(read_msr(msr::basic));
  return {.pin = read_msr(numbers.pin),
          .primary = read_msr(numbers.primary),
          .secondary = read_msr(numbers.secondary),
          .exit = read_msr(numbers.exit),
          .entry = read_msr(numbers.entry)};
}

/// This CPU enters VMX operation. `region` is its own from then on.
inline void turn_on(Region& region) {
  switch (permission(read_msr(msr::feature_control))) {
    case Permission::given: break;
    case Permission::ours_to_give: write_msr(msr::feature_control, permit_and_lock); break;
    case Permission::refused: die("VMX is locked off by the firmware");
  }
  std::uint64_t cr0, cr4;
  asm volatile("mov %%cr0, %0; mov %%cr4, %1" : "=r"(cr0), "=r"(cr4));
  cr0 = with_fixed_bits(cr0, read_msr(msr::cr0_fixed0), read_msr(msr::cr0_fixed1));
  cr4 = with_fixed_bits(cr4 | cr4::vmx_enable, read_msr(msr::cr4_fixed0), read_msr(msr::cr4_fixed1));
  asm volatile("mov %0, %%cr0; mov %1, %%cr4" : : "r"(cr0), "r"(cr4) : "memory");
  region.revision = revision();
  if (vmxon(region.address()) != Verdict::succeeded) die("VMXON failed");
}

/// And leaves it. No virtual CPU is left on it.
inline void turn_off() {
  if (vmxoff() != Verdict::succeeded) die("VMXOFF failed");
}

extern "C" void hv_vmx_exit();

inline HostRegisters host_registers() {
  HostRegisters host;
  asm volatile("mov %%cr0, %0; mov %%cr3, %1; mov %%cr4, %2" : "=r"(host.cr0), "=r"(host.cr3), "=r"(host.cr4));
  asm volatile("mov %%cs, %0; mov %%ss, %1; mov %%ds, %2" : "=r"(host.cs), "=r"(host.ss), "=r"(host.ds));
  asm volatile("mov %%es, %0; mov %%fs, %1; mov %%gs, %2; str %3"
               : "=r"(host.es), "=r"(host.fs), "=r"(host.gs), "=r"(host.tr));
  struct [[gnu::packed]] TableRegister {
    std::uint16_t limit;
    std::uint64_t base;
  } gdt, idt;
  asm volatile("sgdt %0; sidt %1" : "=m"(gdt), "=m"(idt));
  host.gdt_base = gdt.base;
  host.idt_base = idt.base;
  auto const* const task = reinterpret_cast<const std::uint64_t*>(gdt.base + (host.tr & 0xfff8));
  host.tr_base = task_base(task[0], task[1]);
  host.efer = read_msr(msr::efer);
  host.pat = read_msr(msr::pat);
  host.fs_base = read_msr(msr::fs_base);
  host.gs_base = read_msr(msr::gs_base);
  host.exit_rip = reinterpret_cast<std::uint64_t>(&hv_vmx_exit);
  return host;
}

}  // namespace hv::vmx
