#pragma once

// Typed errors that name the offence: what rule, which argument, and which other range stood in the way.

#include <cstdint>
#include <string_view>

#include <slat/mm/address.hpp>
#include <slat/mm/text.hpp>

namespace slat {

/// Why a call was refused. Whatever it was, nothing has been changed, unless a backend of three operations failed.
enum class Errc : std::uint8_t {
  already_exists,  // an area is there already (`other` is its range)
  already_mapped,  // a translation is there already (`other` is its leaf)
  invalid_param,   // size 0 for a map, align 0, start + size past 2^64
  misaligned,      // not a multiple of the granule, or of what the format asks
  out_of_range,    // past the input size (IPA bits) or the output size (physical address bits)
  unsupported,     // an attribute that this format on this CPU cannot express
  no_memory,       // no frame or index node left: nothing was changed
  bad_state,       // a backend refused, or area and table do not fit together
  busy,            // called from inside a hook of the same table
};

/// Which argument of the call is at fault.
enum class Argument : std::uint8_t {
  none,
  start,
  size,
  host,
  attributes,
  align,
  limit,
  range,
  frames,
  nodes,
  granule,
  input_bits,
  levels,
};

/// Why a call was refused: a value, comparable by its code, printable as one sentence.
struct [[nodiscard]] Error {
  Errc code = Errc::bad_state;         // which rule
  Argument argument = Argument::none;  // which argument broke it
  std::uint64_t value = 0;             // the offending argument, as given; for a range that is out of range, the limit
  GuestRange range{};                  // what the call was asked to work on, where known
  GuestRange other{};                  // what stood in the way, where something did

  /// Whether it is for this reason.
  friend constexpr bool operator==(const Error& a, Errc why) { return a.code == why; }
  friend constexpr bool operator==(const Error&, const Error&) = default;
};

/// In words.
constexpr std::string_view name(Errc code) {
  switch (code) {
    case Errc::already_exists: return "an area already exists there"sv;
    case Errc::already_mapped: return "something is already mapped there"sv;
    case Errc::invalid_param: return "invalid parameter"sv;
    case Errc::misaligned: return "misaligned"sv;
    case Errc::out_of_range: return "out of range"sv;
    case Errc::unsupported: return "not supported by this format on this CPU"sv;
    case Errc::no_memory: return "out of memory"sv;
    case Errc::bad_state: return "the backend refused"sv;
    case Errc::busy: return "called from inside the table's own hook"sv;
  }
  return "unknown error"sv;
}

/// In words; empty for none.
constexpr std::string_view name(Argument argument) {
  switch (argument) {
    case Argument::none: return ""sv;
    case Argument::start: return "start"sv;
    case Argument::size: return "size"sv;
    case Argument::host: return "host address"sv;
    case Argument::attributes: return "attributes"sv;
    case Argument::align: return "alignment"sv;
    case Argument::limit: return "limit"sv;
    case Argument::range: return "range"sv;
    case Argument::frames: return "table frames needed"sv;
    case Argument::nodes: return "index nodes needed"sv;
    case Argument::granule: return "granule"sv;
    case Argument::input_bits: return "guest address bits"sv;
    case Argument::levels: return "levels"sv;
  }
  return ""sv;
}

/// One sentence, addresses in hex: "misaligned: start 0x1001 (asked for [0x1001, 0x2001))".
template <TextSink Out>
constexpr void print(Out& out, const Error& error) {
  out(name(error.code));
  if (error.argument != Argument::none) {
    out(": "sv);
    out(name(error.argument));
    out(" "sv);
    if (error.argument == Argument::frames || error.argument == Argument::nodes ||
        error.argument == Argument::input_bits || error.argument == Argument::levels)
      print_decimal(out, error.value);
    else
      print_hex(out, error.value);
  }
  if (!error.other.empty()) {
    out(", in the way is "sv);
    print_range(out, error.other);
  }
  if (!error.range.empty()) {
    out(" (asked for "sv);
    print_range(out, error.range);
    out(")"sv);
  }
}

}  // namespace slat
