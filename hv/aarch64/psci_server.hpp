#pragma once

// The PSCI that the guest sees, by HVC and by SMC: its virtual CPUs are the machine's CPUs, so starting and asking is
// passed on to the firmware; the power switch is the hypervisor's. [arm/psci]

#include <cstdint>
#include <span>

#include "hv/aarch64/cpu.hpp"
#include "hv/aarch64/psci.hpp"

namespace hv {

enum class PsciOutcome : std::uint8_t { resume, cpu_off, system_off, system_reset };

class PsciServer {
 public:
  explicit PsciServer(std::span<Cpu> cpus) : cpus_{cpus} {}

  /// Serves the call that `vcpu` makes, and puts the answer into its x0.
  PsciOutcome serve(Vcpu& vcpu) {
    auto const function = static_cast<std::uint32_t>(vcpu.x[0]);
    switch (function) {
      case psci::system_off: return PsciOutcome::system_off;
      case psci::system_reset: return PsciOutcome::system_reset;
      case psci::cpu_off: return PsciOutcome::cpu_off;
      default: vcpu.x[0] = static_cast<std::uint64_t>(answer(function, vcpu)); return PsciOutcome::resume;
    }
  }

 private:
  static constexpr std::int64_t version_1_1 = 0x1'0001;

  std::int64_t answer(std::uint32_t function, const Vcpu& vcpu) {
    switch (function) {
      case psci::version:
      case psci::smccc_version: return version_1_1;
      case psci::features: return serves(static_cast<std::uint32_t>(vcpu.x[1])) ? psci::success : psci::not_supported;
      case psci::migrate_info_type: return 2;  // no trusted OS that would have to move
      case psci::cpu_on: return start(vcpu.x[1], vcpu.x[2], vcpu.x[3]);
      case psci::cpu_on_32: return start(low(vcpu.x[1]), low(vcpu.x[2]), low(vcpu.x[3]));
      case psci::affinity_info: return psci::call(psci::affinity_info, vcpu.x[1], vcpu.x[2]);
      case psci::affinity_info_32: return psci::call(psci::affinity_info, low(vcpu.x[1]), low(vcpu.x[2]));
      default: return psci::not_supported;
    }
  }

  static constexpr bool serves(std::uint32_t function) {
    switch (function) {
      case psci::version:
      case psci::smccc_version:
      case psci::features:
      case psci::migrate_info_type:
      case psci::cpu_on:
      case psci::cpu_on_32:
      case psci::cpu_off:
      case psci::affinity_info:
      case psci::affinity_info_32:
      case psci::system_off:
      case psci::system_reset: return true;
      default: return false;
    }
  }
  static constexpr std::uint64_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }

  std::int64_t start(std::uint64_t mpidr, std::uint64_t entry, std::uint64_t context) {
    constexpr std::int64_t off = 1;
    for (auto& cpu : cpus_) {
      if (cpu.mpidr != mpidr) continue;
      // The registers of a CPU that runs are its own.
      if (psci::call(psci::affinity_info, mpidr, 0) != off) return psci::already_on;
      cpu.vcpu = Vcpu{};
      cpu.vcpu.pc = entry;
      cpu.vcpu.x[0] = context;
      return turn_on(cpu);
    }
    return psci::invalid_parameters;
  }

  std::span<Cpu> cpus_;
};

}  // namespace hv
