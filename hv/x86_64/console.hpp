#pragma once

// The hypervisor's own words. They go to the first serial port, which the guest has too, or beside it, so that the
// serial port's output is the guest's and nothing else.

#include <cstdint>
#include <string_view>

#include "hv/x86_64/ports.hpp"
#include "hv/x86_64/serial_port.hpp"

namespace hv {

class Console {
 public:
  enum class Way : unsigned char {
    debug,   // port 0xE9 of an emulator
    serial,  // the first serial port
  };

  void direct_to(Way way) { way_ = way; }

  void operator()(std::string_view text) const {
    if (way_ == Way::debug) {
      for (char const c : text) out8(0xe9, static_cast<std::uint8_t>(c));
    } else {
      SerialPort const port{0x3f8};
      for (char const c : text) port(c);
    }
  }

 private:
  Way way_ = Way::debug;
};

inline constinit Console console;

}  // namespace hv
