#pragma once

// Which pages the CPUs of a test have written to, so that dirty marks can be held to it.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "unit/edit_plan.hpp"

namespace slat::test {

/// By CPU, by watched page, and by where the page led. CPUs write at any time; all else is the table's writer's.
template <std::size_t Cpus>
class WriteLedger {
  using When = std::uint64_t;  // one more than the number of invalidations that the CPU had answered
  static constexpr When never = 0;

 public:
  /// By an entry that is marked, in memory or where the CPU keeps it.
  void write(std::size_t cpu, std::size_t page, HostPhys host, std::uint64_t answered) {
    at(cpu, page, EditPlan::variant(host)).store(answered + 1, std::memory_order_release);
  }
  /// Whether anybody wrote there and it was not forgotten since.
  bool holds(std::size_t page, HostPhys host) const {
    for (std::size_t cpu = 0; cpu != Cpus; ++cpu)
      if (wrote_[cpu][page][EditPlan::variant(host)].load(std::memory_order_acquire) != never) return true;
    return false;
  }
  /// What the page led to before, when no CPU can write there any more.
  void forget_elsewhere(std::size_t page, std::optional<HostPhys> host) {
    for (std::size_t cpu = 0; cpu != Cpus; ++cpu)
      for (std::size_t variant = 0; variant != EditPlan::variants; ++variant)
        if (!host || EditPlan::variant(*host) != variant)
          at(cpu, page, variant).store(never, std::memory_order_relaxed);
  }
  /// A mark was reported and taken away, and that many invalidations have ended: what a CPU wrote before it answered
  /// the last is told. What it wrote later must have been marked anew.
  void forget_before(std::uint64_t invalidations, std::size_t page, HostPhys host) {
    for (std::size_t cpu = 0; cpu != Cpus; ++cpu) {
      auto& wrote = at(cpu, page, EditPlan::variant(host));
      auto when = wrote.load(std::memory_order_relaxed);
      if (when <= invalidations) wrote.compare_exchange_strong(when, never, std::memory_order_relaxed);
    }
  }

 private:
  std::atomic<When>& at(std::size_t cpu, std::size_t page, std::size_t variant) { return wrote_[cpu][page][variant]; }

  std::array<std::array<std::array<std::atomic<When>, EditPlan::variants>, EditPlan::watched>, Cpus> wrote_{};
};

}  // namespace slat::test
