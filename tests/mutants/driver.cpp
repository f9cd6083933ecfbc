// Runs the one check that it is linked with, for tests/scripts/mutant. Exit 0: sound. Exit 1: violated, and the line
// says by what.

#include <cstdio>

#include "mutants/check.hpp"

int main() {
  auto const [operations, violation] = slat::test::run_check();
  auto const* const name = slat::test::check_name;
  auto const count = static_cast<unsigned long long>(operations);
  if (violation.empty()) {
    std::printf("%s: sound after %llu operations\n", name, count);
    return 0;
  }
  std::printf("%s: violated after %llu operations: %s\n", name, count, violation.c_str());
  return 1;
}
