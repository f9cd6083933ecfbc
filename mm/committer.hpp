#pragma once

// The half of a call that cannot fail: it writes, taking its frames from the reserve that the plan filled.
//
// A table is filled before it is linked. A block that the range cuts is divided off to the side: where its slot must
// break, the new table is born with the change in it; where it may be swapped live, it is linked as an equal
// translation first, and its children are rewritten after, under the same invalidation.

#include <optional>

#include <slat/mm/changes.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

template <class Tree>
class Committer {
 public:
  explicit Committer(Tree& tree) : tree_{tree}, geometry_{tree.geometry} {}

  void operator()(const Map& change) { map(change); }
  void operator()(const Replace& change) { map(change); }
  void operator()(const Unmap& change) {
    if (!change.range.empty()) unmap(tree_.root, geometry_.root, change.range, true);
  }
  void operator()(const Protect& change) {
    if (!change.range.empty()) protect(tree_.root, geometry_.root, change.range, true, change.attr);
  }
  void operator()(const Split& change) {
    if (!change.range.empty()) split(tree_.root, geometry_.root, change.range, true);
  }
  void operator()(const Coalesce& change) {
    if (!change.range.empty()) coalesce(tree_.root, geometry_.root, change.range, true);
  }

  /// Takes the marks `what` from every leaf that lies wholly in `range`, and tells `report` of every marked leaf's
  /// part.
  template <class Report>
  void harvest(GuestRange range, Age what, Report report) {
    if (!range.empty()) harvest(tree_.root, geometry_.root, range, true, what, report);
  }

 private:
  // ---- map ----

  struct Mapping {
    std::uint64_t skew;  // host address minus guest address
    Attr attr;
    Level top;

    HostPhys host(GuestPhys at) const { return HostPhys{at.raw() + skew}; }
  };
  bool fits(const Mapping& m, Level level) const {
    return level <= m.top && (m.skew & (geometry_.span(level) - 1)) == 0;
  }

  template <class Change>
  void map(const Change& change) {
    Mapping const mapping{change.host.raw() - change.range.begin.raw(), change.attr,
                          tree_.format.top_leaf(change.attr)};
    map(tree_.root, geometry_.root, change.range, true, mapping);
  }

  void map(HostPhys table, Level level, GuestRange range, bool live, const Mapping& m) {
    tree_.each(table, level, range, live, [&](const Slot& slot, Entry e, GuestRange part) {
      bool const covered = part == slot.span;
      // Hardware may still write through what was here: nobody will read the marks of what goes, so assume the worst.
      bool const dirty = e != 0 || tree_.stale.overlaps(slot.span);
      if (covered && fits(m, level))
        tree_.put(slot, leaf(level, part.begin, m, dirty), Step::replace);
      else if (covered || e == 0)
        tree_.put(slot, tree_.format.table(level, build(level - 1, part, m, dirty)), Step::replace);
      else if (tree_.meaning(level, e) == Kind::table)
        map(tree_.format.address(level, e), level - 1, part, live && !tree_.broken(level, e), m);
      else
        cut(slot, e, part, [&](HostPhys below, bool linked) { map(below, level - 1, part, linked, m); });
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
    auto const first = geometry_.index(part.begin, level);
    std::size_t i = 0;
    while (i != first) entries[i++] = 0;
    for (auto rest = part; !rest.empty();) {
      auto const span = geometry_.slot(rest.begin, level);
      auto piece = rest.clamp_to(span);
      if (piece == span && fits(m, level)) {
        piece.size = rest.size & ~(span.size - 1);
        Entry e = leaf(level, rest.begin, m, dirty);
        for (auto const end = i + piece.size / span.size; i != end; e += span.size) entries[i++] = e;
      } else {
        entries[i++] = tree_.format.table(level, build(level - 1, piece, m, dirty));
      }
      rest = GuestRange::between(piece.end(), rest.end());
    }
    tree_.word(table) = i - first;
    while (i != geometry_.entries(level)) entries[i++] = 0;
    return table;
  }

  // ---- unmap, protect ----

  void unmap(HostPhys table, Level level, GuestRange range, bool live) {
    tree_.each(table, level, range, live, [&](const Slot& slot, Entry e, GuestRange part) {
      Kind const kind = tree_.meaning(level, e);
      if (kind == Kind::absent) return true;
      if (part == slot.span || (kind == Kind::table && becomes_empty(tree_.format.address(level, e), level - 1, part)))
        tree_.put(slot, 0, Step::replace);
      else if (kind == Kind::table)
        unmap(tree_.format.address(level, e), level - 1, part, live && !tree_.broken(level, e));
      else
        cut(slot, e, part, [&](HostPhys below, bool linked) { unmap(below, level - 1, part, linked); });
      return true;
    });
  }

  /// Decided before the first store, so that the highest slot that becomes empty is unlinked by one store.
  bool becomes_empty(HostPhys table, Level level, GuestRange range) const {
    auto left = tree_.used(table);
    if (left > (range.size >> geometry_.shift(level)) + 2) return false;
    tree_.each(table, level, range, true, [&](const Slot& slot, Entry e, GuestRange part) {
      if (e == 0) return true;
      bool const goes = part == slot.span || (tree_.meaning(level, e) == Kind::table &&
                                              becomes_empty(tree_.format.address(level, e), level - 1, part));
      if (goes) --left;
      return goes;
    });
    return left == 0;
  }

  void protect(HostPhys table, Level level, GuestRange range, bool live, const Attr& attr) {
    bool const fits = level <= tree_.format.top_leaf(attr);
    for (auto rest = range; !rest.empty();) {
      auto const slot = tree_.slot(table, level, rest.begin, live);
      // Most of a range is leaves that want a store and no more.
      auto done = fits ? tree_.recast(slot, rest, attr) : 0;
      if (done == 0) {
        auto const part = rest.clamp_to(slot.span);
        protect(slot, tree_.load(slot), part, fits, attr);
        done = part.size;
      }
      rest = GuestRange::between(rest.begin + done, rest.end());
    }
  }
  void protect(const Slot& slot, Entry e, GuestRange part, bool fits, const Attr& attr) {
    auto const level = slot.level;
    Kind const kind = tree_.meaning(level, e);
    if (kind == Kind::absent) return;
    if (kind == Kind::table)
      return protect(tree_.format.address(level, e), level - 1, part, slot.live && !tree_.broken(level, e), attr);
    Entry const now = tree_.mended(level, e);
    Entry const next = tree_.format.recast(level, now, attr);
    if (next == now) return;
    if (part == slot.span && fits)
      tree_.put(slot, next, Step::recast);
    else
      cut(slot, e, part, [&](HostPhys below, bool linked) { protect(below, level - 1, part, linked, attr); });
  }

  // ---- cutting blocks ----

  /// Divides the leaf `e`, then has `change(table, live)` done to the part of the new table that the range covers.
  template <class Change>
  void cut(const Slot& slot, Entry e, GuestRange part, Change change) {
    auto const level = slot.level;
    Entry const block = tree_.mended(level, e);
    bool const live = slot.live && !tree_.broken(level, e);
    if (live && !tree_.must_break(slot, e, tree_.format.table(level, HostPhys{0}), Step::divide)) {
      auto const below = divide(block, slot, part, [](GuestRange span, GuestRange edge) { return edge != span; });
      tree_.put(slot, tree_.format.table(level, below), Step::divide);
      change(below, true);
    } else {
      auto const below = divide(block, slot, part, [](GuestRange, GuestRange) { return false; });
      change(below, false);
      tree_.put(slot, tree_.format.table(level, below), Step::divide);
    }
  }

  /// A table that translates as the leaf `block` of `slot` does. Its children are divided in turn where `deeper(span,
  /// part of the range in it)` says so.
  template <class Deeper>
  HostPhys divide(Entry block, const Slot& slot, GuestRange part, Deeper deeper) {
    auto const table = tree_.take();
    Entry* const entries = tree_.frames->view(table);
    auto const level = slot.level - 1;
    auto const count = geometry_.entries(level);
    auto span = geometry_.slot(slot.span.begin, level);
    for (std::size_t i = 0; i != count; ++i) {
      Entry const child = tree_.format.child(slot.level, block, i);
      auto const touched = part.clamp_to(span);
      if (level != 0 && !touched.empty() && deeper(span, touched))
        entries[i] =
            tree_.format.table(level, divide(child, {table, level, span, entries + i, false}, touched, deeper));
      else
        entries[i] = child;
      span.begin = span.end();
    }
    tree_.word(table) = count;
    return table;
  }

  void split(HostPhys table, Level level, GuestRange range, bool live) {
    if (level == 0) return;
    // Where slots break, so many wait for one invalidation: the rest of the guest goes on meanwhile.
    constexpr unsigned batch = 512;
    tree_.each(table, level, range, live, [&](const Slot& slot, Entry e, GuestRange part) {
      switch (tree_.meaning(level, e)) {
        case Kind::table:
          split(tree_.format.address(level, e), level - 1, part, live && !tree_.broken(level, e));
          break;
        case Kind::leaf: {
          auto const below = divide(tree_.mended(level, e), slot, part, [](GuestRange, GuestRange) { return true; });
          tree_.put(slot, tree_.format.table(level, below), Step::divide);
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
  void coalesce(HostPhys table, Level level, GuestRange range, bool live) {
    if (level == 0) return;
    tree_.each(table, level, range, live, [&](const Slot& slot, Entry e, GuestRange part) {
      if (tree_.meaning(level, e) != Kind::table) return true;
      auto const below = tree_.format.address(level, e);
      bool const linked = live && !tree_.broken(level, e);
      if (auto const block = part == slot.span ? united(below, level, linked) : std::nullopt)
        tree_.put(slot, *block, Step::unite);
      else
        coalesce(below, level - 1, part, linked);
      return true;
    });
  }

  /// The leaf at `level` that translates as all that hangs in `table` below it does, if there is one.
  std::optional<Entry> united(HostPhys table, Level level, bool live) const {
    auto const& format = tree_.format;
    auto const [bottom, first] = first_leaf(table, level - 1, live);
    if (first == 0 || level > format.top_leaf(format.attr(bottom, first))) return {};
    if (!format.address(bottom, first).aligned_to(geometry_.span(level))) return {};
    Entry block = format.plain(bottom, first);
    for (auto above = bottom + 1; above <= level; ++above) block = format.parent(above, block);
    Age age{};
    if (!divides(block, level, table, live, age)) return {};
    // Hardware may set a mark in the table after it was read here and before it is unlinked: assume that it did.
    return format.aged(level, block, live ? age | format.hardware_age() : age);
  }

  /// Whether `table` translates as the leaf `block` of `level`, which has no marks. Adds its leaves' marks to `age`.
  bool divides(Entry block, Level level, HostPhys table, bool live, Age& age) const {
    auto const& format = tree_.format;
    auto const below = level - 1;
    auto const count = geometry_.entries(below);
    if (tree_.used(table) != count) return false;
    for (std::size_t i = 0; i != count; ++i) {
      Entry const e = read(table, i, live);
      Entry const meant = tree_.mended(below, e);
      Entry const part = format.child(level, block, i);
      if (format.kind(below, meant) == Kind::table) {
        if (!divides(part, below, format.address(below, meant), live && meant == e, age)) return false;
      } else {
        if (format.plain(below, meant) != part) return false;
        age = age | format.age(below, meant);
      }
    }
    return true;
  }

  struct Found {
    Level level;
    Entry entry;  // as it is or will be; 0: none
  };
  Found first_leaf(HostPhys table, Level level, bool live) const {
    Entry const e = read(table, 0, live);
    Entry const meant = tree_.mended(level, e);
    if (meant == 0 || tree_.format.kind(level, meant) == Kind::leaf) return {level, meant};
    return first_leaf(tree_.format.address(level, meant), level - 1, live && meant == e);
  }
  Entry read(HostPhys table, std::size_t i, bool live) const {
    Entry* const entry = tree_.frames->view(table) + i;
    return live ? tree_.load(entry) : *entry;
  }

  // ---- harvest ----

  template <class Report>
  void harvest(HostPhys table, Level level, GuestRange range, bool live, Age what, Report& report) {
    tree_.each(table, level, range, live, [&](const Slot& slot, Entry e, GuestRange part) {
      switch (tree_.meaning(level, e)) {
        case Kind::table:
          harvest(tree_.format.address(level, e), level - 1, part, live && !tree_.broken(level, e), what, report);
          break;
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
  const Geometry& geometry_;
};

}  // namespace slat::detail
