#pragma once

// Finding the way in a tree of tables: places, slots, and what a slot holds or will hold.

#include <optional>
#include <utility>

#include <slat/mm/concepts.hpp>
#include <slat/mm/live_access.hpp>

namespace slat::detail {

/// A table in the tree. `live`: hardware can reach it, so that no slot above it is broken or not linked yet.
struct Place {
  HostPhys table;
  Level level;
  bool live;
};

/// One entry's place.
struct Slot {
  HostPhys table;
  Level level;
  GuestRange span;  // what it translates
  Entry* entry;
  bool live;
};

/// The word beside a live table: used entries, and one mark.
struct Word {
  static constexpr std::uint64_t broken_below = std::uint64_t{1} << 63;
  static constexpr std::uint64_t visited = std::uint64_t{1} << 62;  // audit()'s, never left set
  static constexpr std::uint64_t count = visited - 1;
};

/// What readers may use beside the writer is load(), slot() and below(); all else is the writer's.
template <TableFormat F, FrameSource Frames>
class Walk {
 public:
  Walk(F format_of_entries, Frames& source, HostPhys root_table)
      : format{std::move(format_of_entries)}, frames{&source}, root{root_table} {
    outside = ~(geometry().input_size() - 1);
  }

  F format;
  Frames* frames;
  HostPhys root;
  std::uint64_t outside;  // the bits that no address inside the input size has

  /// Asked for again and again: what is constant in a format is constant in its walks.
  Geometry geometry() const { return format.geometry(); }

  /// Entries hold host addresses of output_bits(): a frame beyond is refused, never truncated.
  bool fits(HostPhys frame) const { return frame.raw() >> format.output_bits() == 0; }
  bool is_outside(GuestPhys at) const { return (at.raw() & outside) != 0; }
  Entry load(Entry* slot) const { return LiveAccess<Frames>::load(*frames, slot); }
  Entry load(const Slot& slot) const { return slot.live ? load(slot.entry) : *slot.entry; }
  void store(Entry* slot, Entry next) const { LiveAccess<Frames>::store(*frames, slot, next); }
  std::uint64_t& word(HostPhys table) const { return frames->word(table); }
  std::uint64_t used(HostPhys table) const { return word(table) & Word::count; }

  bool broken(Level level, Entry e) const { return e != 0 && format.kind(level, e) == Kind::broken; }
  /// A broken entry as it will be; any other as it is.
  Entry mended(Level level, Entry e) const { return broken(level, e) ? format.mended(e) : e; }
  /// What a slot holds, or will hold when it is mended: never Kind::broken.
  Kind meaning(Level level, Entry e) const { return e == 0 ? Kind::absent : format.kind(level, mended(level, e)); }

  Place top() const { return {root, geometry().root, true}; }
  /// The table that `e`, a table in `slot`, leads to or will lead to.
  Place below(const Slot& slot, Entry e) const {
    return {format.address(slot.level, e), slot.level - 1, slot.live && !broken(slot.level, e)};
  }
  Entry* entry(Place place, GuestPhys at) const {
    return frames->view(place.table) + geometry().index(at, place.level);
  }
  /// The slot of `place` that translates `at`.
  Slot slot(Place place, GuestPhys at) const {
    return {place.table, place.level, geometry().slot(at, place.level), entry(place, at), place.live};
  }

  static constexpr Level highest = 4;  // that a root may have: find() knows each
  struct Found {
    Place place;
    Entry entry;
  };
  /// Where a walk for `at`, which is inside the input size, ends: at a leaf, at nothing, or at a broken slot. Each
  /// entry is loaded once: beside a writer a second look may find something else.
  [[gnu::always_inline]] Found find(GuestPhys at) const {
    Found found{top(), 0};
    auto const& source = *frames;
    // A level that the compiler knows makes every shift and mask below a constant.
    switch (found.place.level) {
      case highest:
        if (!step<highest>(source, found, at)) break;
        [[fallthrough]];
      case 3:
        if (!step<3>(source, found, at)) break;
        [[fallthrough]];
      case 2:
        if (!step<2>(source, found, at)) break;
        [[fallthrough]];
      case 1:
        if (!step<1>(source, found, at)) break;
        [[fallthrough]];
      default: step<0>(source, found, at);
    }
    return found;
  }

  /// Where a change of `range` begins: the lowest live table that holds all of it, in more than one slot or in a part
  /// of one. What is above stays as it is, unless the change empties the table.
  Place lowest(GuestRange range) const {
    auto place = top();
    while (descend(place, range)) {
    }
    return place;
  }
  /// The same for a change that takes entries away: the lowest one that it cannot empty.
  Place lowest_kept(GuestRange range) const {
    auto place = top();
    auto kept = place;
    while (descend(place, range))
      if (used(place.table) > (range.size >> geometry().shift(place.level)) + 2) kept = place;
    return kept;
  }

  /// Calls body(slot, entry, part) for each slot of `place` that `range` touches, where `part` is `range` within the
  /// slot, until it answers false. `range` lies within what the table translates.
  template <class Body>
  bool each(Place place, GuestRange range, Body body) const {
    auto slot = this->slot(place, range.begin);
    for (auto rest = range; !rest.empty();) {
      auto const part = rest.clamp_to(slot.span);
      if (!body(std::as_const(slot), load(slot), part)) return false;
      rest = GuestRange::between(part.end(), rest.end());
      slot.span.begin = slot.span.end();
      ++slot.entry;
    }
    return true;
  }

  /// Calls body(entry) for each table below, linked or to be.
  template <class Body>
  void each_table_below(HostPhys table, Level level, Body body) const {
    if (level == 0) return;
    Entry* const entries = frames->view(table);
    for (std::size_t i = 0; i != geometry().entries(level); ++i)
      if (Entry const e = load(entries + i); meaning(level, e) == Kind::table) body(e);
  }

  std::uint64_t count_tables(HostPhys table, Level level) const {
    std::uint64_t count = 1;
    each_table_below(table, level, [&](Entry e) { count += count_tables(format.address(level, e), level - 1); });
    return count;
  }

 private:
  /// Loads the entry at `level` and goes down, if that is a table.
  template <Level level>
  [[gnu::always_inline]] bool step(const Frames& source, Found& found, GuestPhys at) const {
    found.place.level = level;
    Entry const e = LiveAccess<Frames>::load(source, source.view(found.place.table) + geometry().index(at, level));
    if (level != 0 && format.kind(level, e) == Kind::table) {
      found.place.table = format.address(level, e);
      return true;
    }
    found.entry = e;
    return false;
  }

  /// To the live table below the slot of which `range` is a part, and not the whole.
  bool descend(Place& place, GuestRange range) const {
    // Bits above a slot's: one is set where its ends lie in two slots, or all of one is covered.
    auto const reach = (range.begin.raw() ^ range.last().raw()) | range.size;
    if (place.level == 0 || reach >> geometry().shift(place.level) != 0) return false;
    Entry const e = load(entry(place, range.begin));
    if (format.kind(place.level, e) != Kind::table) return false;
    place = {format.address(place.level, e), place.level - 1, true};
    return true;
  }
};

}  // namespace slat::detail
