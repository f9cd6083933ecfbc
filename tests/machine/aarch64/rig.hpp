#pragma once

// A guest made for one test: its areas and table, a few host pages, and a CPU that does what it is told.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

#include <slat/arch/aarch64/registers.hpp>
#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/aarch64/tlb.hpp>
#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>

#include "hv/aarch64/cache.hpp"
#include "hv/aarch64/cpu.hpp"
#include "hv/aarch64/fault.hpp"
#include "hv/aarch64/guest_cpu.hpp"
#include "hv/aarch64/machine.hpp"
#include "hv/aarch64/vcpu.hpp"
#include "hv/counted_hook.hpp"
#include "tests/machine/aarch64/guest_tables.hpp"
#include "tests/machine/aarch64/options.hpp"
#include "tests/machine/report.hpp"
#include "tests/machine/seen.hpp"
#include "tests/machine/stub.hpp"

namespace slat::test {

using namespace slat::literals;

/// The CPU that PSCI starts, and its stack; set up by main().
inline constinit hv::Cpu second_cpu{};

/// The machine's memory that a test may use.
struct Ground {
  hv::HostRange tables;
  hv::HostRange pages;
};

template <aarch64::Granule G>
class Rig {
 public:
  using Format = aarch64::Stage2<G>;
  using Hook = hv::CountedHook<aarch64::Tlb<FlawedInstructions>>;
  using Table = PageTable<Format, FramePool, Hook>;
  using Source = PageSource<FramePool>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend, FrameNodes<FramePool>>;
  using Walk = GuestTables<Rig>;

  static constexpr std::uint64_t page = std::uint64_t{1} << aarch64::page_bits(G);
  /// The smallest block.
  static constexpr std::uint64_t block = page * (page / 8);
  static constexpr std::uint16_t vmid = 1;

  /// Where the guest's own few instructions are; all else is the test's.
  static constexpr GuestPhys code{0x4000'0000};

  Rig(const Options& chosen, const Ground& ground)
      : options{chosen},
        features{aarch64::features(hv::id_registers(), chosen.bbm)},
        frames{ground.tables.bytes(), ground.tables.begin, page},
        pages{ground.pages.bytes(), ground.pages.begin, page},
        source{pages, page, page},
        table{make_table()},
        set{FrameNodes<FramePool>{frames, page}},
        actor{*this} {
    map_guest(set);
  }

  /// What every guest has: its code.
  void map_guest(Set& areas) {
    auto const host = host_page();
    write(host, stub());
    expect(areas.map({code, page, rx, Linear{host}}, table));
  }

  Table make_table() {
    // The flaw that does not broadcast has no range operation to fall back on.
    auto target = features;
    target.tlbi_range = target.tlbi_range && options.omit != Flaw::this_cpu_only;
    auto const format = Format::create(features, {.hardware_dirty = options.hardware_dirty});
    if (!format) fail("the CPU lacks what the test is about");
    aarch64::Tlb const tlb{{G, target}, vmid, {}, FlawedInstructions{options.omit, options.vhe_host}};
    auto made = Table::create(*format, frames, Hook{tlb, counts});
    if (!made) fail("no root table");
    return *std::move(made);
  }

  /// Loads this CPU's stage-2 registers. `extra` goes to HCR_EL2 and should not change while a test runs: that alone
  /// makes QEMU forget all translations, and with them the error that a test is after.
  void enter_stage2(std::uint64_t extra) const {
    hv::prepare_guest_cpu({.vtcr = aarch64::vtcr_el2(table.format()),
                           .vttbr = aarch64::vttbr_el2(table.root(), vmid),
                           .hcr = aarch64::hcr_el2(table.format())},
                          extra);
  }
  /// After another table has come.
  void load_table() const { enter_stage2(hv::hcr::dc); }

  /// This CPU's own caches of what rights an address had: Arm does not drop an entry because it faulted.
  void forget_here(GuestPhys at) { table.hook().forget_here(table.root(), at); }

  std::uint64_t shootdowns() const { return counts.shootdowns.load(); }
  /// Arm's TLBIs are broadcast: no CPU is interrupted.
  std::uint64_t kicks() const { return 0; }

  // ---- host memory -------------------------------------------------------------------------------------------------

  /// `bytes` of host memory, aligned to the next power of two, that nobody else has; filled with `value`.
  HostPhys host_memory(std::uint64_t bytes, std::uint64_t value = 0) {
    auto const host = pages.allocate(std::bit_ceil(bytes));
    if (!host) fail("no host memory");
    for (std::uint64_t i = 0; i != bytes / 8; ++i) pages.view(*host)[i] = value;
    hv::cache::clean_and_invalidate(pages.view(*host), bytes);
    return *host;
  }
  HostPhys host_page(std::uint64_t value = 0) { return host_memory(page, value); }

  volatile std::uint64_t& host_word(HostPhys at) const { return *reinterpret_cast<volatile std::uint64_t*>(at.raw()); }

  void write(HostPhys to, std::span<const std::byte> bytes) const {
    auto* const there = reinterpret_cast<std::byte*>(to.raw());
    std::memcpy(there, bytes.data(), bytes.size());
    hv::cache::clean_and_invalidate(there, bytes.size());
    hv::cache::invalidate_instructions();
  }
  /// A function that answers `number`.
  void write_function(HostPhys to, std::uint32_t number) const {
    std::array<std::uint32_t, 2> const instructions{0xd280'0000 | number << 5, 0xd65f'03c0};  // mov x0, #number; ret
    write(to, std::as_bytes(std::span{instructions}));
  }

  // ---- what the guest does -----------------------------------------------------------------------------------------

  /// The guest's CPU, on the CPU that made it.
  class Actor {
   public:
    explicit Actor(const Rig& rig) { rig.enter_stage2(hv::hcr::dc); }

    /// Has the guest do one of the things in stub.S.
    Seen act(const std::byte* what, GuestPhys at, std::uint64_t value = 0, GuestPhys mailbox = {}) {
      vcpu = {};
      vcpu.pc = in_stub(code, what).raw();
      vcpu.x[1] = at.raw();
      vcpu.x[2] = value;
      vcpu.x[3] = mailbox.raw();
      return go_on();
    }
    /// Lets the guest run on from where it is.
    Seen go_on() {
      why = hv::run(vcpu);
      switch (hv::cause(why.esr)) {
        case hv::Cause::hvc: return {.value = vcpu.x[0]};
        case hv::Cause::instruction_abort:
        case hv::Cause::data_abort: return seen(hv::decode_abort(why.esr, vcpu.pstate));
        case hv::Cause::smc: break;
      }
      fail("the guest came back for a reason that no test has");
    }

    hv::Vcpu vcpu;
    hv::Syndrome why{};

   private:
    Seen seen(const hv::Abort& abort) const {
      using enum hv::Abort::Kind;
      // Without stage 1, where no walk faults, the virtual address is the guest's physical one.
      auto const at = hv::has_fault_address(abort) ? hv::fault_address(why.hpfar, why.far, abort) : GuestPhys{why.far};
      return {.fault = abort.kind == translation  ? Fault::absent
                       : abort.kind == permission ? Fault::denied
                                                  : Fault::other,
              .at = at,
              .wanted = abort.wanted,
              .instruction = abort.instruction,
              .guest_walk = abort.stage1_walk};
    }
  };

  Seen load(GuestPhys at) { return actor.act(stub_load, at); }
  Seen store(GuestPhys at, std::uint64_t value) { return actor.act(stub_store, at, value); }
  Seen call(GuestPhys at) { return actor.act(stub_call, at); }
  Seen go_on() { return actor.go_on(); }

  /// Has the load that faulted find `value`.
  void answer_load(std::uint64_t value) {
    actor.vcpu.x[0] = value;
    actor.vcpu.pc += 4;
  }

  // ---- the second CPU ----------------------------------------------------------------------------------------------

  bool run_on_second_cpu(void (*main)(void*), void* context) {
    second_main_ = main;
    second_context_ = context;
    second_cpu.main = [](hv::Cpu&, void* self) {
      auto& rig = *static_cast<Rig*>(self);
      rig.second_main_(rig.second_context_);
    };
    second_cpu.context = this;
    return second_cpu.mpidr != 0 && hv::turn_on(second_cpu) == 0;
  }

  /// 30 seconds from its making.
  class Deadline {
   public:
    Deadline() {
      std::uint64_t hertz;
      asm("mrs %0, cntfrq_el0" : "=r"(hertz));
      end_ = now() + 30 * hertz;
    }
    bool passed() const { return now() >= end_; }

   private:
    static std::uint64_t now() {
      std::uint64_t count;
      asm volatile("isb; mrs %0, cntpct_el0" : "=r"(count));
      return count;
    }
    std::uint64_t end_;
  };

  Options options;
  aarch64::Features features;
  hv::InvalidationCounts counts;
  FramePool frames;
  FramePool pages;
  Source source;
  Table table;
  Set set;
  Actor actor;

 private:
  void (*second_main_)(void*) = nullptr;
  void* second_context_ = nullptr;
};

}  // namespace slat::test
