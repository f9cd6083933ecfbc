#pragma once

// The hypervisor's own words. They go to the UART, which the guest has too, or
// beside it, so that the UART's output is the guest's and nothing else.

#include <string_view>

#include "hv/aarch64/board.hpp"
#include "hv/aarch64/pl011.hpp"
#include "hv/aarch64/semihosting.hpp"

namespace hv {

class Console {
 public:
  enum class Way : unsigned char { uart, semihosting };

  void direct_to(Way way) { way_ = way; }

  void operator()(std::string_view text) const {
    if (way_ == Way::uart)
      Pl011{slat::HostPhys{board::uart}}(text);
    else
      semihosting::write(text);
  }

 private:
  Way way_ = Way::uart;
};

inline constinit Console console;

}  // namespace hv
