#pragma once

// Taking translations away.

#include <slat/mm/cutter.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

template <class Tree>
class Unmapper {
 public:
  explicit Unmapper(Tree& tree) : tree_{tree} {}

  void unmap(GuestRange range) {
    if (range.empty()) return;
    each_that_goes(tree_.lowest_kept(range), range,
                   [&](const Slot& slot, Entry) { tree_.put(slot, 0, Step::replace); });
  }

 private:
  Geometry geometry() const { return tree_.geometry(); }

  /// Calls goes(slot, entry) for each slot that is to be emptied, and cuts the leaves that stay in part.
  template <class Goes>
  void each_that_goes(Place place, GuestRange range, Goes goes) {
    auto const level = place.level;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      Kind const kind = tree_.meaning(level, e);
      if (kind == Kind::absent) return true;
      if (part == slot.span || (kind == Kind::table && becomes_empty(tree_.below(slot, e), part)))
        goes(slot, e);
      else if (kind == Kind::table)
        each_that_goes(tree_.below(slot, e), part, goes);
      else
        Cutter{tree_}.cut(slot, e, part, [&](Place below) { each_that_goes(below, part, goes); });
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

  Tree& tree_;
};

}  // namespace slat::detail
