#pragma once

// Readers beside the writer of a table: what a hook's wait_for_readers() needs so that query() may run in any thread
// while an edit unlinks tables. A pattern to take over, and what the tests of it run on.
//
//   using Readers = EpochReaders<cpus>; Readers readers;
//   { Readers::Reading const reading{readers, this_cpu}; leaf = table.query(at); }   // a reader
//   void wait_for_readers() noexcept { readers->wait([] { relax(); }); }             // in the writer's hook
//
//   epoch      1         2 ── wait ──────────► returns
//   reader 0   ├── query in 1 ──────────┤                   waited for
//   reader 1             ├── query in 2 ────────────────    has begun later: the tables that go are unlinked for it

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace slat::testing {

/// So many readers, each with a number and a cache line of its own, so that none of them waits for anything. One writer
/// at a time. Pinned.
template <std::size_t Readers>
class EpochReaders {
  using Epoch = std::uint64_t;
  static constexpr Epoch outside = 0;
  struct alignas(64) Slot {
    std::atomic<Epoch> epoch{outside};
  };

 public:
  /// A query, or several, for as long as it lives. `reader` has no other meanwhile. The exchange and the writer's own
  /// in wait() are in one order: either the writer finds this reader, or the reader finds what the writer has unlinked.
  class [[nodiscard]] Reading {
   public:
    Reading(EpochReaders& readers, std::size_t reader) noexcept : slot_{readers.slots_[reader].epoch} {
      slot_.exchange(readers.epoch_.load(std::memory_order_acquire), std::memory_order_acq_rel);
    }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() { slot_.store(outside, std::memory_order_release); }

   private:
    std::atomic<Epoch>& slot_;
  };

  /// Returns when all that had begun before has ended; calls `relax()` as long as something has not.
  template <class Relax>
  void wait(Relax relax) noexcept {
    auto const now = epoch_.fetch_add(1, std::memory_order_acq_rel) + 1;
    for (auto& slot : slots_) {
      auto const reads = [&] {
        // A read-modify-write that changes nothing: a load could be early.
        auto const begun = slot.epoch.fetch_add(0, std::memory_order_acq_rel);
        return begun != outside && begun < now;
      };
      while (reads()) relax();
    }
  }

 private:
  std::atomic<Epoch> epoch_{1};
  std::array<Slot, Readers> slots_;
};

}  // namespace slat::testing
