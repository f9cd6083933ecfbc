#pragma once

// Two calls of Arm semihosting, by which an emulator gives a bare-metal program
// an exit status and a second stream of text. They do nothing good on a board
// without a debugger, where the power stays on.

#include <array>
#include <cstdint>
#include <string_view>

namespace hv::semihosting {

inline void call(std::uint32_t operation, const void* block) {
  register std::uint64_t w0 asm("x0") = operation;
  register const void* x1 asm("x1") = block;
  asm volatile("hlt #0xf000" : "+r"(w0) : "r"(x1) : "memory");
}

/// Ends the emulator with this exit status.
[[noreturn]] inline void exit(std::uint64_t status) {
  constexpr std::uint32_t sys_exit = 0x18;
  constexpr std::uint64_t application_exit = 0x20026;
  std::array<std::uint64_t, 2> const block{application_exit, status};
  call(sys_exit, block.data());
  for (;;) asm volatile("wfe");
}

/// Text to the debugger's or emulator's own stream: QEMU's standard error.
inline void write(std::string_view text) {
  constexpr std::uint32_t sys_write0 = 0x04;
  std::array<char, 128> line{};
  while (!text.empty()) {
    auto const part = text.substr(0, line.size() - 1);
    part.copy(line.data(), part.size());
    line[part.size()] = '\0';
    call(sys_write0, line.data());
    text.remove_prefix(part.size());
  }
}

}  // namespace hv::semihosting
