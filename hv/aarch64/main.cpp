// The toy hypervisor: puts together what slat has for AArch64, loads one guest and runs it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "hv/aarch64/console.hpp"
#include "hv/aarch64/guest_image.hpp"
#include "hv/aarch64/guest_tree.hpp"
#include "hv/aarch64/hypervisor.hpp"
#include "hv/aarch64/machine.hpp"
#include "hv/aarch64/options.hpp"
#include "hv/outcome.hpp"
#include "hv/print.hpp"
#include "hv/snapshot.hpp"

using namespace slat;
using namespace hv;

extern "C" std::byte hv_image_end[];

namespace {

// The guest's machine has its RAM where QEMU's has it; the host memory behind it is elsewhere.
constexpr GuestPhys guest_ram_begin{board::ram};

alignas(16) constinit std::array<std::array<std::byte, Cpu::stack_size>, Machine::most_cpus> stacks{};
constinit std::array<Cpu, Machine::most_cpus> cpus{};
constinit std::array<std::byte, 16384> guest_tree_buffer{};
constinit Recorder::Ring events{};
constinit Said said{events};

constexpr std::string_view too_little_ram = "the machine has too little RAM for this guest";

/// What was asked for cannot be had: an Error, or words.
[[noreturn]] void refuse(const auto& why) {
  print(console, "hv: ", why, "\n");
  semihosting::exit(1);
}
void require(const Result<>& done) {
  if (!done) refuse(done.error());
}

HostPhys up_to(HostPhys at, std::uint64_t unit) { return (at + (unit - 1)).down_to(unit); }

/// What of the machine's RAM is for what: tables between the hypervisor and the guest's files, which QEMU loaded; guest
/// RAM above them, so aligned that it can be mapped with the largest blocks.
struct HostLayout {
  HostRange tables;
  HostRange guest_ram;
};

HostLayout lay_out(const Machine& machine) {
  HostPhys const image_end{reinterpret_cast<std::uint64_t>(hv_image_end)};
  auto const files_end = machine.initrd ? machine.initrd->end : machine.kernel->end;
  HostLayout const layout{{up_to(image_end, 2_MiB), machine.kernel->begin}, {up_to(files_end, 1_GiB), machine.ram.end}};
  if (layout.tables.begin >= layout.tables.end || layout.guest_ram.begin >= layout.guest_ram.end)
    refuse(too_little_ram);
  return layout;
}

/// Copies the guest's files in and describes its machine.
template <class Memory>
Placement load(Memory& memory, GuestRange ram, const Machine& machine) {
  auto const kernel = machine.kernel->bytes();
  auto const initrd = machine.initrd ? machine.initrd->bytes() : std::span<std::byte>{};
  auto const placement = place(ram, kernel, initrd.size());
  if (!placement) refuse("the guest's files do not fit into its RAM");
  auto const tree_size = guest_tree::write(guest_tree_buffer, {.ram = ram,
                                                               .cpus = std::span{machine.mpidr}.first(machine.cpus),
                                                               .initrd = {placement->initrd, initrd.size()},
                                                               .command_line = machine.kernel_command_line});
  if (!tree_size) refuse("the guest's command line is too long");

  auto const write = [](HostPhys to, std::span<const std::byte> bytes) {
    auto* const there = reinterpret_cast<std::byte*>(to.raw());
    std::memcpy(there, bytes.data(), bytes.size());
    cache::clean_and_invalidate(there, bytes.size());
  };
  require(memory.copy_in(placement->kernel, kernel, write));
  require(memory.copy_in(placement->initrd, initrd, write));
  require(memory.copy_in(placement->tree, std::span{guest_tree_buffer}.first(*tree_size), write));
  cache::invalidate_instructions();
  return *placement;
}

/// What the guest has beside RAM: the machine's own devices, passed through.
template <class Memory>
void map_devices(Memory& memory, std::size_t cpus_in_use, std::uint64_t granule) {
  auto const map = [&](std::uint64_t at, std::uint64_t size) {
    auto const whole = (size + granule - 1) & ~(granule - 1);
    require(memory.map({GuestPhys{at}, whole}, rw | slat::Memory::device, Linear{HostPhys{at}}));
  };
  map(board::gic_distributor, board::gic_distributor_size);
  map(board::gic_redistributors, board::gic_redistributor_stride * cpus_in_use);
  map(board::uart, board::uart_size);
}

/// RAM that is there from the start.
template <class Memory>
void map_linear(Memory& memory, GuestRange ram, HostRange host, Populate populate) {
  if (host.begin + ram.size > host.end) refuse(too_little_ram);
  if (!memory.table().format().forces_write_back()) cache::clean_and_invalidate(host.bytes().data(), ram.size);
  require(memory.map(ram, rwx, Linear{host.begin}));
  if (populate == Populate::pages) require(memory.split(ram));
}

/// Where an inspector finds the guest's tables.
template <class Table>
void publish(const Table& table, const aarch64::Features& cpu) {
  said.beacon.publish(said.lead_here({.format = Beacon::Format::arm_stage2,
                                      .pa_bits = cpu.pa_bits,
                                      .root = table.root().raw(),
                                      .control = aarch64::vtcr_el2(table.format()),
                                      .host = aarch64::hcr_el2(table.format()),
                                      .flags = (cpu.xnx ? Beacon::xnx : 0) | (cpu.bbm == 2 ? Beacon::bbm2 : 0)}));
}

/// [arm/a-profile] CNTPCT_EL0, CNTFRQ_EL0: the same clock on all CPUs.
Recorder recorder() {
  std::uint64_t frequency;
  asm volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
  said.events.open(frequency);
  return {said.events,
          {.now =
               [] {
                 std::uint64_t now;
                 asm volatile("isb; mrs %0, cntpct_el0" : "=r"(now));
                 return now;
               },
           .cpu =
               [] {
                 std::uint64_t mpidr;
                 asm("mrs %0, mpidr_el1" : "=r"(mpidr));
                 return static_cast<std::uint8_t>(mpidr);
               }}};
}

template <Granule G>
[[noreturn]] void host(const Machine& machine, const Options& options) {
  using Guest = Hypervisor<G>;
  constexpr auto granule = std::uint64_t{1} << aarch64::page_bits(G);
  auto const layout = lay_out(machine);
  GuestRange const ram{guest_ram_begin, options.guest_memory};

  auto const features = aarch64::features(id_registers());  // of all CPUs: they are alike
  auto const format = Guest::Format::create(features, {.ipa_bits = std::min(40u, features.pa_bits)});
  if (!format) refuse(format.error());
  FramePool frames{layout.tables.bytes(), layout.tables.begin, granule};
  // On demand its pages are given out one by one; else the guest has the whole range, and nobody may keep books in it.
  bool const on_demand = options.populate == Populate::demand;
  FramePool pages{on_demand ? layout.guest_ram.bytes() : std::span<std::byte>{}, layout.guest_ram.begin, granule};
  typename Guest::Source source{pages, granule, granule};
  InvalidationCounts counts;
  aarch64::Tlb const tlb{{G, features}, Guest::vmid, {}, CountedInstructions{counts}};
  auto const record = recorder();
  auto table = Guest::Table::create(*format, frames, {{tlb, counts}, record});
  if (!table) refuse(table.error());
  publish(*table, features);

  auto const in_use = std::span{cpus}.first(machine.cpus);
  for (std::size_t i = 0; i != in_use.size(); ++i) {
    in_use[i].stack_top = stacks[i].data() + stacks[i].size();
    in_use[i].mpidr = machine.mpidr[i];
  }
  semihosting::OwnFile file;
  typename Guest::EndSnapshot snapshot{file, options.snapshot, EM_AARCH64, said, frames};
  Guest guest{*std::move(table), frames, source, counts, snapshot, in_use};
  guest.memory().record_by(record);
  map_devices(guest.memory(), in_use.size(), granule);
  if (!on_demand)
    map_linear(guest.memory(), ram, layout.guest_ram, options.populate);
  else if (pages.capacity() * granule >= ram.size)
    require(guest.memory().map(ram, rwx, Lazy{source}));
  else
    refuse(too_little_ram);
  publish_areas(said.areas, guest.memory().areas());
  auto const placement = load(guest.memory(), ram, machine);

  print(console, "slat: guest RAM ", Bytes{ram.size}, " at ", Hex{ram.begin.raw()}, ", host memory from ",
        Hex{layout.guest_ram.begin.raw()}, ", granule ", word_for(options.granule, granule_words), ", populated by ",
        word_for(options.populate, populate_words), ", ", in_use.size(), in_use.size() == 1 ? " CPU\n" : " CPUs\n");
  guest.run_guest(placement.kernel, placement.tree);
}

}  // namespace

extern "C" [[noreturn]] void hv_main(std::uint64_t x0) {
  auto const tree = boot_tree(x0);
  if (!tree) die("no device tree");
  auto const machine = describe(*tree);
  Options options;
  auto const refused =
      first_refused(machine.command_line, [&](auto key, auto value) { return options.set(key, value); });
  if (!options.report_on_uart) console.direct_to(Console::Way::semihosting);
  if (refused) {
    print(console, "hv: not understood: ", *refused, "\n");
    semihosting::exit(2);
  }
  if (!machine.kernel) refuse("no guest was loaded");
  switch (options.granule) {
    case Granule::k4: host<Granule::k4>(machine, options);
    case Granule::k16: host<Granule::k16>(machine, options);
    case Granule::k64: host<Granule::k64>(machine, options);
  }
  die("no such granule");
}

extern "C" [[noreturn]] void hv_secondary_main(Cpu* cpu) {
  cpu->main(*cpu, cpu->context);
  turn_off_this_cpu();
}
