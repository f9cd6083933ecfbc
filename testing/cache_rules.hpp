#pragma once

// What may be cached together, what may linger, and what an invalidation takes away.

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/stale.hpp>

#include <slat/testing/live_tree.hpp>
#include <slat/testing/stale_set.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

template <class Reader>
class CacheRules {
 public:
  CacheRules(const LiveTree<Reader>& tree, const StaleSet& stale) : tree_{&tree}, stale_{&stale} {}

  /// Whether using `cached` is no worse than using `live`: the same translation, no right more, no mark more. Fewer
  /// rights may linger: using them faults, and the fault is resolved as spurious.
  bool covers(const Decoded& live, const Decoded& cached) const {
    if (!live.leaf() || live.address != cached.address || live.type != cached.type || live.special != cached.special)
      return false;
    if (!allows(live.rights, cached.rights)) return false;
    if (reader().sets_accessed() && cached.is_accessed && !live.is_accessed) return false;
    return !reader().sets_dirty() || !cached.is_dirty || live.is_dirty;
  }

  // ---- what becomes live beside what is stale

  std::optional<Complaint> pointer_conflict(Place place, const Decoded& table) const {
    if (!reader().pointers_conflict()) return {};
    std::optional<Complaint> out;
    stale_->overlapping(place.span, [&](const StaleSlot& slot) {
      if (slot.level != place.level) return true;
      for (auto const& old : slot.tables)
        if (old.table != table.address) out = conflict("two table pointers for " + text(place));
      if (!slot.leaves.empty() && reader().size_breaks()) out = conflict("a leaf and a table for " + text(place));
      return !out;
    });
    return out;
  }

  std::optional<Complaint> leaf_conflict(Place place, const Decoded& leaf) const {
    if (!reader().can_break()) return {};
    std::optional<Complaint> out;
    auto const check = [&](GuestRange span, Level level, const Decoded& old) {
      out = leaf_conflict(span, level, old, place, leaf);
      return !out;
    };
    stale_->overlapping(place.span, [&](const StaleSlot& slot) {
      for (auto const& old : slot.leaves)
        if (!check(slot.span, slot.level, old.was)) return false;
      for (auto const& old : slot.tables) {
        if (slot.level == place.level && reader().size_breaks())
          out = conflict("a table and a leaf for " + text(place));
        if (out) return false;
        if (!tree_->frames().owns(old.table)) continue;
        auto const part = place.span.clamp_to(slot.span);
        if (!tree_->each_leaf(old.table, slot.level - 1, part,
                              [&](Place at, const Decoded& below) { return check(at.span, at.level, below); }))
          return false;
      }
      return true;
    });
    return out;
  }

  // ---- what an invalidation must and may name

  /// Whether what was cached of this slot is still wrong.
  bool lingers(const StaleSlot& slot, const StaleLeaf& leaf) const {
    auto const span = tree_->shape().span(slot.level);
    auto was = leaf.was;
    for (auto at = slot.span.begin; slot.span.contains(at); at = at + span, was.address = was.address + span)
      if (!covers(tree_->at({slot.level, {at, span}}), was)) return true;
    return false;
  }
  bool lingers(const StaleSlot& slot, const StaleTable& table) const {
    auto const live = tree_->at({slot.level, slot.span});
    return !live.table() || live.address != table.table;
  }

  using Range = Stale::Range;
  using Ranges = std::vector<Range>;

  /// What these ranges forget of this slot.
  std::optional<Complaint> left_out(const StaleSlot& slot, const Ranges& stale) const {
    auto const named = [](const Range&) { return true; };
    auto const takes_tables = [](const Range& range) { return range.tables; };
    auto const takes_leaves = [&](const Range& range) {
      return range.tables || range.level == Stale::unknown_level || range.level == slot.level;
    };
    auto const where = text(Place{slot.level, slot.span});
    if (!slot.tables.empty() && !covered(slot.span, stale, takes_tables) && wrong_table(slot))
      return Complaint{covered(slot.span, stale, named) ? Offence::tables_not_named : Offence::too_narrow,
                       "a table of " + where};
    if (!slot.leaves.empty() && !covered(slot.span, stale, takes_leaves) && wrong_leaf(slot))
      return Complaint{covered(slot.span, stale, named) ? Offence::wrong_level : Offence::too_narrow,
                       "a leaf of " + where};
    return {};
  }

  /// A page of the range in which nothing was stale, or tables where none went.
  std::optional<Complaint> needless(const Range& named) const {
    auto const& range = named.range;
    auto tables = false;
    for (auto at = range.begin; range.contains(at);) {
      std::optional<GuestPhys> end;
      stale_->overlapping({at, 1}, [&](const StaleSlot& slot) {
        if (!end || *end < slot.span.end()) end = slot.span.end();
        return true;
      });
      if (!end) return Complaint{Offence::over_invalidation, hex(at.raw()) + " in " + text(range)};
      at = *end;
    }
    if (!named.tables) return {};
    stale_->overlapping(range, [&](const StaleSlot& slot) { return !(tables = !slot.tables.empty()); });
    if (!tables) return Complaint{Offence::over_invalidation, "tables in " + text(range)};
    return {};
  }

 private:
  const Reader& reader() const { return tree_->reader(); }

  static Complaint conflict(std::string particulars) { return {Offence::break_before_make, std::move(particulars)}; }
  std::optional<Complaint> leaf_conflict(GuestRange span, Level level, Decoded old, Place place, Decoded leaf) const {
    // Both, as they translate the first address that they share.
    auto const at = span.begin < place.span.begin ? place.span.begin : span.begin;
    old.address = old.address + (at - span.begin);
    leaf.address = leaf.address + (at - place.span.begin);
    if (!reader().conflict(old, level, leaf, place.level)) return {};
    return conflict("at " + hex(at.raw()) + ", to " + hex(old.address.raw()) + " by a leaf of level " +
                    std::to_string(level) + ", and to " + hex(leaf.address.raw()) + " by one of level " +
                    std::to_string(place.level));
  }

  bool wrong_leaf(const StaleSlot& slot) const {
    return std::any_of(slot.leaves.begin(), slot.leaves.end(), [&](auto const& old) { return lingers(slot, old); });
  }
  bool wrong_table(const StaleSlot& slot) const {
    return std::any_of(slot.tables.begin(), slot.tables.end(), [&](auto const& old) { return lingers(slot, old); });
  }

  /// Whether the ranges that count hold all of `span` together.
  template <class Counts>
  static bool covered(GuestRange span, const Ranges& ranges, Counts counts) {
    for (auto at = span.begin; span.contains(at);) {
      auto const found = std::find_if(ranges.begin(), ranges.end(),
                                      [&](const Range& range) { return range.range.contains(at) && counts(range); });
      if (found == ranges.end()) return false;
      at = found->range.end();
    }
    return true;
  }

  const LiveTree<Reader>* tree_;
  const StaleSet* stale_;
};

}  // namespace slat::testing
