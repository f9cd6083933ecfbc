#pragma once

// How a test on the machine ends: one line and an exit status.

#include <cstdint>
#include <string_view>

#include <slat/mm/result.hpp>

#include "hv/outcome.hpp"
#include "hv/print.hpp"

namespace slat::test {

inline constinit std::string_view running{};

[[noreturn]] inline void pass() {
  hv::print(hv::say, "PASS ", running, "\n");
  hv::finish(0);
}
template <class... Parts>
[[noreturn]] void fail(const Parts&... message) {
  hv::print(hv::say, "FAIL ", running, ": ", message..., "\n");
  hv::finish(1);
}

inline void expect(bool holds, std::string_view message) {
  if (!holds) fail(message);
}
/// The same, and what was seen instead.
inline void expect(bool holds, std::string_view message, std::uint64_t seen) {
  if (!holds) fail(message, ": ", seen);
}
inline void expect(const Result<>& done) {
  if (!done) fail(done.error());
}

}  // namespace slat::test
