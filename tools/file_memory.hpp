#pragma once

// Physical memory in files: raw images, each with the address of its first byte, or an ELF core as QEMU's
// dump-guest-memory writes it.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <slat/mm/address.hpp>

#include "tools/open_file.hpp"

namespace slat::tool {

/// A range of physical addresses that a source has.
struct Extent {
  std::uint64_t begin;
  std::uint64_t bytes;
  friend bool operator==(const Extent&, const Extent&) = default;
};

class FileMemory {
 public:
  struct Image {
    std::string path;
    std::uint64_t base;
  };

  /// Throws Failure: a file that cannot be read or is empty, images that overlap or pass 2^64.
  static FileMemory images(std::span<const Image> images);
  /// Its PT_LOAD segments, by p_paddr. Throws Failure for what is no such core, and for a truncated one.
  static FileMemory core(const std::string& path);

  bool read(HostPhys at, std::span<std::byte> to);
  std::vector<Extent> extents() const;

 private:
  struct Segment {
    Extent extent;
    std::shared_ptr<const OpenFile> file;
    std::uint64_t offset;
  };

  explicit FileMemory(std::vector<Segment> segments);

  std::vector<Segment> segments_;
};

}  // namespace slat::tool
