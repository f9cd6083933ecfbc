#pragma once

// The shape of a translation tree: all that a walker needs to know of an architecture before it looks at an entry.

#include <cstddef>
#include <cstdint>

#include <slat/mm/address.hpp>

namespace slat {

/// Level 0 holds the smallest leaves (pages); each level up spans one more index. Arm counts the other way (its level 3
/// is level 0 here) and x86 uses names (a PTE is at level 0), but in this order every shift is a product.
using Level = unsigned;

/// How wide and how deep, in powers of two. Of a format, for one guest.
struct Geometry {
  unsigned page_bits;   // log2 of the page size in bytes: the granule
  unsigned index_bits;  // log2 of the entries per table below the root
  unsigned root_bits;  // log2 of the root's entries: fewer where the input is short, more where tables are concatenated
  Level root;          // the level of the root table: at most 4, for five levels
  Level top_leaf;      // the highest level that may hold a leaf

  /// log2 of span().
  constexpr unsigned shift(Level l) const { return page_bits + l * index_bits; }
  /// Bytes that one entry at level `l` translates.
  constexpr std::uint64_t span(Level l) const { return std::uint64_t{1} << shift(l); }
  /// Entries of a table at level `l`, all of them where roots are concatenated.
  constexpr std::size_t entries(Level l) const { return std::size_t{1} << (l == root ? root_bits : index_bits); }
  /// Which of them translates `a`, whose bits above input_bits() do not count.
  constexpr std::size_t index(GuestPhys a, Level l) const { return (a.raw() >> shift(l)) & (entries(l) - 1); }
  /// Guest addresses have this many bits.
  constexpr unsigned input_bits() const { return shift(root) + root_bits; }
  /// The granule, in bytes.
  constexpr std::uint64_t page_size() const { return span(0); }
  /// The first address that cannot be translated.
  constexpr std::uint64_t input_size() const { return std::uint64_t{1} << input_bits(); }
  /// A table below the root is one granule.
  constexpr std::uint64_t table_bytes() const { return page_size(); }
  /// The root is at least one granule, more when concatenated; always a power of two, and aligned to itself.
  constexpr std::uint64_t root_bytes() const {
    auto const bytes = std::uint64_t{8} << root_bits;
    return bytes < page_size() ? page_size() : bytes;
  }
  /// What the entry at level `l` around `a` covers.
  constexpr GuestRange slot(GuestPhys a, Level l) const { return {a.down_to(span(l)), span(l)}; }

  friend constexpr bool operator==(const Geometry&, const Geometry&) = default;
};

}  // namespace slat
