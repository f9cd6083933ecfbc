#pragma once

// print(sink, "leaves ", 12, " at ", Hex{0x1000}, "\n"): any number of parts to
// a slat::TextSink.

#include <concepts>
#include <cstdint>
#include <string_view>

#include <slat/mm/audit.hpp>
#include <slat/mm/error.hpp>
#include <slat/mm/leaf.hpp>
#include <slat/mm/text.hpp>

namespace hv {

struct Hex {
  std::uint64_t value;
};
struct Bytes {
  std::uint64_t count;
};

template <slat::TextSink Out>
void put(Out& out, std::string_view text) {
  out(text);
}
template <slat::TextSink Out>
void put(Out& out, std::unsigned_integral auto value) {
  slat::print_decimal(out, value);
}
template <slat::TextSink Out>
void put(Out& out, Hex hex) {
  slat::print_hex(out, hex.value);
}
template <slat::TextSink Out>
void put(Out& out, Bytes bytes) {
  slat::print_size(out, bytes.count);
}
/// Whatever slat itself can print: errors, audits.
template <slat::TextSink Out, class T>
  requires requires(Out& out, const T& value) { slat::print(out, value); }
void put(Out& out, const T& value) {
  slat::print(out, value);
}

template <slat::TextSink Out, class... Parts>
void print(Out& out, const Parts&... parts) {
  (put(out, parts), ...);
}

}  // namespace hv
