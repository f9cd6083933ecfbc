#pragma once

// A serial port of a PC, to write to.

#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/x86_64/ports.hpp"
#include "hv/x86_64/registers.hpp"

namespace hv {

class SerialPort {
 public:
  /// 8 bits, no parity, one stop bit, at whatever rate it has.
  explicit SerialPort(std::uint16_t base) : base_{base} { out8(at(line_control), 3); }

  void operator()(char c) const {
    wait_for(can_take);
    out8(base_, static_cast<std::uint8_t>(c));
  }
  /// Waits until all has been sent.
  void flush() const { wait_for(all_sent); }

 private:
  static constexpr unsigned line_control = 3;
  static constexpr unsigned line_status = 5;
  static constexpr std::uint8_t can_take = 1u << 5;
  static constexpr std::uint8_t all_sent = 1u << 6;

  std::uint16_t at(unsigned reg) const { return static_cast<std::uint16_t>(base_ + reg); }
  // A port that is not there answers with ones.
  void wait_for(std::uint8_t bit) const {
    while ((in8(at(line_status)) & bit) == 0) relax();
  }

  std::uint16_t base_;
};

/// Bytes for whoever watches: on a machine without this port they are gone.
class ThirdSerialPort {
 public:
  static bool open() { return true; }
  bool operator()(std::span<const std::byte> bytes) const {
    for (auto const byte : bytes) port_(static_cast<char>(byte));
    return true;
  }
  bool close() const {
    port_.flush();
    return true;
  }

 private:
  SerialPort port_{0x3e8};
};

}  // namespace hv
