#pragma once

// A machine of shootdowns that counts what each costs.

#include <cstddef>

#include <slat/arch/x86_64/shootdown.hpp>

#include "hv/counted_hook.hpp"

namespace hv {

/// Whatever else `Machine` can do, this can. `counts` outlives it. Shootdowns are counted by CountedHook: one that
/// needs several interrupts is still one round of them, a CPU being interrupted once at most.
template <slat::x86_64::ShootdownMachine Machine>
class CountedMachine : public Machine {
 public:
  CountedMachine(Machine machine, InvalidationCounts& counts) : Machine{machine}, counts_{&counts} {}

  bool invalidate(slat::HostPhys root) noexcept {
    counts_->instructions.fetch_add(1, std::memory_order_relaxed);
    return Machine::invalidate(root);
  }
  void kick(std::size_t cpu) noexcept {
    counts_->interrupts.fetch_add(1, std::memory_order_relaxed);
    Machine::kick(cpu);
  }

 private:
  InvalidationCounts* counts_;
};

}  // namespace hv
