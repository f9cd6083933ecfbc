#pragma once

// What a multiboot loader leaves: the command line, the RAM above 1 MiB, and the files that it loaded, each with a
// name. Multiboot Specification 0.6.96, "Boot information format".

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "hv/host_range.hpp"

namespace hv {

/// Reads it where it lies. The loader's memory is not the program's: read this before that is given out.
class BootInfo {
 public:
  static constexpr std::uint32_t magic = 0x2bad'b002;

  /// `memory` is where this program has physical address 0, which is address 0 on the machine.
  explicit BootInfo(std::uint32_t at, const std::byte* memory = nullptr) : at_{at}, memory_{memory} {}

  /// Without its first word, which is the program's own name.
  std::string_view command_line() const {
    if (!has(has_command_line)) return {};
    auto const line = text(word(at_ + 16));
    auto const space = line.find(' ');
    return space == line.npos ? std::string_view{} : line.substr(space + 1);
  }

  /// The RAM from 1 MiB on, up to the first hole.
  HostRange ram() const {
    constexpr std::uint64_t mebibyte = 1u << 20;
    auto const kibibytes = has(has_memory) ? word(at_ + 8) : 0;
    return {slat::HostPhys{mebibyte}, slat::HostPhys{mebibyte + std::uint64_t{kibibytes} * 1024}};
  }

  std::size_t file_count() const { return has(has_files) ? word(at_ + 20) : 0; }

  /// The file of that name.
  std::optional<HostRange> file(std::string_view name) const {
    for (std::size_t i = 0; i != file_count(); ++i)
      if (text(word(entry(i) + 8)) == name) return range(i);
    return std::nullopt;
  }

  /// The first address behind `least` and all files.
  slat::HostPhys end_of_files(slat::HostPhys least) const {
    for (std::size_t i = 0; i != file_count(); ++i)
      if (range(i).end > least) least = range(i).end;
    return least;
  }

 private:
  static constexpr std::uint32_t has_memory = 1u << 0;
  static constexpr std::uint32_t has_command_line = 1u << 2;
  static constexpr std::uint32_t has_files = 1u << 3;

  std::uint32_t word(std::uint32_t at) const {
    std::uint32_t value;
    std::memcpy(&value, memory_ + at, sizeof value);
    return value;
  }
  bool has(std::uint32_t flag) const { return (word(at_) & flag) != 0; }
  std::string_view text(std::uint32_t at) const { return reinterpret_cast<const char*>(memory_ + at); }
  std::uint32_t entry(std::size_t i) const { return word(at_ + 24) + static_cast<std::uint32_t>(i) * 16; }
  HostRange range(std::size_t i) const { return {slat::HostPhys{word(entry(i))}, slat::HostPhys{word(entry(i) + 4)}}; }

  std::uint32_t at_;
  const std::byte* memory_;
};

}  // namespace hv
