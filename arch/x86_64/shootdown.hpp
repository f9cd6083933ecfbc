#pragma once

// Shootdowns where each CPU can invalidate for itself alone, as with INVEPT and the ASID flush of VMRUN: which CPUs
// must, how they are asked, and when the CPU that asks may go on.
//
//   the CPU that asks                          each other CPU
//   wanted = n                   ──┐      ┌──  I am present
//   who is present?  kick them   ◄─┼──────┤
//                                  └──────┼─►  what is wanted?  invalidate, answered = n
//   wait until each has answered n, or is gone
//
// Each side speaks first and looks then, and all four are sequentially consistent. So at least one sees the other: the
// CPU invalidates before it uses anything, or it is waited for. With less, a store may still lie in a store buffer when
// the load after it is done, and both may look too early: one goes on, the other enters with what it knew.
//
// What a CPU did in the guest comes before its answer, or before its leave, which release; the wait acquires. So
// whatever the table gave up is free of users once the hook has returned.
//
// No ranges here: INVEPT and the ASID flush drop all that a CPU knows of a root, table pointers too, whatever was
// asked. [intel/vol3] "Operations that invalidate cached mappings", [amd/vol2] "TLB control".

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include <slat/mm/concepts.hpp>

namespace slat::x86_64 {

/// What a shootdown asks of the hypervisor. CPUs have numbers from 0 on.
template <class T>
concept ShootdownMachine = requires(T& machine, std::size_t cpu, HostPhys root) {
  /// The CPU that executes this, and will until the hook returns.
  { machine.this_cpu() } noexcept -> std::same_as<std::size_t>;
  /// This CPU will not use in a guest what it knows of `root` now, by whichever of its virtual CPUs it learnt that.
  /// False when that failed. Where it tags by root, INVEPT; where it tags by ASID, a flush of each under which it has
  /// run the root, with the next VMRUN at the latest: AsidAllocator::start_over().
  { machine.invalidate(root) } noexcept -> std::same_as<bool>;
  /// Sends an interrupt for which another CPU leaves the guest.
  { machine.kick(cpu) } noexcept;
  /// One turn of waiting: PAUSE. With Presence::loaded it also answers for each root that this CPU has loaded: those
  /// that it waits for may be waiting for it.
  { machine.relax() } noexcept;
};

/// While what a CPU counts as able to use translations of a root: while so, a shootdown must reach it.
enum class Presence : std::uint8_t {
  /// While the root is loaded: interrupt and wait. The interrupt's handler answers wherever the CPU is, so whoever
  /// waits for something with interrupts off must go on answering.
  loaded,
  /// While it is in the guest: mark, kick, wait until it has left; it invalidates before its next entry. A CPU in the
  /// hypervisor is never waited for, and has nothing to answer.
  entered,
};

/// The shootdowns of one table, on a machine of at most `Cpus` CPUs. A CPU that runs the guest does this; the functions
/// that take a CPU are called on that CPU:
///
///   load(cpu, root);
///   for (;;) {
///     interrupts off (*);              // until the entry, so that a kick in between makes the CPU leave at once
///     if (!enter(cpu)) give up;
///     AsidAllocator::enter();          // on AMD; after the line above, which may have started over
///     VM entry, guest, VM exit;
///     leave(cpu);                      // before it waits for anything
///     interrupts on; see to the exit;
///   }
///   unload(cpu);
///
/// The handler of the kick's interrupt calls answer(cpu).
///
/// (*) With VMX, by EFLAGS.IF; external interrupts are an exit. With SVM, by CLGI; the INTR intercept and
/// V_INTR_MASKING are set, without which the guest's own IF would hold a kick back; and so is the host's IF at VMRUN,
/// since with that it is the one that counts in the guest. [amd/vol2] "Physical (INTR) Interrupt Masking in EFLAGS"
///
/// A CPU whose number is `Cpus` or more may edit the table, and is not let into its guest.
///
/// Threads: any CPU may call at any time, and a handler may interrupt any function here. Outlives the table and stays
/// where it is. `Atomic` is for tests that want to see each access.
template <Presence When, ShootdownMachine Machine, std::size_t Cpus, template <class> class Atomic = std::atomic>
class Shootdown {
 public:
  class Hook;

  /// For one table. `machine` is kept.
  explicit Shootdown(Machine machine) : machine_{machine} {}
  Shootdown(const Shootdown&) = delete;
  Shootdown& operator=(const Shootdown&) = delete;

  /// For a table, each time a new one, taken when the one before is gone. What CPUs know may be of that one, by a root
  /// at the same address: so a hook begins with a debt.
  Hook hook() noexcept {
    wanted_.fetch_add(1, std::memory_order_seq_cst);
    return Hook{*this};
  }

  /// The CPU is about to run the guest. A CPU that comes late starts clean: what it knows of the root may be older than
  /// shootdowns that passed it by, or be of another table whose root was at the same address.
  void load(std::size_t cpu, HostPhys root) noexcept {
    if (cpu >= Cpus) return;
    auto& one = cpus_[cpu];
    if (one.root != root) {
      one.root = root;
      one.answered.store(0, std::memory_order_release);
    }
    if constexpr (When == Presence::loaded) come(cpu);
  }
  /// It runs something else from here on. What it knows may stay: the next load() or enter() sees to it.
  void unload(std::size_t cpu) noexcept { go(cpu); }

  /// Before a VM entry, and before the ASID for it is chosen, with interrupts off. False: an invalidation failed, and
  /// the CPU may still know what is gone, so it must not enter. The debt stays: the next enter(), or load() with
  /// Presence::loaded, tries again.
  [[nodiscard]] bool enter(std::size_t cpu) noexcept {
    if (cpu >= Cpus) return false;
    if constexpr (When == Presence::entered) come(cpu);
    return cpus_[cpu].present.load(std::memory_order_relaxed);
  }
  /// Directly after a VM exit.
  void leave(std::size_t cpu) noexcept {
    if constexpr (When == Presence::entered) go(cpu);
  }

  /// Does what is asked of this CPU, if anything is.
  void answer(std::size_t cpu) noexcept {
    if (cpu >= Cpus) return;
    auto& one = cpus_[cpu];
    if (!one.present.load(std::memory_order_relaxed)) return;
    auto const wanted = wanted_.load(std::memory_order_seq_cst);
    auto answered = one.answered.load(std::memory_order_relaxed);
    if (answered >= wanted) return;
    // Outside the guest it uses nothing. So it need not be waited for, if it does not enter again.
    if (!machine_.invalidate(one.root)) return go(cpu);
    // An interrupt may have answered more than this in between.
    while (answered < wanted && !one.answered.compare_exchange_weak(answered, wanted, std::memory_order_release,
                                                                    std::memory_order_relaxed)) {
    }
  }

 private:
  struct alignas(64) Cpu {
    Atomic<std::uint64_t> answered{0};  // all that was wanted up to here
    Atomic<bool> present{false};
    HostPhys root{};  // its own business
  };

  void come(std::size_t cpu) noexcept {
    cpus_[cpu].present.store(true, std::memory_order_seq_cst);
    answer(cpu);
  }
  void go(std::size_t cpu) noexcept {
    if (cpu < Cpus) cpus_[cpu].present.store(false, std::memory_order_release);
  }

  bool owes(const Cpu& one, std::uint64_t wanted) const noexcept {
    return one.present.load(std::memory_order_seq_cst) && one.answered.load(std::memory_order_acquire) < wanted;
  }

  void shoot() noexcept {
    auto const wanted = wanted_.fetch_add(1, std::memory_order_seq_cst) + 1;
    auto const self = machine_.this_cpu();
    // All are asked before the first is waited for.
    for (std::size_t cpu = 0; cpu != Cpus; ++cpu)
      if (cpu != self && owes(cpus_[cpu], wanted)) machine_.kick(cpu);
    answer(self);
    for (auto const& one : cpus_)
      while (owes(one, wanted)) machine_.relax();
  }

  Machine machine_;
  // Never 0, which is what a CPU that has never had the root has answered.
  alignas(64) Atomic<std::uint64_t> wanted_{1};
  std::array<Cpu, Cpus> cpus_{};
};

/// Asks every CPU that may use translations of the table to drop them all, and returns when none can use any.
template <Presence When, ShootdownMachine Machine, std::size_t Cpus, template <class> class Atomic>
class Shootdown<When, Machine, Cpus, Atomic>::Hook {
 public:
  /// By Shootdown::hook(), which says that a table is new.
  explicit Hook(Shootdown& shootdown) : shootdown_{&shootdown} {}

  /// Every CPU that is present drops what it knows of the root, and none is left when it returns.
  void operator()(HostPhys, const Stale&) noexcept { shootdown_->shoot(); }
  /// x86 walks tables coherently and sees stores in their order.
  void publish() noexcept {}

 private:
  Shootdown* shootdown_;
};

}  // namespace slat::x86_64
