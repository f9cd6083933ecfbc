#pragma once

// The half of a call that cannot fail: it writes, taking its frames from the reserve that the plan filled.
//
// A table is filled before it is linked. A block that the range cuts is divided off to the side: where its slot must
// break, the new table is born with the change in it; where it may be swapped live, it is linked as an equal
// translation first, and its children are rewritten after, under the same invalidation.

#include <optional>

#include <slat/mm/changes.hpp>
#include <slat/mm/fill.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

template <class Tree>
class Committer {
 public:
  explicit Committer(Tree& tree) : tree_{tree} {}

  void operator()(const Map& change) { map(change); }
  void operator()(const Replace& change) { map(change); }
  void operator()(const Unmap& change) {
    if (!change.range.empty()) unmap(tree_.lowest_kept(change.range), change.range);
  }
  void operator()(const Protect& change) {
    if (!change.range.empty()) protect(tree_.lowest(change.range), change.range, change.attr);
  }
  void operator()(const Split& change) {
    if (!change.range.empty()) split(tree_.lowest(change.range), change.range);
  }
  void operator()(const Coalesce& change) {
    if (!change.range.empty()) coalesce(tree_.lowest(change.range), change.range);
  }

  /// Takes the marks `what` from every leaf that lies wholly in `range`, and tells `report` of every marked leaf's
  /// part.
  template <class Report>
  void harvest(GuestRange range, Age what, Report report) {
    if (!range.empty()) harvest(tree_.lowest(range), range, what, report);
  }

 private:
  Geometry geometry() const { return tree_.geometry(); }

  // ---- map ----

  struct Mapping {
    std::uint64_t skew;  // host address minus guest address
    Attr attr;
    Level top;

    HostPhys host(GuestPhys at) const { return HostPhys{at.raw() + skew}; }
  };
  bool fits(const Mapping& m, Level level) const {
    return level <= m.top && (m.skew & (geometry().span(level) - 1)) == 0;
  }

  template <class Change>
  void map(const Change& change) {
    Mapping const mapping{change.host.raw() - change.range.begin.raw(), change.attr,
                          tree_.format.top_leaf(change.attr)};
    map(tree_.lowest(change.range), change.range, mapping);
  }

  void map(Place place, GuestRange range, const Mapping& m) {
    auto const level = place.level;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      bool const covered = part == slot.span;
      // Hardware may still write through what was here: nobody will read the marks of what goes, so assume the worst.
      bool const dirty = e != 0 || tree_.stale.overlaps(slot.span);
      if (covered && fits(m, level))
        tree_.put(slot, leaf(level, part.begin, m, dirty), Step::replace);
      else if (covered || e == 0)
        tree_.put(slot, tree_.format.table(level, build(level - 1, part, m, dirty)), Step::replace);
      else if (tree_.meaning(level, e) == Kind::table)
        map(tree_.below(slot, e), part, m);
      else
        cut(slot, e, part, [&](Place below) { map(below, part, m); });
      return true;
    });
  }

  Entry leaf(Level level, GuestPhys at, const Mapping& m, bool dirty) const {
    Entry const e = tree_.format.leaf(level, m.host(at), m.attr);
    return dirty ? tree_.format.aged(level, e, {true, true}) : e;
  }

  /// A new table that maps `part` of what it translates, and nothing else.
  HostPhys build(Level level, GuestRange part, const Mapping& m, bool dirty) {
    auto const table = tree_.take();
    Entry* const entries = tree_.frames->view(table);
    auto const first = geometry().index(part.begin, level);
    std::size_t i = 0;
    while (i != first) entries[i++] = 0;
    for (auto rest = part; !rest.empty();) {
      auto const span = geometry().slot(rest.begin, level);
      auto piece = rest.clamp_to(span);
      if (piece == span && fits(m, level)) {
        piece.size = rest.size & ~(span.size - 1);
        auto const end = i + (piece.size >> geometry().shift(level));
        fill(entries + i, entries + end, leaf(level, rest.begin, m, dirty), span.size);
        i = end;
      } else {
        entries[i++] = tree_.format.table(level, build(level - 1, piece, m, dirty));
      }
      rest = GuestRange::between(piece.end(), rest.end());
    }
    tree_.word(table) = i - first;
    while (i != geometry().entries(level)) entries[i++] = 0;
    return table;
  }

  // ---- unmap, protect ----

  void unmap(Place place, GuestRange range) {
    auto const level = place.level;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      Kind const kind = tree_.meaning(level, e);
      if (kind == Kind::absent) return true;
      if (part == slot.span || (kind == Kind::table && becomes_empty(tree_.below(slot, e), part)))
        tree_.put(slot, 0, Step::replace);
      else if (kind == Kind::table)
        unmap(tree_.below(slot, e), part);
      else
        cut(slot, e, part, [&](Place below) { unmap(below, part); });
      return true;
    });
  }

  /// Decided before the first store, so that the highest slot that becomes empty is unlinked by one store.
  bool becomes_empty(Place place, GuestRange range) const {
    auto const level = place.level;
    auto left = tree_.used(place.table);
    if (left > (range.size >> geometry().shift(level)) + 2) return false;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      if (e == 0) return true;
      bool const goes =
          part == slot.span || (tree_.meaning(level, e) == Kind::table && becomes_empty(tree_.below(slot, e), part));
      if (goes) --left;
      return goes;
    });
    return left == 0;
  }

  void protect(Place place, GuestRange range, const Attr& attr) {
    bool const fits = place.level <= tree_.format.top_leaf(attr);
    for (auto rest = range; !rest.empty();) {
      auto const slot = tree_.slot(place, rest.begin);
      Entry const e = tree_.load(slot);
      auto const part = rest.clamp_to(slot.span);
      auto done = part.size;
      if (tree_.meaning(slot.level, e) == Kind::table) protect(tree_.below(slot, e), part, attr);
      // Most of a range is leaves that want a store and no more.
      else if (auto const alike = fits ? tree_.recast(slot, rest, attr) : 0; alike != 0)
        done = alike;
      else
        protect(slot, e, part, fits, attr);
      rest = GuestRange::between(rest.begin + done, rest.end());
    }
  }
  /// One slot, which holds no table.
  void protect(const Slot& slot, Entry e, GuestRange part, bool fits, const Attr& attr) {
    if (e == 0) return;
    auto const level = slot.level;
    Entry const now = tree_.mended(level, e);
    Entry const next = tree_.format.recast(level, now, attr);
    if (next == now) return;
    if (part == slot.span && fits)
      tree_.put(slot, next, Step::recast);
    else
      cut(slot, e, part, [&](Place below) { protect(below, part, attr); });
  }

  // ---- cutting blocks ----

  /// Divides the leaf `e`, then has `change(place)` done to the part of the new table that the range covers.
  template <class Change>
  void cut(const Slot& slot, Entry e, GuestRange part, Change change) {
    auto const level = slot.level;
    Entry const block = tree_.mended(level, e);
    bool const live = slot.live && !tree_.broken(level, e);
    if (live && !tree_.must_break(slot, e, tree_.format.table(level, HostPhys{0}), Step::divide)) {
      auto const below = divide(block, slot, part, [](GuestRange span, GuestRange edge) { return edge != span; });
      tree_.divide(slot, block, below);
      change(Place{below, level - 1, true});
    } else {
      auto const below = divide(block, slot, part, [](GuestRange, GuestRange) { return false; });
      change(Place{below, level - 1, false});
      tree_.divide(slot, block, below);
    }
  }

  /// A table that translates as the leaf `block` of `slot` does. Its children are divided in turn where `deeper(span,
  /// part of the range in it)` says so.
  template <class Deeper>
  HostPhys divide(Entry block, const Slot& slot, GuestRange part, Deeper deeper) {
    auto const table = tree_.take();
    Entry* const entries = tree_.frames->view(table);
    auto const level = slot.level - 1;
    auto const count = geometry().entries(level);
    fill(entries, entries + count, tree_.format.child(slot.level, block, 0), geometry().span(level));
    tree_.word(table) = count;
    if (level != 0)
      tree_.each({table, level, false}, part, [&](const Slot& child, Entry e, GuestRange touched) {
        if (deeper(child.span, touched)) *child.entry = tree_.format.table(level, divide(e, child, touched, deeper));
        return true;
      });
    return table;
  }

  void split(Place place, GuestRange range) {
    auto const level = place.level;
    if (level == 0) return;
    // Where slots break, so many wait for one invalidation: the rest of the guest goes on meanwhile.
    constexpr unsigned batch = 512;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      switch (tree_.meaning(level, e)) {
        case Kind::table: split(tree_.below(slot, e), part); break;
        case Kind::leaf: {
          Entry const block = tree_.mended(level, e);
          tree_.divide(slot, block, divide(block, slot, part, [](GuestRange, GuestRange) { return true; }));
          if (tree_.breaks >= batch) tree_.settle();
          break;
        }
        default: break;
      }
      return true;
    });
  }

  // ---- coalescing ----

  /// Decided from the top, so that the highest slot that becomes a leaf does so by one step, whatever is below it.
  void coalesce(Place place, GuestRange range) {
    auto const level = place.level;
    if (level == 0) return;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      if (tree_.meaning(level, e) != Kind::table) return true;
      auto const below = tree_.below(slot, e);
      if (auto const block = part == slot.span ? united(below) : std::nullopt)
        tree_.put(slot, *block, Step::unite);
      else
        coalesce(below, part);
      return true;
    });
  }

  /// The leaf above `place` that translates as all that hangs in its table does, if there is one.
  std::optional<Entry> united(Place place) const {
    auto const& format = tree_.format;
    auto const level = place.level + 1;
    auto const [bottom, first] = first_leaf(place);
    if (first == 0 || level > format.top_leaf(format.attr(bottom, first))) return {};
    if (!format.address(bottom, first).aligned_to(geometry().span(level))) return {};
    Entry block = format.plain(bottom, first);
    for (auto above = bottom + 1; above <= level; ++above) block = format.parent(above, block);
    Age age{};
    if (!divides(block, place, age)) return {};
    // Hardware may set a mark in the table after it was read here and before it is unlinked: assume that it did.
    return format.aged(level, block, place.live ? age | format.hardware_age() : age);
  }

  /// Whether the table translates as the leaf `block` above it, which has no marks. Adds its leaves' marks to `age`.
  bool divides(Entry block, Place place, Age& age) const {
    auto const& format = tree_.format;
    auto const level = place.level;
    auto const count = geometry().entries(level);
    if (tree_.used(place.table) != count) return false;
    auto slot = tree_.slot(place, GuestPhys{0});
    for (std::size_t i = 0; i != count; ++i, ++slot.entry) {
      Entry const e = tree_.load(slot);
      Entry const meant = tree_.mended(level, e);
      Entry const part = format.child(level + 1, block, i);
      if (format.kind(level, meant) == Kind::table) {
        if (!divides(part, tree_.below(slot, e), age)) return false;
      } else {
        if (format.plain(level, meant) != part) return false;
        age = age | format.age(level, meant);
      }
    }
    return true;
  }

  struct Found {
    Level level;
    Entry entry;  // as it is or will be; 0: none
  };
  Found first_leaf(Place place) const {
    auto const slot = tree_.slot(place, GuestPhys{0});
    Entry const e = tree_.load(slot);
    if (tree_.meaning(place.level, e) == Kind::table) return first_leaf(tree_.below(slot, e));
    return {place.level, tree_.mended(place.level, e)};
  }

  // ---- harvest ----

  template <class Report>
  void harvest(Place place, GuestRange range, Age what, Report& report) {
    auto const level = place.level;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      switch (tree_.meaning(level, e)) {
        case Kind::table: harvest(tree_.below(slot, e), part, what, report); break;
        case Kind::leaf: {
          Age const age = tree_.format.age(level, tree_.mended(level, e));
          if (!(age.accessed && what.accessed) && !(age.dirty && what.dirty)) break;
          report(part);
          if (part == slot.span) tree_.clear_age(slot, e, what);
          break;
        }
        default: break;
      }
      return true;
    });
  }

  Tree& tree_;
};

}  // namespace slat::detail
