// The first and only process of the guest: says that it is there, tells what machine it sees, turns the machine off.
// Linux system calls, no C library.

#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(__x86_64__)
#include "hv/guest/x86_64_calls.hpp"
#else
#include "hv/guest/aarch64_calls.hpp"
#endif

using namespace guest;

namespace {

long pointer(const void* p) { return reinterpret_cast<long>(p); }

constexpr long standard_output = 1;

void say(std::string_view text) { call(write, standard_output, pointer(text.data()), static_cast<long>(text.size())); }

/// The first line of a short file that starts with `key`, or its first line for an empty key.
void say_line(const char* path, std::string_view key) {
  constexpr long at_working_directory = -100;
  char text[4096];
  auto const file = call(openat, at_working_directory, pointer(path), 0);
  auto const size = call(read, file, pointer(text), sizeof text);
  call(close, file);
  if (size <= 0) return;
  std::string_view rest{text, static_cast<std::size_t>(size)};
  while (!rest.starts_with(key)) {
    auto const line_end = rest.find('\n');
    if (line_end == rest.npos) return;
    rest.remove_prefix(line_end + 1);
  }
  say("slat: guest: ");
  say(rest.substr(0, rest.find('\n')));
  say("\n");
}

void say_cpus() {
  std::uint64_t mask = 0;
  call(sched_getaffinity, 0, sizeof mask, pointer(&mask));
  char count = '0';
  for (; mask != 0; mask &= mask - 1) ++count;
  say("slat: guest: CPUs online: ");
  say({&count, 1});
  say("\n");
}

}  // namespace

extern "C" [[noreturn]] void start() {
  call(mount, pointer("proc"), pointer("/proc"), pointer("proc"));
  say("slat: guest reached userspace\n");
  say_line("/proc/version", "Linux");
  say_line("/proc/meminfo", "MemTotal");
  say_cpus();
  // A serial port may be slow: the power stays on until it has sent everything (what a C library calls tcdrain).
  constexpr long set_break = 0x5409;
  call(ioctl, standard_output, set_break, 1);
  for (;;) call(reboot, static_cast<std::int32_t>(0xfee1dead), 0x28121969, 0x4321fedc);
}
