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
#include <slat/testing/hold.hpp>
#include <slat/testing/reader.hpp>

namespace slat::testing {

struct StaleLeaf {
  Decoded was;
  Hold hold;
  bool narrower = false;  // than what is live: it may linger, and a guest may fault on it
};

/// A table pointer that is no longer in its slot. What it leads to is frozen: it may be walked, so it may not be
/// written.
struct StaleTable {
  HostPhys table;
  std::vector<HostPhys> frames;  // it, and the tables that went with it
  std::vector<GuestRange> left;  // the parts of its span that no invalidation has named yet
  ContextSet parts = 0;          // where the others were dropped
  std::uint8_t parts_on = 0;     // by this CPU, whose DSB waits for them all
  Hold hold;
};

struct StaleSlot {
  Level level = 0;
  GuestRange span{};
  std::size_t call = 0;  // in which it first became stale
  std::vector<StaleLeaf> leaves;
  std::vector<StaleTable> tables;

  template <class Body>
  void each_hold(Body body) {
    for (auto& leaf : leaves) body(leaf.hold);
    for (auto& table : tables) body(table.hold);
  }
};

class StaleSet {
 public:
  /// `joined`: of a contiguous set. All slots of one map have one size.
  StaleSlot& slot(Level level, GuestRange span, std::size_t call, bool joined = false) {
    auto const [found, is_new] = slots_[level + (joined ? most_levels : 0)].try_emplace(span.begin.raw());
    if (is_new) {
      ++count_;
      found->second.level = level;
      found->second.span = span;
      found->second.call = call;
    }
    return found->second;
  }

  /// Calls body(slot) for every slot that overlaps `range`, until it answers false.
  template <class Body>
  bool overlapping(GuestRange range, Body body) const {
    return each_overlapping(*this, range, body);
  }
  template <class Body>
  bool overlapping(GuestRange range, Body body) {
    return each_overlapping(*this, range, body);
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
  void each(Body body) {
    for (auto& level : slots_)
      for (auto& [begin, slot] : level) body(slot);
  }
  template <class Body>
  void each_until(Body body) const {
    for (auto const& level : slots_)
      for (auto const& [begin, slot] : level)
        if (!body(slot)) return;
  }
  /// Takes out what `forget(item)` says, a StaleLeaf or a StaleTable, and then slots in which nothing is left.
  template <class Forget>
  void remove(Forget forget) {
    if (count_ == 0) return;
    for (auto& level : slots_) {
      for (auto at = level.begin(); at != level.end();) {
        auto& slot = at->second;
        std::erase_if(slot.leaves, forget);
        std::erase_if(slot.tables, forget);
        if (!slot.leaves.empty() || !slot.tables.empty()) {
          ++at;
          continue;
        }
        at = level.erase(at);
        --count_;
      }
    }
  }

  std::size_t size() const { return count_; }
  bool empty() const { return count_ == 0; }
  void clear() {
    if (count_ == 0) return;
    for (auto& level : slots_) level.clear();
    count_ = 0;
  }

 private:
  template <class Self, class Body>
  static bool each_overlapping(Self& self, GuestRange range, Body body) {
    if (self.count_ == 0) return true;
    for (auto& level : self.slots_) {
      if (level.empty()) continue;
      auto at = level.upper_bound(range.begin.raw());
      if (at != level.begin() && std::prev(at)->second.span.overlaps(range)) --at;
      for (; at != level.end() && at->second.span.overlaps(range); ++at)
        if (!body(at->second)) return false;
    }
    return true;
  }

  static constexpr std::size_t most_levels = 5;
  std::array<std::map<std::uint64_t, StaleSlot>, 2 * most_levels> slots_;
  std::size_t count_ = 0;
};

}  // namespace slat::testing
