#pragma once

// The search for a gap between the areas of an index. Every parent knows the largest gap inside each of its children,
// so that a search goes down only where one is large enough.

#include <algorithm>
#include <cstdint>
#include <optional>

#include <slat/mm/address.hpp>
#include <slat/mm/area_node.hpp>

namespace slat {

/// One search, for the lowest aligned place for `size` bytes at or above `from` and inside `limit`: see AreaIndex.
template <class Area>
class AreaGapSearch {
  using Leaf = LeafNode<Area>;

 public:
  AreaGapSearch(GuestPhys from, std::uint64_t size, GuestRange limit, std::uint64_t align)
      : begin_{std::max(from, limit.begin).raw()}, size_{size}, align_{align}, limit_{limit} {}

  /// `height` is how many levels of inner nodes there are above the leaves.
  std::optional<GuestPhys> run(const NodeHead* root, unsigned height) {
    if (climb(root, height)) return found_;
    // Behind all areas nothing ends the gap, unless they go up to 2^64.
    if (begin_ != 0 || !passed_) fits(0);
    return found_;
  }

 private:
  /// Looks behind and below where the search begins. True when the search is over.
  bool climb(const NodeHead* node, unsigned level) {
    if (level == 0) return climb_leaf(*static_cast<const Leaf*>(node));
    auto const& inner = *static_cast<const InnerNode*>(node);
    auto const i = inner.child_for(begin_);
    if (inner.gap[i] < size_ && inner.keys[i] <= begin_) {
      // Nothing fits inside, in whichever gap or area there the search begins.
      if (begin_ <= inner.end[i] - 1) pass(inner.end[i]);
    } else if (climb(inner.child[i], level - 1)) {
      return true;
    }
    return rest(inner, i + 1, level);
  }
  bool climb_leaf(const Leaf& leaf) {
    auto i = leaf.rank(begin_);
    if (i != 0 && leaf.area(i - 1).contains(GuestPhys{begin_})) pass(leaf.end(i - 1));
    return rest(leaf, i);
  }

  /// Looks at the gap before the i-th child or area, and at all that is behind it in this node.
  bool rest(const InnerNode& inner, unsigned i, unsigned level) {
    for (; i != inner.count; ++i) {
      // Most are passed by: one branch for both questions.
      if ((inner.keys[i] - begin_ >= size_) | (inner.gap[i] >= size_)) {
        if (before(inner.keys[i])) return true;
        if (inner.gap[i] >= size_ && descend(inner.child[i], level - 1)) return true;
      }
      pass(inner.end[i]);
    }
    return false;
  }
  bool rest(const Leaf& leaf, unsigned i) {
    for (auto rest = leaf.order >> 4 * (i & 15); i != leaf.count; ++i, rest >>= 4) {
      auto const start = leaf.keys[rest & 15];
      if (before(start)) return true;
      pass(start + leaf.areas[rest & 15].size());
    }
    return false;
  }
  bool descend(const NodeHead* node, unsigned level) {
    if (level == 0) return rest(*static_cast<const Leaf*>(node), 0);
    return rest(*static_cast<const InnerNode*>(node), 0, level);
  }

  /// An area that begins at `start` ends the gap.
  bool before(std::uint64_t start) { return start - begin_ >= size_ && fits(start); }
  void pass(std::uint64_t end) {
    begin_ = end;
    passed_ = true;
  }
  /// Whether the gap from `begin_` to `end`, where 0 is 2^64, has a place, or lies too high already.
  bool fits(std::uint64_t end) {
    auto const at = (GuestPhys{begin_} + (align_ - 1)).down_to(align_);
    GuestRange const place{at, size_};
    if (at.raw() < begin_ || place.wraps() || !limit_.contains(place)) return true;
    if (place.last().raw() > end - 1) return false;
    found_ = at;
    return true;
  }

  std::uint64_t begin_;  // nothing lower is free, or wanted
  std::uint64_t size_;
  std::uint64_t align_;
  GuestRange limit_;
  bool passed_ = false;
  std::optional<GuestPhys> found_;
};

}  // namespace slat
