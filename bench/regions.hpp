#pragma once

// Regions for the rows of the index and of MemorySet. No floating-point number here either: see row.hpp.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <utility>
#include <vector>

#include <slat/mm/area_index.hpp>
#include <slat/mm/heap_nodes.hpp>
#include <slat/mm/memory_area.hpp>

#include "row.hpp"

namespace slat::bench {

/// Nothing is worth measuring unless everything is as it should be.
template <class Answer>
void must(const Answer& right) {
  if (!right) std::abort();
}

/// Marsaglia's xorshift, for the library's engines have floating-point parts.
class Random {
 public:
  std::uint64_t below(std::uint64_t n) {
    x_ ^= x_ << 13;
    x_ ^= x_ >> 7;
    x_ ^= x_ << 17;
    return x_ % n;
  }

 private:
  std::uint64_t x_ = 0x9e37'79b9'7f4a'7c15;
};

/// How often a turn asks: each area some times, so that what a turn finds in the caches is its own.
constexpr std::uint64_t queries_of(std::uint64_t n) { return std::clamp<std::uint64_t>(4 * n, 1 << 15, 1 << 20); }
constexpr std::uint64_t stride = 4096;
constexpr std::uint64_t region_size = 700;

/// `n` starts with gaps between, in random order.
inline std::vector<std::uint64_t> starts_of(std::uint64_t n, Random& random) {
  std::vector<std::uint64_t> all;
  for (std::uint64_t i = 0; i != n; ++i) all.push_back(i * stride + random.below(1000));
  for (auto i = n; i > 1; --i) std::swap(all[i - 1], all[random.below(i)]);
  return all;
}

/// 32 bytes of what an area may carry.
struct Payload {
  std::uint64_t base, more[2];
  Payload advanced(std::uint64_t bytes) const { return {base + bytes, {more[0], more[1]}}; }
};
using Region = MemoryArea<std::uint64_t, Payload>;

/// From the heap, and counted.
struct CountedNodes : HeapNodes {
  explicit CountedNodes(std::uint64_t* bytes) : held{bytes} {}
  void* allocate(std::size_t bytes) noexcept {
    *held += bytes;
    return HeapNodes::allocate(bytes);
  }
  void release(void* block, std::size_t bytes) noexcept {
    *held -= bytes;
    HeapNodes::release(block, bytes);
  }
  std::uint64_t* held;
};
using Index = AreaIndex<Region, CountedNodes>;

/// The index, with the calls that MemorySet makes.
class Regions {
 public:
  void add(std::uint64_t start) {
    GuestRange const range{GuestPhys{start}, region_size};
    auto const touched = index.touching(range);
    must(touched.empty());
    make_room();
    index.insert(touched.first, Region{range.begin, range.size, 0, {}});
  }
  void remove(std::uint64_t start) {
    auto const run = index.touching({GuestPhys{start}, region_size});
    must(!run.empty());
    index.erase(run.first, run.last);
    index.trim();
  }
  void make_room() {
    auto room = index.reserve(1);
    must(room);
    index.adopt(*std::move(room));
  }

  /// Bytes that the index takes for each region above the region itself.
  std::uint64_t bytes_each() const {
    auto const own = index.size() * sizeof(Region);
    return held_ <= own ? 0 : (held_ - own + index.size() - 1) / index.size();
  }

 private:
  std::uint64_t held_ = 0;

 public:
  Index index{CountedNodes{&held_}};
};

/// G17, a part of region_rows().
std::vector<RowEntry> set_rows();

}  // namespace slat::bench
