#pragma once

// Numbers that look random and come again with their seed, on every machine.

#include <cstdint>

namespace slat::testing {

/// Marsaglia's xorshift, multiplied.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_{seed * 0x9e37'79b9'7f4a'7c15 | 1} {
    for (auto i = 0; i != 8; ++i) below(2);
  }
  /// From 0 to `limit` - 1.
  std::uint64_t below(std::uint64_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ * 0x2545'f491'4f6c'dd1d >> 16) % limit;
  }
  bool once_in(std::uint64_t n) { return below(n) == 0; }

 private:
  std::uint64_t state_;
};

}  // namespace slat::testing
