#pragma once

// The shape of an area index: one leaf inside the index for up to 16 areas, else a B+ tree whose nodes are at least
// half full, except for the last ones of each level: these may hold less, for ascending inserts leave full nodes behind
// them.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <slat/mm/area_node.hpp>
#include <slat/mm/area_position.hpp>
#include <slat/mm/node_pool.hpp>

namespace slat {

/// Balances, and keeps what parents know of their children. For AreaIndex, whose thread rules it has.
template <class Area, NodeSource Nodes>
class AreaTree {
 public:
  AreaTree(const AreaTree&) = delete;
  AreaTree& operator=(const AreaTree&) = delete;

 protected:
  using Leaf = LeafNode<Area>;
  using Pool = NodePool<Nodes, Leaf, std::max(sizeof(Leaf), sizeof(InnerNode))>;
  static constexpr unsigned half = area_fanout / 2;
  static constexpr unsigned low_leaf = 10;  // with as many areas or fewer it may be spread over its neighbours

  explicit AreaTree(Nodes nodes) : pool_{std::move(nodes)} {}
  ~AreaTree() = default;

  /// How many nodes `more` inserts can take at worst. It takes eight inserts to
  /// fill a node that was split in halves, and as many, with what neighbours send it, to fill the last one of a level.
  std::size_t nodes_for(std::size_t more) const {
    return height_ == 0 && count_ + more <= area_fanout ? 0 : nodes_at_worst(more);
  }
  std::size_t nodes_at_worst(std::size_t more) const {
    auto const before = height_ == 0 ? std::size_t{1} : pool_.in_use();
    std::size_t nodes = height_ == 0 ? 1 : 0;  // what is inside moves out
    auto splits = more;
    for (unsigned level = 0; splits != 0; ++level) {
      if (level > height_ && splits < area_fanout) return nodes + 1;  // one root is enough for these
      splits = std::min(splits, (level > height_ ? 1 : before) + 1 + splits / 4);
      nodes += splits;
    }
    return nodes;
  }
  /// As many as two inserts need, so that a call after this one asks the source for nothing.
  std::size_t nodes_to_keep() const { return count_ <= half ? 0 : nodes_at_worst(2); }

  /// The leaf with the area that holds `at`, if any does.
  Leaf* leaf_for(std::uint64_t at) const {
    auto* node = root_;
    for (auto level = height_; level != 0; --level) {
      auto const* const inner = static_cast<const InnerNode*>(node);
      node = inner->child[inner->child_for(at)];
    }
    return static_cast<Leaf*>(node);
  }

  /// Puts an area at the place `i` of a leaf, where it belongs.
  void insert_at(Leaf* leaf, unsigned i, Area&& area) {
    auto const start = area.start().raw();
    ++count_;
    if (leaf->count == area_fanout) [[unlikely]] {
      if (height_ == 0) leaf = move_out();
      if (i == area_fanout && is_last(leaf)) {
        auto* const next = pool_.template make<Leaf>();
        next->insert(0, start, std::move(area));
        link_behind<Leaf>(leaf, next);
        return refresh(next->parent);
      }
      make_place(leaf, i);
    }
    leaf->insert(i, start, std::move(area));
    grown(leaf, i);
  }
  /// Removes the area at the place `i` of a leaf.
  void erase_at(Leaf* leaf, unsigned i) {
    if (leaf->count == 1) return erase_between({leaf, 0}, {leaf, 1});
    AreaSpan const old{leaf->start(i), leaf->end(i)};
    leaf->erase(i);
    --count_;
    if (height_ == 0) return;
    shrunk(leaf, i, old);
    mend(leaf);
  }
  /// Removes the areas from one place to another.
  void erase_between(AreaPosition<Area> first, AreaPosition<Area> last) {
    std::optional<std::uint64_t> before, behind;
    if (!first.at_begin()) before = std::prev(first)->start().raw();
    if (!last.at_end()) behind = last->start().raw();
    auto* leaf = first.leaf();
    auto from = first.place();
    while (leaf != nullptr) {
      auto* const next = leaf == last.leaf() ? nullptr : AreaPosition<Area>{leaf, leaf->count}.leaf();
      auto const to = next == nullptr ? last.place() : unsigned{leaf->count};
      for (auto i = from; i != to; ++i) leaf->erase(from);
      count_ -= to - from;
      if (leaf->count == 0) drop(leaf);
      leaf = next;
      from = 0;
    }
    if (count_ == 0) return pool_.trim(0);
    // What lost a child lies above a neighbour of what is gone.
    for (auto const& at : {before, behind})
      if (at) refresh(leaf_for(*at));
    for (auto const& at : {before, behind})
      if (at) mend(leaf_for(*at));
  }

  /// What parents know of this node and those above it, once its areas or children have changed.
  template <class Node>
  void refresh(Node* node) {
    if (node->parent == nullptr) return;
    node->parent->set_span(node->parent->place_of(node), node->span());
    for (auto* inner = node->parent; inner->parent != nullptr; inner = inner->parent)
      inner->parent->set_span(inner->parent->place_of(inner), inner->span());
  }

  /// Lets a leaf and the nodes above it be half full again where they have a neighbour, and the tree be as low as can
  /// be.
  void mend(Leaf* leaf) {
    bool changed = false;
    for (bool again = true; again;) {
      again = false;
      if (auto* const one = spread(leaf)) {
        leaf = one;
        again = true;
      } else if (sparse(leaf)) {
        leaf = balance(leaf);
        again = true;
      }
      // One without a neighbour may get some when what is above it is joined with another: hence once more.
      for (auto* inner = leaf->parent; inner != nullptr; inner = inner->parent)
        if (sparse(inner)) {
          inner = balance(inner);
          again = true;
        }
      while (height_ != 0 && static_cast<InnerNode*>(root_)->count == 1) leaf = lower(leaf);
      changed |= again;
    }
    if (changed) refresh(leaf);
  }

  /// Destroys everything below and gives back the nodes.
  void destroy(NodeHead* node, unsigned level) {
    if (level == 0) {
      auto* const leaf = static_cast<Leaf*>(node);
      while (leaf->count != 0) leaf->erase(leaf->count - 1u);
      if (leaf != &inside_) pool_.give_back(leaf, 0);
      return;
    }
    auto* const inner = static_cast<InnerNode*>(node);
    for (unsigned i = 0; i != inner->count; ++i) destroy(inner->child[i], level - 1);
    pool_.give_back(inner, 0);
  }

  Pool pool_;
  NodeHead* root_ = &inside_;
  std::size_t count_ = 0;
  unsigned height_ = 0;  // levels of inner nodes
  Leaf inside_;

 private:
  static bool is_last(const NodeHead* node) {
    for (; node->parent != nullptr; node = node->parent)
      if (node->parent->child[node->parent->count - 1u] != node) return false;
    return true;
  }

  /// The 16 areas inside go to a leaf of the pool, which is the root until it is split.
  Leaf* move_out() {
    auto* const leaf = pool_.template make<Leaf>();
    leaf->append_from(inside_, inside_.count);
    root_ = leaf;
    return leaf;
  }
  /// Makes place in a full leaf: the place `i` in it may then be one in another.
  void make_place(Leaf*& leaf, unsigned& i) {
    auto const go_to = [&](Leaf* other, unsigned place) {
      leaf = other;
      i = place;
    };
    auto* const parent = leaf->parent;
    auto const at = parent == nullptr ? 0 : parent->place_of(leaf);
    auto* const left = at == 0 ? nullptr : static_cast<Leaf*>(parent->child[at - 1]);
    auto* const right =
        parent == nullptr || at + 1 == parent->count ? nullptr : static_cast<Leaf*>(parent->child[at + 1]);
    if (left != nullptr && left->count != area_fanout) {
      if (i == 0) return go_to(left, left->count);
      auto const moved = (area_fanout - left->count + 1) / 2;
      left->append_from(*leaf, moved);
      parent->set_span(at - 1, left->span());
      refresh(leaf);
      if (i < moved)
        go_to(left, i + left->count - moved);
      else
        i -= moved;
    } else if (right != nullptr && right->count != area_fanout) {
      if (i == area_fanout) return go_to(right, 0);
      auto const moved = (area_fanout - right->count + 1) / 2;
      right->prepend_from(*leaf, moved);
      parent->set_span(at + 1, right->span());
      refresh(leaf);
      go_behind(leaf, i, right);
    } else {
      auto* const next = pool_.template make<Leaf>();
      next->prepend_from(*leaf, half);
      link_behind<Leaf>(leaf, next);
      refresh(leaf->parent);
      refresh(next->parent);
      go_behind(leaf, i, next);
    }
  }
  static void go_behind(Leaf*& leaf, unsigned& i, Leaf* next) {
    if (i <= leaf->count) return;
    i -= leaf->count;
    leaf = next;
  }

  /// Makes `next` the neighbour behind `node` and tells their parents of both.
  template <class Node>
  void link_behind(Node* node, Node* next) {
    auto* parent = node->parent;
    if (parent == nullptr) {
      auto* const root = pool_.template make<InnerNode>();
      root->insert(0, node, node->span());
      root->insert(1, next, next->span());
      root_ = root;
      ++height_;
      return;
    }
    auto at = parent->place_of(node);
    parent->set_span(at, node->span());
    if (parent->count == area_fanout) {
      auto* const other = pool_.template make<InnerNode>();
      if (at == area_fanout - 1 && is_last(parent)) {
        other->insert(0, next, next->span());
        return link_behind(parent, other);
      }
      other->prepend_from(*parent, half);
      link_behind(parent, other);
      if (at >= half) {
        at -= half;
        parent = other;
      }
    }
    parent->insert(at + 1, next, next->span());
  }

  /// An area came to the place `i`.
  void grown(Leaf* leaf, unsigned i) {
    auto* const parent = leaf->parent;
    if (parent == nullptr) return;
    auto const at = parent->place_of(leaf);
    auto const old = parent->span_at(at);
    auto span = old;
    auto const start = leaf->start(i), end = leaf->end(i);
    bool const first = i == 0, last = i + 1u == leaf->count;
    auto const before = first ? 0 : start - leaf->end(i - 1), behind = last ? 0 : leaf->start(i + 1) - end;
    if (first) span.start = start;
    if (last) span.end = end;
    // Was this in the largest gap?
    if (!first && !last && before + (end - start) + behind == span.gap)
      span.gap = leaf->largest_gap();
    else
      span.gap = std::max({span.gap, before, behind});
    tell(parent, at, old, span);
  }
  /// The area `was` is gone from the place `i`; others are left.
  void shrunk(Leaf* leaf, unsigned i, AreaSpan was) {
    auto* const parent = leaf->parent;
    auto const at = parent->place_of(leaf);
    auto const old = parent->span_at(at);
    auto span = old;
    auto const end_gap = [&](std::uint64_t gap) {
      if (gap == span.gap) span.gap = leaf->largest_gap();
    };
    if (i == 0) {
      span.start = leaf->start(0);
      end_gap(span.start - was.end);
    } else if (i == leaf->count) {
      span.end = leaf->end(i - 1);
      end_gap(was.start - span.end);
    } else {
      span.gap = std::max(span.gap, leaf->gap_before(i));
    }
    tell(parent, at, old, span);
  }
  /// Goes up as far as anything changes.
  void tell(InnerNode* inner, unsigned at, AreaSpan old, AreaSpan span) {
    for (;;) {
      if (span == old) return;
      inner->set_span(at, span);
      auto* const parent = inner->parent;
      if (parent == nullptr) return;
      at = parent->place_of(inner);
      old = parent->span_at(at);
      span = inner->span();
      inner = parent;
    }
  }

  /// Unlinks an empty node, and those above it that become so.
  template <class Node>
  void drop(Node* node) {
    if (node == root_) {
      if (height_ != 0) {
        pool_.give_back(node, nodes_to_keep());
        root_ = &inside_;
        height_ = 0;
      }
      return;
    }
    auto* const parent = node->parent;
    parent->erase(parent->place_of(node));
    pool_.give_back(node, nodes_to_keep());
    if (parent->count == 0) drop(parent);
  }
  static bool sparse(const NodeHead* node) {
    return node->count < half && node->parent != nullptr && node->parent->count > 1;
  }
  /// Three leaves become two before any must be joined: what leaves hold is most of the memory. Returns one of the two.
  Leaf* spread(Leaf* leaf) {
    auto* const parent = leaf->parent;
    if (leaf->count > low_leaf || parent == nullptr) return nullptr;
    auto const at = parent->place_of(leaf);
    if (at == 0 || at + 1u == parent->count) return nullptr;
    auto* const left = static_cast<Leaf*>(parent->child[at - 1]);
    auto* const right = static_cast<Leaf*>(parent->child[at + 1]);
    auto const all = unsigned{left->count} + leaf->count + right->count;
    if (all > 2 * area_fanout) return nullptr;
    left->append_from(*leaf, std::min<unsigned>(leaf->count, area_fanout - left->count));
    right->prepend_from(*leaf, leaf->count);
    parent->set_span(at - 1, left->span());
    parent->set_span(at + 1, right->span());
    parent->erase(at);
    pool_.give_back(leaf, nodes_to_keep());
    return left;
  }
  /// Joins a node with a neighbour, or takes from one. Returns the node that holds what was in it.
  template <class Node>
  Node* balance(Node* node) {
    auto* const parent = node->parent;
    auto const at = parent->place_of(node);
    auto* const left = at == 0 ? nullptr : static_cast<Node*>(parent->child[at - 1]);
    auto* const right = at + 1 == parent->count ? nullptr : static_cast<Node*>(parent->child[at + 1]);
    auto const fits = [&](Node* other) { return other != nullptr && node->count + other->count <= int{area_fanout}; };
    if (fits(left)) return join_with_next(left, node, at - 1);
    if (fits(right)) return join_with_next(node, right, at);
    if (left != nullptr) {
      node->prepend_from(*left, (left->count - node->count) / 2u);
      parent->set_span(at - 1, left->span());
    } else {
      node->append_from(*right, (right->count - node->count) / 2u);
      parent->set_span(at + 1, right->span());
    }
    parent->set_span(at, node->span());
    return node;
  }
  template <class Node>
  Node* join_with_next(Node* node, Node* next, unsigned at) {
    auto* const parent = node->parent;
    node->append_from(*next, next->count);
    parent->erase(at + 1);
    parent->set_span(at, node->span());
    pool_.give_back(next, nodes_to_keep());
    return node;
  }
  /// Makes the root's only child the root; the areas of the last leaf go inside. Returns the leaf, or that inside.
  Leaf* lower(Leaf* leaf) {
    auto* const root = static_cast<InnerNode*>(root_);
    root_ = root->child[0];
    root_->parent = nullptr;
    --height_;
    pool_.give_back(root, nodes_to_keep());
    if (height_ != 0) return leaf;
    inside_.append_from(*leaf, leaf->count);
    root_ = &inside_;
    pool_.give_back(leaf, nodes_to_keep());
    return &inside_;
  }
};

}  // namespace slat
