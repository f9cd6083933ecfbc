#pragma once

// Neighbours that translate alike, as one.

#include <cstdint>
#include <vector>

#include "tools/gather.hpp"

namespace slat::tool {

/// `count` leaves of one level, side by side for guest and host, with equal rights, type and marks. Or so many entries
/// that are neither valid nor 0.
struct Run {
  GuestRange range;
  std::uint64_t count;
  Leaf first;

  HostPhys host() const { return first.decoded.address; }
};

/// Without `marks`, what differs in A and D alone is one run.
std::vector<Run> runs_of(const Gathered& gathered, bool marks = true);

}  // namespace slat::tool
