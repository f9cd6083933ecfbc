#pragma once

// The tests that every architecture runs, and how one of them is run.

#include <array>
#include <span>
#include <string_view>

#include "tests/machine/dirty_tests.hpp"
#include "tests/machine/mapping_tests.hpp"
#include "tests/machine/two_cpu_tests.hpp"
#include "tests/machine/walk_tests.hpp"

namespace slat::test {

template <class Rig>
struct Test {
  std::string_view name;
  void (*body)(Rig&);
};

template <class Rig>
constexpr std::array common_tests{
    Test<Rig>{"map", &map<Rig>},
    Test<Rig>{"unmap", &unmap<Rig>},
    Test<Rig>{"protect-write", &protect_write<Rig>},
    Test<Rig>{"protect-execute", &protect_execute<Rig>},
    Test<Rig>{"grow", &grow<Rig>},
    Test<Rig>{"split", &split<Rig>},
    Test<Rig>{"coalesce", &coalesce<Rig>},
    Test<Rig>{"gigabyte", &gigabyte<Rig>},
    Test<Rig>{"remap", &remap<Rig>},
    Test<Rig>{"reuse", &reuse<Rig>},
    Test<Rig>{"demand", &demand<Rig>},
    Test<Rig>{"emulate", &emulate<Rig>},
    Test<Rig>{"age", &age<Rig>},
    Test<Rig>{"harvest-by-protection", &harvest_by_protection<Rig>},
    Test<Rig>{"harvest-by-hardware", &harvest_by_hardware<Rig>},
    Test<Rig>{"walk", &walk<Rig>},
    Test<Rig>{"two-cpus-unmap", &two_cpus_unmap<Rig>},
    Test<Rig>{"two-cpus-protect", &two_cpus_protect<Rig>},
    Test<Rig>{"two-cpus-remap", &two_cpus_remap<Rig>},
    Test<Rig>{"two-cpus-harvest", &two_cpus_harvest<Rig>},
    Test<Rig>{"two-cpus-split", &two_cpus_split<Rig>},
    Test<Rig>{"two-cpus-protect-all", &two_cpus_protect_all<Rig>},
    Test<Rig>{"two-cpus-fault", &two_cpus_fault<Rig>},
};

/// One of these, or of the architecture's own.
template <class Rig>
Test<Rig> find_test(std::string_view name, std::span<const Test<Rig>> own) {
  for (auto const& test : common_tests<Rig>)
    if (test.name == name) return test;
  for (auto const& test : own)
    if (test.name == name) return test;
  fail("there is no such test");
}

template <class Rig>
[[noreturn]] void run_test(const Test<Rig>& test, Rig& rig) {
  test.body(rig);
  auto const audit = rig.table.audit();
  if (!audit) fail("the table fails its audit: ", audit);
  pass();
}

}  // namespace slat::test
