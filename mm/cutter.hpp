#pragma once

// Smaller leaves for large ones.
//
// A block that the range cuts is divided off to the side: where its slot must break, the new table is born with the
// change in it; where it may be swapped live, it is linked as an equal translation first, and its children are
// rewritten after, under the same invalidation.

#include <slat/mm/fill.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

template <class Tree>
class Cutter {
 public:
  explicit Cutter(Tree& tree) : tree_{tree} {}

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

 private:
  Geometry geometry() const { return tree_.geometry(); }

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

  Tree& tree_;
};

}  // namespace slat::detail
