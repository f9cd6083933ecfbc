#pragma once

// Interrupts that CPUs send each other. Everything else that interrupts the hypervisor is its death.

#include <cstdint>

namespace hv {

/// What vectors.S leaves on the stack.
struct InterruptFrame {
  std::uint64_t rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11;
  std::uint64_t vector, error;
  std::uint64_t rip, cs, rflags, rsp, ss;
};

/// One for all CPUs. Runs with interrupts off, on the CPU that was interrupted.
using InterruptHandler = void (*)();

/// `vector` is 32 to 254. Before the first such interrupt is sent.
void handle_interrupt(std::uint8_t vector, InterruptHandler handler);

}  // namespace hv
