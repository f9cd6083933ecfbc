#pragma once

// Numbers for the random tests: the same for the same seed, on every host and by every compiler.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace slat::test {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_{seed * 0x9e37'79b9'7f4a'7c15 | 1} {
    for (auto i = 0; i != 8; ++i) below(2);
  }

  /// 0 to `limit` - 1.
  std::uint64_t below(std::uint64_t limit) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return (state_ * 0x2545'f491'4f6c'dd1d >> 16) % limit;
  }
  bool once_in(std::uint64_t n) { return below(n) == 0; }
  bool coin() { return once_in(2); }
  bool percent(std::uint64_t chance) { return below(100) < chance; }
  template <class T, std::size_t N>
  const T& one_of(const T (&choices)[N]) {
    return choices[below(N)];
  }

 private:
  std::uint64_t state_;
};

/// A number from an environment variable, decimal or 0x.
inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  auto const* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

}  // namespace slat::test
