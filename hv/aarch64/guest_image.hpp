#pragma once

// Where a guest's files go in its RAM, and where it is entered. An arm64 Image says so in its header (the Linux
// kernel's Documentation/arch/arm64/booting); a flat binary has no header and goes where boot loaders have always put
// one.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include <slat/mm/address.hpp>

#include "hv/file_bytes.hpp"

namespace hv {

using namespace slat::literals;

struct Placement {
  slat::GuestPhys kernel;  // loaded and entered here
  slat::GuestPhys initrd;
  slat::GuestPhys tree;  // the guest's device tree: 2 MiB, aligned, are its own
};

namespace image {

inline constexpr std::size_t header_size = 64;
inline constexpr std::uint64_t flat_offset = 0x8'0000;
inline constexpr std::uint64_t alignment = 2_MiB;

inline bool has_header(FileBytes file) {
  return file.size() >= header_size && number(file, 56, 4) == 0x644d'5241;  // "ARM\x64"
}

}  // namespace image

/// Nothing when guest RAM is too small.
inline std::optional<Placement> place(slat::GuestRange ram, FileBytes kernel, std::uint64_t initrd_size) {
  auto const header = image::has_header(kernel);
  auto const offset = header ? number(kernel, 8, 8) : image::flat_offset;
  // image_size counts what the file does not hold (.bss); a flat binary cannot say, and gets half of RAM or 128 MiB.
  auto const size = std::max<std::uint64_t>(kernel.size(), header ? number(kernel, 16, 8) : 0);
  if (offset >= ram.size || size > ram.size - offset) return std::nullopt;
  auto const room = std::max(offset + size, std::min(ram.size / 2, 128_MiB));
  auto const initrd = up_to(room, image::alignment);
  auto const tree = up_to(initrd + initrd_size, image::alignment);
  if (initrd_size > ram.size || tree + image::alignment > ram.size) return std::nullopt;
  return Placement{ram.begin + offset, ram.begin + initrd, ram.begin + tree};
}

}  // namespace hv
