// Shootdowns among CPUs that are threads: once the hook has returned, what the table gave up is overwritten, and no CPU
// may have used it meanwhile. ThreadSanitizer sees each use that nothing orders before that; without it, what was
// written shows.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/shootdown.hpp>
#include <slat/mm/backends.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>
#include <slat/mm/page_table.hpp>

#include "hv/guest_memory.hpp"
#include "hv/polling_lock.hpp"
#include "hv/spin_lock.hpp"

namespace slat::x86_64 {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t cpu_count = 3;
constexpr std::size_t for_ever = ~std::size_t{0};
thread_local std::size_t self = 0;

/// What is in a page, and a table that leads to it. Plain memory, as what a guest's accesses reach is.
struct Page {
  static constexpr std::uint64_t gone = ~0ull;
  std::uint64_t value = 0;
};
struct Node {
  const Page* page = nullptr;
};

/// One guest's table of one entry, that CPUs walk while it changes.
struct Root {
  std::atomic<const Node*> entry{nullptr};
  std::array<Node, 4> nodes;
  std::array<Page, 4> pages;
  std::uint64_t edits = 0;

  Root() {
    nodes[0].page = &pages[0];
    entry.store(&nodes[0]);
  }
  /// Another translation by another table, an invalidation, and both old ones are somebody else's.
  template <class Hook>
  void edit(Hook hook, HostPhys root) {
    auto const old = edits % 4, next = ++edits % 4;
    pages[next].value = edits;
    nodes[next].page = &pages[next];
    entry.store(&nodes[next], std::memory_order_release);
    Stale stale;
    stale.add_everything();
    hook(root, stale);
    pages[old].value = Page::gone;
    nodes[old].page = nullptr;
  }
};

/// CPUs that run `Roots` guests' tables.
template <Presence When, std::size_t Roots = 1>
class Rig {
 public:
  struct Machine {
    Rig* rig;
    std::size_t this_cpu() noexcept { return self; }
    bool invalidate(HostPhys root) noexcept {
      rig->cpus_[self].known[root.raw()] = nullptr;
      rig->cpus_[self].invalidations.fetch_add(1, std::memory_order_relaxed);
      return true;
    }
    void kick(std::size_t cpu) noexcept { rig->cpus_[cpu].kicked.store(true); }
    void relax() noexcept { rig->relax(); }
  };
  using Shootdowns = Shootdown<When, Machine, cpu_count>;

  /// What to do when a CPU still waits after a time that is enough for everything.
  std::function<void()> waited_too_long = [] {
    std::fprintf(stderr, "CPU %zu has waited too long for the others\n", self);
    std::abort();
  };
  std::chrono::milliseconds patience = 20s;

  std::array<Root, Roots> roots;
  std::array<std::unique_ptr<Shootdowns>, Roots> shootdowns = [this] {
    std::array<std::unique_ptr<Shootdowns>, Roots> all;
    for (auto& one : all) one = std::make_unique<Shootdowns>(Machine{this});
    return all;
  }();

  std::array<typename Shootdowns::Hook, Roots> hooks = [this]<std::size_t... I>(std::index_sequence<I...>) {
    return std::array{shootdowns[I]->hook()...};
  }(std::make_index_sequence<Roots>{});

  /// Each function is one CPU.
  void run(const std::vector<std::function<void()>>& cpus) {
    started_ = std::chrono::steady_clock::now();
    std::atomic<std::size_t> running{0};
    std::vector<std::thread> threads(cpus.size());
    for (std::size_t i = 0; i != cpus.size(); ++i)
      threads[i] = std::thread{[&, &cpu = cpus[i], i] {
        self = i;
        for (++running; running.load() != cpus.size();) std::this_thread::yield();
        cpu();
      }};
    for (auto& thread : threads) thread.join();
  }

  void relax() noexcept {
    answer();
    if (std::chrono::steady_clock::now() - started_ > patience) waited_too_long();
    std::this_thread::yield();
  }
  void answer() noexcept {
    if constexpr (When == Presence::loaded)
      for (auto& one : shootdowns) one->answer(self);
  }

  void load(std::size_t root = 0) { shootdowns[root]->load(self, HostPhys{root}); }
  void unload(std::size_t root = 0) { shootdowns[root]->unload(self); }
  /// Into the guest, for so many accesses unless somebody wants it out; then the handler.
  void visit(std::size_t accesses, std::size_t root = 0) {
    if (!shootdowns[root]->enter(self)) return wrong("a CPU may not enter");
    for (; accesses != 0 && !cpus_[self].kicked.exchange(false); --accesses) {
      use(root);
      if (accesses % 64 == 0) std::this_thread::yield();
    }
    shootdowns[root]->leave(self);
    answer();
    std::this_thread::yield();
  }
  void edit(std::size_t root = 0) { roots[root].edit(hooks[root], HostPhys{root}); }

  /// All leave the guest.
  void kick_all() {
    for (auto& cpu : cpus_) cpu.kicked.store(true);
  }

  /// Edits until each of the other CPUs has met so many of them.
  void edit_until_all_have_met(std::uint64_t edits) {
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu)
      while (cpu != self && cpus_[cpu].invalidations.load(std::memory_order_relaxed) < edits) {
        edit();
        relax();
      }
  }

  void wrong(const char* why) {
    if (!wrong_.exchange(true)) ADD_FAILURE() << why;
  }

 private:
  struct alignas(64) Cpu {
    std::atomic<bool> kicked{false};
    std::atomic<std::uint64_t> invalidations{0};
    std::array<const Node*, Roots> known{};  // table pointers that it keeps; pages it finds by them
  };

  void use(std::size_t root) {
    auto& known = cpus_[self].known[root];
    if (known == nullptr) known = roots[root].entry.load(std::memory_order_acquire);
    if (known->page == nullptr || known->page->value == Page::gone) wrong("a CPU uses what is gone");
  }

  std::array<Cpu, cpu_count> cpus_;
  std::chrono::steady_clock::time_point started_;
  std::atomic<bool> wrong_{false};
};

template <class When>
class ShootdownThreads : public testing::Test {
 protected:
  static constexpr std::uint64_t edits = 3000;
};
using Loaded = std::integral_constant<Presence, Presence::loaded>;
using Entered = std::integral_constant<Presence, Presence::entered>;
struct FormName {
  template <class When>
  static std::string GetName(int) {
    return When::value == Presence::loaded ? "Loaded" : "Entered";
  }
};
using Forms = testing::Types<Loaded, Entered>;
TYPED_TEST_SUITE(ShootdownThreads, Forms, FormName);

TYPED_TEST(ShootdownThreads, NoCpuUsesWhatIsGone) {
  Rig<TypeParam::value> rig;
  std::atomic<bool> done{false};
  auto const guest = [&] {
    rig.load();
    while (!done.load()) rig.visit(for_ever);
    rig.unload();
  };
  rig.run({[&] {
             rig.edit_until_all_have_met(this->edits);
             done.store(true);
             rig.kick_all();
           },
           guest, guest});
}

TYPED_TEST(ShootdownThreads, NorOneThatComesAndGoes) {
  Rig<TypeParam::value> rig;
  std::atomic<bool> done{false};
  auto const guest = [&] {
    std::mt19937 random{static_cast<unsigned>(self)};
    while (!done.load()) {
      rig.load();
      for (auto visits = random() % 4; visits != 0; --visits) rig.visit(random() % 16);
      rig.unload();
      if (random() % 4 == 0) std::this_thread::yield();
    }
  };
  rig.run({[&] {
             rig.edit_until_all_have_met(this->edits);
             done.store(true);
           },
           guest, guest});
}

TYPED_TEST(ShootdownThreads, NorOneThatEditsItself) {
  Rig<TypeParam::value> rig;
  auto const poll = [&rig] { rig.relax(); };
  hv::PollingLock<decltype(poll)> writer{poll};
  auto const cpu = [&] {
    rig.load();
    for (auto i = this->edits / cpu_count; i != 0; --i) {
      rig.visit(16);
      typename decltype(writer)::Held const held{writer};
      rig.edit();
    }
    rig.unload();
  };
  rig.run({cpu, cpu, cpu});
  EXPECT_EQ(rig.roots[0].edits, this->edits / cpu_count * cpu_count) << "the lock lets one in at a time";
}

TYPED_TEST(ShootdownThreads, CpusThatEditEachOthersGuestsDoNotWaitForEver) {
  Rig<TypeParam::value, 2> rig;
  auto const cpu = [&](std::size_t mine) {
    return [&rig, mine, this] {
      rig.load(1 - mine);
      for (auto i = this->edits; i != 0; --i) {
        rig.edit(mine);
        rig.visit(4, 1 - mine);
      }
      rig.unload(1 - mine);
    };
  };
  rig.run({cpu(0), cpu(1)});
}

// ---- the writer's lock ----

/// CPU 0 protects a page, and its shootdown finds CPU 1 waiting for the lock with a fault on that page, interrupts off.
template <class Lock, Presence When>
Resolution fault_beside_a_protect(Rig<When>& rig, Lock& writer) {
  struct Hook : Rig<When>::Shootdowns::Hook {
    std::atomic<bool>* faulted;
    void operator()(HostPhys root, const Stale& stale) noexcept {
      while (!faulted->load()) std::this_thread::yield();
      Rig<When>::Shootdowns::Hook::operator()(root, stale);
    }
  };
  using Table = PageTable<Ept, FramePool, Hook>;
  using Set = MemorySet<Attr, Table, Backends<Table, PageSource<FramePool>>>;

  std::atomic<bool> runs{false}, locked{false}, faulted{false};
  std::vector<std::byte> memory(1 << 20);
  FramePool pool{memory, HostPhys{0x10'0000}};
  auto table = *Table::create(*Ept::create({.leaf_2m = true}, {}), pool, Hook{rig.shootdowns[0]->hook(), &faulted});
  Set set;
  GuestPhys const at{0x4000'0000};
  EXPECT_TRUE(set.map({at, 4_KiB, rw, Linear{HostPhys{0x8'0000'0000}}}, table));

  auto found = Resolution::unknown;
  rig.run({[&] {
             while (!runs.load()) std::this_thread::yield();
             typename Lock::Held const held{writer};
             locked.store(true);
             EXPECT_TRUE(set.protect(
                 at, 4_KiB, [](Attr a) { return a - Prot::w; }, table));
           },
           [&] {
             rig.load();
             EXPECT_TRUE(rig.shootdowns[0]->enter(self));
             runs.store(true);
             while (!locked.load()) std::this_thread::yield();
             rig.shootdowns[0]->leave(self);
             faulted.store(true);
             typename Lock::Held const held{writer};
             if (auto const resolution = set.resolve(at, Prot::w, table)) found = *resolution;
             rig.unload();
           }});
  EXPECT_TRUE(set.clear(table));
  return found;
}

TYPED_TEST(ShootdownThreads, ACpuThatWaitsForTheLockGoesOnAnswering) {
  Rig<TypeParam::value> rig;
  auto const poll = [&rig] { rig.relax(); };
  hv::PollingLock<decltype(poll)> writer{poll};
  EXPECT_EQ(fault_beside_a_protect(rig, writer), Resolution::denied) << "the tables decide under the lock";
}

TEST(ShootdownThreadsLoaded, WithALockThatOnlySpinsTheWaitWouldHaveNoEnd) {
  Rig<Presence::loaded> rig;
  rig.patience = 300ms;
  bool endless = false;
  rig.waited_too_long = [&] {
    endless = true;
    rig.shootdowns[0]->answer(1);  // in its stead
  };
  hv::SpinLock writer;
  EXPECT_EQ(fault_beside_a_protect(rig, writer), Resolution::denied);
  EXPECT_TRUE(endless);
}

TEST(ShootdownThreadsEntered, ALockThatOnlySpinsIsEnough) {
  Rig<Presence::entered> rig;
  hv::SpinLock writer;
  EXPECT_EQ(fault_beside_a_protect(rig, writer), Resolution::denied);
}

/// The toy hypervisor's own memory, with the lock that x86 needs: two CPUs populate it at once while a third splits it.
TYPED_TEST(ShootdownThreads, AGuestsMemoryMayBeFaultedOnByAllCpus) {
  using Table = PageTable<Ept, FramePool, typename Rig<TypeParam::value>::Shootdowns::Hook>;
  using Source = PageSource<FramePool>;
  Rig<TypeParam::value> rig;
  auto const poll = [&rig] { rig.relax(); };
  std::vector<std::byte> memory(2 << 20), ram(2 << 20);
  FramePool frames{memory, HostPhys{0x10'0000}}, host{ram, HostPhys{0x100'0000}};
  Source pages{host, 4_KiB, 4_KiB};
  hv::GuestMemory<Table, Source, hv::PollingLock<decltype(poll)>> guest{
      *Table::create(*Ept::create({.leaf_2m = true}, {}), frames, rig.shootdowns[0]->hook()), frames, pages, poll};
  GuestRange const lazy{GuestPhys{0x4000'0000}, 256 * 4_KiB}, linear{GuestPhys{0x8000'0000}, 64 * 2_MiB};
  ASSERT_TRUE(guest.map(lazy, rwx, Lazy{pages}));
  ASSERT_TRUE(guest.map(linear, rwx, Linear{HostPhys{0x8'0000'0000}}));

  std::atomic<unsigned> at_work{2};
  auto const populate = [&] {
    rig.load();
    for (std::uint64_t i = 0; i != 256; ++i) {
      rig.visit(1);
      auto const resolution = guest.fault(lazy.begin + i * 4_KiB, Prot::w);
      if (!resolution) rig.wrong("a fault could not be resolved");
    }
    rig.unload();
    at_work.fetch_sub(1);
  };
  rig.run({[&] {
             for (std::uint64_t i = 0; at_work.load() != 0; ++i) {
               if (!guest.split({linear.begin + i % 64 * 2_MiB, 2_MiB})) rig.wrong("a split failed");
               std::this_thread::sleep_for(100us);  // the lock is not fair
             }
           },
           populate, populate});
  auto const& faults = guest.faults();
  EXPECT_EQ(faults[static_cast<std::size_t>(Resolution::mapped)], 256u);
  EXPECT_EQ(faults[static_cast<std::size_t>(Resolution::spurious)], 256u) << "who came second";
  EXPECT_TRUE(guest.audit());
  EXPECT_TRUE(guest.clear());
  EXPECT_TRUE(guest.only_root());
}

}  // namespace
}  // namespace slat::x86_64
