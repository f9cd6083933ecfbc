#pragma once

// What audit() can find wrong, one name per clause.

#include <cstdint>
#include <string_view>

#include <slat/mm/address.hpp>
#include <slat/mm/text.hpp>

namespace slat {

/// What is wrong, one for each clause that audit() checks.
enum class Flaw : std::uint8_t {
  none,
  area_order,       // areas not sorted, empty, or past 2^64
  area_overlap,     // two areas share an address
  leaf_outside,     // a leaf that no area holds
  leaf_host,        // a leaf translates to another host address than its backend would
  leaf_attributes,  // a leaf has other rights or another memory type than its area
  hole,             // a linear area is not wholly mapped
  device_mapped,    // a leaf inside a device-emulated area
  reserved_bits,    // an entry that the architecture reserves or cannot have
  wrong_count,      // a table's word does not count its used entries
  wrong_mark,       // a broken slot that no mark leads to
  table_shared,     // one table reachable twice
  table_foreign,    // a table outside the frames
  table_empty,      // a table with nothing in it, other than the root
  broken_left,      // a broken slot outside an edit, or below another one
};

/// In words.
constexpr std::string_view name(Flaw flaw) {
  switch (flaw) {
    case Flaw::none: return "areas and tables agree"sv;
    case Flaw::area_order: return "areas are not in order"sv;
    case Flaw::area_overlap: return "areas overlap"sv;
    case Flaw::leaf_outside: return "a leaf lies in no area"sv;
    case Flaw::leaf_host: return "a leaf has another host address than its backend says"sv;
    case Flaw::leaf_attributes: return "a leaf has other attributes than its area"sv;
    case Flaw::hole: return "a linear area has a hole"sv;
    case Flaw::device_mapped: return "a device area is mapped"sv;
    case Flaw::reserved_bits: return "an entry has reserved bits set or is misconfigured"sv;
    case Flaw::wrong_count: return "a table's count is wrong"sv;
    case Flaw::wrong_mark: return "no mark leads to a broken slot"sv;
    case Flaw::table_shared: return "a table is reachable twice"sv;
    case Flaw::table_foreign: return "a table lies outside the frames"sv;
    case Flaw::table_empty: return "a table is empty"sv;
    case Flaw::broken_left: return "a broken slot was left behind"sv;
  }
  return "unknown flaw"sv;
}

/// The first flaw found, or none. True when all is well.
struct [[nodiscard]] Audit {
  Flaw flaw = Flaw::none;   // what is wrong
  GuestRange where{};       // the area, or the span of the slot
  std::uint64_t value = 0;  // the entry, count or address that is wrong

  /// True when nothing is wrong.
  constexpr explicit operator bool() const { return flaw == Flaw::none; }
};

/// As one sentence: the flaw, where it is, and the value that is wrong.
template <TextSink Out>
constexpr void print(Out& out, const Audit& audit) {
  out(name(audit.flaw));
  if (audit) return;
  out(" at "sv);
  print_range(out, audit.where);
  out(": "sv);
  print_hex(out, audit.value);
}

}  // namespace slat
