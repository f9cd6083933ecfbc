#pragma once

// The hypervisor's command line: words of the form key=value. What is not there has a default; what is not understood
// is an error, so that a misspelt word does not silently test something else.

#include <charconv>
#include <cstdint>
#include <optional>
#include <string_view>

#include <slat/mm/address.hpp>

namespace hv {

using namespace slat::literals;

enum class Granule : unsigned char { k4, k16, k64 };

enum class Populate : unsigned char {
  blocks,  // all of guest RAM, with the largest leaves that fit
  pages,   // all of it, with the smallest
  demand,  // nothing: page by page, as the guest touches it
};

constexpr std::string_view name(Granule granule) {
  switch (granule) {
    case Granule::k4: return "4k";
    case Granule::k16: return "16k";
    case Granule::k64: return "64k";
  }
  return "";
}
constexpr std::string_view name(Populate populate) {
  switch (populate) {
    case Populate::blocks: return "blocks";
    case Populate::pages: return "pages";
    case Populate::demand: return "demand";
  }
  return "";
}

/// Calls `each(key, value)` for the words of `line`, until it answers false: then that word, else nothing.
template <class Each>
std::optional<std::string_view> first_refused(std::string_view line, Each each) {
  while (!line.empty()) {
    auto const word = line.substr(0, line.find(' '));
    line.remove_prefix(word.size() < line.size() ? word.size() + 1 : line.size());
    if (word.empty()) continue;
    auto const equals = word.find('=');
    auto const value = equals == word.npos ? std::string_view{} : word.substr(equals + 1);
    if (!each(word.substr(0, equals), value)) return word;
  }
  return std::nullopt;
}

/// "512M" in bytes.
inline std::optional<std::uint64_t> parse_mebibytes(std::string_view text) {
  std::uint64_t number = 0;
  auto const* const last = text.data() + text.size();
  auto const [rest, error] = std::from_chars(text.data(), last, number);
  if (error != std::errc{} || std::string_view{rest, last} != "M" || number == 0 || number >= 1_TiB / 1_MiB)
    return std::nullopt;
  return number * 1_MiB;
}

template <class Choice, std::size_t N>
constexpr bool choose(Choice& into, std::string_view text, const Choice (&choices)[N]) {
  for (auto const choice : choices) {
    if (name(choice) != text) continue;
    into = choice;
    return true;
  }
  return false;
}

struct Options {
  std::uint64_t guest_memory = 1_GiB;
  Granule granule = Granule::k4;
  Populate populate = Populate::blocks;
  bool report_on_uart = true;

  bool set(std::string_view key, std::string_view value) {
    if (key == "guest-memory") {
      auto const size = parse_mebibytes(value);
      guest_memory = size.value_or(guest_memory);
      return size.has_value();
    }
    if (key == "granule") return choose(granule, value, {Granule::k4, Granule::k16, Granule::k64});
    if (key == "populate") return choose(populate, value, {Populate::blocks, Populate::pages, Populate::demand});
    if (key == "report") {
      report_on_uart = value == "stdout";
      return report_on_uart || value == "stderr";
    }
    return false;
  }
};

}  // namespace hv
