#pragma once

// Invalidations with one thing wrong on purpose. With no flaw it executes what the library says.

#include <array>
#include <cstdint>

#include <slat/arch/aarch64/tlb.hpp>

#include "hv/aarch64/counted_instructions.hpp"
#include "hv/options.hpp"

namespace slat::test {

enum class Flaw : std::uint8_t {
  none,
  no_tlbi,        // nothing is invalidated
  no_combined,    // VMALLE1IS left out: what is known by virtual address stays
  no_stage2,      // IPAS2E1IS and RIPAS2E1IS left out: what the guest's walks use stays
  this_cpu_only,  // TLBIs that are not broadcast
  host_regime,    // TLBIs while HCR_EL2 says E2H and TGE: they act on the host's own translations
  wrong_granule,  // RIPAS2E1IS speaks of another granule
};

inline constexpr std::array flaw_words{
    hv::Named{"none", Flaw::none},
    hv::Named{"tlbi", Flaw::no_tlbi},
    hv::Named{"vmalle1is", Flaw::no_combined},
    hv::Named{"ipas2e1is", Flaw::no_stage2},
    hv::Named{"broadcast", Flaw::this_cpu_only},
    hv::Named{"regime", Flaw::host_regime},
    hv::Named{"granule", Flaw::wrong_granule},
};

class FlawedInstructions {
 public:
  /// `vhe_host`: each invalidation is made as a host with E2H and TGE set would make it.
  FlawedInstructions(Flaw flaw, bool vhe_host) : flaw_{flaw}, vhe_host_{vhe_host} {}

  void operator()(aarch64::Step step) {
    using enum aarch64::Step::What;
    switch (flaw_) {
      case Flaw::none: break;
      case Flaw::no_tlbi:
        if (hv::is_tlbi(step.what)) return;
        break;
      case Flaw::no_combined:
        if (step.what == vmalle1is) return;
        break;
      case Flaw::no_stage2:
        if (step.what == ipas2e1is || step.what == ripas2e1is) return;
        break;
      case Flaw::this_cpu_only: step.what = local(step.what); break;
      case Flaw::wrong_granule:
        if (step.what == ripas2e1is) step.operand ^= 3ull << 46;
        break;
      case Flaw::host_regime: break;
    }
    if (step.what == select && vhe_host_) enter_host();
    instructions_(step);
    if (step.what == select && flaw_ == Flaw::host_regime) enter_host();
    if (step.what == restore && vhe_host_) leave_host();
  }

 private:
  static constexpr std::uint64_t e2h_tge = 1ull << 34 | 1ull << 27;

  static aarch64::Step::What local(aarch64::Step::What what) {
    using enum aarch64::Step::What;
    switch (what) {
      case ipas2e1is: return ipas2e1;
      case vmalle1is: return vmalle1;
      case vmalls12e1is: return vmalls12e1;
      default: return what;
    }
  }

  static std::uint64_t hcr() {
    std::uint64_t value;
    asm volatile("mrs %0, hcr_el2" : "=r"(value));
    return value;
  }
  // EL2 goes on to run under the other regime: layout.h's TCR_EL2 means the same there, up to 4 GiB.
  static void enter_host() { asm volatile("msr hcr_el2, %0; isb" ::"r"(hcr() | e2h_tge) : "memory"); }
  static void leave_host() { asm volatile("msr hcr_el2, %0; isb" ::"r"(hcr() & ~e2h_tge) : "memory"); }

  Flaw flaw_;
  bool vhe_host_;
  aarch64::Instructions instructions_;
};

}  // namespace slat::test
