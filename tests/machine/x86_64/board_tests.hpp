#pragma once

// What the board and its launcher have to do before there is any guest: how a machine ends, and that files arrive
// whole.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "hv/outcome.hpp"
#include "hv/print.hpp"
#include "hv/x86_64/boot_info.hpp"
#include "tests/machine/report.hpp"

namespace slat::test {

/// What cksum(1) says of these bytes. POSIX, "cksum"
inline std::uint32_t checksum(std::span<const std::byte> bytes) {
  std::uint32_t crc = 0;
  auto const take = [&](std::uint32_t byte) {
    crc ^= byte << 24;
    for (unsigned bit = 0; bit != 8; ++bit) crc = crc << 1 ^ ((crc >> 31) != 0 ? 0x04c1'1db7u : 0u);
  };
  for (auto const byte : bytes) take(std::to_integer<std::uint32_t>(byte));
  for (auto size = bytes.size(); size != 0; size >>= 8) take(static_cast<std::uint32_t>(size & 0xff));
  return ~crc;
}

[[noreturn]] inline void files(const hv::BootInfo& boot) {
  for (std::string_view const name : {"first", "second"}) {
    auto const file = boot.file(name);
    if (!file) fail("there is no file ", name);
    hv::print(hv::say, name, " ", checksum(file->bytes()), " ", file->size(), "\n");
  }
  expect(!boot.file("third"), "there is a file that nobody gave");
  pass();
}

[[noreturn]] inline void triple_fault(const hv::BootInfo&) {
  struct [[gnu::packed]] {
    std::uint16_t limit = 0;
    std::uint64_t base = 0;
  } const nothing;
  asm volatile("lidt %0; ud2" : : "m"(nothing));
  fail("an exception without an interrupt table was survived");
}

[[noreturn]] inline void wild_store(const hv::BootInfo&) {
  *reinterpret_cast<volatile std::uint64_t*>(0x12'3456'7000) = 1;
  fail("a store beyond all memory was survived");
}

[[noreturn]] inline void hang(const hv::BootInfo&) {
  for (;;) asm volatile("pause");
}

struct BoardTest {
  std::string_view name;
  void (*body)(const hv::BootInfo&);
};
inline constexpr std::array board_tests{
    BoardTest{"files", &files},
    BoardTest{"die", [](const hv::BootInfo&) { hv::die("as it was asked to"); }},
    BoardTest{"triple-fault", &triple_fault},
    BoardTest{"wild-store", &wild_store},
    BoardTest{"hang", &hang},
};

}  // namespace slat::test
