// EPT on a CPU with the page-size erratum: a change of size together with address or type must break.

#include "mutants/edits.hpp"

namespace slat::test {

const char* const check_name = "ept_erratum_edits";

Outcome run_check() {
  constexpr x86_64::EptFeatures cpu{.pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .accessed_dirty = true};
  return run_edits(*x86_64::Ept::create(cpu, {}), 24);
}

}  // namespace slat::test
