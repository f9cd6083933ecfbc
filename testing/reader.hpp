#pragma once

// What an architecture's reader says about raw table bytes. Readers are written from the manuals, share nothing with
// the formats under test, and know only what hardware sees: valid entries, and others.
//
// A reader R has, besides the features it was made with:
//   Shape shape() const                          the tree
//   Decoded decode(Level, Entry) const           one entry
//   bool sets_accessed() const, sets_dirty()     what hardware marks by itself
//   Entry accessed(Level, Entry) const           the entry as hardware leaves it after using it (leaf or table),
//   Entry written(Level, Entry) const            and the leaf after a write through it
//   bool can_break() const                       whether any change must break in this format on this CPU
//   bool size_breaks() const                     whether a change of size alone must
//   bool pointers_conflict() const               whether two table pointers for one slot must not be cached together
//   bool conflict(a, level, b, level) const      whether two leaves for one address must not be; `a.address` and
//                                                `b.address` are where that one address goes
//   bool is(Memory, code) const                  whether a leaf's type code is what a memory type asks for

#include <bit>
#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/geometry.hpp>

namespace slat::testing {

/// The bits from `high` down to `low`, shifted down.
constexpr std::uint64_t field(Entry entry, unsigned high, unsigned low) {
  return (entry >> low) & (~std::uint64_t{0} >> (63 - (high - low)));
}
constexpr bool bit(Entry entry, unsigned n) { return (entry >> n & 1) != 0; }

/// Levels count from the page (0) up, as everywhere in slat.
struct Shape {
  unsigned page_bits;
  unsigned input_bits;
  Level root;

  constexpr unsigned index_bits() const { return page_bits - 3; }
  constexpr unsigned shift(Level level) const { return page_bits + level * index_bits(); }
  constexpr std::uint64_t span(Level level) const { return std::uint64_t{1} << shift(level); }
  constexpr std::uint64_t granule() const { return std::uint64_t{1} << page_bits; }
  constexpr std::uint64_t table_entries() const { return granule() / sizeof(Entry); }
  constexpr std::uint64_t root_entries() const { return std::uint64_t{1} << (input_bits - shift(root)); }
  constexpr std::uint64_t input_size() const { return std::uint64_t{1} << input_bits; }
};

struct Decoded {
  enum class Kind : std::uint8_t { absent, broken, table, leaf };  // broken: invalid, and not 0

  Kind kind = Kind::absent;
  Prot rights = Prot::none;
  std::uint8_t type = 0;  // the memory type, as coded
  bool is_accessed = false;
  bool is_dirty = false;
  HostPhys address{};
  const char* wrong = nullptr;  // the rule that the entry breaks

  constexpr bool table() const { return kind == Kind::table; }
  constexpr bool leaf() const { return kind == Kind::leaf; }
  constexpr bool valid() const { return table() || leaf(); }
  friend constexpr bool operator==(const Decoded&, const Decoded&) = default;
};

}  // namespace slat::testing
