#pragma once

// Where something stale may still be cached, and how far its invalidation has come.

#include <cstdint>
#include <vector>

#include <slat/testing/contexts.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

struct Hold {
  // Why an invalidation passed it by.
  static constexpr std::uint8_t by_range = 1, by_level = 2, by_granule = 4, by_tables = 8, by_tag = 16, by_order = 32,
                                by_store = 64;

  /// Invalidated there, and gone when a DSB has waited for it.
  struct Pending {
    std::uint8_t on;  // the CPU whose DSB that is
    bool broadcast;   // it must be one for the inner shareable domain
    ContextSet stage2 = 0, combined = 0;
  };

  ContextSet stage2 = 0;    // as an entry of stage 2, or whatever else is known by guest-physical address
  ContextSet combined = 0;  // as a part of one that combines both stages
  ContextSet all = 0;       // where it ever was
  std::vector<Pending> pending{};
  std::uint8_t writer = 0;  // the CPU whose store took it out of the tree
  bool visible = false;     // every walker sees that store
  std::uint8_t missed = 0;

  ContextSet held() const { return stage2 | combined; }

  /// What was left out or done wrong, that `usable` contexts have it still.
  Offence why(ContextSet usable) const {
    auto const left = held() & usable;
    for (auto const& one : pending)
      if (((one.stage2 | one.combined) & left) != 0) return Offence::not_completed;
    if ((stage2 & usable) == 0) return (missed & by_order) != 0 ? Offence::wrong_order : Offence::one_kind_left;
    if ((all & ~held()) != 0 || (all & ~stage2 & usable) != 0) return Offence::cpu_left_out;
    if ((missed & by_store) != 0) return Offence::hook_before_publish;
    if ((missed & by_tag) != 0) return Offence::wrong_tag;
    if ((missed & by_granule) != 0) return Offence::wrong_granule;
    if ((missed & by_tables) != 0) return Offence::tables_not_named;
    if ((missed & by_level) != 0) return Offence::wrong_level;
    if ((missed & (by_range | by_order)) != 0) return Offence::too_narrow;
    return Offence::missing_invalidation;
  }
};

}  // namespace slat::testing
