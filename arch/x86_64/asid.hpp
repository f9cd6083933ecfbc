#pragma once

// ASIDs: an AMD CPU tags what it caches for a guest with a number of its own choosing, so each CPU gives out its
// numbers alone. When none is left a new generation begins, for which that CPU forgets everything.
//
// Before VMRUN, on the CPU that executes it, interrupts off from the first line on:
//
//   shootdown.enter(cpu)                  // may call asids.start_over(): invalidate() of a ShootdownMachine
//   asids.enter(asid, nested_cr3)         // so this comes after it
//   VMRUN

#include <cstdint>

#include <slat/arch/x86_64/features.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

namespace slat::x86_64 {

/// What a virtual CPU remembers between runs. A new one belongs to no CPU. Each virtual CPU has its own: what two of
/// one VM cache for their own page tables must not be mixed. One that goes to and fro between nested tables may have
/// one for each, and else gets a fresh ASID whenever it changes: hardware does not tell tables apart under one.
struct Asid {
  std::uint64_t generation = 0;  // of the CPU's numbers, in which `value` was given out
  std::uint64_t nested_cr3 = 0;  // under which it ran
  std::uint32_t cpu = 0;         // where it ran: the number is good nowhere else
  std::uint32_t value = 0;       // 0 is never given out: it is the host's
  bool stale = false;            // something may be cached under it that must not be used
  friend constexpr bool operator==(const Asid&, const Asid&) = default;
};

/// Gives ASIDs to virtual CPUs on one CPU. All calls are made there, and so is the VMRUN that follows enter(), with
/// nothing in between that could run another guest.
class AsidAllocator {
 public:
  /// `cpu` is this CPU's number, `features` its own: CPUs may differ. Whatever ran here before may have left something
  /// under any number, so the first VMRUN begins a generation.
  constexpr AsidAllocator(std::uint32_t cpu, const NptFeatures& features)
      // Every CPU with SVM has one ASID for a guest.
      : cpu_{cpu},
        count_{features.asids < 2 ? 2 : features.asids},
        next_{count_},
        flush_by_asid_{features.flush_by_asid} {}

  /// Called before VMRUN with the VMCB's N_CR3, and interrupts off so that no handler's start_over() can come between:
  /// the virtual CPU keeps its ASID while that is good, and gets a fresh one else. For the VMCB are `asid.value` (its
  /// clean bit is cleared when it changes) and the answer, which belongs to this VMRUN alone.
  [[nodiscard]] constexpr TlbControl enter(Asid& asid, std::uint64_t nested_cr3) {
    auto const good = asid.cpu == cpu_ && asid.generation == generation_ && asid.nested_cr3 == nested_cr3;
    if (good && !asid.stale) return TlbControl::nothing;
    if (good && flush_by_asid_) {
      asid.stale = false;
      return TlbControl::this_asid;
    }
    auto const roll = next_ == count_;
    if (roll) {
      ++generation_;
      next_ = 1;
    }
    asid = {generation_, nested_cr3, cpu_, next_++};
    return roll ? TlbControl::everything : TlbControl::nothing;
  }

  /// The nested tables of this virtual CPU, which is not in its guest, have changed: it runs again with nothing cached.
  /// Of others this says nothing, and it is called where the virtual CPU is.
  static constexpr void flush(Asid& asid) { asid.stale = true; }
  /// No virtual CPU runs here again with anything cached. This is what a shootdown asks of a CPU, on which several may
  /// have run with one root. Also where the VMRUN after enter() was not made, or failed, so that what it was to flush
  /// is owed still.
  constexpr void start_over() {
    ++generation_;
    next_ = count_;
  }

 private:
  std::uint64_t generation_ = 1;
  std::uint32_t cpu_;
  std::uint32_t count_;
  std::uint32_t next_;
  bool flush_by_asid_;
};

}  // namespace slat::x86_64
