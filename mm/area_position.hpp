#pragma once

// Where an area is in an index: a bidirectional iterator.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <type_traits>

#include <slat/mm/area_node.hpp>

namespace slat {

/// Neighbours in an index, for a range-based for.
template <class Position>
struct AreaRun {
  Position first;  // where it begins
  Position last;   // after its last one

  /// The same by the names that a for loop asks for.
  /// @{
  constexpr Position begin() const { return first; }
  constexpr Position end() const { return last; }
  /// @}
  /// Whether there is none.
  constexpr bool empty() const { return first == last; }
};

/// Holds until the next call that is not const, erasing what is behind it included. `A` is the area, const where the
/// index is.
template <class A>
class AreaPosition {
  using Plain = std::remove_const_t<A>;
  using Leaf = std::conditional_t<std::is_const_v<A>, const LeafNode<Plain>, LeafNode<Plain>>;

 public:
  using iterator_category = std::bidirectional_iterator_tag;
  using value_type = Plain;
  using difference_type = std::ptrdiff_t;
  using pointer = A*;
  using reference = A&;

  AreaPosition() = default;
  /// Behind the last area of a leaf is before the first of the next.
  AreaPosition(Leaf* leaf, std::size_t i) : leaf_{leaf}, i_{i} {
    if (i_ == leaf->count) step_over();
  }
  operator AreaPosition<const A>() const
    requires(!std::is_const_v<A>)
  {
    return {leaf_, i_};
  }

  A& operator*() const { return leaf_->area(place()); }
  A* operator->() const { return &leaf_->area(place()); }
  AreaPosition& operator++() {
    if (++i_ == leaf_->count) step_over();
    return *this;
  }
  AreaPosition& operator--() {
    if (i_ == 0) {
      leaf_ = beside<false>();
      i_ = leaf_->count;
    }
    --i_;
    return *this;
  }
  AreaPosition operator++(int) {
    auto const old = *this;
    ++*this;
    return old;
  }
  AreaPosition operator--(int) {
    auto const old = *this;
    --*this;
    return old;
  }
  friend bool operator==(AreaPosition, AreaPosition) = default;

  /// For the index.
  Leaf* leaf() const { return leaf_; }
  unsigned place() const { return static_cast<unsigned>(i_); }
  bool at_end() const { return i_ == leaf_->count; }
  bool at_begin() const { return i_ == 0 && beside<false>() == nullptr; }
  std::uint64_t start() const { return leaf_->start(place()); }

 private:
  void step_over() {
    if (auto* const next = beside<true>()) {
      leaf_ = next;
      i_ = 0;
    }
  }
  /// The leaf after or before this one, or null.
  template <bool after>
  Leaf* beside() const {
    unsigned up = 0;
    const NodeHead* node = leaf_;
    for (;; ++up, node = node->parent) {
      if (node->parent == nullptr) return nullptr;
      if (node->place + 1 != (after ? node->parent->count : 1)) break;
    }
    NodeHead* next = node->parent->child[after ? node->place + 1 : node->place - 1];
    for (; up != 0; --up) {
      auto const* const inner = static_cast<InnerNode*>(next);
      next = inner->child[after ? 0u : inner->count - 1u];
    }
    return static_cast<Leaf*>(next);
  }

  Leaf* leaf_ = nullptr;
  std::size_t i_ = 0;  // as wide as a register: a copy in memory is not read in other pieces than it was written in
};

}  // namespace slat
