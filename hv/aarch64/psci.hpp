#pragma once

// PSCI, the calls by which an operating system starts CPUs and turns the power off: as a client of the firmware below,
// and the numbers for serving the guest above. [arm/psci]

#include <cstdint>

namespace hv::psci {

inline constexpr std::uint32_t version = 0x8400'0000;
inline constexpr std::uint32_t cpu_off = 0x8400'0002;
inline constexpr std::uint32_t cpu_on_32 = 0x8400'0003;
inline constexpr std::uint32_t affinity_info_32 = 0x8400'0004;
inline constexpr std::uint32_t migrate_info_type = 0x8400'0006;
inline constexpr std::uint32_t system_off = 0x8400'0008;
inline constexpr std::uint32_t system_reset = 0x8400'0009;
inline constexpr std::uint32_t features = 0x8400'000a;
inline constexpr std::uint32_t cpu_on = 0xc400'0003;
inline constexpr std::uint32_t affinity_info = 0xc400'0004;
inline constexpr std::uint32_t smccc_version = 0x8000'0000;

enum Status : std::int64_t {
  success = 0,
  not_supported = -1,
  invalid_parameters = -2,
  already_on = -4,
  internal_failure = -6
};

/// Calls the firmware. What it may clobber beyond the results is as SMCCC 1.0 allows.
inline std::int64_t call(std::uint32_t function, std::uint64_t a = 0, std::uint64_t b = 0, std::uint64_t c = 0) {
  register std::uint64_t x0 asm("x0") = function;
  register std::uint64_t x1 asm("x1") = a;
  register std::uint64_t x2 asm("x2") = b;
  register std::uint64_t x3 asm("x3") = c;
  asm volatile("smc #0"
               : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3)
               :
               : "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "memory");
  return static_cast<std::int64_t>(x0);
}

}  // namespace hv::psci
