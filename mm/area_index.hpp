#pragma once

// The areas of one set, in address order, behind the few verbs that the set needs: so that another structure can take
// the place of this one alone.
//
//   up to 16 areas   one leaf inside the index, no memory needed
//   more             a B+ tree: its nodes are carved out of blocks from the node source, one of leaves at least and one
//                    of nodes above them
//
// Every verb costs O(log n), erasing k neighbours O(log n + k), and an area seldom moves: only between neighbouring
// leaves, when one is full or less than half full.

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <type_traits>
#include <utility>

#include <slat/mm/address.hpp>
#include <slat/mm/area_gap.hpp>
#include <slat/mm/area_node.hpp>
#include <slat/mm/area_position.hpp>
#include <slat/mm/area_tree.hpp>
#include <slat/mm/node_source.hpp>

namespace slat {

/// Sorted, disjoint areas. Any number of threads may call the const members as long as nobody calls another one; a
/// pointer or position holds until then. Moving or copying an area must not throw. Only reserve() can fail. What every
/// edit begins with is always inlined: positions and rooms that a call returns by way of memory cost more than it does.
template <class Area, NodeSource Nodes>
class AreaIndex : private AreaTree<Area, Nodes> {
  using Tree = AreaTree<Area, Nodes>;
  using typename Tree::Leaf;

 public:
  using Position = AreaPosition<Area>;
  using ConstPosition = AreaPosition<const Area>;
  static constexpr std::size_t inline_areas = area_fanout;
  /// Memory for areas to come, taken but not in use: given back unless adopt() gets it.
  using typename Tree::Room;

  AreaIndex() : AreaIndex{Nodes{}} {}
  explicit AreaIndex(Nodes nodes) : Tree{std::move(nodes)} {}
  /// The source is empty afterwards and can be used again.
  AreaIndex(AreaIndex&& from) noexcept : Tree{from.leaves_.source()} { take(from); }
  AreaIndex& operator=(AreaIndex&& from) noexcept {
    if (this != &from) {
      clear();
      take(from);
    }
    return *this;
  }
  ~AreaIndex() { clear(); }

  std::size_t size() const { return count_; }
  Position begin() { return first_of<Position>(); }
  Position end() { return last_of<Position>(); }
  ConstPosition begin() const { return first_of<ConstPosition>(); }
  ConstPosition end() const { return last_of<ConstPosition>(); }

  /// The area that holds `at`, or null.
  Area* find(GuestPhys at) { return const_cast<Area*>(std::as_const(*this).find(at)); }
  const Area* find(GuestPhys at) const {
    auto const* const leaf = this->leaf_for(at.raw());
    auto const i = leaf->rank(at.raw());
    if (i == 0) return nullptr;
    auto const& area = leaf->area(i - 1);
    return area.contains(at) ? &area : nullptr;
  }
  /// The same for a caller who looks up what is near: `last` is what the caller found last, or null, and must be valid
  /// still. The same area again costs two comparisons.
  const Area* find(GuestPhys at, const Area* last) const {
    return last != nullptr && last->contains(at) ? last : find(at);
  }
  /// The areas that share an address with `range`.
  AreaRun<Position> touching(GuestRange range) { return touching<Position>(range); }
  AreaRun<ConstPosition> touching(GuestRange range) const { return touching<ConstPosition>(range); }

  /// The lowest aligned place for `size` bytes at or above `from`, inside `limit` and free of areas. `align` is a power
  /// of two, `size` is not 0. A gap that is large enough but has no aligned place costs a step more.
  std::optional<GuestPhys> next_gap(GuestPhys from, std::uint64_t size, GuestRange limit, std::uint64_t align) const {
    return AreaGapSearch<Area>{from, size, limit, align}.run(root_, height_);
  }

  /// Memory with which `more` areas fit, or nothing when there is none. Changes nothing.
  [[nodiscard, gnu::always_inline]] std::optional<Room> reserve(std::size_t more) {
    auto const wanted = this->nodes_for(more);
    std::optional<Room> room{this->no_room()};
    if (!leaves_.reserve(wanted.leaves, room->leaves) || !inners_.reserve(wanted.inners, room->inners)) room.reset();
    return room;
  }
  /// After this, as many areas as were reserved can be inserted or cut off, without fail.
  [[gnu::always_inline]] void adopt(Room&& room) {
    leaves_.adopt(std::move(room.leaves));
    inners_.adopt(std::move(room.inners));
  }

  /// Adds an area that overlaps none. There must be room.
  void insert(Area area) {
    auto const start = area.start().raw();
    auto* const leaf = this->leaf_for(start);
    this->insert_at(leaf, leaf->rank(start), std::move(area));
  }
  /// The same for a caller who has looked: `next` is the first area behind, as touching() tells when there is none.
  void insert(Position next, Area&& area) { this->insert_at(next.leaf(), next.place(), std::move(area)); }
  /// Removes neighbours. Returns the position behind them.
  Position erase(Position first, Position last) {
    if (first == last) return first;
    auto* const leaf = first.leaf();
    std::optional<std::uint64_t> behind;
    if (leaf->count == 1 || std::next(first) != last) {
      if (!last.at_end()) behind = last.start();
      this->erase_between(first, last);
    } else {
      this->erase_at(leaf, first.place());
      Position const next{leaf, first.place()};
      if (!this->wants_mending(leaf)) [[likely]]
        return next;
      if (!next.at_end()) behind = next.start();
      this->mend(leaf);
    }
    return behind ? first_touching<Position>(GuestPhys{*behind}) : end();
  }
  /// Afterwards no area lies on both sides of `at`. There must be room.
  void cut(GuestPhys at) {
    auto* const leaf = this->leaf_for(at.raw());
    auto const i = leaf->rank(at.raw());
    if (i == 0) return;
    auto& area = leaf->area(i - 1);
    if (!area.contains(at) || area.start() == at) return;
    auto rest = area.cut(at);
    if (leaf->count != area_fanout) {
      // Neither the ends nor the gaps of this leaf change.
      leaf->insert(i, at.raw(), std::move(rest));
      ++count_;
    } else {
      this->refresh(leaf);
      insert(std::move(rest));
    }
  }
  /// The areas that end and begin at `at`: both, or nothing.
  std::optional<AreaRun<Position>> seam(GuestPhys at) {
    auto* const leaf = this->leaf_for(at.raw());
    auto const i = leaf->rank(at.raw());
    if (i == 0 || leaf->start(i - 1) != at.raw()) return std::nullopt;
    return seam(Position{leaf, i - 1});
  }
  /// The area at `next` and the one that ends where it begins, if that is so.
  std::optional<AreaRun<Position>> seam(Position next) {
    if (next.at_end() || next.at_begin()) return std::nullopt;
    auto const before = std::prev(next);
    if (before->range().end().raw() != next.start()) return std::nullopt;
    return AreaRun<Position>{before, next};
  }
  /// Makes the two areas at a seam one, which has the first one's flags and backend.
  void join(AreaRun<Position> seam) {
    seam.first->append(*seam.last);
    auto* const leaf = seam.last.leaf();
    if (leaf == seam.first.leaf()) {
      // Neither the ends nor the gaps of this leaf change.
      leaf->erase(seam.last.place());
      --count_;
      if (this->wants_mending(leaf)) this->mend(leaf);
    } else {
      this->refresh(seam.first.leaf());
      erase(seam.last, std::next(seam.last));
    }
  }

  /// Gives memory back that is not needed soon: all of it when no more than 8 areas are left.
  void trim() {
    if (leaves_.may_trim() || inners_.may_trim()) Tree::trim(this->nodes_to_keep());
  }
  void clear() {
    this->destroy(root_, height_);
    root_ = &inside_;
    count_ = 0;
    height_ = 0;
    Tree::trim({});
  }

 private:
  using Tree::count_;
  using Tree::height_;
  using Tree::inners_;
  using Tree::inside_;
  using Tree::leaves_;
  using Tree::root_;
  friend struct AreaIndexProbe;  // for tests: whether the tree is what it should be

  template <class P>
  P first_of() const {
    return {this->leaf_for(0), 0};
  }
  template <class P>
  P last_of() const {
    auto* const leaf = this->leaf_for(NodeHead::unused);
    return {leaf, leaf->count};
  }
  /// The first area that does not end before `at`.
  template <class P>
  [[gnu::always_inline]] P first_touching(GuestPhys at) const {
    auto* const leaf = this->leaf_for(at.raw());
    if (leaf->count == 0) return {leaf, 0};
    // Whether the area before reaches this far is as hard to predict as which one it is: no branch.
    auto const i = leaf->rank(at.raw());
    auto const before = i - unsigned{i != 0};
    return {leaf, at.raw() - leaf->start(before) < leaf->area(before).size() ? before : i};
  }
  template <class P>
  [[gnu::always_inline]] AreaRun<P> touching(GuestRange range) const {
    auto const last = range.last().raw();
    auto const first = first_touching<P>(range.begin);
    if (range.empty() || first.at_end() || first.start() > last) return {first, first};
    // Most often it is one area, which may reach as far.
    if (first->range().last().raw() >= last) return {first, std::next(first)};
    if (auto const next = std::next(first); next.at_end() || next.start() > last) return {first, next};
    auto* const leaf = this->leaf_for(last);
    return {first, P{leaf, leaf->rank(last)}};
  }

  /// Takes what `from` holds; this index is empty and holds no memory.
  void take(AreaIndex& from) {
    leaves_.take_over(from.leaves_);
    inners_.take_over(from.inners_);
    inside_.append_from(from.inside_, from.inside_.count);
    if (from.height_ != 0) root_ = std::exchange(from.root_, &from.inside_);
    height_ = std::exchange(from.height_, 0);
    count_ = std::exchange(from.count_, 0);
  }
};

}  // namespace slat
