#pragma once

// Words of a command line: key=value, sizes, choices by name. What is not understood is refused, so that a misspelt
// word does not silently run something else.

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include <slat/mm/address.hpp>

namespace hv {

using namespace slat::literals;

enum class Populate : unsigned char {
  blocks,  // all of guest RAM, with the largest leaves that fit
  pages,   // all of it, with the smallest
  demand,  // nothing: page by page, as the guest touches it
};

/// A choice and the word for it.
template <class Choice>
struct Named {
  std::string_view word;
  Choice choice;
};
template <class Choice>
Named(std::string_view, Choice) -> Named<Choice>;

inline constexpr std::array populate_words{Named{"blocks", Populate::blocks}, Named{"pages", Populate::pages},
                                           Named{"demand", Populate::demand}};

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

/// Looks `text` up among `words`. False, and `into` as it was, when it is none of them.
template <class Choice, std::size_t N>
constexpr bool choose(Choice& into, std::string_view text, const std::array<Named<Choice>, N>& words) {
  for (auto const& [word, choice] : words) {
    if (word != text) continue;
    into = choice;
    return true;
  }
  return false;
}

template <class Choice, std::size_t N>
constexpr std::string_view word_for(Choice wanted, const std::array<Named<Choice>, N>& words) {
  for (auto const& [word, choice] : words)
    if (choice == wanted) return word;
  return "";
}

}  // namespace hv
