#pragma once

// What two tables translate differently. A side is a table or a dump of one that was kept as JSON.

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "tools/gather.hpp"

namespace slat::tool {

/// A run, without what only its own table knows.
struct Mapping {
  std::uint64_t begin, bytes, host;
  std::uint64_t leaf;      // bytes of one leaf
  std::string attributes;  // rights, memory type, shareability, what else decides about an access; software bits
  std::string marks;       // "AD"
  bool contiguous = false;

  std::uint64_t end() const { return begin + bytes; }
};

/// Valid leaves, by guest address.
std::vector<Mapping> mappings_of(const Gathered& gathered);

struct Change {
  std::uint64_t begin, bytes;
  std::optional<Mapping> before, after;  // as they are from `begin` on
};

/// A block and the pages that it could be split into are no difference, unless `sizes` are asked for; nor is the
/// contiguous bit. `marks`: also where nothing but A and D differ.
std::vector<Change> diff(const std::vector<Mapping>& before, const std::vector<Mapping>& after, bool marks,
                         bool sizes = false);
void print_diff(std::ostream& out, const std::vector<Change>& changes);

}  // namespace slat::tool
