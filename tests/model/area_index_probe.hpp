#pragma once

// Looks inside an AreaIndex: whether the tree is what it should be.

#include <cstdint>
#include <string>

#include <slat/mm/area_index.hpp>

namespace slat {

struct AreaIndexProbe {
  /// What is wrong, or nothing.
  template <class Area, class Nodes>
  static std::string flaw(const AreaIndex<Area, Nodes>& index) {
    Walk<AreaIndex<Area, Nodes>> walk{index};
    walk.visit(index.root_, index.height_, true);
    if (!walk.flaw.empty()) return walk.flaw;
    if (index.root_->parent != nullptr) return "the root has a parent";
    if ((index.height_ == 0) != (index.root_ == &index.inside_)) return "the leaf inside and the height disagree";
    if (index.height_ != 0 && index.root_->count < 2) return "a root of one child";
    if (walk.areas != index.count_) return "the count of areas is wrong";
    if (walk.nodes != index.leaves_.in_use() + index.inners_.in_use()) return "the count of nodes is wrong";
    return "";
  }
  template <class Index>
  static std::size_t nodes(const Index& index) {
    return index.leaves_.in_use() + index.inners_.in_use();
  }
  template <class Index>
  static std::size_t idle_nodes(const Index& index) {
    return index.leaves_.free() + index.inners_.free();
  }
  template <class Index>
  static std::size_t nodes_to_keep(const Index& index) {
    auto const keep = index.nodes_to_keep();
    return keep.leaves + keep.inners;
  }
  template <class Index>
  static unsigned height(const Index& index) {
    return index.height_;
  }

 private:
  template <class Index>
  struct Walk {
    const Index& index;
    std::string flaw{};
    std::size_t areas = 0, nodes = 0;
    bool any = false;
    std::uint64_t last = 0;  // address inside an area

    AreaSpan visit(const NodeHead* node, unsigned level, bool on_the_edge) {
      auto const is_root = node == index.root_;
      if (node != &index.inside_) ++nodes;
      auto const most = level == 0 ? 16 : 24;
      if (node->count > most || (node->count < (on_the_edge ? 1 : most / 2) && !is_root))
        flaw = "a node is too full or too empty";
      if (level == 0) return leaf(*static_cast<const typename Index::Leaf*>(node));
      auto const& inner = *static_cast<const InnerNode*>(node);
      AreaSpan all{inner.keys[0], 0, {}};
      for (unsigned i = 0; i != inner.count && flaw.empty(); ++i) {
        auto const* const child = inner.child[i];
        if (child->parent != &inner || child->place != i) flaw = "a child has another parent or place";
        auto const before = all.end;
        auto const span = visit(child, level - 1, on_the_edge && i + 1u == inner.count);
        auto const known = inner.span_at(i);
        if (span.start != known.start || span.end != known.end || span.gaps.first != known.gaps.first)
          flaw = "a parent is wrong about start, end or gap of a child";
        if (known.gaps.exact ? known.gaps.second != span.gaps.second : known.gaps.second < span.gaps.second)
          flaw = "a parent is wrong about the second gap of a child";
        if (i != 0) all.gaps.add(span.start - before);
        all.gaps.add(span.gaps.first);
        all.end = span.end;
      }
      for (unsigned i = inner.count; i < 24; ++i)
        if (inner.keys[i] != NodeHead::unused) flaw = "an unused key is not all ones";
      return all;
    }
    AreaSpan leaf(const typename Index::Leaf& leaf) {
      AreaSpan span;
      unsigned slots = 0;
      for (unsigned i = 0; i != 16; ++i) slots |= 1u << leaf.slot_at(i);
      if (slots != 0xffff) flaw = "a slot is missing in the order";
      for (unsigned i = leaf.count; i < 16; ++i)
        if (leaf.keys[leaf.slot_at(i)] != NodeHead::unused) flaw = "an unused key is not all ones";
      for (unsigned i = 0; i != leaf.count; ++i, ++areas) {
        auto const range = leaf.area(i).range();
        if (range.begin.raw() != leaf.start(i)) flaw = "a key is not its area's start";
        if (range.empty() || range.wraps() || (any && range.begin.raw() <= last)) flaw = "areas are not in order";
        if (i == 0)
          span.start = range.begin.raw();
        else
          span.gaps.add(range.begin.raw() - span.end);
        span.end = range.end().raw();
        last = range.last().raw();
        any = true;
      }
      return span;
    }
  };
};

}  // namespace slat
