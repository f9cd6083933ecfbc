#pragma once

// The interrupt controller of each CPU, by its page of registers: by which CPUs interrupt and start each other.
// [intel/vol3] "Advanced Programmable Interrupt Controller (APIC)"

#include <cstdint>

#include "hv/x86_64/registers.hpp"

namespace hv {

class LocalApic {
 public:
  static constexpr std::uint8_t spurious_vector = 0xff;

  /// On this CPU, for interrupts from other CPUs.
  static void enable() {
    write_msr(msr::apic_base, read_msr(msr::apic_base) | 1u << 11);
    reg(spurious) = 1u << 8 | spurious_vector;
  }

  static std::uint32_t id() { return reg(identity) >> 24; }
  static void end_of_interrupt() { reg(end) = 0; }

  static void send(std::uint32_t to, std::uint8_t vector) { command(to, vector); }
  static void send_init(std::uint32_t to) { command(to, init | assert_level); }
  /// Starts the CPU in real mode at `page`, a page below 1 MiB.
  static void send_startup(std::uint32_t to, std::uint32_t page) { command(to, startup | assert_level | page >> 12); }

 private:
  static constexpr std::uint32_t identity = 0x20;
  static constexpr std::uint32_t end = 0xb0;
  static constexpr std::uint32_t spurious = 0xf0;
  static constexpr std::uint32_t command_low = 0x300;
  static constexpr std::uint32_t command_high = 0x310;

  static constexpr std::uint32_t init = 5u << 8;
  static constexpr std::uint32_t startup = 6u << 8;
  static constexpr std::uint32_t pending = 1u << 12;
  static constexpr std::uint32_t assert_level = 1u << 14;

  static volatile std::uint32_t& reg(std::uint32_t offset) {
    return *reinterpret_cast<volatile std::uint32_t*>(0xfee0'0000ull + offset);
  }

  // Two stores: an interrupt between them that sends one itself would send this one astray.
  static void command(std::uint32_t to, std::uint32_t what) {
    bool const were_on = interrupts_are_on();
    interrupts_off();
    while ((reg(command_low) & pending) != 0) relax();
    reg(command_high) = to << 24;
    reg(command_low) = what;
    if (were_on) interrupts_on();
  }
};

}  // namespace hv
