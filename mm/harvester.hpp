#pragma once

// Telling of the marks that hardware, or dirty tracking, left in leaves.

#include <slat/mm/tree.hpp>

namespace slat::detail {

/// Takes the marks `what` from leaves, and tells `report(GuestRange)` of those that had some.
template <class Tree, class Report>
class Harvester {
 public:
  Harvester(Tree& tree, Age what, Report& report) : tree_{tree}, what_{what}, report_{report} {}

  /// From every leaf that lies wholly in `range`; what lies there of any other is told of, too.
  void harvest(Place place, GuestRange range) {
    auto const level = place.level;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      switch (tree_.meaning(level, e)) {
        case Kind::table: harvest(tree_.below(slot, e), part); break;
        case Kind::leaf: {
          Age const age = tree_.format.age(level, tree_.mended(level, e));
          if (!(age.accessed && what_.accessed) && !(age.dirty && what_.dirty)) break;
          report_(part);
          if (part == slot.span) tree_.clear_age(slot, e, what_);
          break;
        }
        default: break;
      }
      return true;
    });
  }

 private:
  Tree& tree_;
  Age what_;
  Report& report_;
};

}  // namespace slat::detail
