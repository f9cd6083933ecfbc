#pragma once

// A synchronous external abort, as the guest's EL1 would have got it from a bus: what an access to a hole becomes.
// [arm/a-profile] "Exception entry"; the state is computed by a pure function and put into the registers by
// another.

#include <cstdint>

#include "hv/aarch64/fault.hpp"
#include "hv/aarch64/vcpu.hpp"

namespace hv {

/// The EL1 registers that an exception changes, and where the guest goes on.
struct Injection {
  std::uint64_t pc;
  std::uint64_t pstate;
  std::uint64_t esr;
};

constexpr Injection external_abort(std::uint64_t pstate, const Abort& abort, std::uint64_t vbar, std::uint64_t sctlr) {
  constexpr std::uint64_t flags_kept = 0xfull << 28 | 1ull << 24 | 1ull << 22;  // NZCV, DIT, PAN
  constexpr std::uint64_t pan = 1ull << 22;
  constexpr std::uint64_t span = 1ull << 23;  // SCTLR_EL1: leave PSTATE.PAN alone
  bool const aarch32 = (pstate >> 4 & 1) != 0;
  bool const same_level = !aarch32 && (pstate & 0xf) >= 4;
  bool const own_stack = (pstate & 1) != 0;
  std::uint64_t const vector = aarch32 ? 0x600u : !same_level ? 0x400u : own_stack ? 0x200u : 0u;

  std::uint64_t const ec = (abort.instruction ? 0x20u : 0x24u) + (same_level ? 1u : 0u);
  constexpr std::uint64_t long_instruction = 1ull << 25;
  constexpr std::uint64_t external = 0x10;
  constexpr std::uint64_t external_on_walk = 0x17;  // of level 3
  return {
      .pc = vbar + vector,
      .pstate = (pstate & flags_kept) | (sctlr & span ? 0 : pan) | Vcpu::el1h_masked,
      .esr = ec << 26 | long_instruction | (abort.stage1_walk ? external_on_walk : external),
  };
}

/// Has `vcpu`, which runs on this CPU, take the abort for the virtual address `far` at its next entry.
inline void inject_external_abort(Vcpu& vcpu, const Abort& abort, std::uint64_t far) {
  std::uint64_t vbar;
  std::uint64_t sctlr;
  asm volatile("mrs %0, vbar_el1; mrs %1, sctlr_el1" : "=r"(vbar), "=r"(sctlr));
  auto const taken = external_abort(vcpu.pstate, abort, vbar, sctlr);
  asm volatile("msr elr_el1, %0; msr spsr_el1, %1; msr esr_el1, %2; msr far_el1, %3"
               :
               : "r"(vcpu.pc), "r"(vcpu.pstate), "r"(taken.esr), "r"(far));
  vcpu.pc = taken.pc;
  vcpu.pstate = taken.pstate;
}

}  // namespace hv
