#pragma once

// What a hypervisor means beside what its tables say: every mapping against the area that it lies in.

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tools/gather.hpp"
#include "tools/record.hpp"

namespace slat::tool {

/// How a mapping differs from the area, the worst last.
enum class Quarrel : std::uint8_t {
  none,
  fewer_rights,  // as while writes are watched
  memory,        // another memory type
  more_rights,
  wrong_host,  // not where the linear area says
  emulated,    // in an area that is never mapped
  outside,     // in no area
  faulty,      // a leaf at which every access faults
};
inline constexpr std::size_t quarrels = 8;
std::string_view words_of(Quarrel quarrel);

/// Mappings that are drawn as one: in one area or between two, alike, and close to each other.
struct Piece {
  std::uint64_t begin, last;  // with what lies between its mappings
  std::uint64_t segment;      // 2n + 1 in the area n, 2n before it
  std::uint64_t mapped = 0;   // bytes
  std::uint64_t host = 0;     // of the first mapping
  bool is_linear = true;      // the host's memory is side by side as the guest's is
  bool is_mixed = false;      // `rights` and `type` are the first mapping's, and others differ
  bool is_in_part = false;    // some of it differs less than `quarrel`, or not at all
  Quarrel quarrel = Quarrel::none;
  Prot rights = Prot::none;
  std::uint8_t type = 0;
  std::array<std::uint64_t, 5> leaves{};  // by level
};

struct Comparison {
  std::vector<Area> areas;        // in order, without those that overlap one before them
  std::uint64_t overlapping = 0;  // so many
  std::vector<Piece> pieces;      // in order
  std::uint64_t mapped = 0;       // bytes
  struct Tally {
    std::uint64_t places = 0, bytes = 0;
  };
  std::array<Tally, quarrels> tallies{};
};

/// At most `most` pieces, or one for each segment if those are more. Unless all areas are known nothing is outside.
Comparison compare(const Gathered& gathered, const std::optional<Areas>& areas, std::size_t most);

}  // namespace slat::tool
