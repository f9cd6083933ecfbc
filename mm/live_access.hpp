#pragma once

// Loads and stores of entries that hardware may be reading, or writing, at the same time.

#include <atomic>

#include <slat/mm/concepts.hpp>

namespace slat::detail {

/// Every access to a live entry goes through the frames where they want to see it, else through std::atomic_ref.
/// Acquire and release order what a table holds before the pointer that leads to it.
template <FrameSource Frames>
struct LiveAccess {
  static Entry load(const Frames& frames, Entry* slot) {
    if constexpr (requires { frames.load(slot); })
      return frames.load(slot);
    else
      return std::atomic_ref(*slot).load(std::memory_order_acquire);
  }
  static void store(Frames& frames, Entry* slot, Entry next) {
    if constexpr (requires { frames.store(slot, next); })
      frames.store(slot, next);
    else
      std::atomic_ref(*slot).store(next, std::memory_order_release);
  }
  static Entry exchange(Frames& frames, Entry* slot, Entry next) {
    if constexpr (requires { frames.exchange(slot, next); })
      return frames.exchange(slot, next);
    else
      return std::atomic_ref(*slot).exchange(next, std::memory_order_acq_rel);
  }
  /// False, with `expected` as it is now, when hardware was faster.
  static bool compare_exchange(Frames& frames, Entry* slot, Entry& expected, Entry next) {
    if constexpr (requires { frames.compare_exchange(slot, expected, next); })
      return frames.compare_exchange(slot, expected, next);
    else
      return std::atomic_ref(*slot).compare_exchange_strong(expected, next, std::memory_order_acq_rel);
  }
};

}  // namespace slat::detail
