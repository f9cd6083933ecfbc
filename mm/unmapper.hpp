#pragma once

// Taking translations away; and, where it is asked for, telling of the marks that go with them.
//
// Hardware may set marks in an unlinked table until the invalidation has returned, and nothing may be allocated to
// remember what was unlinked. So a slot whose marks are to be told goes in two steps:
//
//   broken(old) ──► publish ──► hook ──► tell of the marks, store 0 ──► mend other slots ──► ... release frames
//
// A broken entry is invalid to hardware and remembers where it led. It goes before the mending, and is never mended.

#include <type_traits>

#include <slat/mm/cutter.hpp>
#include <slat/mm/harvester.hpp>
#include <slat/mm/live_access.hpp>
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

  /// The same, with every mark of `what` told to `report`, which is finished then. It pays what the edit owes.
  template <class Report>
  void unmap(GuestRange range, Age what, Report& report) {
    if (range.empty()) return tree_.settle();
    auto const place = tree_.lowest_kept(range);
    each_that_goes(place, range, [&](const Slot& slot, Entry e) { break_off(slot, e); });
    // What goes is the same as before: neither breaking nor cutting has emptied a slot. Blocks are cut by now.
    tree_.settle([&] {
      each_that_goes(place, range, [&](const Slot& slot, Entry e) { clear(slot, e, what, report); });
      report.finish();
    });
  }

 private:
  using Live = LiveAccess<std::remove_pointer_t<decltype(Tree::frames)>>;

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

  /// Hardware finds a slot no more. Where it is broken already, or lies below one that is, hardware never has.
  void break_off(const Slot& slot, Entry e) {
    auto const& format = tree_.format;
    if (!slot.live || tree_.broken(slot.level, e)) return;
    bool const table = format.kind(slot.level, e) == Kind::table;
    if (table || format.hardware_age() == Age{})
      Live::store(*tree_.frames, slot.entry, format.broken(e));
    else
      while (!Live::compare_exchange(*tree_.frames, slot.entry, e, format.broken(e))) {
      }
    tree_.unpublished = true;
    tree_.stale.add(slot.span, table ? Stale::unknown_level : slot.level, table, false);
  }

  /// After the invalidation.
  template <class Report>
  void clear(const Slot& slot, Entry e, Age what, Report& report) {
    tree_.nothing_is_near();
    Harvester{tree_, what, report}.glean(slot, e);
    if (slot.live) {
      Live::store(*tree_.frames, slot.entry, 0);
      tree_.unpublished = true;
    } else {
      *slot.entry = 0;
    }
    --tree_.word(slot.table);
  }

  Tree& tree_;
};

}  // namespace slat::detail
