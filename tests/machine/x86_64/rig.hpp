#pragma once

// A guest made for one test: its areas and table, a few host pages, and a CPU that does what it is told. `Kind` is how
// this machine virtualises; `When` is the form of its shootdowns.

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include <slat/arch/x86_64/shootdown.hpp>
#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>

#include "hv/counted_hook.hpp"
#include "hv/host_range.hpp"
#include "hv/x86_64/cpu.hpp"
#include "hv/x86_64/interrupts.hpp"
#include "hv/x86_64/local_apic.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/vcpu.hpp"
#include "tests/machine/report.hpp"
#include "tests/machine/seen.hpp"
#include "tests/machine/stub.hpp"
#include "tests/machine/x86_64/flawed_hook.hpp"
#include "tests/machine/x86_64/guest_tables.hpp"
#include "tests/machine/x86_64/options.hpp"

namespace slat::test {

/// The CPU that is started; set up by main().
inline constinit hv::Cpu second_cpu{};

/// The machine's memory that a test may use.
struct Ground {
  hv::HostRange tables;
  hv::HostRange pages;
};

template <class VirtualKind, x86_64::Presence When>
class Rig {
 public:
  class Machine;
  class Actor;

  using Kind = VirtualKind;
  using Format = typename Kind::Format;
  static constexpr std::size_t cpus = 2;
  using Shootdown = x86_64::Shootdown<When, Machine, cpus>;
  using Hook = hv::CountedHook<FlawedHook<typename Shootdown::Hook, Machine>>;
  using Table = PageTable<Format, FramePool, Hook>;
  using Source = PageSource<FramePool>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend, FrameNodes<FramePool>>;
  using Walk = GuestWindow<Rig>;

  static constexpr std::uint64_t page = 4_KiB;
  /// The smallest block.
  static constexpr std::uint64_t block = 2_MiB;

  /// Where the guest's own few instructions are, and its tables; all else is the test's.
  static constexpr GuestPhys code{0x4000'0000};
  static constexpr GuestPhys guest_tables{0x4100'0000};

  /// What the shootdown asks of the board.
  class Machine {
   public:
    explicit Machine(Rig& rig) : rig_{&rig} {}

    std::size_t this_cpu() const noexcept { return hv::LocalApic::id(); }
    bool invalidate(HostPhys root) noexcept {
      auto* const here = rig_->actors_[this_cpu()];
      return here == nullptr || here->cpu.forget(rig_->format, root);
    }
    void kick(std::size_t cpu) noexcept {
      rig_->kicks_.fetch_add(1, std::memory_order_relaxed);
      hv::LocalApic::send(static_cast<std::uint32_t>(cpu), kick_vector);
    }
    // Interrupts are on wherever a CPU waits here: their handler answers.
    void relax() noexcept { hv::relax(); }

   private:
    Rig* rig_;
  };

  Rig(const Options& chosen, const Ground& ground)
      : options{chosen},
        format{Kind::format(chosen)},
        shootdown{Machine{*this}},
        frames{ground.tables.bytes(), ground.tables.begin, page},
        pages{ground.pages.bytes(), ground.pages.begin, page},
        source{pages, page, page},
        table{make_table()},
        set{FrameNodes<FramePool>{frames, page}},
        actor{*this} {
    current_ = this;
    hv::handle_interrupt(kick_vector, [] { current_->shootdown.answer(hv::LocalApic::id()); });
    map_guest(set);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  Table make_table() {
    Machine const machine{*this};
    auto made = Table::create(format, frames, Hook{{shootdown.hook(), machine, options.omit}, counts});
    if (!made) fail("no root table");
    return *std::move(made);
  }

  /// What every guest has: its code and its tables.
  void map_guest(Set& areas) {
    auto const host = host_page();
    write(host, stub());
    expect(areas.map({code, page, rx, Linear{host}}, table));
    auto const tables = host_memory(2 * page);
    write_guest_tables(pages.view(tables), guest_tables);
    expect(areas.map({guest_tables, 2 * page, rw, Linear{tables}}, table));
    gigabytes_ = tables + page;
  }
  /// The guest's table of gigabytes.
  HostPhys gigabytes() const { return gigabytes_; }

  /// After another table has come.
  void load_table() { actor.load(); }

  /// A CPU drops what it knew when it faults.
  void forget_here(GuestPhys) {}
  /// What the table's hook does, for what a test changed behind the library's back.
  void shoot() {
    Stale all;
    all.add_everything();
    table.hook()(table.root(), all);
  }

  std::uint64_t shootdowns() const { return counts.shootdowns.load(); }
  /// How often one CPU interrupted another.
  std::uint64_t kicks() const { return kicks_.load(); }

  // ---- host memory -------------------------------------------------------------------------------------------------

  /// `bytes` of host memory, aligned to the next power of two, that nobody else has; filled with `value`.
  HostPhys host_memory(std::uint64_t bytes, std::uint64_t value = 0) {
    auto const host = pages.allocate(std::bit_ceil(bytes));
    if (!host) fail("no host memory");
    for (std::uint64_t i = 0; i != bytes / 8; ++i) pages.view(*host)[i] = value;
    return *host;
  }
  HostPhys host_page(std::uint64_t value = 0) { return host_memory(page, value); }

  volatile std::uint64_t& host_word(HostPhys at) const { return *reinterpret_cast<volatile std::uint64_t*>(at.raw()); }

  void write(HostPhys to, std::span<const std::byte> bytes) const {
    std::memcpy(reinterpret_cast<std::byte*>(to.raw()), bytes.data(), bytes.size());
  }
  /// A function that answers `number`, for stub_call.
  void write_function(HostPhys to, std::uint8_t number) const {
    std::array<std::uint8_t, 7> const instructions{0xb8, number, 0, 0, 0, 0xff, 0xe2};  // mov $number, %eax; jmp *%rdx
    write(to, std::as_bytes(std::span{instructions}));
  }

  /// The entry that maps `at`, as hardware finds it.
  Entry& entry_of(GuestPhys at) {
    auto const geometry = format.geometry();
    auto here = table.root();
    for (auto level = geometry.root;; --level) {
      auto& entry = frames.view(here)[geometry.index(at, level)];
      if (format.kind(level, entry) != slat::Kind::table) return entry;
      here = format.address(level, entry);
    }
  }

  // ---- what the guest does -----------------------------------------------------------------------------------------

  /// The guest's CPU, on the CPU that made it. Interrupts are on, in the guest and around it.
  class Actor {
   public:
    explicit Actor(Rig& rig)
        : rig_{rig}, number_{hv::LocalApic::id()}, cpu{number_, rig.format, rig.table.root(), hv::Traps{}} {
      rig_.actors_[number_] = this;
      rig_.shootdown.load(number_, rig_.table.root());
    }
    Actor(const Actor&) = delete;
    Actor& operator=(const Actor&) = delete;
    ~Actor() {
      rig_.shootdown.unload(number_);
      rig_.actors_[number_] = nullptr;
    }

    /// The root of another table.
    void load() {
      rig_.shootdown.unload(number_);
      cpu.load(rig_.format, rig_.table.root());
      rig_.shootdown.load(number_, rig_.table.root());
    }

    /// Has the guest do one of the things in stub.S.
    Seen act(const std::byte* what, GuestPhys at, std::uint64_t value = 0, GuestPhys mailbox = {}) {
      constexpr std::uint64_t interrupts_on = 1u << 9;
      cpu.vcpu.start({.rip = in_stub(code, what).raw(), .cr3 = guest_tables.raw(), .rflags = interrupts_on});
      auto& registers = cpu.vcpu.registers();
      registers.rcx = at.raw();
      registers.rdx = value;
      registers.rbx = mailbox.raw();
      return go_on();
    }
    /// Lets the guest run on from where it is.
    Seen go_on() {
      do {
        hv::interrupts_off();
        expect(rig_.shootdown.enter(number_), "an invalidation failed");
        last = cpu.vcpu.run();
        rig_.shootdown.leave(number_);
        hv::interrupts_on();
      } while (last.why == hv::Why::interrupt);
      return seen();
    }

   private:
    Rig& rig_;
    std::uint32_t number_;

   public:
    typename Kind::Cpu cpu;
    hv::Exit last{};

   private:
    Seen seen() {
      switch (last.why) {
        case hv::Why::halt: return {.value = cpu.vcpu.registers().rax};
        case hv::Why::memory: return faulted(last.absent ? Fault::absent : Fault::denied);
        case hv::Why::misconfigured: return faulted(Fault::misconfigured);
        default: break;
      }
      fail("the guest came back for a reason that no test has: ", hv::Hex{last.code}, " ", hv::Hex{last.details},
           " at ", hv::Hex{cpu.vcpu.rip()});
    }
    Seen faulted(Fault how) const {
      return {.fault = how,
              .at = last.at,
              .wanted = last.wanted,
              .instruction = last.instruction,
              .guest_walk = last.guest_walk};
    }
  };

  Seen load(GuestPhys at) { return actor.act(stub_load, at); }
  Seen store(GuestPhys at, std::uint64_t value) { return actor.act(stub_store, at, value); }
  Seen call(GuestPhys at) { return actor.act(stub_call, at); }
  Seen go_on() { return actor.go_on(); }

  /// Has the load that faulted find `value`.
  void answer_load(std::uint64_t value) {
    actor.cpu.vcpu.registers().rax = value;
    hv::Exit load = actor.last;
    load.length = 3;
    actor.cpu.vcpu.skip(load);
  }

  /// That of the CPU that executes this.
  Actor& actor_here() { return *actors_[hv::LocalApic::id()]; }

  // ---- the second CPU ----------------------------------------------------------------------------------------------

  bool run_on_second_cpu(void (*main)(void*), void* context) {
    second_main_ = main;
    second_context_ = context;
    second_cpu.main = [](hv::Cpu&, void* self) {
      auto& rig = *static_cast<Rig*>(self);
      rig.second_main_(rig.second_context_);
    };
    second_cpu.context = this;
    return hv::turn_on(second_cpu);
  }

  /// So many turns of waiting as no emulator needs for a few rounds of a guest.
  class Deadline {
   public:
    bool passed() {
      hv::relax();
      return ++turns_ == 100'000'000;
    }

   private:
    std::uint64_t turns_ = 0;
  };

 private:
  static constexpr std::uint8_t kick_vector = 0x40;
  static inline constinit Rig* current_ = nullptr;

  std::array<Actor*, cpus> actors_{};
  std::atomic<std::uint64_t> kicks_{0};
  HostPhys gigabytes_{};

 public:
  Options options;
  Format format;
  hv::InvalidationCounts counts;
  Shootdown shootdown;
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
