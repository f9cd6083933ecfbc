#pragma once

// What hardware may still hold although the tables have changed: data that an edit gathers and a hook lowers to TLBI,
// INVEPT or an ASID flush.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include <slat/mm/address.hpp>
#include <slat/mm/geometry.hpp>

namespace slat {

/// Guest ranges whose translations are stale, no wider than they must be. It never forgets: a list that is full widens
/// to `everything`, which is correct and only slower. A value; one thread at a time.
class Stale {
 public:
  /// Ranges that are told apart; more are everything.
  static constexpr std::size_t capacity = 16;
  /// The level of a range whose leaves were of several sizes, or lay below an unlinked table: give no level hint.
  static constexpr Level unknown_level = ~Level{0};

  /// One of the ranges that ranges() lists.
  struct Range {
    GuestRange range;  // aligned to the granule; for a split, the whole old block
    Level level;       // of all its leaves, or unknown_level
    bool tables;       // tables were unlinked here: cached table pointers must go too
  };

  /// Whether nothing is stale.
  constexpr bool empty() const { return count_ == 0; }
  /// All of the guest's translations, table pointers too. ranges() is then empty.
  constexpr bool everything() const { return count_ > capacity; }
  /// Some table was unlinked, so intermediate walks must go, not only leaves.
  constexpr bool tables() const { return !empty() && tables_; }
  /// Nothing moved, went away or changed its type: rights or A/D marks were taken away, and no more.
  constexpr bool only_rights_shrank() const { return !empty() && only_rights_; }
  /// In no order; none overlaps another.
  constexpr std::span<const Range> ranges() const { return {ranges_.data(), everything() ? 0 : count_}; }

  /// Whether any address in `range` may be stale.
  constexpr bool overlaps(GuestRange range) const {
    if (everything()) return true;
    for (auto const& known : ranges())
      if (known.range.overlaps(range)) return true;
    return false;
  }

  /// `range` is aligned, not empty and does not reach 2^64.
  constexpr void add(GuestRange range, Level level, bool tables, bool only_rights) {
    if (empty()) return set(range, level, tables, only_rights);
    only_rights_ = only_rights_ && only_rights;
    tables_ = tables_ || tables;
    if (everything()) return;
    // Page after page, nothing has to be looked through.
    auto& last = ranges_[count_ - 1];
    if (last_is_highest_ && range.begin == last.range.end() && level == last.level && tables == last.tables)
      last.range.size += range.size;
    // Of a block that was divided, its pages.
    else if (last.range.contains(range))
      absorb(last, {range, level, tables});
    else
      join({range, level, tables});
  }
  /// The same, and nothing else.
  constexpr void set(GuestRange range, Level level, bool tables, bool only_rights) {
    // Member by member: a whole range would be put together on the stack first.
    ranges_[0].range = range;
    ranges_[0].level = level;
    ranges_[0].tables = tables;
    count_ = 1;
    last_is_highest_ = true;
    tables_ = tables;
    only_rights_ = only_rights;
  }

  /// All translations and table pointers; of which only rights shrank, if that is said.
  constexpr void add_everything(bool only_rights = false) {
    only_rights_ = only_rights && (empty() || only_rights_);
    tables_ = true;
    count_ = capacity + 1;
  }

  /// Nothing is stale any more.
  constexpr void clear() { count_ = 0; }

 private:
  constexpr void join(Range joined) {
    // Joining keeps the list short; where one part owes table pointers and the other does not, neighbours stay apart.
    // A range that has grown may reach others.
    for (bool grew = true; grew;) {
      std::size_t kept = 0;
      for (auto const& known : ranges()) {
        if (joins(known, joined))
          absorb(joined, known);
        else
          ranges_[kept++] = known;
      }
      grew = kept != count_;
      count_ = kept;
    }
    if (count_ == capacity) return add_everything(only_rights_);
    last_is_highest_ = true;
    for (auto const& known : ranges())
      if (joined.range.begin < known.range.begin) last_is_highest_ = false;
    ranges_[count_++] = joined;
  }

  static constexpr bool joins(const Range& a, const Range& b) {
    if (a.range.overlaps(b.range)) return true;
    return a.tables == b.tables && (a.range.end() == b.range.begin || b.range.end() == a.range.begin);
  }
  static constexpr void absorb(Range& into, const Range& from) {
    auto const begin = into.range.begin < from.range.begin ? into.range.begin : from.range.begin;
    auto const end = into.range.end() < from.range.end() ? from.range.end() : into.range.end();
    into.range = GuestRange::between(begin, end);
    if (into.level != from.level) into.level = unknown_level;
    into.tables = into.tables || from.tables;
  }

  std::array<Range, capacity> ranges_{};
  std::size_t count_ = 0;  // more than fit: everything
  bool last_is_highest_ = false;
  // Of what is there.
  bool tables_ = false;
  bool only_rights_ = false;
};

}  // namespace slat
