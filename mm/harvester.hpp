#pragma once

// Telling of the marks that hardware, or dirty tracking, left in leaves.

#include <utility>

#include <slat/mm/tree.hpp>

namespace slat::detail {

/// Calls `sink(GuestRange)` once for all that is told side by side.
template <class Sink>
class Runs {
 public:
  explicit Runs(Sink& sink) : sink_{sink} {}

  void operator()(GuestRange part) {
    if (!run_.empty() && run_.end() == part.begin) {
      run_.size += part.size;
      return;
    }
    finish();
    run_ = part;
  }
  /// Tells of the last run.
  void finish() {
    if (run_.empty()) return;
    sink_(std::as_const(run_));
    run_ = {};
  }

 private:
  Sink& sink_;
  GuestRange run_{};
};

/// Tells `report(GuestRange)` of leaves that have one of the marks `what`, in order.
template <class Tree, class Report>
class Harvester {
 public:
  Harvester(Tree& tree, Age what, Report& report) : tree_{tree}, what_{what}, report_{report} {}

  /// Takes the marks from every leaf that lies wholly in `range`. What lies there of any other is told of, too.
  void harvest(Place place, GuestRange range) {
    auto const take = [this](Place table, GuestRange marked) {
      tree_.each(table, marked, [this](const Slot& slot, Entry e, GuestRange part) {
        if (part == slot.span) tree_.clear_age(slot, e, what_);
        return true;
      });
    };
    each_marked(place, range, take, [](HostPhys) {});
  }

  /// For an entry that hardware has no way to any more, neither to it nor to what is below: its tables wait to be
  /// released.
  void glean(const Slot& slot, Entry e) {
    auto const nothing = [](Place, GuestRange) {};
    auto const unlink = [this](HostPhys table) { tree_.unlinked.push(*tree_.frames, table); };
    if (tree_.meaning(slot.level, e) == Kind::table)
      each_marked(tree_.below(slot, e), slot.span, nothing, unlink);
    else if (shows(slot.level, e))
      report_(slot.span);
  }

 private:
  Geometry geometry() const { return tree_.geometry(); }

  bool shows(Level level, Entry e) const {
    Age const age = tree_.format.age(level, tree_.mended(level, e));
    return (age.accessed && what_.accessed) || (age.dirty && what_.dirty);
  }

  /// Reports, then calls marked(place, part of the range) for leaves side by side, and read(table) for each table whose
  /// part of the range is done.
  template <class Marked, class Read>
  void each_marked(Place place, GuestRange range, const Marked& marked, const Read& read) {
    auto slot = tree_.slot(place, range.begin);
    auto const level = place.level;
    Entry* const end = tree_.entry(place, range.last()) + 1;
    while (slot.entry != end) {
      Entry const e = tree_.load(slot);
      bool const leaf = e != 0 && tree_.format.kind(level, e) == Kind::leaf;
      Entry* const next = leaf ? end_of_alike(slot, end, e) : slot.entry + 1;
      slot.span.size = static_cast<std::uint64_t>(next - slot.entry) << geometry().shift(level);
      auto const part = slot.span.clamp_to(range);
      if (!leaf && tree_.meaning(level, e) == Kind::table) {
        each_marked(tree_.below(slot, e), part, marked, read);
      } else if (e != 0 && shows(level, e)) {
        report_(part);
        marked(place, part);
      }
      slot.span.begin = slot.span.end();
      slot.entry = next;
    }
    read(place.table);
  }

  /// Leaves that differ from the live leaf `e` in their address alone have its marks.
  Entry* end_of_alike(const Slot& slot, Entry* end, Entry e) const {
    Entry const rest = ~tree_.format.address_bits(slot.level);
    if (slot.live) return end_of_alike(slot.entry, end, e, rest, [this](Entry* at) { return tree_.load(at); });
    return end_of_alike(slot.entry, end, e, rest, [](Entry* at) { return *at; });
  }
  /// Four at a time, with one branch for all of them.
  template <class Load>
  static Entry* end_of_alike(Entry* at, Entry* end, Entry like, Entry rest, Load load) {
    for (auto* const fours = at + (end - at) / 4 * 4; at != fours; at += 4) {
      Entry const apart = (load(at) ^ like) | (load(at + 1) ^ like) | (load(at + 2) ^ like) | (load(at + 3) ^ like);
      if ((apart & rest) != 0) break;
    }
    while (at != end && ((load(at) ^ like) & rest) == 0) ++at;
    return at;
  }

  Tree& tree_;
  Age what_;
  Report& report_;
};

}  // namespace slat::detail
