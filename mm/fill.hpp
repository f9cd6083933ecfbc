#pragma once

// The one loop that fills tables.

#include <slat/mm/concepts.hpp>

namespace slat::detail {

/// Stores leaves side by side, each `size` further than the one before, in a table that hardware cannot see. One copy
/// for all formats, four at a time: a CPU that stores twice a cycle does. With 0 and 0 it clears, and sooner than the
/// `rep stos` that a compiler would make of a loop: what comes after need not wait for it.
[[gnu::noinline]] inline void fill(Entry* from, Entry* to, Entry leaf, std::uint64_t size) {
  for (auto next = leaf + size; to - from >= 4; from += 4) {
    from[0] = leaf;
    from[1] = next;
    leaf += 2 * size;
    next += 2 * size;
    from[2] = leaf;
    from[3] = next;
    leaf += 2 * size;
    next += 2 * size;
  }
  for (; from != to; leaf += size) *from++ = leaf;
}

}  // namespace slat::detail
