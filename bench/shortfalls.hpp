#pragma once

// Why rows may miss their targets: the work that is theirs, and not their limit's. Each was tried to be saved in three
// ways or more that differ in algorithm or layout.

#include <algorithm>
#include <iterator>
#include <string_view>

namespace slat::bench {

struct Shortfall {
  std::string_view rows;  // how their titles begin
  std::string_view why;
};

inline constexpr Shortfall shortfalls[] = {
    {"G5", "each leaf is compared, in all but its address, with one of which it is known what it owes"},
    {"G6 map", "calls wait for the lines of memory of the entries that they look at; on the line"},
    {"G8 unmap", "a call waits for the lines of two entries, of a table's count and of the frame that it gives back"},
    {"G11", "the answer is a whole leaf, with rights, type and age, and a level's masks are what the format says"},
    {"G15", "areas lie in order, 16 to a leaf that is in no near cache, and parents are told of the gap"},
    {"G16 split and merge, 16 areas", "a 17th area makes a tree of two leaves: one more level, and a node to allocate"},
    {"G17 set, unmap and map, 16 areas", "memory is made sure of and the backend asked before the first store"},
    {"G18", "parents know how large the largest gap in a leaf is, not where: it is looked for area by area"},
};

/// For a row of this title.
constexpr Shortfall shortfall_of(std::string_view title) {
  auto const* const known =
      std::find_if(std::begin(shortfalls), std::end(shortfalls), [&](auto& s) { return title.starts_with(s.rows); });
  return known == std::end(shortfalls) ? Shortfall{title, "no reason is known"} : *known;
}

}  // namespace slat::bench
