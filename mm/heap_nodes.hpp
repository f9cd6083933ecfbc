#pragma once

// Index nodes from the heap, for hosted builds.

#include <cstddef>
#include <new>

namespace slat {

/// Any thread, as far as operator new allows.
struct HeapNodes {
  /// Null when the heap has none.
  void* allocate(std::size_t bytes) noexcept { return ::operator new(bytes, std::nothrow); }
  /// What allocate() gave.
  void release(void* block, std::size_t) noexcept { ::operator delete(block); }
};

}  // namespace slat
