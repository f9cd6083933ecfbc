#pragma once

// A guest CPU's general registers, and the call that runs it. The guest's
// system registers stay in the hardware: a virtual CPU never leaves its CPU.

#include <array>
#include <cstddef>
#include <cstdint>

#include "hv/aarch64/layout.h"

namespace hv {

struct Vcpu {
  /// EL1 with its own stack pointer, interrupts masked: what Linux and PSCI CPU_ON expect at entry.
  static constexpr std::uint64_t el1h_masked = 0x3c5;

  std::array<std::uint64_t, 31> x{};
  std::uint64_t pc = 0;
  std::uint64_t pstate = el1h_masked;
};

static_assert(offsetof(Vcpu, x) == VCPU_X && offsetof(Vcpu, pc) == VCPU_PC && offsetof(Vcpu, pstate) == VCPU_PSTATE);

/// Runs the guest on this CPU until it comes to EL2, with a synchronous exception of which the syndrome registers tell.
extern "C" void hv_run_guest(Vcpu* vcpu);

/// Why the guest came: the registers that describe an exception taken to EL2. Read before anything else can fault.
struct Syndrome {
  std::uint64_t esr;
  std::uint64_t far;
  std::uint64_t hpfar;

  static Syndrome read() {
    Syndrome s;
    asm volatile("mrs %0, esr_el2; mrs %1, far_el2; mrs %2, hpfar_el2" : "=r"(s.esr), "=r"(s.far), "=r"(s.hpfar));
    return s;
  }
};

inline Syndrome run(Vcpu& vcpu) {
  hv_run_guest(&vcpu);
  return Syndrome::read();
}

}  // namespace hv
