#pragma once

// How the tree of an area index grows and shrinks. Nodes are at least half full, except for the last ones of each
// level: these may hold less, for ascending inserts leave full nodes behind them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <slat/mm/area_node.hpp>
#include <slat/mm/area_position.hpp>
#include <slat/mm/area_shape.hpp>

namespace slat {

/// Balances. For AreaIndex, whose thread rules it has.
template <class Area, NodeSource Nodes>
class AreaTree : protected AreaShape<Area, Nodes> {
  using Shape = AreaShape<Area, Nodes>;

 protected:
  using Shape::count_;
  using Shape::height_;
  using Shape::inside_;
  using Shape::root_;
  using typename Shape::Leaf;

  using Shape::Shape;
  ~AreaTree() = default;

  /// Puts an area at the place `i` of a leaf, where it belongs.
  void insert_at(Leaf* leaf, unsigned i, Area&& area) {
    auto const start = area.start().raw();
    ++count_;
    if (leaf->count == area_fanout) [[unlikely]] {
      if (height_ == 0) leaf = move_out();
      if (i == area_fanout && this->is_last(leaf)) {
        auto* const next = this->template make<Leaf>();
        next->insert(0, start, std::move(area));
        link_behind<Leaf>(leaf, next);
        return this->refresh(next->parent);
      }
      make_place(leaf, i);
    }
    leaf->insert(i, start, std::move(area));
    this->grown(leaf, i);
  }
  /// Removes the area at the place `i` of a leaf that has others. Then mend().
  void erase_at(Leaf* leaf, unsigned i) {
    auto const old = leaf->area(i).range();
    leaf->erase(i);
    --count_;
    this->shrunk(leaf, i, old);
  }
  /// Removes the areas from one place to another.
  void erase_between(AreaPosition<Area> first, AreaPosition<Area> last) {
    std::optional<std::uint64_t> before, behind;
    if (!first.at_begin()) before = std::prev(first).start();
    if (!last.at_end()) behind = last.start();
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
    if (count_ == 0) return this->trim({});
    // What lost a child lies above a neighbour of what is gone.
    for (auto const& at : {before, behind})
      if (at) this->refresh(this->leaf_for(*at));
    for (auto const& at : {before, behind})
      if (at) mend(this->leaf_for(*at));
  }

  /// Whether mend() may have something to do for a leaf that lost one area.
  bool wants_mending(const Leaf* leaf) const {
    if (leaf->count > low_leaf || leaf->parent == nullptr) return false;
    return leaf->count < half || (leaf->place != 0 && leaf->place + 1 != leaf->parent->count);
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
    if (changed) this->refresh(leaf);
  }

 private:
  using Shape::half;
  static constexpr unsigned low_leaf = 10;  // with as many areas or fewer it may be spread over its neighbours

  /// The 16 areas inside go to a leaf of the pool, which is the root until it is split.
  Leaf* move_out() {
    auto* const leaf = this->template make<Leaf>();
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
    unsigned const at = leaf->place;
    // Before the first of its siblings `place` is beyond any count.
    auto const sibling = [parent = leaf->parent](unsigned place) {
      return parent == nullptr || place >= parent->count ? nullptr : static_cast<Leaf*>(parent->child[place]);
    };
    auto const has_room = [](const Leaf* other) { return other != nullptr && other->count != area_fanout; };
    auto* const left = sibling(at - 1);
    auto* const right = sibling(at + 1);
    if (!has_room(left) && !has_room(right)) {
      // Full neighbours pass on what the next one has room for: the fuller leaves are, the fewer there are.
      if (auto* const far_left = sibling(at - 2); has_room(far_left))
        move_left(left, far_left);
      else if (auto* const far_right = sibling(at + 2); has_room(far_right))
        move_right(right, far_right);
    }
    if (has_room(left)) {
      if (i == 0) return go_to(left, left->count);
      auto const moved = move_left(leaf, left);
      if (i < moved)
        go_to(left, i + left->count - moved);
      else
        i -= moved;
    } else if (has_room(right)) {
      if (i == area_fanout) return go_to(right, 0);
      move_right(leaf, right);
      go_behind(leaf, i, right);
    } else {
      auto* const next = this->template make<Leaf>();
      next->prepend_from(*leaf, half);
      link_behind<Leaf>(leaf, next);
      this->refresh(leaf->parent);
      this->refresh(next->parent);
      go_behind(leaf, i, next);
    }
  }
  /// Moves areas of a full leaf to the one before it, as many as leave both with as much room. Returns how many.
  unsigned move_left(Leaf* leaf, Leaf* left) {
    auto const moved = (area_fanout - left->count + 1) / 2;
    left->append_from(*leaf, moved);
    leaf->parent->set_span(left->place, left->span());
    this->refresh(leaf);
    return moved;
  }
  /// The same to the one behind it.
  void move_right(Leaf* leaf, Leaf* right) {
    right->prepend_from(*leaf, (area_fanout - right->count + 1) / 2);
    leaf->parent->set_span(right->place, right->span());
    this->refresh(leaf);
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
      auto* const root = this->template make<InnerNode>();
      root->insert(0, node, node->span());
      root->insert(1, next, next->span());
      root_ = root;
      ++height_;
      return;
    }
    unsigned at = node->place;
    parent->set_span(at, node->span());
    if (parent->count == InnerNode::fanout) {
      auto* const other = this->template make<InnerNode>();
      if (at == InnerNode::fanout - 1 && this->is_last(parent)) {
        other->insert(0, next, next->span());
        return link_behind(parent, other);
      }
      other->prepend_from(*parent, InnerNode::fanout / 2);
      link_behind(parent, other);
      if (at >= InnerNode::fanout / 2) {
        at -= InnerNode::fanout / 2;
        parent = other;
      }
    }
    parent->insert(at + 1, next, next->span());
  }

  /// Unlinks an empty node, and those above it that become so.
  template <class Node>
  void drop(Node* node) {
    if (node == root_) {
      if (height_ != 0) {
        this->give_back(node);
        root_ = &inside_;
        height_ = 0;
      }
      return;
    }
    auto* const parent = node->parent;
    parent->erase(node->place);
    this->give_back(node);
    if (parent->count == 0) drop(parent);
  }
  template <class Node>
  static bool sparse(const Node* node) {
    return node->count < Node::fanout / 2 && node->parent != nullptr && node->parent->count > 1;
  }
  /// Three leaves become two before any must be joined: what leaves hold is most of the memory. Returns one of the two.
  Leaf* spread(Leaf* leaf) {
    auto* const parent = leaf->parent;
    if (leaf->count > low_leaf || parent == nullptr) return nullptr;
    unsigned const at = leaf->place;
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
    this->give_back(leaf);
    return left;
  }
  /// Joins a node with a neighbour, or takes from one. Returns the node that holds what was in it.
  template <class Node>
  Node* balance(Node* node) {
    auto* const parent = node->parent;
    unsigned const at = node->place;
    auto* const left = at == 0 ? nullptr : static_cast<Node*>(parent->child[at - 1]);
    auto* const right = at + 1 == parent->count ? nullptr : static_cast<Node*>(parent->child[at + 1]);
    auto const fits = [&](Node* other) { return other != nullptr && node->count + other->count <= int{Node::fanout}; };
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
    this->give_back(next);
    return node;
  }
  /// Makes the root's only child the root; the areas of the last leaf go inside. Returns the leaf, or that inside.
  Leaf* lower(Leaf* leaf) {
    auto* const root = static_cast<InnerNode*>(root_);
    root_ = root->child[0];
    root_->parent = nullptr;
    --height_;
    this->give_back(root);
    if (height_ != 0) return leaf;
    inside_.append_from(*leaf, leaf->count);
    root_ = &inside_;
    this->give_back(leaf);
    return &inside_;
  }
};

}  // namespace slat
