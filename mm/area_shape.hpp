#pragma once

// The shape of an area index: one leaf inside the index for up to 16 areas, else a B+ tree. And what its nodes know of
// each other: where a child is in its parent, what a parent is told of a child, which leaf is next.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <slat/mm/area_node.hpp>
#include <slat/mm/node_pool.hpp>

namespace slat {

/// Nodes, and what parents know of their children. For AreaTree.
template <class Area, NodeSource Nodes>
class AreaShape {
 public:
  AreaShape(const AreaShape&) = delete;
  AreaShape& operator=(const AreaShape&) = delete;

 protected:
  using Leaf = LeafNode<Area>;
  using Leaves = NodePool<Nodes, Leaf, sizeof(Leaf)>;
  using Inners = NodePool<Nodes, InnerNode, sizeof(InnerNode)>;
  static constexpr unsigned half = area_fanout / 2;

  /// Memory for areas to come, taken but not in use: given back unless adopt() gets it.
  struct Room {
    typename Leaves::Room leaves;
    typename Inners::Room inners;
  };
  struct NodeCounts {
    std::size_t leaves = 0;
    std::size_t inners = 0;
  };

  explicit AreaShape(Nodes nodes) : leaves_{nodes}, inners_{std::move(nodes)} {}
  ~AreaShape() = default;

  Room no_room() const { return {typename Leaves::Room{leaves_.source()}, typename Inners::Room{inners_.source()}}; }

  /// How many nodes `more` inserts can take at worst. It takes eight inserts to fill a node that was split in halves,
  /// and as many, with what neighbours send it, to fill the last one of a level.
  NodeCounts nodes_for(std::size_t more) const {
    return height_ == 0 && count_ + more <= area_fanout ? NodeCounts{} : nodes_at_worst(more);
  }
  NodeCounts nodes_at_worst(std::size_t more) const {
    std::size_t const moves_out = height_ == 0 ? 1 : 0;  // what is inside
    if (more == 0) return {};
    // A split on each level, or two, and a root.
    if (more <= 2) return {moves_out + more, more * height_ + 1};
    auto splits = std::min(more, (height_ == 0 ? 1 : leaves_.in_use()) + 1 + more / 4);
    NodeCounts nodes{moves_out + splits, 0};
    for (unsigned level = 1; splits != 0; ++level) {
      bool const is_new = level > height_;
      if (is_new && splits < InnerNode::fanout) return {nodes.leaves, nodes.inners + 1};  // one root is enough
      splits = std::min(splits, (is_new ? 1 : inners_.in_use()) + 1 + splits / 4);
      nodes.inners += splits;
    }
    return nodes;
  }
  /// As many as two inserts need, so that a call after this one asks the source for nothing.
  NodeCounts nodes_to_keep() const { return count_ <= half ? NodeCounts{} : nodes_at_worst(2); }

  template <class Node>
  Node* make() {
    if constexpr (std::is_same_v<Node, Leaf>)
      return leaves_.template make<Leaf>();
    else
      return inners_.template make<InnerNode>();
  }
  void give_back(Leaf* leaf) { leaves_.give_back(leaf, nodes_to_keep().leaves); }
  void give_back(InnerNode* inner) { inners_.give_back(inner, nodes_to_keep().inners); }
  void trim(NodeCounts spare) {
    leaves_.trim(spare.leaves);
    inners_.trim(spare.inners);
  }

  /// The leaf with the area that holds `at`, if any does.
  [[gnu::always_inline]] Leaf* leaf_for(std::uint64_t at) const {
    auto* node = root_;
    for (auto level = height_; level != 0; --level) {
      auto const* const inner = static_cast<const InnerNode*>(node);
      node = inner->child[inner->child_for(at)];
    }
    auto* const leaf = static_cast<Leaf*>(node);
    // So many areas are in no near cache.
    if (height_ > 2) leaf->prefetch_areas();
    return leaf;
  }

  static bool is_last(const NodeHead* node) {
    for (; node->parent != nullptr; node = node->parent)
      if (node->place + 1 != node->parent->count) return false;
    return true;
  }

  /// Tells the parents of a node that its span is now this one. Goes up as far as anything changes.
  void tell(const NodeHead* node, AreaSpan span) {
    for (;;) {
      auto* const inner = node->parent;
      unsigned const at = node->place;
      auto const old = inner->span_at(at);
      inner->set_span(at, span);
      bool const start = span.start != old.start, end = span.end != old.end;
      if (!start && !end && span.gaps.first == old.gaps.first) return;
      node = inner;
      if (node->parent == nullptr) return;
      auto next = node->parent->span_at(node->place);
      next.gaps.add(span.gaps.first);
      bool known = next.gaps.remove(old.gaps.first);
      if (start) {
        if (at == 0)
          next.start = span.start;
        else
          known &= move_gap(next.gaps, old.start - inner->end[at - 1], span.start - inner->end[at - 1]);
      }
      if (end) {
        if (at + 1 == inner->count)
          next.end = span.end;
        else
          known &= move_gap(next.gaps, inner->keys[at + 1] - old.end, inner->keys[at + 1] - span.end);
      }
      if (!known) next.gaps = inner->largest_gaps();
      span = next;
    }
  }
  /// The same where neither start nor end has changed.
  static void tell(const NodeHead* node, LargestGaps gaps) {
    for (;;) {
      auto* const inner = node->parent;
      unsigned const at = node->place;
      auto const old = inner->gap[at];
      inner->set_gaps(at, gaps);
      if (gaps.first == old || inner->parent == nullptr) return;
      auto next = inner->parent->gaps_at(inner->place);
      next.add(gaps.first);
      if (!next.remove(old)) next = inner->largest_gaps();
      gaps = next;
      node = inner;
    }
  }
  /// An area came to the place `i` of a leaf.
  void grown(const Leaf* leaf, unsigned i) {
    auto const* const parent = leaf->parent;
    if (parent == nullptr) return;
    bool const first = i == 0, last = i + 1u == leaf->count;
    auto const start = leaf->start(i), end = leaf->end(i);
    if (!first && !last) [[likely]] {
      auto const before = leaf->end(i - 1), behind = leaf->start(i + 1);
      auto gaps = parent->gaps_at(leaf->place);
      gaps.add(start - before);
      gaps.add(behind - end);
      if (!gaps.remove(behind - before)) gaps = leaf->largest_gaps();
      return tell(leaf, gaps);
    }
    auto span = parent->span_at(leaf->place);
    if (first) {
      span.start = start;
      if (!last) span.gaps.add(leaf->start(1) - end);
    } else {
      span.gaps.add(start - leaf->end(i - 1));
    }
    if (last) span.end = end;
    tell(leaf, span);
  }
  /// The area `was` is gone from the place `i` of a leaf; others are left.
  void shrunk(const Leaf* leaf, unsigned i, GuestRange was) {
    auto const* const parent = leaf->parent;
    if (parent == nullptr) return;
    bool const first = i == 0, last = i == leaf->count;
    auto const start = was.begin.raw(), end = was.end().raw();
    if (!first && !last) [[likely]] {
      auto const before = leaf->end(i - 1), behind = leaf->start(i);
      auto gaps = parent->gaps_at(leaf->place);
      gaps.add(behind - before);
      bool const known = gaps.remove(start - before);
      if (!gaps.remove(behind - end) || !known) gaps = leaf->largest_gaps();
      return tell(leaf, gaps);
    }
    auto span = parent->span_at(leaf->place);
    if (first)
      span.start = leaf->start(0);
    else
      span.end = leaf->end(i - 1);
    if (!span.gaps.remove(first ? span.start - end : start - span.end)) span.gaps = leaf->largest_gaps();
    tell(leaf, span);
  }
  /// The same as tell() once more has changed: all are looked at up to the root.
  template <class Node>
  void refresh(Node* node) {
    if (node->parent == nullptr) return;
    node->parent->set_span(node->place, node->span());
    for (auto* inner = node->parent; inner->parent != nullptr; inner = inner->parent)
      inner->parent->set_span(inner->place, inner->span());
  }

  /// Destroys everything below and gives back the nodes.
  void destroy(NodeHead* node, unsigned level) {
    if (level == 0) {
      auto* const leaf = static_cast<Leaf*>(node);
      while (leaf->count != 0) leaf->erase(leaf->count - 1u);
      if (leaf != &inside_) leaves_.give_back(leaf, 0);
      return;
    }
    auto* const inner = static_cast<InnerNode*>(node);
    for (unsigned i = 0; i != inner->count; ++i) destroy(inner->child[i], level - 1);
    inners_.give_back(inner, 0);
  }

  Leaves leaves_;
  Inners inners_;
  NodeHead* root_ = &inside_;
  std::size_t count_ = 0;
  unsigned height_ = 0;  // levels of inner nodes
  Leaf inside_;

 private:
  /// False as LargestGaps::remove() says.
  [[nodiscard]] static bool move_gap(LargestGaps& gaps, std::uint64_t from, std::uint64_t to) {
    gaps.add(to);
    return gaps.remove(from);
  }
};

}  // namespace slat
