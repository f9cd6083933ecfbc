// EPT on a CPU with A/D bits, where nothing ever breaks.

#include "mutants/edits.hpp"

namespace slat::test {

const char* const check_name = "ept_edits";

Outcome run_check() {
  constexpr x86_64::EptFeatures cpu{
      .pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .accessed_dirty = true, .pschange_mc_no = true};
  return run_edits(*x86_64::Ept::create(cpu, {}), 24);
}

}  // namespace slat::test
