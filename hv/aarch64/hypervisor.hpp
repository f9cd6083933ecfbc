#pragma once

// One guest on this machine: its memory, its CPUs, its power switch.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <slat/arch/aarch64/registers.hpp>
#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/aarch64/tlb.hpp>

#include "hv/aarch64/cache.hpp"
#include "hv/aarch64/console.hpp"
#include "hv/aarch64/counted_instructions.hpp"
#include "hv/aarch64/cpu.hpp"
#include "hv/aarch64/fault.hpp"
#include "hv/aarch64/guest_cpu.hpp"
#include "hv/aarch64/injection.hpp"
#include "hv/aarch64/psci_server.hpp"
#include "hv/counted_hook.hpp"
#include "hv/guest_memory.hpp"
#include "hv/outcome.hpp"
#include "hv/recorder.hpp"
#include "hv/snapshot.hpp"
#include "hv/summary.hpp"

namespace hv {

/// Makes a fresh page fit for a guest that may look past the caches: see cache.hpp.
struct CleanZeroPage {
  void operator()(slat::Entry* page, std::uint64_t bytes) const noexcept {
    slat::ZeroPage{}(page, bytes);
    cache::clean_and_invalidate(page, bytes);
    // The guest may execute what it finds: not what an instruction cache remembers of the page's last owner.
    cache::invalidate_instructions();
  }
};

template <slat::aarch64::Granule G>
class Hypervisor {
 public:
  using Format = slat::aarch64::Stage2<G>;
  using Hook = RecordedHook<CountedHook<slat::aarch64::Tlb<CountedInstructions>>>;
  using Table = slat::PageTable<Format, slat::FramePool, Hook>;
  using Source = slat::PageSource<slat::FramePool, CleanZeroPage>;
  using Memory = GuestMemory<Table, Source>;
  using EndSnapshot = Snapshot<semihosting::OwnFile>;

  /// The only guest has the only identifier.
  static constexpr std::uint16_t vmid = 1;

  /// `cpus` are the machine's, the first of them this one; all of the rest are off.
  Hypervisor(Table table, slat::FramePool& frames, Source& pages, const InvalidationCounts& counts,
             EndSnapshot& snapshot, std::span<Cpu> cpus)
      : memory_{std::move(table), frames, pages},
        counts_{counts},
        snapshot_{snapshot},
        psci_{cpus},
        boot_{cpus.front()} {
    for (auto& cpu : cpus) {
      cpu.main = [](Cpu& self, void* hypervisor) { static_cast<Hypervisor*>(hypervisor)->run_cpu(self); };
      cpu.context = this;
    }
  }

  Memory& memory() { return memory_; }

  /// Runs the guest from `entry` on, with `argument` in x0, until its end, which is the end of the program.
  [[noreturn]] void run_guest(slat::GuestPhys entry, slat::GuestPhys argument) {
    boot_.vcpu.pc = entry.raw();
    boot_.vcpu.x[0] = argument.raw();
    run_cpu(boot_);
  }

 private:
  [[noreturn]] void run_cpu(Cpu& cpu) {
    auto const& table = memory_.table();
    prepare_guest_cpu({.vtcr = slat::aarch64::vtcr_el2(table.format()),
                       .vttbr = slat::aarch64::vttbr_el2(table.root(), vmid),
                       .hcr = slat::aarch64::hcr_el2(table.format())});
    for (;;) {
      auto const why = run(cpu.vcpu);
      // A CPU that the guest left spinning when it turned the power off finds its memory gone.
      if (ended_.load()) turn_off_this_cpu();
      handle(cpu, why);
    }
  }

  void handle(Cpu& cpu, const Syndrome& why) {
    switch (cause(why.esr)) {
      case Cause::smc:
        cpu.vcpu.pc += 4;  // unlike HVC, a trapped SMC has not been executed
        [[fallthrough]];
      case Cause::hvc: return serve(cpu);
      case Cause::instruction_abort:
      case Cause::data_abort: return handle_abort(cpu, why);
    }
    print(console, "hv: the guest came with ESR ", Hex{why.esr}, " at ", Hex{cpu.vcpu.pc}, "\n");
    semihosting::exit(failed);
  }

  void serve(Cpu& cpu) {
    switch (psci_.serve(cpu.vcpu)) {
      case PsciOutcome::resume: return;
      case PsciOutcome::cpu_off: turn_off_this_cpu();
      case PsciOutcome::system_reset: print(console, "slat: the guest asked for a reset\n"); semihosting::exit(failed);
      case PsciOutcome::system_off:
        if (ended_.exchange(true)) turn_off_this_cpu();
        semihosting::exit(print_end(console, memory_, counts_, "TLBI instructions", snapshot_) ? success : failed);
    }
  }

  void handle_abort(Cpu& cpu, const Syndrome& why) {
    auto const abort = decode_abort(why.esr, cpu.vcpu.pstate);
    // With FEAT_BBM level 2 a CPU may find a block and its pages at once, and says so.
    if (abort.kind == Abort::Kind::conflict) return memory_.hook().resolve_conflict(memory_.table().root());
    // Not a matter of the tables: an address that no memory can have, an access that the memory cannot do.
    if (abort.kind == Abort::Kind::other) return inject_external_abort(cpu.vcpu, abort, why.far);
    auto const at = has_fault_address(abort) ? fault_address(why.hpfar, why.far, abort) : translate(why.far);
    if (!at) return;  // the guest changed its own tables meanwhile: let it try again
    auto const resolution = memory_.fault(*at, abort.wanted);
    if (!resolution) {
      print(console, "hv: cannot resolve a fault at ", Hex{at->raw()}, ": ", resolution.error(), "\n");
      semihosting::exit(failed);
    }
    switch (*resolution) {
      case slat::Resolution::mapped:
      case slat::Resolution::busy: return;
      case slat::Resolution::spurious: return memory_.hook().forget_here(memory_.table().root(), *at);
      case slat::Resolution::emulate:
      case slat::Resolution::denied:
      case slat::Resolution::unknown: return inject_external_abort(cpu.vcpu, abort, why.far);
    }
  }

  static constexpr std::uint64_t success = 0;
  static constexpr std::uint64_t failed = 1;

  /// The guest's own translation of `va` by its stage 1; its PAR_EL1 is as before.
  static std::optional<slat::GuestPhys> translate(std::uint64_t va) {
    std::uint64_t saved;
    std::uint64_t par;
    asm volatile("mrs %0, par_el1; at s1e1r, %2; isb; mrs %1, par_el1; msr par_el1, %0"
                 : "=&r"(saved), "=&r"(par)
                 : "r"(va));
    return translated(par, va);
  }

  Memory memory_;
  const InvalidationCounts& counts_;
  EndSnapshot& snapshot_;
  PsciServer psci_;
  Cpu& boot_;
  std::atomic<bool> ended_{false};
};

}  // namespace hv
