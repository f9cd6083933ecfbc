#pragma once

// What a hypervisor says of itself beside its tables: which areas it means its guest to have, and what it did lately.
// It is believed in nothing but that: numbers that cannot be are refused or left out.

#include <cstdint>
#include <optional>
#include <vector>

#include <slat/mm/attr.hpp>
#include <slat/mm/mapping_backend.hpp>

#include "hv/area_list.hpp"
#include "hv/event_ring.hpp"

#include "tools/memory.hpp"
#include "tools/scheme.hpp"

namespace slat::tool {

struct Area {
  GuestRange range;
  Attr attr;
  hv::AreaList::Backing backing;
  HostPhys host;  // of a linear one
};

struct Areas {
  std::vector<Area> list;      // by guest address
  std::uint64_t left_out = 0;  // there are, but the list has no room for them
};

struct Events {
  std::vector<hv::Event> list;     // by begin, and those that contain others before these
  std::uint64_t lost = 0;          // overwritten, being written, or never written
  std::uint64_t ticks_per_second;  // not 0

  /// From the first event on that is there, in nanoseconds.
  double since_first(std::uint64_t ticks) const;
};

/// What is there; nothing where a beacon says so, or no beacon does. Throws Failure where what it leads to is neither.
std::optional<Areas> areas_of(HostMemory& memory, const Scheme& scheme);
std::optional<Events> events_of(HostMemory& memory, const Scheme& scheme);

}  // namespace slat::tool
