#pragma once

// The writer's lock of one guest's memory, where the writer may need something of those who wait for it.

#include <atomic>
#include <utility>

namespace hv {

/// As SpinLock. A CPU that waits calls `poll` with every turn, which answers what other CPUs want of it: the one that
/// holds the lock may be waiting for an invalidation here. With slat::x86_64::Presence::loaded that is the machine's
/// relax(); with Presence::entered nobody waits for a CPU outside the guest, and `poll` need only pause.
template <class Poll>
class PollingLock {
 public:
  explicit PollingLock(Poll poll = {}) : poll_{std::move(poll)} {}

  class Held {
   public:
    explicit Held(PollingLock& lock) : lock_{lock} {
      while (lock_.taken_.test_and_set(std::memory_order_acquire)) lock_.poll_();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { lock_.taken_.clear(std::memory_order_release); }

   private:
    PollingLock& lock_;
  };

 private:
  std::atomic_flag taken_;
  Poll poll_;
};

}  // namespace hv
