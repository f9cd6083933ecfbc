#pragma once

// Finds the tables by what a hypervisor says of them in its own memory: hv/beacon.hpp.

#include <cstdint>
#include <optional>
#include <string>

#include "hv/beacon.hpp"

#include "tools/memory.hpp"
#include "tools/scheme.hpp"

namespace slat::tool {

struct FoundBeacon {
  HostPhys at;
  hv::Beacon::Words words;
};

/// The only beacon within the first `limit` bytes of each range of the source's memory. Throws Failure: none, or
/// several that differ.
FoundBeacon find_beacon(HostMemory& memory, std::uint64_t limit);
/// The one at that address.
FoundBeacon beacon_at(HostMemory& memory, HostPhys at);
/// Throws Failure where it says what cannot be.
Scheme scheme_of(const FoundBeacon& beacon, Extras extras);

}  // namespace slat::tool
