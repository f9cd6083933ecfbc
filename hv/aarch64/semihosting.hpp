#pragma once

// Calls of Arm semihosting, by which an emulator gives a bare-metal program an
// exit status, a second stream of text, and a file to write. They do nothing good
// on a board without a debugger, where the power stays on.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace hv::semihosting {

inline std::uint64_t call(std::uint32_t operation, const void* block) {
  register std::uint64_t w0 asm("x0") = operation;
  register const void* x1 asm("x1") = block;
  asm volatile("hlt #0xf000" : "+r"(w0) : "r"(x1) : "memory");
  return w0;
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

/// The file whose name is this program's semihosting command line, to be written from its beginning.
class OwnFile {
 public:
  /// False if the emulator cannot open it, or has no name for it.
  bool open() {
    constexpr std::uint32_t sys_get_cmdline = 0x15;
    constexpr std::uint32_t sys_open = 0x01;
    constexpr std::uint64_t write_binary = 5;  // "wb"
    std::array<char, 4096> name{};
    std::array<std::uint64_t, 2> line{reinterpret_cast<std::uint64_t>(name.data()), name.size()};
    if (call(sys_get_cmdline, line.data()) != 0) return false;
    std::array<std::uint64_t, 3> const file{line[0], write_binary, line[1]};
    handle_ = call(sys_open, file.data());
    return handle_ != no_file;
  }
  /// False if not all of it was written.
  bool operator()(std::span<const std::byte> bytes) const {
    constexpr std::uint32_t sys_write = 0x05;
    std::array<std::uint64_t, 3> const block{handle_, reinterpret_cast<std::uint64_t>(bytes.data()), bytes.size()};
    return call(sys_write, block.data()) == 0;
  }
  /// False if some of it may not be in the file.
  bool close() const {
    constexpr std::uint32_t sys_close = 0x02;
    return call(sys_close, &handle_) == 0;
  }

 private:
  static constexpr std::uint64_t no_file = ~std::uint64_t{0};

  std::uint64_t handle_ = no_file;
};

}  // namespace hv::semihosting
