// EPT without A/D bits: what is dirty, write protection tells.

#include "mutants/edits.hpp"

namespace slat::test {

const char* const check_name = "ept_protecting_edits";

Outcome run_check() {
  constexpr x86_64::EptFeatures cpu{.pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .pschange_mc_no = true};
  return run_edits(*x86_64::Ept::create(cpu, {}), 24);
}

}  // namespace slat::test
