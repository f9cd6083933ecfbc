#pragma once

// What hardware may hold beside the live tree: translations that were live once and have changed since, until an
// invalidation covers them. Everything live may be cached too, always: it need not be listed.

#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/geometry.hpp>

#include <slat/testing/reader.hpp>

namespace slat::testing {

/// A table pointer that is no longer in its slot. What it leads to is frozen: it may be walked, so it may not be
/// written.
struct StaleTable {
  HostPhys table;
  std::vector<HostPhys> frames;  // it, and the tables that went with it
};

struct StaleSlot {
  Level level = 0;
  GuestRange span{};
  std::size_t call = 0;  // in which it first became stale
  std::vector<Decoded> leaves;
  std::vector<StaleTable> tables;
};

class StaleSet {
 public:
  StaleSlot& slot(Level level, GuestRange span, std::size_t call) {
    auto const [found, is_new] = slots_[level].try_emplace(span.begin.raw());
    if (is_new) {
      ++count_;
      found->second.level = level;
      found->second.span = span;
      found->second.call = call;
    }
    return found->second;
  }

  /// Calls body(const StaleSlot&) for every slot that overlaps `range`, until it answers false.
  template <class Body>
  bool overlapping(GuestRange range, Body body) const {
    if (count_ == 0) return true;
    for (auto const& level : slots_) {
      if (level.empty()) continue;
      auto at = level.upper_bound(range.begin.raw());
      if (at != level.begin() && std::prev(at)->second.span.overlaps(range)) --at;
      for (; at != level.end() && at->second.span.overlaps(range); ++at)
        if (!body(at->second)) return false;
    }
    return true;
  }
  bool overlaps(GuestRange range) const {
    return !overlapping(range, [](const StaleSlot&) { return false; });
  }
  template <class Body>
  void each(Body body) const {
    for (auto const& level : slots_)
      for (auto const& [begin, slot] : level) body(slot);
  }

  template <class Body>
  void each_until(Body body) const {
    for (auto const& level : slots_)
      for (auto const& [begin, slot] : level)
        if (!body(slot)) return;
  }

  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  void clear() {
    if (count_ == 0) return;
    for (auto& level : slots_) level.clear();
    count_ = 0;
  }

 private:
  std::array<std::map<std::uint64_t, StaleSlot>, 5> slots_;
  std::size_t count_ = 0;
};

}  // namespace slat::testing
