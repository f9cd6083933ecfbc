#pragma once

// The half of a call that cannot fail: it writes, taking its frames from the reserve that the plan filled.
//
// A table is filled before it is linked.

#include <slat/mm/changes.hpp>
#include <slat/mm/coalescer.hpp>
#include <slat/mm/cutter.hpp>
#include <slat/mm/fill.hpp>
#include <slat/mm/harvester.hpp>
#include <slat/mm/tree.hpp>
#include <slat/mm/unmapper.hpp>

namespace slat::detail {

/// Unmap, with the marks `what` told to `report`.
template <class Report>
struct UnmapTelling {
  GuestRange range;
  Age what;
  Report& report;
};

template <class Tree>
class Committer {
 public:
  explicit Committer(Tree& tree) : tree_{tree} {}

  void operator()(const Map& change) { map(change); }
  void operator()(const Replace& change) { map(change); }
  void operator()(const Unmap& change) { Unmapper{tree_}.unmap(change.range); }
  void operator()(const Protect& change) {
    if (!change.range.empty()) protect(tree_.lowest(change.range), change.range, change.attr);
  }
  void operator()(const Split& change) {
    if (!change.range.empty()) Cutter{tree_}.split(tree_.lowest(change.range), change.range);
  }
  void operator()(const Coalesce& change) {
    if (!change.range.empty()) Coalescer{tree_}.coalesce(tree_.lowest(change.range), change.range);
  }

  template <class Report>
  void operator()(const UnmapTelling<Report>& change) {
    Unmapper{tree_}.unmap(change.range, change.what, change.report);
  }

  /// Takes the marks `what` from every leaf that lies wholly in `range`, and tells `report` of every marked leaf's
  /// part.
  template <class Report>
  void harvest(GuestRange range, Age what, Report& report) {
    if (!range.empty()) Harvester{tree_, what, report}.harvest(tree_.lowest(range), range);
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
        Cutter{tree_}.cut(slot, e, part, [&](Place below) { map(below, part, m); });
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

  // ---- protect ----

  void protect(Place place, GuestRange range, const Attr& attr) {
    bool const fits = place.level <= tree_.format.top_leaf(attr);
    for (auto rest = range; !rest.empty();) {
      auto const slot = tree_.slot(place, rest.begin);
      Entry const e = tree_.load(slot);
      auto const part = rest.clamp_to(slot.span);
      auto done = part.size;
      if (tree_.meaning(slot.level, e) == Kind::table) protect(tree_.below(slot, e), part, attr);
      // Most of a range is leaves that want a store and no more.
      else if (auto const alike = fits && part == slot.span ? tree_.recast(slot, rest, attr) : 0; alike != 0)
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
      Cutter{tree_}.cut(slot, e, part, [&](Place below) { protect(below, part, attr); });
  }

  Tree& tree_;
};

}  // namespace slat::detail
