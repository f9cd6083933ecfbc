#pragma once

// Which MSRs a guest's RDMSR and WRMSR exit for. [intel/vol3] "MSR-Bitmap Address"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/x86_64/vcpu.hpp"

namespace hv::vmx {

/// A bit for each of the first 8192 MSRs of both ranges that exist, for reads and again for writes. All others exit in
/// any case.
class MsrBitmap {
 public:
  /// None but these.
  constexpr void trap_only(std::span<const std::uint32_t> msrs) {
    bytes_ = {};
    for (auto const msr : msrs)
      for (auto const half : {reads, writes}) change(half, msr, [](auto byte, auto bit) { return byte | bit; });
  }
  /// All but these.
  constexpr void pass_only(std::span<const PassedMsrs> msrs) {
    bytes_.fill(0xff);
    auto const pass = [](auto byte, auto bit) { return byte & ~bit; };
    for (auto const& range : msrs)
      for (auto msr = range.first; msr <= range.last; ++msr) {
        change(reads, msr, pass);
        if (range.write) change(writes, msr, pass);
      }
  }

  constexpr std::span<const std::uint8_t, 4096> bytes() const { return bytes_; }

 private:
  constexpr void change(std::size_t half, std::uint32_t msr, auto next) {
    auto const range = msr & ~(per_range - 1);
    if (range != low && range != high) return;
    auto& byte = bytes_[half + (range == high ? range_bytes : 0) + (msr - range) / 8];
    byte = static_cast<std::uint8_t>(next(byte, 1u << msr % 8));
  }

  static constexpr std::uint32_t low = 0, high = 0xc000'0000, per_range = 8192;
  static constexpr std::size_t range_bytes = per_range / 8;
  static constexpr std::size_t reads = 0, writes = 2 * range_bytes;
  alignas(4096) std::array<std::uint8_t, 4 * range_bytes> bytes_{};
};

}  // namespace hv::vmx
