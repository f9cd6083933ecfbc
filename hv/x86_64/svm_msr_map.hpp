#pragma once

// Which MSRs a guest's RDMSR and WRMSR exit for. [amd/vol2] "MSR intercepts"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "hv/x86_64/vcpu.hpp"

namespace hv::svm {

/// Two bits, for reads and for writes, for each of the first 8192 MSRs of three ranges. All others exit in any case.
class MsrMap {
 public:
  /// None but these, and the host's own: VM_CR, IGNNE, SMM_CTL, VM_HSAVE_PA.
  constexpr void trap_only(std::span<const std::uint32_t> msrs) {
    bytes_ = {};
    for (auto const msr : msrs) add(msr);
    for (std::uint32_t msr = 0xc001'0114; msr != 0xc001'0118; ++msr) add(msr);
  }
  /// All but these, and EFER in any case: its SVME is the host's.
  constexpr void pass_only(std::span<const PassedMsrs> msrs) {
    constexpr std::uint32_t efer = 0xc000'0080;
    bytes_.fill(0xff);
    for (auto const& range : msrs)
      for (auto msr = range.first; msr <= range.last; ++msr) change(msr, 0, range.write ? both : for_reads);
    add(efer);
  }

  constexpr std::span<const std::uint8_t, 8192> bytes() const { return bytes_; }

 private:
  static constexpr std::array<std::uint32_t, 3> ranges{0, 0xc000'0000, 0xc001'0000};
  static constexpr std::uint32_t per_range = 8192;

  static constexpr unsigned for_reads = 1, both = 3;

  constexpr void add(std::uint32_t msr) { change(msr, both, 0); }
  constexpr void change(std::uint32_t msr, unsigned set, unsigned clear) {
    for (std::size_t i = 0; i != ranges.size(); ++i) {
      if (msr < ranges[i] || msr - ranges[i] >= per_range) continue;
      auto const bit = 2 * (msr - ranges[i]);
      auto& byte = bytes_[i * per_range / 4 + bit / 8];
      byte = static_cast<std::uint8_t>((byte & ~(clear << bit % 8)) | set << bit % 8);
    }
  }

  alignas(4096) std::array<std::uint8_t, 8192> bytes_{};
};

}  // namespace hv::svm
