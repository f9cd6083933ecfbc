// One image, many tests: the command line names the one to run. See `cases` for what is run on which CPU, and what it
// must say.

#include <array>
#include <cstdint>
#include <string_view>

#include "hv/aarch64/console.hpp"
#include "hv/aarch64/machine.hpp"
#include "hv/outcome.hpp"
#include "tests/machine/aarch64/injection_tests.hpp"
#include "tests/machine/aarch64/rig.hpp"
#include "tests/machine/tests.hpp"

extern "C" std::byte hv_image_end[];

namespace slat::test {
namespace {

alignas(16) constinit std::array<std::byte, hv::Cpu::stack_size> second_stack{};

template <class Rig>
constexpr std::array own_tests{Test<Rig>{"inject", &inject<Rig>}};

template <aarch64::Granule G>
[[noreturn]] void run(const Options& options, const hv::Machine& machine) {
  auto const test = find_test<Rig<G>>(options.test, own_tests<Rig<G>>);
  auto const from = HostPhys{reinterpret_cast<std::uint64_t>(hv_image_end) + 64_KiB}.down_to(64_KiB);
  Rig<G> rig{options, {.tables = {from, from + 32_MiB}, .pages = {from + 32_MiB, machine.ram.end}}};
  run_test(test, rig);
}

}  // namespace
}  // namespace slat::test

extern "C" [[noreturn]] void hv_main(std::uint64_t x0) {
  using namespace slat;
  auto const tree = hv::boot_tree(x0);
  if (!tree) hv::die("no device tree");
  auto const machine = hv::describe(*tree);
  test::Options options;
  auto const refused =
      hv::first_refused(machine.command_line, [&](auto key, auto value) { return options.set(key, value); });
  test::running = options.test;
  if (refused) test::fail("an option was not understood");
  if (machine.cpus > 1) {
    test::second_cpu.mpidr = machine.mpidr[1];
    test::second_cpu.stack_top = test::second_stack.data() + test::second_stack.size();
  }
  switch (options.granule) {
    case aarch64::Granule::k4: test::run<aarch64::Granule::k4>(options, machine);
    case aarch64::Granule::k16: test::run<aarch64::Granule::k16>(options, machine);
    case aarch64::Granule::k64: test::run<aarch64::Granule::k64>(options, machine);
  }
  hv::die("no such granule");
}

extern "C" [[noreturn]] void hv_secondary_main(hv::Cpu* cpu) {
  cpu->main(*cpu, cpu->context);
  hv::turn_off_this_cpu();
}
