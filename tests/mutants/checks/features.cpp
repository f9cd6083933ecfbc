// CPUs that say more than is true of them, and users who want less than a CPU has: what the formats make of either.

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/eptp.hpp>

#include "mutants/check.hpp"

namespace slat::test {

const char* const check_name = "features";

namespace {

/// A CPU that reports FEAT_BBM level 2.
constexpr aarch64::IdRegisters reporting(std::uint64_t part, std::uint64_t variant, std::uint64_t revision) {
  return {.midr = 0x4100'0000 | variant << 20 | 0xF << 16 | part << 4 | revision, .mmfr2 = 2ull << 52};
}
constexpr bool trusted(std::uint64_t part, std::uint64_t variant, std::uint64_t revision) {
  return aarch64::features(reporting(part, variant, revision)).bbm == 2;
}

}  // namespace

Outcome run_check() {
  Outcome outcome;
  auto const require = [&](bool right, const char* otherwise) {
    if (!outcome.violation.empty()) return;
    ++outcome.operations;
    if (!right) outcome.violation = otherwise;
  };
  constexpr std::uint64_t cortex_x4 = 0xD82, neoverse_v3ae = 0xD83, neoverse_v3 = 0xD84;
  require(trusted(cortex_x4, 0, 3), "Cortex-X4 r0p3 is not believed");
  require(!trusted(cortex_x4, 0, 2), "Cortex-X4 r0p2 is believed");
  require(!trusted(neoverse_v3ae, 0, 1), "Neoverse V3AE is believed");
  for (std::uint64_t revision = 0; revision != 4; ++revision)
    require(!trusted(neoverse_v3, 0, revision), "Neoverse V3 is believed, which can answer with a conflict abort");

  constexpr x86_64::EptFeatures cpu{.pa_bits = 46, .leaf_2m = true, .accessed_dirty = true};
  for (bool const wanted : {true, false}) {
    auto const format = *x86_64::Ept::create(cpu, {.accessed_dirty = wanted});
    bool const on = (x86_64::eptp(format, HostPhys{0x1000}) >> 6 & 1) != 0;
    require(on == wanted, wanted ? "A/D bits are off" : "A/D bits are on, on a CPU where they are not wanted");
  }
  return outcome;
}

}  // namespace slat::test
