#pragma once

// The PL011 UART as QEMU's virt machine leaves it: enabled, no baud rate to set.

#include <cstdint>
#include <string_view>

#include <slat/mm/address.hpp>

namespace hv {

class Pl011 {
 public:
  constexpr explicit Pl011(slat::HostPhys base) : base_{base} {}

  void operator()(std::string_view text) const {
    for (char const c : text) {
      if (c == '\n') put('\r');
      put(c);
    }
  }

 private:
  static constexpr std::uint64_t data = 0x00;
  static constexpr std::uint64_t flag = 0x18;
  static constexpr std::uint32_t transmit_full = 1u << 5;

  void put(char c) const {
    while (*at(flag) & transmit_full) {
    }
    *at(data) = static_cast<unsigned char>(c);
  }
  volatile std::uint32_t* at(std::uint64_t offset) const {
    return reinterpret_cast<volatile std::uint32_t*>(base_.raw() + offset);
  }

  slat::HostPhys base_;
};

}  // namespace hv
