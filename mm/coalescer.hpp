#pragma once

// Blocks for tables of equal leaves.

#include <optional>

#include <slat/mm/tree.hpp>

namespace slat::detail {

template <class Tree>
class Coalescer {
 public:
  explicit Coalescer(Tree& tree) : tree_{tree} {}

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

 private:
  Geometry geometry() const { return tree_.geometry(); }

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

  Tree& tree_;
};

}  // namespace slat::detail
