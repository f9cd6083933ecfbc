#pragma once

// The guest's ports. Its PC has two interrupt controllers, a timer, a clock, a keyboard controller and COM1, the
// machine's own; all other ports read as ones and swallow what is written, as where no device answers. There is no PCI,
// so that nothing can be told to access memory by addresses that are the guest's. And there are switches for power
// and reset, which are watched.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace hv {

struct PortAccess {
  std::uint16_t port;
  std::uint8_t bytes;
  bool in;
  std::uint32_t value = 0;  // of an output
};

enum class PortAnswer : std::uint8_t {
  forward,    // to the machine's own port
  absent,     // no device is there
  power_off,  // in order
  reset,
};

/// Whether the guest uses the port without the hypervisor.
constexpr bool passes_port(std::uint16_t port) {
  struct Range {
    std::uint16_t first, last;
  };
  constexpr std::array ranges{
      Range{0x20, 0x21},   Range{0xa0, 0xa1}, Range{0x4d0, 0x4d1},  // interrupt controllers
      Range{0x40, 0x43},   Range{0x61, 0x61},                       // timer, and its gate
      Range{0x70, 0x71},                                            // clock
      Range{0x80, 0x80},                                            // written to pass the time
      Range{0x3f8, 0x3ff},                                          // COM1
  };
  for (auto const& range : ranges)
    if (port >= range.first && port <= range.last) return true;
  return false;
}

/// What an access to a port comes to that is not passed through.
class PortPolicy {
 public:
  constexpr PortAnswer serve(const PortAccess& access) {
    if (access.port == keyboard_data || access.port == keyboard_command) return keyboard(access);
    if (access.in) return PortAnswer::absent;
    switch (access.port) {
      case power_management: return turns_off(access) ? PortAnswer::power_off : PortAnswer::absent;
      case reset_control: return (access.value & 4) != 0 ? PortAnswer::reset : PortAnswer::absent;
      case fast_gate: return (access.value & 1) != 0 ? PortAnswer::reset : PortAnswer::absent;
      case shutdown: return spells_shutdown(access.value) ? PortAnswer::power_off : PortAnswer::absent;
      default: return PortAnswer::absent;
    }
  }

 private:
  static constexpr std::uint16_t keyboard_data = 0x60;
  static constexpr std::uint16_t keyboard_command = 0x64;
  static constexpr std::uint16_t fast_gate = 0x92;
  static constexpr std::uint16_t power_management = 0x604;  // PM1a control, as QEMU has it
  static constexpr std::uint16_t reset_control = 0xcf9;
  static constexpr std::uint16_t shutdown = 0x8900;  // Bochs

  /// Sleep enable, with the type that is S5.
  static constexpr bool turns_off(const PortAccess& access) {
    return access.bytes >= 2 && (access.value & 0x3c00) == 0x2000;
  }

  /// Command D1 puts the next byte of data on the output port, of which bit 0 is the reset line. Neither reaches the
  /// machine's own controller.
  constexpr PortAnswer keyboard(const PortAccess& access) {
    constexpr std::uint32_t write_output_port = 0xd1;
    auto const value = access.value & 0xff;
    if (access.in) return PortAnswer::forward;
    if (access.port == keyboard_data) {
      if (!output_port_next_) return PortAnswer::forward;
      output_port_next_ = false;
      return (value & 1) == 0 ? PortAnswer::reset : PortAnswer::absent;
    }
    output_port_next_ = value == write_output_port;
    if (output_port_next_) return PortAnswer::absent;
    // F0 to FF pulse lines: the reset line is the one of bit 0, active low.
    return (value & 0xf1) == 0xf0 ? PortAnswer::reset : PortAnswer::forward;
  }

  constexpr bool spells_shutdown(std::uint32_t value) {
    constexpr std::string_view word = "Shutdown";
    auto const c = static_cast<char>(value & 0xff);
    spelt_ = c == word[spelt_] ? spelt_ + 1 : c == word[0] ? 1 : 0;
    if (spelt_ != word.size()) return false;
    spelt_ = 0;
    return true;
  }

  bool output_port_next_ = false;
  std::size_t spelt_ = 0;
};

}  // namespace hv
