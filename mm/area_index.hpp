#pragma once

// The areas of one set, in address order, behind the few verbs that the set needs: so that another structure can take
// the place of this one alone.
//
//   up to 16 areas   inside the index, no memory needed
//   more             one sorted array from the node source, doubled when it is full
//
// Looking up costs O(log n) comparisons. Inserting and erasing also shift what lies behind: a plain move of up to n
// areas, which this index has in exchange for being simple.

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include <slat/mm/address.hpp>
#include <slat/mm/node_source.hpp>

namespace slat {

/// Neighbours in an index, for a range-based for.
template <class Position>
struct AreaRun {
  Position first;
  Position last;

  constexpr Position begin() const { return first; }
  constexpr Position end() const { return last; }
  constexpr bool empty() const { return first == last; }
};

/// Sorted, disjoint areas. Any number of threads may call the const members as long as nobody calls another one; a
/// pointer or position holds until then. Moving or copying an area must not throw.
template <class Area, NodeSource Nodes>
class AreaIndex {
 public:
  using Position = Area*;
  static constexpr std::size_t inline_areas = 16;

  /// Memory for areas to come, taken but not in use: given back unless adopt() gets it.
  class Room {
   public:
    Room(Room&& from) noexcept
        : nodes_{from.nodes_}, block_{std::exchange(from.block_, nullptr)}, bytes_{from.bytes_} {}
    Room& operator=(Room&&) = delete;
    ~Room() {
      if (block_ != nullptr) nodes_.release(block_, bytes_);
    }

   private:
    friend AreaIndex;
    Room(const Nodes& nodes, void* block, std::size_t bytes) : nodes_{nodes}, block_{block}, bytes_{bytes} {}

    [[no_unique_address]] Nodes nodes_;
    void* block_;
    std::size_t bytes_;
  };

  AreaIndex() : AreaIndex{Nodes{}} {}
  explicit AreaIndex(Nodes nodes) : nodes_{std::move(nodes)}, areas_{inline_} {}
  /// The source is empty afterwards and can be used again.
  AreaIndex(AreaIndex&& from) noexcept : nodes_{from.nodes_}, areas_{inline_} { take(from); }
  AreaIndex& operator=(AreaIndex&& from) noexcept {
    if (this != &from) {
      clear();
      nodes_ = from.nodes_;
      take(from);
    }
    return *this;
  }
  ~AreaIndex() { clear(); }

  std::size_t size() const { return count_; }
  Position begin() { return areas_; }
  Position end() { return areas_ + count_; }
  const Area* begin() const { return areas_; }
  const Area* end() const { return areas_ + count_; }

  /// The area that holds `at`, or null.
  Area* find(GuestPhys at) { return const_cast<Area*>(std::as_const(*this).find(at)); }
  const Area* find(GuestPhys at) const {
    auto const found = first_touching(at);
    return found != end() && found->contains(at) ? found : nullptr;
  }
  /// The areas that share an address with `range`.
  AreaRun<Position> touching(GuestRange range) {
    auto const run = std::as_const(*this).touching(range);
    return {const_cast<Area*>(run.first), const_cast<Area*>(run.last)};
  }
  AreaRun<const Area*> touching(GuestRange range) const {
    auto const first = first_touching(range.begin);
    if (range.empty()) return {first, first};
    return {first, std::partition_point(first, end(), [&](const Area& a) { return a.start() <= range.last(); })};
  }

  /// The lowest aligned place for `size` bytes at or above `from`, inside `limit` and free of areas. `align` is a power
  /// of two, `size` is not 0.
  std::optional<GuestPhys> next_gap(GuestPhys from, std::uint64_t size, GuestRange limit, std::uint64_t align) const {
    auto at = std::max(from, limit.begin);
    for (auto area = first_touching(at);; ++area) {
      auto const aligned = (at + (align - 1)).down_to(align);
      GuestRange const gap{aligned, size};
      if (aligned < at || gap.wraps() || !limit.contains(gap)) return std::nullopt;
      // Aligning may have led past whole areas.
      while (area != end() && area->range().last() < aligned) ++area;
      if (area == end() || !area->overlaps(gap)) return aligned;
      at = area->range().end();
      if (at == GuestPhys{0}) return std::nullopt;
    }
  }

  /// Memory with which `more` areas fit, or nothing when there is none. Changes nothing.
  [[nodiscard]] std::optional<Room> reserve(std::size_t more) {
    if (count_ + more <= capacity()) return Room{nodes_, nullptr, 0};
    auto const bytes = std::bit_ceil((count_ + more) * sizeof(Area) + spare) - spare;
    void* const block = nodes_.allocate(bytes);
    if (block == nullptr) return std::nullopt;
    return Room{nodes_, block, bytes};
  }
  /// After this, as many areas as were reserved can be inserted or cut off, without fail.
  void adopt(Room room) {
    if (room.block_ == nullptr) return;
    move_to(static_cast<Area*>(std::exchange(room.block_, nullptr)), room.bytes_);
  }

  /// Adds an area that overlaps none. There must be room.
  void insert(Area area) {
    auto const at = first_touching(area.start());
    if (at == end()) {
      std::construct_at(end(), std::move(area));
    } else {
      std::construct_at(end(), std::move(end()[-1]));
      std::move_backward(at, end() - 1, end());
      *at = std::move(area);
    }
    ++count_;
  }
  /// Removes neighbours. Returns the position behind them; positions before them hold on.
  Position erase(Position first, Position last) {
    if (first == last) return first;
    auto const left = std::move(last, end(), first);
    std::destroy(left, end());
    count_ -= static_cast<std::size_t>(last - first);
    return first;
  }
  /// Afterwards no area lies on both sides of `at`. There must be room.
  void cut(GuestPhys at) {
    auto const area = find(at);
    if (area != nullptr && area->start() != at) insert(area->cut(at));
  }
  /// The areas that end and begin at `at`: both, or nothing.
  std::optional<AreaRun<Position>> seam(GuestPhys at) {
    auto const next = first_touching(at);
    if (next == begin() || next == end()) return std::nullopt;
    if (next->start() != at || next[-1].range().end() != at) return std::nullopt;
    return AreaRun<Position>{next - 1, next};
  }
  /// Makes the two areas at a seam one, which has the first one's flags and backend.
  void join(AreaRun<Position> seam) {
    seam.first->append(*seam.last);
    erase(seam.last, seam.last + 1);
  }

  /// Gives memory back when the areas fit inside again, with as much to spare.
  void trim() {
    if (areas_ != inline_ && count_ <= inline_areas / 2) move_to(inline_, 0);
  }
  void clear() {
    std::destroy(begin(), end());
    count_ = 0;
    trim();
  }

 private:
  static constexpr std::size_t spare = 64;  // what a block is short of a power of two: see NodeSource
  static_assert(alignof(Area) <= alignof(std::max_align_t));

  std::size_t capacity() const { return areas_ == inline_ ? inline_areas : bytes_ / sizeof(Area); }

  /// The first area that does not end before `at`.
  Position first_touching(GuestPhys at) { return const_cast<Area*>(std::as_const(*this).first_touching(at)); }
  const Area* first_touching(GuestPhys at) const {
    return std::partition_point(begin(), end(), [&](const Area& a) { return a.range().last() < at; });
  }

  /// Lets the areas live in `home` from now on, and releases where they lived.
  void move_to(Area* home, std::size_t bytes) {
    std::uninitialized_move(begin(), end(), home);
    std::destroy(begin(), end());
    if (areas_ != inline_) nodes_.release(areas_, bytes_);
    areas_ = home;
    bytes_ = bytes;
  }
  /// Takes what `from` holds; this index is empty and holds no memory.
  void take(AreaIndex& from) {
    if (from.areas_ == from.inline_) {
      std::uninitialized_move(from.begin(), from.end(), areas_);
      std::destroy(from.begin(), from.end());
    } else {
      areas_ = std::exchange(from.areas_, from.inline_);
      bytes_ = from.bytes_;
    }
    count_ = std::exchange(from.count_, 0);
  }

  [[no_unique_address]] Nodes nodes_;
  Area* areas_;
  std::size_t count_ = 0;
  std::size_t bytes_ = 0;  // of the block from the node source
  union {
    Area inline_[inline_areas];
  };
};

}  // namespace slat
