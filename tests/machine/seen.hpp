#pragma once

// What a guest's access came to, in words that every architecture has.

#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace slat::test {

enum class Fault : std::uint8_t {
  none,
  absent,  // nothing is mapped there
  denied,  // a right lacks
  misconfigured,
  other,
};

/// How an access of the guest ended: with a value, or with a fault that came to the hypervisor.
struct Seen {
  Fault fault = Fault::none;
  std::uint64_t value = 0;
  GuestPhys at{};
  Prot wanted = Prot::none;
  bool instruction = false;  // a fetch
  bool guest_walk = false;   // the guest's own walk of its tables

  bool worked() const { return fault == Fault::none; }
  bool faulted(Fault how) const { return fault == how; }
};

}  // namespace slat::test
