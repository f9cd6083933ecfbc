#pragma once

// The ordered containers that the region index is measured beside, each as a map from start to size and 32 bytes more.
// They are compiled in a file of their own, as any program does: the loops are inside the calls, so that what is
// virtual costs nothing.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace slat::bench {

/// How many kinds there are: std::map, the set and the AVL set of Boost.Intrusive, absl::btree_map.
inline constexpr unsigned container_kinds = 4;

/// One container. All regions are of one size until they are split.
class Container {
 public:
  virtual ~Container() = default;
  virtual void fill(std::span<const std::uint64_t> starts, std::uint64_t size) = 0;
  /// The sum of what is found; each query needs the answer before it, or not.
  virtual std::uint64_t find_one_by_one(std::span<const std::uint64_t> queries) const = 0;
  virtual std::uint64_t find_each(std::span<const std::uint64_t> queries) const = 0;
  /// Erases each of these regions and puts in the one that the step before erased: at first `out`, which is not inside.
  virtual void replace(std::span<const std::uint64_t> starts, std::uint64_t out, std::uint64_t size) = 0;
  /// Makes two regions of one at each of these addresses, and one again.
  virtual void split_and_merge(std::span<const std::uint64_t> at) = 0;
};

std::unique_ptr<Container> make_container(unsigned kind);

}  // namespace slat::bench
