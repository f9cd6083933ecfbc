#pragma once

// A hook that counts its shootdowns.

#include <atomic>
#include <cstdint>

#include <slat/mm/concepts.hpp>

namespace hv {

/// CPUs count at once.
struct InvalidationCounts {
  std::atomic<std::uint64_t> shootdowns = 0;
  std::atomic<std::uint64_t> instructions = 0;  // TLBIs, INVEPTs: whatever the architecture needs, on one CPU or on all
  std::atomic<std::uint64_t> interrupts = 0;  // sent to other CPUs so that they invalidate, where they must themselves
};

/// Whatever else `Hook` can do, this can. `counts` outlives it, because a table moves its hook about.
template <slat::InvalidationHook Hook>
class CountedHook : public Hook {
 public:
  CountedHook(Hook hook, InvalidationCounts& counts) : Hook{hook}, counts_{&counts} {}

  void operator()(slat::HostPhys root, const slat::Stale& stale) noexcept {
    counts_->shootdowns.fetch_add(1, std::memory_order_relaxed);
    Hook::operator()(root, stale);
  }

 private:
  InvalidationCounts* counts_;
};

}  // namespace hv
