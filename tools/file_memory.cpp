#include "tools/file_memory.hpp"

#include <elf.h>
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include "tools/words.hpp"

static_assert(std::endian::native == std::endian::little, "tables and cores are little-endian, and read as they are");

namespace slat::tool {

namespace {

/// Whether [begin, begin + bytes) lies within [0, end).
bool within(std::uint64_t begin, std::uint64_t bytes, std::uint64_t end) {
  return begin <= end && bytes <= end - begin;
}

template <class T>
T at(const OpenFile& file, std::uint64_t offset, const char* what) {
  if (!within(offset, sizeof(T), file.bytes()))
    throw Failure{"'" + file.path() + "' is truncated: " + what + " at offset " + hex(offset) + " is not in it"};
  T value;
  file.read(offset, std::as_writable_bytes(std::span{&value, 1}));
  return value;
}

/// The ELF header of a core that can be read here.
Elf64_Ehdr core_header(const OpenFile& file) {
  std::array<char, EI_NIDENT> ident{};
  if (file.bytes() >= ident.size()) file.read(0, std::as_writable_bytes(std::span{ident}));
  if (std::memcmp(ident.data(), "KDUMP", 5) == 0 || std::memcmp(ident.data(), "makedumpfile", 12) == 0)
    throw Failure{"'" + file.path() + "' is a compressed dump: let QEMU write it without -z, -l and -s"};
  if (std::memcmp(ident.data(), ELFMAG, SELFMAG) != 0)
    throw Failure{"'" + file.path() + "' is no ELF file: give a raw image with --image and --base"};
  if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
    throw Failure{"'" + file.path() + "' is no 64-bit little-endian ELF file, and others are not read"};
  auto const header = at<Elf64_Ehdr>(file, 0, "the ELF header");
  if (header.e_type != ET_CORE)
    throw Failure{"'" + file.path() + "' is an ELF file but no core: let QEMU write one with dump-guest-memory"};
  if (header.e_phentsize != sizeof(Elf64_Phdr))
    throw Failure{"'" + file.path() + "': a program header has " + std::to_string(header.e_phentsize) +
                  " bytes, expected " + std::to_string(sizeof(Elf64_Phdr))};
  return header;
}

}  // namespace

FileMemory::FileMemory(std::vector<Segment> segments) : segments_{std::move(segments)} {
  std::sort(segments_.begin(), segments_.end(),
            [](const Segment& a, const Segment& b) { return a.extent.begin < b.extent.begin; });
  for (std::size_t i = 1; i < segments_.size(); ++i) {
    auto const& before = segments_[i - 1];
    auto const& next = segments_[i];
    if (next.extent.begin - before.extent.begin < before.extent.bytes)
      throw Failure{"'" + before.file->path() + "' at " + range(before.extent.begin, before.extent.bytes) + " and '" +
                    next.file->path() + "' at " + range(next.extent.begin, next.extent.bytes) +
                    " overlap: which one is right?"};
  }
}

FileMemory FileMemory::images(std::span<const Image> images) {
  std::vector<Segment> segments;
  for (auto const& image : images) {
    auto file = std::make_shared<const OpenFile>(image.path);
    if (file->bytes() == 0) throw Failure{"'" + image.path + "' is empty"};
    if (file->bytes() - 1 > std::numeric_limits<std::uint64_t>::max() - image.base)
      throw Failure{"'" + image.path + "' at " + hex(image.base) + " passes 2^64: is the --base right?"};
    segments.push_back({{image.base, file->bytes()}, std::move(file), 0});
  }
  return FileMemory{std::move(segments)};
}

FileMemory FileMemory::core(const std::string& path) {
  auto const file = std::make_shared<const OpenFile>(path);
  auto const header = core_header(*file);
  std::uint64_t count = header.e_phnum;
  // Too many for 16 bits: the number is in the first section header.
  if (count == PN_XNUM) count = at<Elf64_Shdr>(*file, header.e_shoff, "the section header with the count").sh_info;
  if (!within(header.e_phoff, count * sizeof(Elf64_Phdr), file->bytes()))
    throw Failure{"'" + path + "' is truncated: " + std::to_string(count) + " program headers at offset " +
                  hex(header.e_phoff) + " are not in it"};
  std::vector<Segment> segments;
  for (std::uint64_t i = 0; i != count; ++i) {
    auto const segment = at<Elf64_Phdr>(*file, header.e_phoff + i * sizeof(Elf64_Phdr), "a program header");
    if (segment.p_type != PT_LOAD || segment.p_filesz == 0) continue;
    auto const name = "'" + path + "': segment " + std::to_string(i);
    if (!within(segment.p_offset, segment.p_filesz, file->bytes()))
      throw Failure{name + " is truncated: " + hex(segment.p_filesz) + " bytes at offset " + hex(segment.p_offset) +
                    " of a file of " + hex(file->bytes())};
    if (segment.p_filesz - 1 > std::numeric_limits<std::uint64_t>::max() - segment.p_paddr)
      throw Failure{name + " passes 2^64: p_paddr is " + hex(segment.p_paddr)};
    segments.push_back({{segment.p_paddr, segment.p_filesz}, file, segment.p_offset});
  }
  if (segments.empty()) throw Failure{"'" + path + "' has no memory: no PT_LOAD segment with bytes in the file"};
  return FileMemory{std::move(segments)};
}

bool FileMemory::read(HostPhys from, std::span<std::byte> to) {
  auto const after = std::upper_bound(segments_.begin(), segments_.end(), from.raw(),
                                      [](std::uint64_t a, const Segment& s) { return a < s.extent.begin; });
  if (after == segments_.begin()) return false;
  auto segment = after - 1;
  for (;;) {
    auto const offset = from.raw() - segment->extent.begin;
    if (offset >= segment->extent.bytes) return false;
    auto const part = std::min<std::uint64_t>(to.size(), segment->extent.bytes - offset);
    segment->file->read(segment->offset + offset, to.first(part));
    to = to.subspan(part);
    if (to.empty()) return true;
    from = from + part;
    if (++segment == segments_.end() || segment->extent.begin != from.raw()) return false;
  }
}

std::vector<Extent> FileMemory::extents() const {
  std::vector<Extent> out;
  out.reserve(segments_.size());
  for (auto const& segment : segments_) out.push_back(segment.extent);
  return out;
}

}  // namespace slat::tool
