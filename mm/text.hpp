#pragma once

// Text without a heap: numbers and words go, piece by piece, to whatever takes a string_view.

#include <array>
#include <concepts>
#include <cstdint>
#include <string_view>

#include <slat/mm/address.hpp>

namespace slat {

// Literals carry their length: at -O0 a plain one would ask for strlen.
inline namespace literals {
using std::literals::string_view_literals::operator""sv;
}  // namespace literals

/// Takes text piece by piece: a UART, a buffer, a std::string's append.
template <class T>
concept TextSink = std::invocable<T&, std::string_view>;

/// `value` as 0x and at least one hex digit.
template <TextSink Out>
constexpr void print_hex(Out& out, std::uint64_t value) {
  std::array<char, 18> text{};
  std::size_t at = text.size();
  do {
    text[--at] = "0123456789abcdef"[value & 15];
    value >>= 4;
  } while (value != 0);
  text[--at] = 'x';
  text[--at] = '0';
  out(std::string_view{&text[at], text.size() - at});
}

/// `value` in decimal.
template <TextSink Out>
constexpr void print_decimal(Out& out, std::uint64_t value) {
  std::array<char, 20> text{};
  std::size_t at = text.size();
  do {
    text[--at] = static_cast<char>('0' + value % 10);
    value /= 10;
  } while (value != 0);
  out(std::string_view{&text[at], text.size() - at});
}

/// A number of bytes in the largest unit that divides it: 4K, 2M, 1G.
template <TextSink Out>
constexpr void print_size(Out& out, std::uint64_t bytes) {
  constexpr std::array units{""sv, "K"sv, "M"sv, "G"sv, "T"sv, "P"sv, "E"sv};
  std::size_t unit = 0;
  while (bytes >= 1024 && bytes % 1024 == 0 && unit + 1 < units.size()) {
    bytes /= 1024;
    ++unit;
  }
  print_decimal(out, bytes);
  out(units[unit]);
}

/// Both ends in hex, half-open. An end at 2^64 is printed as such.
template <TextSink Out>
constexpr void print_range(Out& out, GuestRange range) {
  out("["sv);
  print_hex(out, range.begin.raw());
  out(", "sv);
  if (!range.empty() && range.end() == GuestPhys{0})
    out("0x10000000000000000"sv);
  else
    print_hex(out, range.end().raw());
  out(")"sv);
}

/// A buffer of `N` characters that is itself a sink. What does not fit is dropped, and `truncated` says so.
template <std::size_t N>
class TextBuffer {
 public:
  /// Appends as much as fits.
  constexpr void operator()(std::string_view piece) {
    for (char const c : piece) {
      if (length_ == N) {
        truncated_ = true;
        return;
      }
      text_[length_++] = c;
    }
  }
  /// All that fitted.
  constexpr std::string_view view() const { return {text_.data(), length_}; }
  /// Whether something did not.
  constexpr bool truncated() const { return truncated_; }

 private:
  std::array<char, N> text_{};
  std::size_t length_ = 0;
  bool truncated_ = false;
};

}  // namespace slat
