#pragma once

// Where the area index takes memory from when a set has more areas than fit inside it.

#include <concepts>
#include <cstddef>

#if __STDC_HOSTED__
#include <slat/mm/heap_nodes.hpp>
#endif

namespace slat {

/// A handle: its copies draw from the same memory. Only the writer of a set calls it.
template <class N>
concept NodeSource = std::copyable<N> && requires(N& nodes, void* block, std::size_t bytes) {
  /// `bytes` aligned for any scalar type, or null when there are none. `bytes` is 64 less than a power of two: a source
  /// that keeps a header before each block need not waste half of a frame on it.
  { nodes.allocate(bytes) } noexcept -> std::same_as<void*>;
  /// Takes back what allocate() gave, with the same `bytes`.
  { nodes.release(block, bytes) } noexcept;
};

#if __STDC_HOSTED__
using DefaultNodes = HeapNodes;
#else
/// Without a heap there is no default: pass a source, FrameNodes for instance.
struct DefaultNodes;
#endif

}  // namespace slat
