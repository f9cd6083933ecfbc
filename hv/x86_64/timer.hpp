#pragma once

// How fast the time stamp counter runs, by the PC's timer: no CPUID leaf of the emulators says it.

#include <cstdint>

#include "hv/x86_64/ports.hpp"
#include "hv/x86_64/registers.hpp"

namespace hv {

/// Waits ten milliseconds, with counter 2, which makes no interrupt. Port 61h is as before.
inline std::uint64_t time_stamps_per_second() {
  constexpr std::uint16_t gate = 0x61;
  constexpr std::uint16_t counter = 0x42;
  constexpr std::uint16_t control = 0x43;
  constexpr std::uint8_t opens_gate = 1u << 0;
  constexpr std::uint8_t speaks = 1u << 1;
  constexpr std::uint8_t has_ended = 1u << 5;
  constexpr std::uint32_t hertz = 1'193'182;
  constexpr std::uint32_t parts = 100;  // of a second

  auto const before = in8(gate);
  out8(gate, static_cast<std::uint8_t>((before & ~speaks) | opens_gate));
  out8(control, 0xb0);  // counter 2, both bytes, an event at its end
  out8(counter, hertz / parts & 0xff);
  out8(counter, hertz / parts >> 8);
  auto const begin = time_stamp();
  while ((in8(gate) & has_ended) == 0) relax();
  auto const end = time_stamp();
  out8(gate, before);
  return (end - begin) * parts;
}

}  // namespace hv
