#pragma once

// The writer's lock of one guest's memory.

#include <atomic>

namespace hv {

/// Held for as long as it lives. A CPU that waits here answers no mailbox: right where invalidations are broadcast by
/// the hardware, or where interrupts bring them and are left on. Else PollingLock is for those who wait.
class SpinLock {
 public:
  class Held {
   public:
    explicit Held(SpinLock& lock) : lock_{lock} {
      while (lock_.taken_.test_and_set(std::memory_order_acquire)) {
      }
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    ~Held() { lock_.taken_.clear(std::memory_order_release); }

   private:
    SpinLock& lock_;
  };

 private:
  std::atomic_flag taken_;
};

}  // namespace hv
