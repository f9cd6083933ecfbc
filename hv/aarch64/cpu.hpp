#pragma once

// One CPU of the machine, which runs one virtual CPU of the guest or is off.

#include <array>
#include <cstddef>
#include <cstdint>

#include "hv/aarch64/layout.h"
#include "hv/aarch64/psci.hpp"
#include "hv/aarch64/vcpu.hpp"

namespace hv {

struct Cpu {
  static constexpr std::size_t stack_size = 16384;

  std::byte* stack_top = nullptr;       // the entry code reads it
  void (*main)(Cpu&, void*) = nullptr;  // what the CPU does once it is on; it does not return
  void* context = nullptr;              // for main
  std::uint64_t mpidr = 0;
  Vcpu vcpu;
};
static_assert(offsetof(Cpu, stack_top) == CPU_STACK);

/// entry.S: where PSCI sends a CPU that is turned on, with its Cpu.
extern "C" void hv_secondary_entry();

inline std::int64_t turn_on(Cpu& cpu) {
  return psci::call(psci::cpu_on, cpu.mpidr, reinterpret_cast<std::uint64_t>(&hv_secondary_entry),
                    reinterpret_cast<std::uint64_t>(&cpu));
}

[[noreturn]] inline void turn_off_this_cpu() {
  psci::call(psci::cpu_off);
  for (;;) asm volatile("wfe");
}

}  // namespace hv
