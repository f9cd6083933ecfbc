#pragma once

// The old PC's devices as firmware hands them to an operating system: what the guest, which has them to itself, may
// find without having asked. On the machine there may have been no firmware, and the board turns them off.

#include <cstdint>

#include "hv/x86_64/ports.hpp"

namespace hv {

/// Interrupt controllers at vectors 08 and 70 with the timer, keyboard, cascade and clock let through; the timer at its
/// slowest; the local APIC out of their way; the first serial port at 115200 baud with 8 bits.
inline void restore_pc_devices() {
  constexpr std::uint16_t first = 0x20;
  constexpr std::uint16_t second = 0xa0;
  constexpr std::uint16_t timer = 0x40;
  constexpr std::uint8_t begin_initialisation = 0x11;
  constexpr std::uint8_t on_a_pc = 0x01;
  auto const initialise = [](std::uint16_t port, std::uint8_t vector, std::uint8_t cascade, std::uint8_t masked) {
    out8(port, begin_initialisation);
    out8(port + 1, vector);
    out8(port + 1, cascade);
    out8(port + 1, on_a_pc);
    out8(port + 1, masked);
  };
  initialise(first, 0x08, 1u << 2, 0xb8);
  initialise(second, 0x70, 2, 0x8e);
  out8(timer + 3, 0x36);  // counter 0, both bytes, square wave
  out8(timer, 0);
  out8(timer, 0);

  constexpr std::uint16_t serial = 0x3f8;
  constexpr std::uint8_t divisor_access = 0x80;
  constexpr std::uint8_t eight_bits = 0x03;
  out8(serial + 3, divisor_access | eight_bits);
  out8(serial, 1);
  out8(serial + 1, 0);
  out8(serial + 3, eight_bits);

  auto const apic = [](std::uint32_t offset) -> volatile std::uint32_t& {
    return *reinterpret_cast<volatile std::uint32_t*>(0xfee0'0000ull + offset);
  };
  constexpr std::uint32_t external = 7u << 8;
  constexpr std::uint32_t non_maskable = 4u << 8;
  apic(0x350) = external;      // LINT0: the interrupt controllers' wire
  apic(0x360) = non_maskable;  // LINT1
}

}  // namespace hv
