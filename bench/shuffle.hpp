#pragma once

// Orders in which pages are visited: the same on every machine.

#include <cstdint>
#include <utility>
#include <vector>

namespace slat::bench {

/// 0 to count - 1.
inline std::vector<std::uint32_t> counted(std::uint32_t count) {
  std::vector<std::uint32_t> numbers(count);
  for (std::uint32_t i = 0; i != count; ++i) numbers[i] = i;
  return numbers;
}

/// `count` of the numbers below `of` in random order, each once.
inline std::vector<std::uint32_t> shuffled(std::uint32_t count, std::uint32_t of, std::uint64_t seed = 1) {
  auto numbers = counted(of);
  for (std::uint32_t i = 0; i != count; ++i) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    std::swap(numbers[i], numbers[i + static_cast<std::uint32_t>((seed >> 32) * (of - i) >> 32)]);
  }
  numbers.resize(count);
  return numbers;
}

/// The same numbers, all below `of`, in order.
inline std::vector<std::uint32_t> sorted(const std::vector<std::uint32_t>& numbers, std::uint32_t of) {
  std::vector<bool> present(of);
  for (auto const number : numbers) present[number] = true;
  std::vector<std::uint32_t> result;
  for (std::uint32_t i = 0; i != of; ++i)
    if (present[i]) result.push_back(i);
  return result;
}

}  // namespace slat::bench
