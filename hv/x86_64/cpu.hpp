#pragma once

// One CPU of the machine.

#include <cstddef>
#include <cstdint>

#include "hv/x86_64/layout.h"

namespace hv {

struct Cpu {
  static constexpr std::size_t stack_size = 131072;

  std::byte* stack_top = nullptr;       // the entry code reads it
  void (*main)(Cpu&, void*) = nullptr;  // what the CPU does once it is on; where it returns, the CPU halts
  void* context = nullptr;              // for main
  std::uint32_t apic_id = 0;
  unsigned number = 0;  // 1 to MOST_CPUS - 1; 0 is the boot CPU
};
static_assert(offsetof(Cpu, stack_top) == CPU_STACK);

/// Starts a CPU that has not been started before, and waits for it. False when no CPU answers. `cpu` is its own from
/// then on. One CPU at a time is started.
bool turn_on(Cpu& cpu);

}  // namespace hv
