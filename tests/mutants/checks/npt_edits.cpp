// AMD's nested tables, with a type whose third index bit moves when a leaf changes its size.

#include "mutants/edits.hpp"

namespace slat::test {

const char* const check_name = "npt_edits";

Outcome run_check() {
  constexpr x86_64::NptFeatures cpu{.pa_bits = 48, .nested_paging = true, .leaf_1g = true, .no_execute = true};
  return run_edits(*x86_64::Npt::create(cpu, {.pat = x86_64::pat_with_write_combining}), 24);
}

}  // namespace slat::test
