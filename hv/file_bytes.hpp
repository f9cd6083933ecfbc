#pragma once

// Numbers out of a file's header, and into one: little-endian, at any alignment.

#include <cstddef>
#include <cstdint>
#include <span>

namespace hv {

using FileBytes = std::span<const std::byte>;

/// The number of `bytes` bytes at `at`, which lie inside the file.
inline std::uint64_t number(FileBytes file, std::size_t at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i-- != 0;) value = value << 8 | std::to_integer<std::uint64_t>(file[at + i]);
  return value;
}

inline void put_number(std::span<std::byte> into, std::size_t at, std::size_t bytes, std::uint64_t value) {
  for (std::size_t i = 0; i != bytes; ++i) into[at + i] = static_cast<std::byte>(value >> 8 * i);
}

/// Whether the `size` bytes from `at` on lie inside the file, for numbers that come out of it.
inline bool has_part(FileBytes file, std::uint64_t at, std::uint64_t size) {
  return at <= file.size() && size <= file.size() - at;
}

/// `unit` need not be a power of two. The sum must not wrap.
constexpr std::uint64_t up_to(std::uint64_t value, std::uint64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace hv
