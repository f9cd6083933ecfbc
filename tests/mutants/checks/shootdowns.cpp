// One CPU edits a table, another enters and leaves its guest, in every order with few interruptions, store buffers
// included. An operation is one order.

#include <array>

#include <slat/arch/x86_64/shootdown.hpp>

#include "mutants/check.hpp"
#include "unit/interleavings.hpp"

namespace slat::test {
using x86_64::Presence;

const char* const check_name = "shootdowns";

namespace {

constexpr std::size_t cpu_count = 2;
constexpr HostPhys root{1};

/// A table of one entry, and CPUs whose TLB fills as soon as it is emptied and gives up nothing by itself.
struct Rig {
  struct Machine {
    Rig* rig;
    std::size_t this_cpu() noexcept { return Interleavings::number(); }
    bool invalidate(HostPhys) noexcept {
      rig->tlb[Interleavings::number()] = rig->entry.load();
      return true;
    }
    // The other CPU leaves its guest by itself.
    void kick(std::size_t) noexcept {}
    void relax() noexcept { Interleavings::wait(); }
  };

  Stepped<std::uint64_t> entry{1};
  Stepped<std::uint64_t> oldest{1};  // what no CPU may use less than any more
  std::array<std::uint64_t, cpu_count> tlb{1, 1};
  std::uint64_t visits = 0;
  x86_64::Shootdown<Presence::entered, Machine, cpu_count, Stepped> shootdown{Machine{this}};
  decltype(shootdown.hook()) hook = shootdown.hook();

  void edit(std::uint64_t value) {
    entry.store(value, std::memory_order_release);
    Stale everything;
    everything.add_everything();
    hook(root, everything);
    oldest.store(value);
    Interleavings::know(1, value);
  }
  void visit() {
    auto const cpu = Interleavings::number();
    if (!shootdown.enter(cpu)) Interleavings::fail("a CPU may not enter");
    if (tlb[cpu] < oldest.load()) Interleavings::fail("a CPU uses what is gone");
    shootdown.leave(cpu);
    Interleavings::know(100 + visits++, tlb[cpu]);
  }
};

}  // namespace

Outcome run_check() {
  Interleavings all{2};
  auto why = all.explore<Rig>([](Rig& rig, auto add) {
    add([&rig] {
      rig.edit(2);
      rig.edit(3);
    });
    add([&rig] {
      for (auto i = 0; i != 2; ++i) {
        rig.shootdown.load(1, root);
        rig.visit();
        rig.visit();
        rig.shootdown.unload(1);
      }
    });
  });
  return {all.runs(), std::move(why)};
}

}  // namespace slat::test
