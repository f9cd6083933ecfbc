// Shootdowns in every order that a few CPUs can take their steps in, store buffers included.

#include <gtest/gtest.h>

#include <array>
#include <deque>
#include <functional>
#include <string>
#include <type_traits>

#include <slat/arch/x86_64/shootdown.hpp>

#include "unit/interleavings.hpp"

namespace slat::test {
namespace {

using x86_64::Presence;

// ---- the explorer itself ----

struct TwoFlags {
  Stepped<int> x{0}, y{0}, seen{0};
};
/// Each says one thing and looks for the other's; both may look too early where their stores can wait.
std::string both_look_too_early(bool exchanging, std::memory_order saying, std::memory_order looking) {
  Interleavings all;
  return all.explore<TwoFlags>([=](TwoFlags& flags, auto add) {
    auto const one = [&flags, exchanging, saying, looking](Stepped<int>& mine, Stepped<int>& theirs) {
      if (exchanging)
        mine.fetch_add(1, saying);
      else
        mine.store(1, saying);
      if (theirs.load(looking) != 0) return;
      if (flags.seen.fetch_add(1) == 1) Interleavings::fail("both too early");
    };
    add([&flags, one] { one(flags.x, flags.y); });
    add([&flags, one] { one(flags.y, flags.x); });
  });
}
TEST(Interleavings, ShowWhatAStoreBufferDoes) {
  using enum std::memory_order;
  for (auto const exchanging : {false, true}) {
    EXPECT_EQ(both_look_too_early(exchanging, seq_cst, seq_cst), "");
    for (auto const& [saying, looking] : {std::pair{release, seq_cst}, {seq_cst, acquire}, {release, acquire}})
      EXPECT_NE(both_look_too_early(exchanging, saying, looking).find("both too early"), std::string::npos);
  }
}

TEST(Interleavings, LoseNothingThatIsAddedInOneStep) {
  Interleavings all;
  EXPECT_EQ(all.explore<TwoFlags>([](TwoFlags& flags, auto add) {
    for (int i = 0; i != 3; ++i)
      add([&flags] {
        flags.x.fetch_add(1, std::memory_order_release);
        flags.y.fetch_add(1);
        if (flags.seen.fetch_add(1) == 2 && flags.x.load() != 3) Interleavings::fail("one is missing");
      });
  }),
            "");
}

TEST(Interleavings, FindThatAllWaitForEachOther) {
  Interleavings all;
  auto const why = all.explore<TwoFlags>([](TwoFlags& flags, auto add) {
    add([&flags] {
      while (flags.y.load() == 0) Interleavings::wait();
      flags.x.store(1);
    });
    add([&flags] {
      while (flags.x.load() == 0) Interleavings::wait();
      flags.y.store(1);
    });
  });
  EXPECT_NE(why.find("all wait for each other"), std::string::npos) << why;
}

TEST(Interleavings, TakeEveryOrder) {
  Interleavings all;
  std::array<unsigned, 4> times{};
  EXPECT_EQ(all.explore<TwoFlags>([&](TwoFlags& flags, auto add) {
    for (int i = 0; i != 2; ++i)
      add([&] {
        auto const old = flags.x.load();
        flags.x.store(old + 1);
        if (flags.y.fetch_add(1) == 1) ++times[static_cast<std::size_t>(flags.x.load())];
      });
  }),
            "");
  EXPECT_GT(times[1], 0u) << "an increment was lost in some order";
  EXPECT_GT(times[2], 0u) << "and none in another";
}

/// Also those in which something happens between two looks that find the same.
TEST(Interleavings, TakeOrdersThatBeginAlike) {
  Interleavings all;
  auto const why = all.explore<TwoFlags>([](TwoFlags& flags, auto add) {
    add([&flags] {
      std::array<int, 3> seen{};
      for (auto& one : seen) one = flags.x.load();
      if (seen == std::array{0, 0, 1}) Interleavings::fail("between the last two");
    });
    add([&flags] { flags.x.store(1); });
  });
  EXPECT_NE(why.find("between the last two"), std::string::npos) << why;
}

// ---- the machine ----

constexpr std::size_t cpu_count = 3;

/// For accesses of CPUs that have interrupts on: before each, the handler may run.
template <class T>
class Interruptible : public Stepped<T> {
  using Plain = Stepped<T>;

 public:
  static inline std::function<void()> handle = [] {};

  using Plain::Plain;
  T load(std::memory_order order) const {
    Interruptible<bool>::handle();
    return Plain::load(order);
  }
  void store(T value, std::memory_order order) {
    Interruptible<bool>::handle();
    Plain::store(value, order);
  }
  T fetch_add(T more, std::memory_order order) {
    Interruptible<bool>::handle();
    return Plain::fetch_add(more, order);
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order order, std::memory_order otherwise) {
    Interruptible<bool>::handle();
    return Plain::compare_exchange_weak(expected, value, order, otherwise);
  }
};

/// A few tables, and CPUs whose TLB begins with all that was ever in them, fills again as soon as it is emptied, and
/// gives up nothing by itself.
template <Presence When, std::size_t Tables = 1, template <class> class Atomic = Stepped>
struct Rig {
  struct Machine {
    Rig* rig;
    std::size_t this_cpu() noexcept { return Interleavings::number(); }
    bool invalidate(HostPhys which) noexcept { return rig->invalidate(which.raw() - 1); }
    void kick(std::size_t cpu) noexcept { rig->cpus[cpu].interrupts.fetch_or(kick_bit); }
    void relax() noexcept { rig->relax(); }
  };
  struct Cpu {
    Stepped<unsigned> interrupts{0};
    std::array<std::uint64_t, Tables> tlb = first();
    std::uint64_t visits = 0, invalidations = 0;
    bool in_handler = false;
  };
  struct Table {
    explicit Table(Rig& rig) : shootdown{Machine{&rig}} {}
    Stepped<std::uint64_t> entry{1};
    Stepped<std::uint64_t> oldest{1};  // what no CPU may use less than any more
    x86_64::Shootdown<When, Machine, cpu_count, Atomic> shootdown;
    decltype(shootdown.hook()) hook = shootdown.hook();
  };

  static constexpr unsigned kick_bit = 1, over_bit = 2;
  static constexpr bool interruptible = std::is_same_v<Atomic<bool>, Interruptible<bool>>;
  static constexpr HostPhys root(std::size_t table) { return HostPhys{table + 1}; }
  static constexpr std::array<std::uint64_t, Tables> first() {
    std::array<std::uint64_t, Tables> all;
    all.fill(1);
    return all;
  }

  std::array<Cpu, cpu_count> cpus;
  std::deque<Table> tables = [this] {
    std::deque<Table> all;
    for (std::size_t i = 0; i != Tables; ++i) all.emplace_back(*this);
    return all;
  }();
  Stepped<unsigned> at_work{0};
  std::uint64_t failing = 0;  // which invalidation of each CPU, from 1 on

  Rig() {
    Interruptible<bool>::handle = [this] { handle_kick(); };
  }
  ~Rig() {
    Interruptible<bool>::handle = [] {};
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  Cpu& me() { return cpus[Interleavings::number()]; }

  // ---- what hardware does ----

  bool invalidate(std::size_t table) {
    if (interruptible) handle_kick();
    if (++me().invalidations == failing) return false;
    me().tlb[table] = tables[table].entry.load();
    return true;
  }
  void use(std::size_t table) {
    if (me().tlb[table] < tables[table].oldest.load()) Interleavings::fail("a CPU uses what is gone");
  }
  unsigned take_interrupts() { return me().interrupts.fetch_and(~kick_bit); }

  // ---- what a hypervisor does ----

  void answer() {
    for (auto& table : tables) table.shootdown.answer(Interleavings::number());
  }
  /// As the handler of another interrupt may not be interrupted.
  void handle_kick() {
    if (me().in_handler) return;
    me().in_handler = true;
    if ((take_interrupts() & kick_bit) != 0) answer();
    me().in_handler = false;
  }
  void relax() {
    if (When == Presence::loaded) answer();
    Interleavings::wait();
  }

  void load(std::size_t table) { tables[table].shootdown.load(Interleavings::number(), root(table)); }
  void unload(std::size_t table) { tables[table].shootdown.unload(Interleavings::number()); }
  void enter(std::size_t table) {
    if (!tables[table].shootdown.enter(Interleavings::number())) Interleavings::fail("a CPU may not enter");
  }
  /// Whether the CPU was let in, for one access.
  bool try_visit(std::size_t table) {
    auto const enters = tables[table].shootdown.enter(Interleavings::number());
    if (enters) use(table);
    leave(table);
    if (When == Presence::loaded && (take_interrupts() & kick_bit) != 0) answer();
    Interleavings::know(100 + me().visits++, me().tlb[table] * 64 + me().invalidations);
    return enters;
  }
  void leave(std::size_t table) { tables[table].shootdown.leave(Interleavings::number()); }

  /// In the guest for one access. Here and in stay() an exit is followed by the handler of what came meanwhile.
  void visit(std::size_t table) {
    enter(table);
    use(table);
    leave(table);
    if (When == Presence::loaded && (take_interrupts() & kick_bit) != 0) answer();
    Interleavings::know(100 + me().visits++, me().tlb[table]);
  }
  /// In the guest all the time but when kicked, until nobody is at work on the tables any more.
  void stay(std::size_t table) {
    for (unsigned came = 0; (came & over_bit) == 0;) {
      Interleavings::know(2, me().tlb[table]);
      enter(table);
      for (use(table); (came = take_interrupts()) == 0; use(table)) {
        Interleavings::wait();
        Interleavings::know(3, me().tlb[table]);
      }
      leave(table);
      if (When == Presence::loaded && (came & kick_bit) != 0) answer();
    }
  }
  /// Another translation. A store and no more: that others see it in time is the hook's affair.
  void edit(std::size_t table, std::uint64_t value) {
    tables[table].entry.store(value, std::memory_order_release);
    Stale everything;
    everything.add_everything();
    tables[table].hook(root(table), everything);
    tables[table].oldest.store(value);
    Interleavings::know(4, value);
  }
  void finish() {
    if (at_work.fetch_add(~0u) != 1) return;
    for (auto& cpu : cpus) cpu.interrupts.fetch_or(over_bit);
  }
};

template <class When>
class ShootdownSteps : public testing::Test {};

using Loaded = std::integral_constant<Presence, Presence::loaded>;
using Entered = std::integral_constant<Presence, Presence::entered>;
struct FormName {
  template <class When>
  static std::string GetName(int) {
    return When::value == Presence::loaded ? "Loaded" : "Entered";
  }
};
using Forms = testing::Types<Loaded, Entered>;
TYPED_TEST_SUITE(ShootdownSteps, Forms, FormName);

TYPED_TEST(ShootdownSteps, ACpuInTheGuestIsReached) {
  Interleavings all{3};
  using World = Rig<TypeParam::value>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(1);
    add([&rig] {
      rig.edit(0, 2);
      rig.edit(0, 3);
      rig.finish();
    });
    add([&rig] {
      rig.load(0);
      rig.stay(0);
      rig.unload(0);
    });
  }),
            "");
  EXPECT_GT(all.runs(), 50u);
}

TYPED_TEST(ShootdownSteps, ACpuThatComesAndGoesUsesNothingOld) {
  Interleavings all{2};
  using World = Rig<TypeParam::value>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(1);
    add([&rig] {
      rig.edit(0, 2);
      rig.edit(0, 3);
      rig.finish();
    });
    add([&rig] {
      for (int i = 0; i != 2; ++i) {
        rig.load(0);
        rig.visit(0);
        rig.visit(0);
        rig.unload(0);
      }
    });
  }),
            "");
  EXPECT_GT(all.runs(), 3000u) << "a visit is not the one before it";
}

/// Two CPUs edit one table at once, as a lock would forbid, while a third runs the guest: each must still get what it
/// waits for.
template <class World, class Add>
void two_that_ask(World& rig, Add add) {
  rig.at_work.store(2);
  add([&rig] {
    rig.edit(0, 2);
    rig.finish();
  });
  add([&rig] {
    rig.load(0);
    rig.stay(0);
    rig.unload(0);
  });
  add([&rig] {
    rig.edit(0, 2);
    rig.finish();
  });
}

TYPED_TEST(ShootdownSteps, ShootdownsThatOverlapAreAllAnswered) {
  Interleavings all{1};
  using World = Rig<TypeParam::value>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) { two_that_ask(rig, add); }), "");
  EXPECT_GT(all.runs(), 50u);
}

TYPED_TEST(ShootdownSteps, TheCpuThatAsksMayBeOneOfThoseAsked) {
  Interleavings all{2};
  using World = Rig<TypeParam::value>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(1);
    add([&rig] {
      rig.load(0);
      rig.visit(0);
      rig.edit(0, 2);
      rig.visit(0);
      rig.unload(0);
      rig.finish();
    });
    add([&rig] {
      rig.load(0);
      rig.stay(0);
      rig.unload(0);
    });
  }),
            "");
  EXPECT_GT(all.runs(), 50u);
}

TYPED_TEST(ShootdownSteps, TwoCpusThatAskEachOtherDoNotWaitForEver) {
  Interleavings all{1};
  using World = Rig<TypeParam::value, 2>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(2);
    for (std::size_t mine = 0; mine != 2; ++mine)
      add([&rig, mine] {
        rig.load(1 - mine);
        rig.visit(1 - mine);
        rig.edit(mine, 2);
        rig.visit(1 - mine);
        rig.unload(1 - mine);
      });
  }),
            "");
  EXPECT_GT(all.runs(), 50u);
}

/// Whichever it is that fails: the CPU does not enter with what is gone, nobody waits for it, and it is let in again.
TYPED_TEST(ShootdownSteps, AnInvalidationMayFail) {
  for (auto const failing : {1u, 2u}) {
    Interleavings all{2};
    bool refused = false;
    using World = Rig<TypeParam::value>;
    EXPECT_EQ(all.explore<World>([&](World& rig, auto add) {
      rig.failing = failing;
      rig.at_work.store(1);
      add([&rig] {
        rig.edit(0, 2);
        rig.edit(0, 3);
        rig.finish();
      });
      add([&rig, &refused] {
        bool enters = false;
        for (int i = 0; i != 4; ++i) {
          rig.load(0);
          enters = rig.try_visit(0);
          refused = refused || !enters;
          if (i % 2 == 1) rig.unload(0);
        }
        if (!enters && rig.me().invalidations > rig.failing) Interleavings::fail("a CPU is kept out for ever");
      });
    }),
              "");
    EXPECT_TRUE(refused) << failing;
  }
}

/// With IPI and wait the interrupt may find the CPU at work on the answer to another one.
TEST(ShootdownSteps, AnInterruptInTheMiddleOfAnAnswerLosesNothing) {
  Interleavings all{1};
  using World = Rig<Presence::loaded, 1, Interruptible>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) { two_that_ask(rig, add); }), "");
  EXPECT_GT(all.runs(), 50u);
}

/// Or coming, or going, or about to ask itself.
TEST(ShootdownSteps, AnInterruptMayComeAnywhere) {
  Interleavings all{2};
  using World = Rig<Presence::loaded, 1, Interruptible>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(1);
    add([&rig] {
      rig.edit(0, 2);
      rig.edit(0, 3);
      rig.finish();
    });
    add([&rig] {
      for (int i = 0; i != 2; ++i) {
        rig.load(0);
        rig.visit(0);
        rig.unload(0);
      }
    });
  }),
            "");
  EXPECT_GT(all.runs(), 50u);
}
TEST(ShootdownSteps, AnInterruptMayFindTheCpuAsking) {
  Interleavings all{1};
  using World = Rig<Presence::loaded, 1, Interruptible>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(2);
    for (int i = 0; i != 2; ++i)
      add([&rig] {
        rig.load(0);
        rig.edit(0, 2);
        rig.visit(0);
        rig.unload(0);
      });
  }),
            "");
  EXPECT_GT(all.runs(), 50u);
}

/// With IPI and wait the table's CPUs have really invalidated when the hook returns, not only said so.
TEST(ShootdownSteps, AnAnswerComesAfterTheInvalidation) {
  Interleavings all{3};
  using World = Rig<Presence::loaded>;
  EXPECT_EQ(all.explore<World>([](World& rig, auto add) {
    rig.at_work.store(1);
    add([&rig] {
      while (rig.cpus[2].interrupts.load() == 0) Interleavings::wait();
      rig.edit(0, 2);
      if (rig.cpus[1].tlb[0] != 2) Interleavings::fail("the hook returned too early");
      rig.finish();
    });
    add([&rig] {
      rig.load(0);
      rig.cpus[2].interrupts.store(1);
      rig.stay(0);
      rig.unload(0);
    });
  }),
            "");
}

}  // namespace
}  // namespace slat::test
