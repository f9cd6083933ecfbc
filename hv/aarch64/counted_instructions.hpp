#pragma once

// Executes the steps of invalidations, and counts the TLBIs among them.

#include <slat/arch/aarch64/tlb.hpp>

#include "hv/counted_hook.hpp"

namespace hv {

constexpr bool is_tlbi(slat::aarch64::Step::What what) {
  using enum slat::aarch64::Step::What;
  switch (what) {
    case ipas2e1is:
    case ipas2e1:
    case ripas2e1is:
    case vmalle1is:
    case vmalle1:
    case vmalls12e1is:
    case vmalls12e1:
    case alle1is: return true;
    case select:
    case restore:
    case dsb_ish:
    case dsb_ishst:
    case dsb_nsh:
    case isb: return false;
  }
  return false;
}

class CountedInstructions {
 public:
  explicit CountedInstructions(InvalidationCounts& counts) : counts_{&counts} {}

  void operator()(const slat::aarch64::Step& step) {
    if (is_tlbi(step.what)) counts_->instructions.fetch_add(1, std::memory_order_relaxed);
    instructions_(step);
  }

 private:
  slat::aarch64::Instructions instructions_;
  InvalidationCounts* counts_;
};

}  // namespace hv
