#pragma once

// Page-modification logging: the page to which the CPU writes the address of each page whose D bit it sets, from the
// last entry down. [intel/vol3] "Page-Modification Logging"

#include <array>
#include <cstddef>
#include <cstdint>

#include <slat/mm/address.hpp>

namespace hv::vmx {

struct PageLog {
  static constexpr std::uint16_t entries = 512;
  /// The index of an empty log. The CPU counts down, past 0 to 0xffff, and exits before it would write there.
  static constexpr std::uint16_t empty = entries - 1;

  alignas(4096) std::array<std::uint64_t, entries> log{};

  slat::HostPhys address() const { return slat::HostPhys{reinterpret_cast<std::uint64_t>(log.data())}; }

  /// Tells `sink(GuestPhys page)` of every entry, oldest first, when the CPU left off at `index`; it goes on at
  /// `empty`. The low bits are cleared here: Bochs leaves the offset of the access in them.
  template <class Sink>
  constexpr void drain(std::uint16_t index, Sink sink) const {
    std::size_t const first = index >= entries ? 0 : std::size_t{index} + 1;
    for (auto i = std::size_t{entries}; i-- != first;) sink(slat::GuestPhys{log[i]}.down_to(4096));
  }
};

}  // namespace hv::vmx
