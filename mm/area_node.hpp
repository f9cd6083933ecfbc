#pragma once

// The nodes of the area index, and what can be done inside one.
//
//   leaf    16 start addresses in any order | their order, a nibble each | 16 areas, each in the slot of its key
//   inner   24 smallest starts, in order    | 24 children | largest gaps inside each | end of each
//
// The order of a leaf is one word: inserting or erasing an area moves no other area and no key. Unused keys are all
// ones, so that a rank is a count over all 16 keys without a branch, whatever their order.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include <slat/mm/address.hpp>

namespace slat {

inline constexpr unsigned area_fanout = 16;
struct InnerNode;

/// How many of `n` keys are at most `x`. Fours are counted apart, in another type than their sum: a compiler that adds
/// up all in one row makes each addition wait for the one before.
template <unsigned n>
[[gnu::always_inline]] constexpr std::size_t count_up_to(const std::uint64_t* keys, std::uint64_t x) {
  if constexpr (n > 4) {
    constexpr unsigned half = (n + 4) / 8 * 4;
    return count_up_to<half>(keys, x) + count_up_to<n - half>(keys + half, x);
  } else if constexpr (n == 1) {
    return std::uint32_t{keys[0] <= x};
  } else {
    return static_cast<std::uint32_t>(count_up_to<n - 1>(keys, x)) + std::uint32_t{keys[n - 1] <= x};
  }
}

/// What is common to both kinds. It begins the first of the three cache lines that a search reads of a leaf.
struct NodeHead {
  static constexpr std::uint64_t unused = ~std::uint64_t{0};

  NodeHead() = default;
  NodeHead(const NodeHead&) = delete;
  NodeHead& operator=(const NodeHead&) = delete;

  InnerNode* parent = nullptr;
  std::uint8_t count = 0;
  std::uint8_t place = 0;  // in the parent
  std::uint8_t slot = 0;   // for the pool
};

/// The two largest gaps of a node. Without the second one, each area that fills the largest gap would make the node be
/// looked through; and so would one that comes and goes, if nothing were known of the second one after it had gone.
struct LargestGaps {
  std::uint64_t first = 0;
  std::uint64_t second = 0;  // or, unless it is exact, no less than that
  bool exact = true;

  // Branches, though they cannot be predicted: what comes behind then does not wait for an area that is not in a cache.
  [[gnu::always_inline]] void add(std::uint64_t gap) {
    auto const lower = std::min(first, gap);
    first = std::max(first, gap);
    if (lower >= second) {
      second = lower;
      exact = true;
    }
  }
  /// False when the largest is not known any more.
  [[nodiscard, gnu::always_inline]] bool remove(std::uint64_t gap) {
    bool const one = gap == first, other = gap == second;
    bool const known = !one | exact;
    first = one ? second : first;
    exact &= !(one | other);
    return known;
  }
};

/// What a parent knows of a child that is not empty.
struct AreaSpan {
  std::uint64_t start = 0;
  std::uint64_t end = 0;  // of its last area; 0 is 2^64
  LargestGaps gaps;       // in a leaf between two neighbours, above that inside children and between them
};

template <class Area>
struct LeafNode : NodeHead {
  static constexpr unsigned fanout = area_fanout;

  LeafNode() { std::fill_n(keys, fanout, unused); }
  ~LeafNode() {}

  std::uint64_t keys[fanout];
  std::uint64_t order = 0xfedc'ba98'7654'3210;  // of the slots: those in use by their keys, then the free ones
  union {
    Area areas[fanout];
  };

  /// How many keys are at most `x`.
  [[gnu::always_inline]] unsigned rank(std::uint64_t x) const {
    if (x == unused) [[unlikely]]
      return count;
    return static_cast<unsigned>(count_up_to<fanout>(keys, x));
  }
  /// Asks for the areas, a line of each, while the keys that tell which one is wanted are still on their way.
  [[gnu::always_inline]] void prefetch_areas() const {
    auto const* const bytes = reinterpret_cast<const std::byte*>(areas);
    for (std::size_t at = 0; at < sizeof areas; at += std::max<std::size_t>(64, sizeof(Area)))
      __builtin_prefetch(bytes + at);
  }
  unsigned slot_at(unsigned i) const { return static_cast<unsigned>(order >> (4 * i)) & 15; }
  std::uint64_t start(unsigned i) const { return keys[slot_at(i)]; }
  std::uint64_t end(unsigned i) const { return start(i) + area(i).size(); }
  Area& area(unsigned i) { return areas[slot_at(i)]; }
  const Area& area(unsigned i) const { return areas[slot_at(i)]; }

  /// There must be room.
  void insert(unsigned i, std::uint64_t start, Area&& area) {
    auto const to = slot_at(count);
    auto const below = low(i), up_to = low(count);
    order = (order & (below | ~(up_to << 4 | 15))) | std::uint64_t{to} << (4 * i) | (order & up_to & ~below) << 4;
    keys[to] = start;
    std::construct_at(areas + to, std::move(area));
    ++count;
  }
  void erase(unsigned i) {
    auto const from = slot_at(i);
    --count;
    auto const below = low(i), up_to = low(count);
    order = (order & (below | ~(up_to << 4 | 15))) | (order >> 4 & up_to & ~below) | std::uint64_t{from} << (4 * count);
    keys[from] = unused;
    std::destroy_at(areas + from);
  }
  /// The first `n` of the leaf behind become the last of this one.
  void append_from(LeafNode& behind, unsigned n) {
    for (; n != 0; --n) {
      insert(count, behind.start(0), std::move(behind.area(0)));
      behind.erase(0);
    }
  }
  /// The last `n` of the leaf before become the first of this one.
  void prepend_from(LeafNode& before, unsigned n) {
    for (; n != 0; --n) {
      auto const last = before.count - 1u;
      insert(0, before.start(last), std::move(before.area(last)));
      before.erase(last);
    }
  }

  std::uint64_t gap_before(unsigned i) const { return start(i) - end(i - 1); }
  LargestGaps largest_gaps() const {
    LargestGaps largest;
    auto rest = order;
    auto at = rest & 15;
    for (unsigned n = count; n > 1; --n) {
      auto const end = keys[at] + areas[at].size();
      rest >>= 4;
      at = rest & 15;
      largest.add(keys[at] - end);
    }
    return largest;
  }
  AreaSpan span() const { return {start(0), end(count - 1u), largest_gaps()}; }

 private:
  /// The `n` lowest nibbles, fewer than 16.
  static constexpr std::uint64_t low(unsigned n) { return (std::uint64_t{1} << 4 * n) - 1; }
};

struct InnerNode : NodeHead {
  /// More than a leaf has, so that most trees are a level lower.
  static constexpr unsigned fanout = 24;

  InnerNode() { std::fill_n(keys, fanout, unused); }

  std::uint64_t keys[fanout];
  NodeHead* child[fanout];
  std::uint64_t gap[fanout];
  std::uint64_t end[fanout];
  std::uint64_t second_gap[fanout];
  bool exact[fanout];  // the second gap

  /// The only child that can hold an area which begins at or before `x`.
  [[gnu::always_inline]] unsigned child_for(std::uint64_t x) const {
    if (x == unused) [[unlikely]]
      return count - 1u;
    // In order: every sixth key says which five more are to be looked at.
    static_assert(fanout == 24);
    auto const six = 6 * (unsigned{keys[6] <= x} + unsigned{keys[12] <= x} + unsigned{keys[18] <= x});
    return six + static_cast<unsigned>(count_up_to<5>(keys + six + 1, x));
  }

  LargestGaps gaps_at(unsigned i) const { return {gap[i], second_gap[i], exact[i]}; }
  void set_gaps(unsigned i, LargestGaps gaps) {
    gap[i] = gaps.first;
    second_gap[i] = gaps.second;
    exact[i] = gaps.exact;
  }
  AreaSpan span_at(unsigned i) const { return {keys[i], end[i], gaps_at(i)}; }
  void set_span(unsigned i, AreaSpan span) {
    keys[i] = span.start;
    end[i] = span.end;
    set_gaps(i, span.gaps);
  }
  /// There must be room.
  void insert(unsigned i, NodeHead* node, AreaSpan span) {
    for (unsigned to = count; to != i; --to) put(to, child[to - 1], span_at(to - 1));
    put(i, node, span);
    ++count;
  }
  void erase(unsigned i) { erase(i, 1); }
  /// The first `n` of the node behind become the last of this one.
  void append_from(InnerNode& behind, unsigned n) {
    for (unsigned i = 0; i != n; ++i) put(count++, behind.child[i], behind.span_at(i));
    behind.erase(0, n);
  }
  /// The last `n` of the node before become the first of this one.
  void prepend_from(InnerNode& before, unsigned n) {
    for (unsigned i = count; i-- != 0;) put(i + n, child[i], span_at(i));
    auto const from = before.count - n;
    for (unsigned i = 0; i != n; ++i) put(i, before.child[from + i], before.span_at(from + i));
    count = static_cast<std::uint8_t>(count + n);
    before.erase(from, n);
  }

  LargestGaps largest_gaps() const {
    LargestGaps largest;
    largest.add(gap[0]);
    for (unsigned i = 1; i != count; ++i) {
      largest.add(gap[i]);
      largest.add(keys[i] - end[i - 1]);
    }
    return largest;
  }
  AreaSpan span() const { return {keys[0], end[count - 1u], largest_gaps()}; }

 private:
  void put(unsigned i, NodeHead* node, AreaSpan span) {
    child[i] = node;
    set_span(i, span);
    node->parent = this;
    node->place = static_cast<std::uint8_t>(i);
  }
  /// Removes `n` of them from the i-th on.
  void erase(unsigned i, unsigned n) {
    for (; i + n != count; ++i) put(i, child[i + n], span_at(i + n));
    std::fill_n(keys + i, n, unused);
    count = static_cast<std::uint8_t>(count - n);
  }
};

}  // namespace slat
