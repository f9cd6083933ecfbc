#pragma once

// How often what is to be tested has really happened: effects seen in the tables, not calls made.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace slat::test {

enum class Effect : std::uint8_t {
  change,       // an operation changed what is in the tables
  split,        // ... cut a block
  both_edges,   // ... cut two blocks, at both ends of its range
  unlink,       // ... took a table out of the tree
  coalesce,     // ... put a leaf in the place of a table that translated alike
  replace,      // ... mapped pages that were mapped elsewhere
  wider_edit,   // a scope of two calls or more that changed something
  populate,     // a fault put a page into a lazy area
  harvest,      // a harvest told of something
  tell,         // an unmap told of marks that went
  failed_call,  // a call had too few frames, or pages, and changed nothing
  broken_seen,  // an operation left something broken, for the rest of its edit
};
inline constexpr std::array<const char*, 12> effect_names{"changes",   "splits",   "both edges",  "unlinks",
                                                          "coalesced", "replaced", "wider edits", "populated",
                                                          "harvested", "told",     "failed",      "broken"};

class Census {
 public:
  void note(Effect effect) { ++counts_[static_cast<std::size_t>(effect)]; }
  std::uint64_t operator[](Effect effect) const { return counts_[static_cast<std::size_t>(effect)]; }

  static void print_head() {
    std::printf("%-10s %10s", "", "operations");
    for (auto const* const name : effect_names) std::printf(" %11s", name);
    std::printf(" %9s %11s\n", "seconds", "per second");
  }
  void print(const char* family, std::uint64_t operations, double seconds) const {
    std::printf("%-10s %10llu", family, static_cast<unsigned long long>(operations));
    for (auto const count : counts_) std::printf(" %11llu", static_cast<unsigned long long>(count));
    std::printf(" %9.1f %11.0f\n", seconds, static_cast<double>(operations) / seconds);
    std::fflush(stdout);
  }

 private:
  std::array<std::uint64_t, effect_names.size()> counts_{};
};

}  // namespace slat::test
