#pragma once

// How a test on the machine ends: one line and an exit status.

#include <string_view>

#include "hv/aarch64/console.hpp"
#include "hv/aarch64/semihosting.hpp"
#include "hv/print.hpp"

namespace slat::test {

inline constinit std::string_view running{};

[[noreturn]] inline void pass() {
  hv::print(hv::console, "PASS ", running, "\n");
  hv::semihosting::exit(0);
}
[[noreturn]] inline void fail(std::string_view message) {
  hv::print(hv::console, "FAIL ", running, ": ", message, "\n");
  hv::semihosting::exit(1);
}

inline void expect(bool holds, std::string_view message) {
  if (!holds) fail(message);
}
inline void expect(const Result<>& done) {
  if (done) return;
  hv::print(hv::console, "FAIL ", running, ": ", done.error(), "\n");
  hv::semihosting::exit(1);
}

}  // namespace slat::test
