#pragma once

// Arguments that are bad, or next to bad: one thing is wrong with each row, or only just not. And the words in which
// the matrices that use them say what is promised.

#include <cstdint>
#include <string_view>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/error.hpp>

namespace slat::test {

/// The measures of one format, in which the rows are written.
struct Shape {
  std::uint64_t page, block, input, output;
  HostPhys ram;

  GuestPhys at(std::uint64_t blocks, std::uint64_t pages = 0) const { return GuestPhys{blocks * block + pages * page}; }
  /// So many bytes below the end of what the guest can address, of what the host can, of 64 bits.
  GuestPhys limit(std::uint64_t below = 0) const { return GuestPhys{input - below}; }
  HostPhys host_limit(std::uint64_t below = 0) const { return HostPhys{output - below}; }
  static GuestPhys end(std::uint64_t below) { return GuestPhys{0} - below; }
  /// Memory that nothing is mapped to at first.
  HostPhys other() const { return ram + 64 * block; }

  template <class Format>
  static Shape of(const Format& format) {
    auto const geometry = format.geometry();
    return {geometry.page_size(), geometry.span(1), geometry.input_size(), std::uint64_t{1} << format.output_bits(),
            HostPhys{geometry.span(geometry.top_leaf) * 8}};
  }
};

/// What a call is given, as much of it as it takes.
struct Row {
  std::string_view name;
  GuestRange range;
  HostPhys host;
};

// What is there already: blocks 4 and 5, whole; pages 0 to 3 of block 8; block 10, lazy, with page 1 populated; page 0
// of block 12, a device. None of it is writable, so that no format calls it dirty.
inline std::vector<Row> rows(const Shape& s) {
  auto const other = s.other();
  return {
      {"start a byte off", {s.at(2) + 1, s.page}, other},
      {"start half a page off", {s.at(2) + s.page / 2, s.page}, other},
      {"start 0", {s.at(0), s.page}, other},
      {"end at the limit", {s.limit(s.page), s.page}, other},
      {"end past the limit", {s.limit(s.page), 2 * s.page}, other},
      {"start at the limit", {s.limit(), s.page}, other},
      {"start past the limit", {s.limit() + s.block, s.page}, other},
      {"end at 2^64", {s.end(s.page), s.page}, other},
      {"end past 2^64", {s.end(s.page), 2 * s.page}, other},

      {"size a byte more", {s.at(2), s.page + 1}, other},
      {"size a byte less", {s.at(2), s.page - 1}, other},
      {"size half a page", {s.at(2), s.page / 2}, other},
      {"size 0", {s.at(2), 0}, other},
      {"size 0 inside", {s.at(4, 1), 0}, other},
      {"size 0 a byte off", {s.at(2) + 1, 0}, other},
      {"size 0 at the limit", {s.limit(), 0}, other},
      {"size 0 past the limit", {s.limit() + s.page, 0}, other},
      {"size of all", {s.at(0), s.input}, other},
      {"size past the limit", {s.at(0), s.input + s.page}, other},
      {"size up to 2^64", {s.at(0, 1), 0 - s.page}, other},
      {"reversed", GuestRange::between(s.at(3), s.at(2)), other},
      {"reversed inside", GuestRange::between(s.at(5), s.at(4)), other},

      {"the same", {s.at(4), 2 * s.block}, other},
      {"over the front", {s.at(4) - s.page, 2 * s.page}, other},
      {"over the back", {s.at(6) - s.page, 2 * s.page}, other},
      {"inside", {s.at(4, 3), s.page}, other},
      {"around", {s.at(3), 4 * s.block}, other},
      {"around, start off", {s.at(3) + s.page / 2, 4 * s.block}, other},
      {"around, size off", {s.at(3), 4 * s.block + s.page / 2}, other},
      {"adjacent below", {s.at(4) - s.page, s.page}, other},
      {"adjacent above", {s.at(6), s.page}, other},
      {"among pages", {s.at(8, 1), 2 * s.page}, other},
      {"lazy memory", {s.at(10), s.block}, other},
      {"a device", {s.at(12), s.page}, other},

      {"host a byte off", {s.at(20), 2 * s.page}, other + 1},
      {"host half a page off", {s.at(20), s.page}, other + s.page / 2},
      {"host 0", {s.at(20), 2 * s.page}, HostPhys{0}},
      {"host end at the output", {s.at(20), s.page}, s.host_limit(s.page)},
      {"host block at the output", {s.at(20), s.block}, s.host_limit(s.block)},
      {"host end past it", {s.at(20), 2 * s.page}, s.host_limit(s.page)},
      {"host block past it", {s.at(20), s.block}, s.host_limit(s.page)},
      {"host start at it", {s.at(20), s.page}, s.host_limit()},
      {"host start past it", {s.at(20), s.page}, s.host_limit() + s.block},
      {"host end at 2^64", {s.at(20), s.page}, HostPhys{0} - s.page},
      {"host end past 2^64", {s.at(20), 2 * s.page}, HostPhys{0} - s.page},
      {"host of another", {s.at(20), 2 * s.page}, s.ram + s.page},
      {"host next to another's", {s.at(6), s.page}, s.ram + 2 * s.block},
      {"host as the guest's", {s.at(20), s.page}, HostPhys{s.at(20).raw()}},
      {"host as before", {s.at(4), 2 * s.block}, s.ram},
  };
}

/// What a cell may say.
struct Word {
  enum class Is : std::uint8_t { done, same, answer, refused, either, excluded };
  std::string_view word;
  Is is;
  std::string_view meaning;
  Errc code = Errc::bad_state;
  Argument argument = Argument::none;
};

inline constexpr Word vocabulary[] = {
    {"done", Word::Is::done, "succeeds, and changes what it says"},
    {"same", Word::Is::same, "succeeds, and changes nothing: there is nothing to do"},
    {"yes", Word::Is::answer, "there is one"},
    {"no", Word::Is::answer, "there is none"},
    {"unknown", Word::Is::answer, "a fault there is in no area"},
    {"spurious", Word::Is::answer, "a fault there is allowed by now"},
    {"emulate", Word::Is::answer, "a fault there is a device's"},

    {"start", Word::Is::refused, "the start is no multiple of the granule", Errc::misaligned, Argument::start},
    {"size", Word::Is::refused, "the size is no multiple of the granule", Errc::misaligned, Argument::size},
    {"host", Word::Is::refused, "the host address is no multiple of it", Errc::misaligned, Argument::host},
    {"empty", Word::Is::refused, "nothing is to be mapped", Errc::invalid_param, Argument::size},
    {"nil", Word::Is::refused, "nothing is looked for (and no range is named)", Errc::invalid_param, Argument::size},
    {"past", Word::Is::refused, "start + size is past 2^64", Errc::invalid_param, Argument::size},
    {"limit", Word::Is::refused, "the limit is past 2^64", Errc::invalid_param, Argument::limit},
    {"input", Word::Is::refused, "past what a guest can address", Errc::out_of_range, Argument::range},
    {"address", Word::Is::refused, "the same of one address", Errc::out_of_range, Argument::start},
    {"output", Word::Is::refused, "past what the host can address", Errc::out_of_range, Argument::host},
    {"mapped", Word::Is::refused, "a leaf is in the way", Errc::already_mapped, Argument::start},
    {"exists", Word::Is::refused, "an area is in the way", Errc::already_exists, Argument::none},
    {"either", Word::Is::either, "two things are wrong, and either may be named"},

    {"-size", Word::Is::excluded, "takes an address and no size, and nothing is wrong with the address"},
    {"-host", Word::Is::excluded, "takes no host address, and nothing is wrong with the range"},
    {"-wide", Word::Is::excluded, "some formats have less host memory than that"},
    {"-wrap", Word::Is::excluded, "its comment says that the range must not wrap"},
};

}  // namespace slat::test
