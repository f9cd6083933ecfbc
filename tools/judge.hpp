#pragma once

// What is wrong with a tree beyond its single entries, and what one may want to know of it.

#include <array>
#include <cstdint>

#include "tools/gather.hpp"

namespace slat::tool {

/// Adds findings: tables that the guest itself can write (it could map anything), device memory that is executable (on
/// Arm a speculative fetch may reach the device; on x86 none does, and it is a note), and as notes, memory that is
/// writable and executable. And asks slat's own walker for a second opinion.
void judge(Gathered& gathered);

struct Stats {
  std::array<std::uint64_t, 5> leaves{};  // valid ones, by level
  std::array<std::uint64_t, 5> tables{};
  std::uint64_t table_bytes = 0;
  std::uint64_t invalid = 0;  // entries that are not valid and not 0
  std::uint64_t mapped = 0;   // bytes, here and below
  std::uint64_t faulty = 0;   // of leaves that fault whatever the access
  std::uint64_t writable = 0, executable = 0, both = 0, device = 0;
  std::uint64_t accessed = 0, dirty = 0;
  std::uint64_t holes = 0;  // gaps between the first leaf and the last
  std::uint64_t hole_bytes = 0;
};

Stats stats_of(const Gathered& gathered);

}  // namespace slat::tool
