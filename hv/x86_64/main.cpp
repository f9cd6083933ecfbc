// The toy hypervisor: puts together what slat has for x86_64, loads one guest and runs it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "hv/outcome.hpp"
#include "hv/print.hpp"
#include "hv/snapshot.hpp"
#include "hv/x86_64/console.hpp"
#include "hv/x86_64/guest_image.hpp"
#include "hv/x86_64/hypervisor.hpp"
#include "hv/x86_64/main.hpp"
#include "hv/x86_64/options.hpp"
#include "hv/x86_64/pc_devices.hpp"
#include "hv/x86_64/timer.hpp"
#include "hv/x86_64/ways.hpp"

using namespace slat;
using namespace hv;

extern "C" std::byte hv_image_end[];

namespace {

constinit LoadBuffers load_buffers{};
constinit PortBitmap trapped_ports{};
constinit Recorder::Ring events{};
constinit Said said{events};  // for an inspector
constexpr std::uint64_t granule = 4096;

constexpr std::string_view too_little_ram = "the machine has too little RAM for this guest";

/// What was asked for cannot be had: an Error, or words.
[[noreturn]] void refuse(const auto& why) {
  print(console, "hv: ", why, "\n");
  finish(1);
}
void require(const Result<>& done) {
  if (!done) refuse(done.error());
}

HostPhys up_to(HostPhys at, std::uint64_t unit) { return (at + (unit - 1)).down_to(unit); }

/// What of the machine's RAM is for what: tables above the hypervisor and the files that were loaded; above them guest
/// RAM, so aligned, where there is room, that it can be mapped with the largest leaves.
struct HostLayout {
  HostRange tables;
  HostRange guest_ram;
};

HostLayout lay_out(const BootInfo& boot, std::uint64_t guest_memory) {
  HostPhys const image_end{reinterpret_cast<std::uint64_t>(hv_image_end)};
  auto const end = boot.ram().end;
  auto const tables = up_to(boot.end_of_files(image_end), 2_MiB);
  auto const books = guest_memory / 256;  // of its pages, on demand; and more than its tables need
  auto const tables_end = tables + 4_MiB + books;
  auto guest = up_to(tables_end, guest_memory >= 1_GiB ? 1_GiB : 2_MiB);
  if (guest + guest_memory + books > end) guest = up_to(tables_end, 2_MiB);
  if (guest >= end) refuse(too_little_ram);
  return {{tables, guest}, {guest, end}};
}

GuestFiles files_of(const BootInfo& boot) {
  auto const bytes = [&](std::string_view name) {
    auto const file = boot.file(name);
    return file ? file->bytes() : std::span<std::byte>{};
  };
  auto const words = bytes("append");
  return {bytes("kernel"), bytes("initrd"), {reinterpret_cast<const char*>(words.data()), words.size()}};
}

template <class Memory>
void copy_in(Memory& memory, const LoadedGuest& guest) {
  static constexpr std::array<std::byte, granule> zeros{};
  auto const write = [](HostPhys to, FileBytes bytes) {
    std::memcpy(reinterpret_cast<std::byte*>(to.raw()), bytes.data(), bytes.size());
  };
  for (auto const& piece : guest.pieces()) {
    require(memory.copy_in(piece.at, piece.bytes, write));
    for (std::uint64_t done = 0; done != piece.zeros;) {
      auto const part = std::span{zeros}.first(std::min<std::uint64_t>(zeros.size(), piece.zeros - done));
      require(memory.copy_in(piece.at + piece.bytes.size() + done, part, write));
      done += part.size();
    }
  }
}

template <class Way>
[[noreturn]] void host(const BootInfo& boot, const Options& options, const GuestFiles& files) {
  using Guest = Hypervisor<Way>;
  GuestRange const ram{GuestPhys{0}, options.guest_memory};
  auto const loaded = load_guest(files, ram.size, load_buffers);
  if (!loaded) refuse(loaded.words());
  auto const layout = lay_out(boot, ram.size);

  Way way;
  auto const format = way.format();
  if (!format) refuse(format.error());
  FramePool frames{layout.tables.bytes(), layout.tables.begin, granule};
  // On demand its pages are given out one by one; else the guest has the whole range, and nobody may keep books in it.
  bool const on_demand = options.populate == Populate::demand;
  FramePool pages{on_demand ? layout.guest_ram.bytes() : std::span<std::byte>{}, layout.guest_ram.begin, granule};
  typename Guest::Source source{pages, granule, granule};
  InvalidationCounts counts;
  typename Guest::Shootdown shootdown{{{&way}, counts}};
  said.events.open(time_stamps_per_second());
  Recorder const record{said.events, {.now = time_stamp, .cpu = [] { return std::uint8_t{0}; }}};
  auto table = Guest::Table::create(*format, frames, {{shootdown.hook(), counts}, record});
  if (!table) refuse(table.error());
  said.beacon.publish(said.lead_here(way.beacon(table->format(), table->root())));
  ThirdSerialPort file;
  typename Guest::EndSnapshot snapshot{file, options.snapshot, EM_X86_64, said, frames};
  Guest guest{way, shootdown, *std::move(table), frames, source, counts, snapshot};

  auto& memory = guest.memory();
  memory.record_by(record);
  require(memory.map(device_area, rw | slat::Memory::device, Linear{HostPhys{device_area.begin.raw()}}));
  if ((on_demand ? pages.capacity() * granule : layout.guest_ram.size()) < ram.size) refuse(too_little_ram);
  if (on_demand)
    require(memory.map(ram, rwx, Lazy{source}));
  else
    require(memory.map(ram, rwx, Linear{layout.guest_ram.begin}));
  if (options.populate == Populate::pages) require(memory.split(ram));
  publish_areas(said.areas, memory.areas());
  copy_in(memory, *loaded);

  print(console, "slat: guest RAM ", Bytes{ram.size}, " at ", Hex{ram.begin.raw()}, ", host memory from ",
        Hex{layout.guest_ram.begin.raw()}, ", ", Way::name, ", populated by ",
        word_for(options.populate, populate_words), ", 1 CPU\n");
  trap_ports(trapped_ports);
  // From here on interrupts are the guest's.
  interrupts_off();
  restore_pc_devices();
  guest.run_guest(*loaded, {.interrupts = false, .ports = &trapped_ports, .only_msrs = passed_msrs});
}

}  // namespace

extern "C" [[noreturn]] void hv_main(const BootInfo& boot) {
  Options options;
  auto const refused =
      first_refused(boot.command_line(), [&](auto key, auto value) { return options.set(key, value); });
  console.direct_to(options.report_on_serial ? Console::Way::serial : Console::Way::debug);
  if (refused) {
    print(console, "hv: not understood: ", *refused, "\n");
    finish(2);
  }
  auto const files = files_of(boot);
  if (files.kernel.empty()) refuse(std::string_view{"no guest was loaded"});
  // XSETBV comes here and is executed here.
  if ((cpuid(1).ecx >> 26 & 1) != 0) write_cr4(read_cr4() | 1u << 18);
  switch (virtualisation(own_cpuid(1), own_cpuid(0x8000'0001))) {
    case Virtualisation::vmx: host<VmxWay>(boot, options, files);
    case Virtualisation::svm: host<SvmWay>(boot, options, files);
    case Virtualisation::none: break;
  }
  refuse(std::string_view{"this CPU has neither VMX with EPT nor SVM with nested paging"});
}
