// An Arm CPU whose blocks change their size in place (FEAT_BBM level 2), and that marks dirty pages itself.

#include "mutants/edits.hpp"

namespace slat::test {

const char* const check_name = "arm_resizing_edits";

Outcome run_check() {
  constexpr aarch64::Features cpu{
      .pa_bits = 48, .granule_4k = true, .bbm = 2, .hardware_accessed = true, .hardware_dirty = true, .fwb = true};
  return run_edits(*aarch64::Stage2<>::create(cpu, {}), 24);
}

}  // namespace slat::test
