#pragma once

// The one loop that fills tables.

#include <slat/mm/concepts.hpp>

namespace slat::detail {

/// Stores leaves side by side, each `size` further than the one before, in a table that hardware cannot see. One copy
/// for all formats, eight at a time: a CPU that stores twice a cycle does. With 0 and 0 it clears, and sooner than the
/// `rep stos` that a compiler would make of a loop: what comes after need not wait for it.
[[gnu::noinline]] inline void fill(Entry* from, Entry* to, Entry leaf, std::uint64_t size) {
  auto next = leaf + size;
  auto const two = 2 * size;
  for (auto* const eights = from + (to - from) / 8 * 8; from != eights; from += 8) {
    from[0] = leaf;
    from[1] = next;
    from[2] = leaf += two;
    from[3] = next += two;
    from[4] = leaf += two;
    from[5] = next += two;
    from[6] = leaf += two;
    from[7] = next += two;
    leaf += two;
    next += two;
  }
  for (; from != to; leaf += size) *from++ = leaf;
}

}  // namespace slat::detail
