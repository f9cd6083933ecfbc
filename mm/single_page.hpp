#pragma once

// One page whose table is there: most of what a hypervisor that serves faults asks for. It takes no frame and empties
// no table, so that it is planned and done in one look at its entry.

#include <slat/mm/changes.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

/// Each call answers whether the change is done. If not, nothing is: whatever is not that simple is left to the planner
/// and the committer, and so is every refusal.
template <class Tree>
class SinglePage {
 public:
  explicit SinglePage(Tree& tree) : tree_{tree} {}

  /// Not over something present, where more may have to happen than a store; and not where something is owed, which
  /// the entry may have to wait for.
  [[gnu::always_inline]] bool map(GuestRange range, HostPhys host, const Attr& attr) {
    if (!tree_.stale.empty() || !tree_.attributes.know(host, attr) || !is_near(range)) return false;
    auto const slot = this->slot(range);
    if (tree_.load(slot.entry) != 0) return false;
    tree_.give(slot, tree_.attributes.leaf(host));
    return true;
  }
  [[gnu::always_inline]] bool unmap(GuestRange range) {
    if (!is_near(range)) return false;
    auto const slot = this->slot(range);
    Entry const e = tree_.load(slot.entry);
    return e == 0 || (tree_.format.kind(0, e) == Kind::leaf && tree_.take_away(slot));
  }
  [[gnu::always_inline]] bool protect(GuestRange range, const Attr& attr) {
    if (!is_near(range)) return false;
    auto const slot = this->slot(range);
    Entry const e = tree_.load(slot.entry);
    return tree_.recasting_page.knows(e, attr) && tree_.recast_page(slot, e);
  }

  // The same for changes as values.

  /// Whether the change is right, and wants no frame. What act() would lack for it is learnt.
  template <class Change>
  bool can(const Change& change) {
    return could(change) || (learn(change) && could(change));
  }
  /// The change, if it can be done so. It need not: can() was true of a page that is now the last of its table.
  [[gnu::always_inline]] bool act(const Map& change) { return map(change.range, change.host, change.attr); }
  bool act(const Replace& change) { return map(change.range, change.host, change.attr); }
  bool act(const Unmap& change) { return unmap(change.range); }
  bool act(const Protect& change) { return protect(change.range, change.attr); }
  template <class Change>
  bool act(const Change&) {
    return false;
  }
  /// For what can() was true of, or what was planned otherwise, if nothing happened since.
  bool map_planned(const Map& run) {
    if (!tree_.stale.empty() || !tree_.attributes.know(run.host, run.attr) || !is_near(run.range)) return false;
    tree_.give(slot(run.range), tree_.attributes.leaf(run.host));
    return true;
  }

  /// Where a call was not done: what it takes that the next one like it is. False when nothing can be learnt.
  bool learn(const Map& change) { return approach(change.range) && tree_.attributes.learn(tree_.format, change.attr); }
  bool learn(const Replace& change) { return learn(Map{change.range, change.host, change.attr}); }
  bool learn(const Unmap& change) { return approach(change.range); }
  bool learn(const Protect& change) {
    if (!approach(change.range)) return false;
    Entry const e = tree_.load(slot(change.range).entry);
    return e != 0 && tree_.recasting_page.find(tree_.format, 0, e, change.attr);
  }
  template <class Change>
  bool learn(const Change&) {
    return false;
  }

 private:
  Geometry geometry() const { return tree_.geometry(); }

  [[gnu::always_inline]] bool could(const Map& change) {
    if (!tree_.stale.empty() || !tree_.attributes.know(change.host, change.attr) || !is_near(change.range))
      return false;
    return tree_.load(slot(change.range).entry) == 0;
  }
  bool could(const Replace& change) { return could(Map{change.range, change.host, change.attr}); }
  bool could(const Unmap& change) {
    return is_near(change.range) && tree_.format.kind(0, tree_.load(slot(change.range).entry)) == Kind::leaf;
  }
  bool could(const Protect& change) {
    return is_near(change.range) && tree_.recasting_page.knows(tree_.load(slot(change.range).entry), change.attr);
  }
  template <class Change>
  bool could(const Change&) {
    return false;
  }

  /// Whether `range` is a page, and its table is there and found. Not from inside the hook.
  [[gnu::always_inline]] bool is_near(GuestRange range) {
    auto const at = range.begin;
    if (range.size != geometry().page_size() || (at.raw() & tree_.near.no_page_bits) != 0) return false;
    if (tree_.in_hook) return false;
    auto const apart = at.raw() ^ tree_.near.at.raw();
    if (apart >> geometry().shift(1) == 0) return true;
    if (apart >> geometry().shift(2) != 0) return false;
    Entry const e = tree_.load(tree_.frames->view(tree_.near.above) + geometry().index(at, 1));
    if (tree_.format.kind(1, e) != Kind::table) return false;
    tree_.near.at = at;
    tree_.near.pages = tree_.format.address(1, e);
    return true;
  }
  /// After is_near().
  Slot slot(GuestRange page) const {
    auto const table = tree_.near.pages;
    return {table, 0, page, tree_.frames->view(table) + geometry().index(page.begin, 0), true};
  }

  /// is_near(), after a walk if need be.
  bool approach(GuestRange range) {
    if (is_near(range)) return true;
    auto const at = range.begin;
    if ((at.raw() & tree_.near.no_page_bits) != 0) return false;
    auto place = tree_.top();
    auto above = place;
    while (place.level != 0) {
      Entry const e = tree_.load(tree_.entry(place, at));
      if (tree_.format.kind(place.level, e) != Kind::table) return false;
      above = place;
      place = {tree_.format.address(place.level, e), place.level - 1, true};
    }
    if (above.level != 1) return false;  // the root itself holds pages
    tree_.near.at = at;
    tree_.near.pages = place.table;
    tree_.near.above = above.table;
    return is_near(range);
  }

  Tree& tree_;
};

}  // namespace slat::detail
