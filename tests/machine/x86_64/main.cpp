// One image, many tests: the command line names the one to run. See `cases` for what is run on which machine, and what
// it must say.

#include <array>
#include <cstdint>
#include <string_view>

#include "hv/outcome.hpp"
#include "hv/x86_64/boot_info.hpp"
#include "hv/x86_64/main.hpp"
#include "tests/machine/tests.hpp"
#include "tests/machine/x86_64/board_tests.hpp"
#include "tests/machine/x86_64/ept_tests.hpp"
#include "tests/machine/x86_64/ept_walk_tests.hpp"
#include "tests/machine/x86_64/event_tests.hpp"
#include "tests/machine/x86_64/own_tests.hpp"
#include "tests/machine/x86_64/page_log_tests.hpp"
#include "tests/machine/x86_64/rig.hpp"
#include "tests/machine/x86_64/svm_kind.hpp"
#include "tests/machine/x86_64/vmx_kind.hpp"

extern "C" std::byte hv_image_end[];

namespace slat::test {
namespace {

alignas(16) constinit std::array<std::byte, hv::Cpu::stack_size> second_stack{};

template <class Rig>
constexpr auto own_tests = std::array{
    Test<Rig>{"misconfigured", &misconfigured},
    Test<Rig>{"event-exception", &event_exception},
    Test<Rig>{"event-interrupt", &event_interrupt},
    Test<Rig>{"event-host-interrupt", &event_host_interrupt},
};

template <x86_64::Presence When>
constexpr auto own_tests<Rig<VmxKind, When>> = std::array{
    Test<Rig<VmxKind, When>>{"misconfigured", &misconfigured},
    Test<Rig<VmxKind, When>>{"event-exception", &event_exception},
    Test<Rig<VmxKind, When>>{"event-interrupt", &event_interrupt},
    Test<Rig<VmxKind, When>>{"event-host-interrupt", &event_host_interrupt},
    Test<Rig<VmxKind, When>>{"ept-misconfigured", &ept_misconfigured},
    Test<Rig<VmxKind, When>>{"execute-only", &execute_only},
    Test<Rig<VmxKind, When>>{"ept-walk", &ept_walk},
    Test<Rig<VmxKind, When>>{"page-log", &page_log},
    Test<Rig<VmxKind, When>>{"two-cpus-page-log", &two_cpus_page_log},
    Test<Rig<VmxKind, When>>{"event-no-vmx", &event_no_vmx},
};

template <class Kind, x86_64::Presence When>
[[noreturn]] void run(const Options& options, const hv::BootInfo& boot) {
  using Machine = Rig<Kind, When>;
  auto const test = find_test<Machine>(options.test, own_tests<Machine>);
  auto const from = HostPhys{reinterpret_cast<std::uint64_t>(hv_image_end)};
  Machine rig{options, {.tables = {from, from + 8_MiB}, .pages = {from + 8_MiB, boot.ram().end}}};
  run_test(test, rig);
}

template <class Kind>
[[noreturn]] void run(const Options& options, const hv::BootInfo& boot) {
  switch (options.shootdown) {
    case x86_64::Presence::loaded: run<Kind, x86_64::Presence::loaded>(options, boot);
    case x86_64::Presence::entered: run<Kind, x86_64::Presence::entered>(options, boot);
  }
  hv::die("no such shootdown");
}

}  // namespace
}  // namespace slat::test

void hv_main(const hv::BootInfo& boot) {
  using namespace slat;
  test::Options options;
  auto const refused =
      hv::first_refused(boot.command_line(), [&](auto key, auto value) { return options.set(key, value); });
  test::running = options.test;
  if (refused) test::fail("an option was not understood");
  for (auto const& one : test::board_tests)
    if (one.name == options.test) one.body(boot);
  test::second_cpu.apic_id = 1;
  test::second_cpu.number = 1;
  test::second_cpu.stack_top = test::second_stack.data() + test::second_stack.size();
  if (test::VmxKind::available()) test::run<test::VmxKind>(options, boot);
  if (test::SvmKind::available()) test::run<test::SvmKind>(options, boot);
  test::fail("this CPU has no virtualisation that a test knows");
}
