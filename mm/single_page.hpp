#pragma once

// One page: most of what a hypervisor that serves faults asks for. Where its table is there and will be, it is planned
// and done in one look at its entry; a page that comes as the first of its table, or goes as the last, takes a walk.

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

  // The same after a walk: from now on its tables, and attributes like these, are near. A page that is the first of its
  // table or the last comes and goes with it.

  bool after_walk(const Map& change) {
    auto const range = change.range;
    bool const found = approach(range);
    if (!found && !(is_page(range) && is_near_above(range.begin))) return false;
    auto& attributes = tree_.attributes;
    if (!attributes.know(change.host, change.attr) && !attributes.learn(tree_.format, change.attr)) return false;
    if (found) return act(change);
    if (!tree_.stale.empty() || !attributes.know(change.host, change.attr)) return false;
    return tree_.give_page(above(range), range.begin, attributes.leaf(change.host));
  }
  bool after_walk(const Replace& change) { return after_walk(Map{change.range, change.host, change.attr}); }
  bool after_walk(const Unmap& change) {
    if (!approach(change.range)) return false;
    auto const slot = this->slot(change.range);
    Entry const e = tree_.load(slot.entry);
    if (e == 0) return true;
    if (tree_.format.kind(0, e) != Kind::leaf) return false;
    return tree_.take_away(slot) ||
           (is_near_above(slot.span.begin) && tree_.take_away_table(above(slot.span), slot.table));
  }
  bool after_walk(const Protect& change) { return learn(change) && act(change); }
  template <class Change>
  bool after_walk(const Change&) {
    return false;
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
  /// Sets the slots of a run to those from `page` on to the end of its table, if that is there.
  bool find(GuestRange page, Run& run) {
    if (!approach(page)) return false;
    auto const slot = this->slot(page);
    run = {.begin = page.begin, .first = slot.entry, .slot = slot.entry, .table = slot.table};
    run.end = slot.entry + (geometry().entries(0) - geometry().index(page.begin, 0));
    return true;
  }

  // ---- many pages, in order ----

  /// How many of `runs`, from the first on, are pages, ascending, in tables that are there, and in slots that hold
  /// nothing.
  std::size_t absent(std::span<const Map> runs) {
    std::size_t count = 0;
    for (auto rest = runs; !rest.empty(); rest = runs.subspan(count)) {
      if ((count != 0 && rest[0].range.begin < runs[count - 1].range.end()) || !can(rest[0])) break;
      count += absent_in_table(rest);
    }
    return count;
  }
  /// Maps `runs`, of which absent() was true and is. Inside an edit.
  void give(std::span<const Map> runs) {
    while (!runs.empty()) {
      approach(runs[0].range);
      if (!tree_.attributes.know(runs[0].host, runs[0].attr)) tree_.attributes.learn(tree_.format, runs[0].attr);
      runs = runs.subspan(give_in_table(runs));
    }
  }

 private:
  Geometry geometry() const { return tree_.geometry(); }

  /// What it takes that a change like it is done at once. False when nothing can be learnt.
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

  // Not one look more than it takes: whoever restores a guest waits for memory, not for us.

  /// As many of `runs` as lie in the near table and have the first's attributes: absent() of them, given that it is
  /// true of the first.
  [[gnu::noinline]] std::size_t absent_in_table(std::span<const Map> runs) const {
    auto const known = tree_.attributes;
    auto const attr = runs[0].attr.bits();
    auto const page = geometry().page_size(), size = geometry().span(1);
    auto const base = runs[0].range.begin.down_to(size);
    Entry* const entries = tree_.frames->view(tree_.near.pages);
    auto last = runs[0].range.begin - base;
    auto run = runs.begin() + 1;
    for (; run != runs.end(); ++run) {
      auto const& [range, host, a] = *run;
      auto const offset = range.begin - base;
      if (offset <= last || range.size != page) break;
      if ((offset & ~(size - page)) != 0 || !known.fits(host)) break;
      if (a.bits() != attr) break;
      if (tree_.load(entries + (offset >> geometry().shift(0))) != 0) break;
      last = offset;
    }
    return static_cast<std::size_t>(run - runs.begin());
  }
  std::size_t give_in_table(std::span<const Map> runs) {
    auto const known = tree_.attributes;
    auto const attr = runs[0].attr.bits();
    auto const size = geometry().span(1);
    auto const base = runs[0].range.begin.down_to(size);
    Entry* const entries = tree_.frames->view(tree_.near.pages);
    std::size_t count = 0;
    for (; count != runs.size(); ++count) {
      auto const& run = runs[count];
      auto const offset = run.range.begin - base;
      if (offset >= size || run.attr.bits() != attr) break;
      tree_.store(entries + (offset >> geometry().shift(0)), known.leaf(run.host));
    }
    tree_.word(tree_.near.pages) += count;
    tree_.unpublished = true;
    return count;
  }

  /// Not from inside the hook.
  [[gnu::always_inline]] bool is_page(GuestRange range) const {
    return range.size == geometry().page_size() && (range.begin.raw() & tree_.near.no_page_bits) == 0 && !tree_.in_hook;
  }
  /// Whether `range` is a page, and its table is there and found.
  [[gnu::always_inline]] bool is_near(GuestRange range) {
    if (!is_page(range)) return false;
    auto const at = range.begin;
    if ((at.raw() ^ tree_.near.at.raw()) >> geometry().shift(1) == 0) return true;
    return is_near_above(at) && descend(at);
  }
  [[gnu::always_inline]] bool is_near_above(GuestPhys at) const {
    return (at.raw() ^ tree_.near.above_at.raw()) >> geometry().shift(2) == 0;
  }
  /// From the table above, which is near.
  [[gnu::always_inline]] bool descend(GuestPhys at) {
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
  /// After is_near_above().
  Slot above(GuestRange page) const { return tree_.slot({tree_.near.above, 1, true}, page.begin); }

  /// is_near(), after a walk if need be. The table above may be near even if the page's is not.
  bool approach(GuestRange range) {
    if (is_near(range)) return true;
    tree_.close_run();  // which counts on it that nothing is near
    return is_page(range) && !is_near_above(range.begin) && walk_above(range.begin) && descend(range.begin);
  }
  /// False, too, where the root itself holds pages.
  [[gnu::flatten]] bool walk_above(GuestPhys at) {
    auto place = tree_.top();
    if (place.level == 0) return false;
    while (place.level != 1) {
      Entry const e = tree_.load(tree_.entry(place, at));
      if (tree_.format.kind(place.level, e) != Kind::table) return false;
      place = {tree_.format.address(place.level, e), place.level - 1, true};
    }
    tree_.near.above_at = at;
    tree_.near.above = place.table;
    return true;
  }

  Tree& tree_;
};

}  // namespace slat::detail
