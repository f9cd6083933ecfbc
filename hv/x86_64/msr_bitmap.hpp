#pragma once

// Which MSRs a guest's RDMSR and WRMSR exit for. [intel/vol3] "MSR-Bitmap Address"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace hv::vmx {

/// A bit for each of the first 8192 MSRs of both ranges that exist, for reads and again for writes. All others exit in
/// any case.
class MsrBitmap {
 public:
  /// None but these.
  constexpr void trap_only(std::span<const std::uint32_t> msrs) {
    bytes_ = {};
    for (auto const msr : msrs) {
      auto const range = msr & ~(per_range - 1);
      if (range != low && range != high) continue;
      auto const byte = (range == high ? range_bytes : 0) + (msr - range) / 8;
      auto const bit = static_cast<std::uint8_t>(1u << msr % 8);
      for (auto at : {byte, byte + 2 * range_bytes}) bytes_[at] = static_cast<std::uint8_t>(bytes_[at] | bit);
    }
  }

  constexpr std::span<const std::uint8_t, 4096> bytes() const { return bytes_; }

 private:
  static constexpr std::uint32_t low = 0, high = 0xc000'0000, per_range = 8192;
  static constexpr std::size_t range_bytes = per_range / 8;
  alignas(4096) std::array<std::uint8_t, 4 * range_bytes> bytes_{};
};

}  // namespace hv::vmx
