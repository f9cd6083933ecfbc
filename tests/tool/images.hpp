#pragma once

// Memory for tests of the inspector: tables written entry by entry, or by slat's own PageTable, as a file.

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <slat/mm/frame_pool.hpp>
#include <slat/mm/page_table.hpp>

#include "tools/failure.hpp"
#include "tools/memory.hpp"

namespace slat::test {

/// Bytes as a file that is nowhere else.
class File {
 public:
  explicit File(std::span<const std::byte> bytes) : fd_{memfd_create("test", 0)} {
    if (write(fd_, bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) std::abort();
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() { close(fd_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

/// Physical memory from `base` on, in pages of 4 KiB.
class Image {
 public:
  static constexpr std::uint64_t base = 0x8000'0000;

  explicit Image(std::size_t pages) : words_(pages * 512) {}

  /// The address of a page.
  static constexpr std::uint64_t page(std::size_t n) { return base + 4096 * n; }
  Entry& at(std::size_t page, std::size_t index) { return words_[page * 512 + index]; }
  std::span<Entry> words() { return words_; }
  /// Garbage. Half of it leads somewhere, so that there is a tree at all; some has nothing reserved in it.
  void scramble(std::mt19937_64& random) {
    auto const pages = words_.size() / 512;
    for (auto& word : words_) {
      word = random();
      if (random() % 2 == 0) word = (word & ~0x000f'ffff'ffff'f000ull) | page(random() % (pages + 1));
      if (random() % 4 == 0) word &= 0x000f'ffff'ffff'f067;
      if (random() % 8 == 0) word = 0;
    }
  }

  tool::HostMemory memory() const {
    File const file{std::as_bytes(std::span{words_})};
    std::array const images{tool::FileMemory::Image{file.path(), base}};
    return tool::HostMemory{tool::FileMemory::images(images)};
  }

 private:
  std::vector<Entry> words_;
};

/// Whether nothing of it is ever cached does not matter here.
struct NoHook {
  void operator()(HostPhys, const Stale&) noexcept {}
  void publish() noexcept {}
};

/// A guest's table, by slat itself, in 4 MiB of memory at 0x80000000.
template <class Format>
class Guest {
 public:
  using Table = PageTable<Format, FramePool, NoHook>;
  static constexpr std::size_t bytes = 4 << 20;

  explicit Guest(const Format& format, std::uint64_t granule = 4096)
      : memory_{static_cast<std::byte*>(std::aligned_alloc(65536, bytes)), &std::free},
        frames_{{memory_.get(), bytes}, HostPhys{Image::base}, granule},
        table{*Table::create(format, frames_, {})} {}

  tool::HostMemory memory() const {
    File const file{{memory_.get(), bytes}};
    std::array const images{tool::FileMemory::Image{file.path(), Image::base}};
    return tool::HostMemory{tool::FileMemory::images(images)};
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> memory_;
  FramePool frames_;

 public:
  Table table;
};

/// What a call complains of; empty if it does not.
std::string complaint_of(auto&& call) {
  try {
    call();
  } catch (const tool::Failure& failure) {
    return failure.what();
  }
  return {};
}

}  // namespace slat::test
