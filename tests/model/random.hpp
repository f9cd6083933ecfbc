#pragma once

// Numbers for the random tests: the same for the same seed, on every host and by every compiler.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include <slat/testing/random.hpp>

namespace slat::test {

class Random : public slat::testing::Random {
 public:
  using slat::testing::Random::Random;

  bool coin() { return once_in(2); }
  bool percent(std::uint64_t chance) { return below(100) < chance; }
  template <class T, std::size_t N>
  const T& one_of(const T (&choices)[N]) {
    return choices[below(N)];
  }
};

/// A number from an environment variable, decimal or 0x.
inline std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  auto const* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

}  // namespace slat::test
