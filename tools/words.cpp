#include "tools/words.hpp"

#include <charconv>
#include <limits>

#include <slat/mm/text.hpp>

#include "tools/failure.hpp"

namespace slat::tool {

namespace {

/// What `print` writes to a sink, as a string.
std::string text_of(auto print) {
  std::string text;
  auto out = [&](std::string_view piece) { text += piece; };
  print(out);
  return text;
}

}  // namespace

std::string hex(std::uint64_t value) {
  return text_of([&](auto& out) { print_hex(out, value); });
}

std::string word(std::uint64_t value) {
  auto const digits = hex(value).substr(2);
  return "0x" + std::string(16 - digits.size(), '0') + digits;
}

std::string size(std::uint64_t bytes) {
  return text_of([&](auto& out) { print_size(out, bytes); });
}

std::string range(std::uint64_t begin, std::uint64_t bytes) {
  return text_of([&](auto& out) { print_range(out, {GuestPhys{begin}, bytes}); });
}

std::uint64_t number(std::string_view text, std::string_view what, bool units) {
  auto const complain = [&](const char* why) {
    throw Failure{std::string{what} + ": '" + std::string{text} + "' " + why};
  };
  auto digits = text;
  auto shift = 0u;
  if (units && !digits.empty()) {
    auto const unit = std::string_view{"KMGT"}.find(static_cast<char>(digits.back() & ~0x20));
    if (unit != std::string_view::npos) {
      shift = 10 * (static_cast<unsigned>(unit) + 1);
      digits.remove_suffix(1);
    }
  }
  auto const is_hex = digits.starts_with("0x") || digits.starts_with("0X");
  if (is_hex) digits.remove_prefix(2);
  std::uint64_t value = 0;
  auto const [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, is_hex ? 16 : 10);
  if (error == std::errc::result_out_of_range) complain("does not fit into 64 bits");
  if (error != std::errc{} || end != digits.data() + digits.size() || digits.empty())
    complain(units ? "is no number; say 4096, 0x1000 or 4K" : "is no number; say 4096 or 0x1000");
  if (shift != 0 && value > std::numeric_limits<std::uint64_t>::max() >> shift) complain("does not fit into 64 bits");
  return value << shift;
}

}  // namespace slat::tool
