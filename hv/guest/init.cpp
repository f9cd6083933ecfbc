// The first and only process of the guest: says that it is there, tells what machine it sees, turns the machine off.
// With the word "stay" on the kernel's command line it tells where one of its pages is, and stays, to be looked at from
// outside. Linux system calls, no C library.

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

long open_file(const char* path) {
  constexpr long at_working_directory = -100;
  return call(openat, at_working_directory, pointer(path), 0);
}

/// The first bytes of a file, as many as `text` has room for.
std::string_view contents(const char* path, char (&text)[4096]) {
  auto const file = open_file(path);
  auto const size = call(read, file, pointer(text), sizeof text);
  call(close, file);
  return {text, size <= 0 ? 0 : static_cast<std::size_t>(size)};
}

/// The first line of a short file that starts with `key`, or its first line for an empty key.
void say_line(const char* path, std::string_view key) {
  char text[4096];
  auto rest = contents(path, text);
  if (rest.empty()) return;
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

/// Whether that word, which stands between others, is on the kernel's command line.
bool told_to(std::string_view word) {
  char text[4096];
  auto rest = contents("/proc/cmdline", text);
  while (!rest.empty()) {
    auto const end = rest.find_first_of(" \n");
    if (rest.substr(0, end) == word) return true;
    if (end == rest.npos) return false;
    rest.remove_prefix(end + 1);
  }
  return false;
}

/// A page of this process, so that it has an address in the guest's memory that can be told.
alignas(4096) char landmark[4096] = "slat: this page is the guest's landmark\n";

/// /proc/self/pagemap has 8 bytes for each page, and the page's number in bits 54:0.
void say_landmark() {
  auto const at = reinterpret_cast<std::uint64_t>(landmark);
  std::uint64_t word = 0;
  auto const file = open_file("/proc/self/pagemap");
  call(pread64, file, pointer(&word), sizeof word, static_cast<long>(at / sizeof landmark * sizeof word));
  call(close, file);
  char digits[16];
  std::size_t count = 0;
  for (auto rest = (word & ((1ull << 55) - 1)) * sizeof landmark; count != sizeof digits; rest <<= 4)
    digits[count++] = "0123456789abcdef"[rest >> 60];
  say("slat: guest: landmark at guest-physical 0x");
  say({digits, count});
  say("\n");
}

[[noreturn]] void stay() {
  constexpr std::int64_t an_hour[2] = {3600, 0};
  for (;;) call(nanosleep, pointer(&an_hour));
}

}  // namespace

extern "C" [[noreturn]] void start() {
  call(mount, pointer("proc"), pointer("/proc"), pointer("proc"));
  say("slat: guest reached userspace\n");
  say_line("/proc/version", "Linux");
  say_line("/proc/meminfo", "MemTotal");
  say_cpus();
  if (told_to("stay")) {
    landmark[sizeof landmark - 1] = '\n';  // a page that is never written may not have a place yet
    say_landmark();
    stay();
  }
  // A serial port may be slow: the power stays on until it has sent everything (what a C library calls tcdrain).
  constexpr long set_break = 0x5409;
  call(ioctl, standard_output, set_break, 1);
  for (;;) call(reboot, static_cast<std::int32_t>(0xfee1dead), 0x28121969, 0x4321fedc);
}
