// An old Arm CPU: changes of size break, hardware marks nothing.

#include "mutants/edits.hpp"

namespace slat::test {

const char* const check_name = "arm_edits";

Outcome run_check() {
  constexpr aarch64::Features cpu{.pa_bits = 48, .granule_4k = true};
  return run_edits(*aarch64::Stage2<>::create(cpu, {}), 24);
}

}  // namespace slat::test
