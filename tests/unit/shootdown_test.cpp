// Shootdowns by hand: who is asked, who starts clean, what a failed invalidation leads to, and what one edit costs.
// Their races are shootdown_steps_test.cpp's and shootdown_threads_test.cpp's.

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <vector>

#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/shootdown.hpp>
#include <slat/arch/x86_64/vmx_verdict.hpp>
#include <slat/mm/backends.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>
#include <slat/mm/page_table.hpp>

#include "hv/counted_hook.hpp"
#include "hv/x86_64/counted_machine.hpp"

namespace slat::x86_64 {
namespace {

constexpr std::size_t cpu_count = 4;
constexpr HostPhys root{0x1000}, other_root{0x2000};

/// CPUs that this thread plays in turn.
struct Played {
  std::size_t self = 0;
  std::array<unsigned, cpu_count> invalidations{}, kicks{};
  bool fails = false;
  unsigned turns = 0;
  std::function<void()> while_waiting = [] { ADD_FAILURE() << "nobody had to be waited for"; };
  std::function<void()> when_invalidating = [] {};
};
struct Machine {
  Played* played;
  std::size_t this_cpu() noexcept { return played->self; }
  bool invalidate(HostPhys) noexcept {
    played->when_invalidating();
    ++played->invalidations[played->self];
    return !played->fails;
  }
  void kick(std::size_t cpu) noexcept { ++played->kicks[cpu]; }
  void relax() noexcept {
    if (++played->turns == 1000) {
      std::fputs("a CPU waits for ever\n", stderr);
      std::abort();
    }
    played->while_waiting();
  }
};

template <Presence When>
struct Rig {
  using Shootdowns = Shootdown<When, Machine, cpu_count>;
  Played played;
  Shootdowns shootdown{Machine{&played}};
  typename Shootdowns::Hook hook = shootdown.hook();

  template <class What>
  auto on(std::size_t cpu, What what) {
    auto const self = std::exchange(played.self, cpu);
    struct Back {
      std::size_t& now;
      std::size_t before;
      ~Back() { now = before; }
    } const back{played.self, self};
    return what();
  }
  void shoot() {
    Stale stale;
    stale.add({GuestPhys{0}, 0x1000}, 0, false, true);
    hook(root, stale);
  }
  void load(std::size_t cpu, HostPhys what = root) {
    on(cpu, [&] { shootdown.load(cpu, what); });
  }
  bool enter(std::size_t cpu) {
    return on(cpu, [&] { return shootdown.enter(cpu); });
  }
  bool visit(std::size_t cpu) {
    auto const entered = enter(cpu);
    shootdown.leave(cpu);
    return entered;
  }
  /// Those who were kicked leave the guest, have the interrupt's handler run, and come back.
  void answer_kicks() {
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu)
      if (played.kicks[cpu] != 0)
        on(cpu, [&] {
          shootdown.leave(cpu);
          shootdown.answer(cpu);
          (void)shootdown.enter(cpu);
        });
  }
  unsigned kicks() const { return sum(played.kicks); }
  unsigned invalidations() const { return sum(played.invalidations); }
  static unsigned sum(const std::array<unsigned, cpu_count>& each) {
    unsigned total = 0;
    for (auto const one : each) total += one;
    return total;
  }
};

static_assert(InvalidationHook<Rig<Presence::loaded>::Shootdowns::Hook>);
static_assert(InvalidationHook<hv::CountedHook<Rig<Presence::entered>::Shootdowns::Hook>>);

template <class When>
class ShootdownByHand : public testing::Test, public Rig<When::value> {};
using Loaded = std::integral_constant<Presence, Presence::loaded>;
using Entered = std::integral_constant<Presence, Presence::entered>;
struct FormName {
  template <class When>
  static std::string GetName(int) {
    return When::value == Presence::loaded ? "Loaded" : "Entered";
  }
};
using Forms = testing::Types<Loaded, Entered>;
TYPED_TEST_SUITE(ShootdownByHand, Forms, FormName);

TYPED_TEST(ShootdownByHand, WhereNoCpuHasTheRootNobodyIsInterruptedOrWaitedFor) {
  this->shoot();
  EXPECT_EQ(this->kicks(), 0u);
  EXPECT_EQ(this->invalidations(), 0u);
}

TYPED_TEST(ShootdownByHand, ACpuThatHasNeverHadTheRootStartsClean) {
  // It may know another guest's table, long gone, whose root was at this address.
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->played.invalidations[1], 1u);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->invalidations(), 1u) << "once";
}

TYPED_TEST(ShootdownByHand, ACpuThatWasAwayStartsCleanIfItMissedSomething) {
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  this->shootdown.unload(1);
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->invalidations(), 1u) << "it missed nothing";
  this->shootdown.unload(1);
  this->shoot();
  EXPECT_EQ(this->kicks(), 0u);
  EXPECT_EQ(this->invalidations(), 1u);
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->invalidations(), 2u);
}

TYPED_TEST(ShootdownByHand, AGuestThatMovesToAnotherCpuAndBackFindsNothingOld) {
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  this->shootdown.unload(1);
  this->load(2);
  EXPECT_TRUE(this->enter(2));
  this->played.while_waiting = [this] { this->answer_kicks(); };
  this->shoot();
  this->shootdown.leave(2);
  this->shootdown.unload(2);
  EXPECT_EQ(this->played.kicks, (std::array<unsigned, cpu_count>{0, 0, 1, 0})) << "only where it is";
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->played.invalidations[1], 2u);
}

TYPED_TEST(ShootdownByHand, AnotherRootStartsClean) {
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  this->shootdown.unload(1);
  this->load(1, other_root);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->invalidations(), 2u);
}

TYPED_TEST(ShootdownByHand, WhoeverMissedManyInvalidatesOnce) {
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  this->shootdown.unload(1);
  for (int i = 0; i != 10; ++i) this->shoot();
  this->load(1);
  EXPECT_TRUE(this->visit(1));
  EXPECT_EQ(this->invalidations(), 2u);
}

TYPED_TEST(ShootdownByHand, ACpuBeyondTheLastMayAskAndDoesNotEnter) {
  // Ones would pass for its presence, if it were looked for there.
  std::array<std::uint64_t, 64> before;
  before.fill(1);
  this->played.when_invalidating = [] { ADD_FAILURE() << "it has nothing to answer"; };
  struct {
    typename TestFixture::Shootdowns shootdown;
    std::array<std::uint64_t, 64> behind;
  } both{typename TestFixture::Shootdowns{Machine{&this->played}}, before};
  for (auto const cpu : {cpu_count, cpu_count + 2}) {
    this->on(cpu, [&] { both.shootdown.load(cpu, root); });
    EXPECT_FALSE(this->on(cpu, [&] { return both.shootdown.enter(cpu); }));
    both.shootdown.answer(cpu);
    both.shootdown.leave(cpu);
    both.shootdown.unload(cpu);
    EXPECT_EQ(both.behind, before);
    this->on(cpu, [&] { both.shootdown.hook()(root, Stale{}); });
  }
}

TYPED_TEST(ShootdownByHand, ACpuWhoseInvalidationFailsDoesNotEnterUntilOneSucceeds) {
  this->played.fails = true;
  this->load(1);
  EXPECT_FALSE(this->visit(1));
  this->shoot();
  EXPECT_EQ(this->kicks(), 0u) << "it is outside and stays there: nobody waits for it";
  this->load(1);
  EXPECT_FALSE(this->visit(1));
  this->played.fails = false;
  this->load(1);
  EXPECT_TRUE(this->visit(1));
}

TYPED_TEST(ShootdownByHand, ACpuWhoseInvalidationFailsWhenItIsAskedIsNotWaitedForAndDoesNotEnterAgain) {
  this->load(1);
  EXPECT_TRUE(this->enter(1));
  this->played.fails = true;
  this->played.while_waiting = [this] { this->answer_kicks(); };
  this->shoot();
  EXPECT_EQ(this->played.kicks[1], 1u);
  EXPECT_FALSE(this->enter(1));
}

TEST(ShootdownLoaded, TheCpuThatAsksInvalidatesForItselfAtOnce) {
  Rig<Presence::loaded> rig;
  rig.load(0);
  EXPECT_EQ(rig.played.invalidations[0], 1u);
  rig.shoot();
  EXPECT_EQ(rig.played.invalidations[0], 2u);
  EXPECT_EQ(rig.kicks(), 0u);
}

TEST(ShootdownEntered, ACpuInTheHypervisorIsNotAskedAndInvalidatesBeforeItsNextEntry) {
  Rig<Presence::entered> rig;
  for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) {
    rig.load(cpu);
    EXPECT_TRUE(rig.visit(cpu));
  }
  rig.shoot();
  EXPECT_EQ(rig.kicks(), 0u);
  EXPECT_EQ(rig.invalidations(), cpu_count);
  for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) EXPECT_TRUE(rig.visit(cpu));
  EXPECT_EQ(rig.invalidations(), 2 * cpu_count);
}

TEST(ShootdownEntered, ACpuThatHasLeftNeedNotAnswer) {
  Rig<Presence::entered> rig;
  rig.load(1);
  EXPECT_TRUE(rig.enter(1));
  rig.played.while_waiting = [&rig] { rig.shootdown.leave(1); };
  rig.shoot();
  EXPECT_EQ(rig.played.kicks[1], 1u);
  EXPECT_EQ(rig.played.invalidations[1], 1u) << "before its next entry is early enough";
  EXPECT_TRUE(rig.enter(1));
  EXPECT_EQ(rig.played.invalidations[1], 2u);
}

// ---- with a table ----

template <class When>
class ShootdownOfATable : public testing::Test, public Rig<When::value> {
 protected:
  using Counted = hv::CountedMachine<Machine>;
  using Shootdowns = Shootdown<When::value, Counted, cpu_count>;
  using Hook = hv::CountedHook<typename Shootdowns::Hook>;
  using Table = PageTable<Ept, FramePool, Hook>;

  void SetUp() override {
    for (std::size_t cpu = 1; cpu != cpu_count; ++cpu) {
      this->played.self = cpu;
      shootdowns.load(cpu, table.root());
      ASSERT_TRUE(shootdowns.enter(cpu));
    }
    this->played.self = 0;
    this->played.while_waiting = [this] {
      for (std::size_t cpu = 1; cpu != cpu_count; ++cpu) {
        this->played.self = cpu;
        shootdowns.leave(cpu);
        shootdowns.answer(cpu);
        EXPECT_TRUE(shootdowns.enter(cpu));
      }
      this->played.self = 0;
    };
    counts.instructions = 0;
  }
  void TearDown() override {
    for (std::size_t cpu = 1; cpu != cpu_count; ++cpu) {
      shootdowns.leave(cpu);
      shootdowns.unload(cpu);
    }
  }

  hv::InvalidationCounts counts;
  std::vector<std::byte> memory = std::vector<std::byte>(4 << 20);
  FramePool pool{memory, HostPhys{0x10'0000}};
  Shootdowns shootdowns{Counted{Machine{&this->played}, counts}};
  Table table = *Table::create(*Ept::create({.leaf_2m = true}, {}), pool, Hook{shootdowns.hook(), counts});
};
TYPED_TEST_SUITE(ShootdownOfATable, Forms, FormName);

TYPED_TEST(ShootdownOfATable, ProtectingAWholeGuestIsOneRound) {
  MemorySet<Attr, typename TestFixture::Table, Backends<typename TestFixture::Table, PageSource<FramePool>>> guest;
  // 1 GiB and some pages more, so that leaves of two sizes are among them.
  GuestRange const ram{GuestPhys{0x4000'0000}, 1_GiB + 48_KiB};
  ASSERT_TRUE(guest.map({ram.begin, ram.size, rwx, Linear{HostPhys{0x8'0000'0000}}}, this->table));
  EXPECT_EQ(this->counts.shootdowns, 0u) << "there was nothing";
  ASSERT_TRUE(guest.protect(
      ram.begin, ram.size, [](Attr a) { return a - Prot::w; }, this->table));
  EXPECT_EQ(this->counts.shootdowns, 1u);
  EXPECT_EQ(this->counts.interrupts, cpu_count - 1) << "each of the others once";
  EXPECT_EQ(this->played.kicks, (std::array<unsigned, cpu_count>{0, 1, 1, 1}));
  EXPECT_EQ(this->counts.instructions, cpu_count - 1) << "and each invalidated once";
  EXPECT_GT(this->played.turns, 0u) << "and was waited for";
  ASSERT_TRUE(guest.clear(this->table));
  EXPECT_EQ(this->counts.shootdowns, 2u);
}

TYPED_TEST(ShootdownOfATable, NoFrameIsReleasedBeforeTheLastCpuHasAnswered) {
  GuestRange const page{GuestPhys{0x4000'0000}, 4_KiB};
  ASSERT_TRUE(this->table.map(page, HostPhys{0x8'0000'0000}, rwx));
  auto const used = this->pool.used();
  unsigned seen = 0;
  this->played.when_invalidating = [&] {
    EXPECT_EQ(this->pool.used(), used);
    ++seen;
  };
  ASSERT_TRUE(this->table.unmap(page));
  EXPECT_EQ(seen, cpu_count - 1);
  EXPECT_EQ(this->pool.used(), 1u) << "the root";
  this->played.when_invalidating = [] {};
}

TYPED_TEST(ShootdownOfATable, RightsThatGrowInterruptNobody) {
  GuestRange const page{GuestPhys{0x4000'0000}, 4_KiB};
  ASSERT_TRUE(this->table.map(page, HostPhys{0x8'0000'0000}, ro));
  ASSERT_TRUE(this->table.protect(page, rwx));
  EXPECT_EQ(this->counts.shootdowns, 0u);
  EXPECT_EQ(this->counts.interrupts, 0u);
}

/// A CPU that keeps what it has translated, by root and nothing else, until it is told to drop it.
template <Presence When>
struct RootsAgain {
  struct OwnMachine {
    std::map<std::uint64_t, HostPhys>* tlb;
    std::size_t this_cpu() noexcept { return 0; }
    bool invalidate(HostPhys of) noexcept {
      tlb->erase(of.raw());
      return true;
    }
    void kick(std::size_t) noexcept {}
    void relax() noexcept {}
  };
  using Shootdowns = Shootdown<When, OwnMachine, 1>;
  using Table = PageTable<Ept, FramePool, typename Shootdowns::Hook>;

  static constexpr GuestRange page{GuestPhys{0x4000'0000}, 4_KiB};
  std::map<std::uint64_t, HostPhys> tlb;
  std::vector<std::byte> memory = std::vector<std::byte>(1 << 20);
  FramePool pool{memory, HostPhys{0x10'0000}};
  // Two guests' places: whoever comes takes the one that is free.
  Shootdowns first{OwnMachine{&tlb}}, second{OwnMachine{&tlb}};

  Table table(Shootdowns& shootdowns) {
    return *Table::create(*Ept::create({.leaf_2m = true}, {}), pool, shootdowns.hook());
  }
  /// What the guest finds in the page.
  HostPhys visit(Shootdowns& shootdowns, const Table& table) {
    shootdowns.load(0, table.root());
    EXPECT_TRUE(shootdowns.enter(0));
    auto const found = use(table);
    shootdowns.leave(0);
    shootdowns.unload(0);
    return found;
  }
  HostPhys use(const Table& table) {
    auto const known = tlb.find(table.root().raw());
    if (known != tlb.end()) return known->second;
    auto const here = table.query(page.begin);
    if (here.kind != Kind::leaf) return {};
    return tlb[table.root().raw()] = here.host_of(page.begin);
  }
};

template <class When>
class ShootdownOfRoots : public testing::Test, public RootsAgain<When::value> {};
TYPED_TEST_SUITE(ShootdownOfRoots, Forms, FormName);

TYPED_TEST(ShootdownOfRoots, ANewTableStartsCleanAlsoWhereTheLastOneWasInTheSamePlaceWithTheSameRoot) {
  auto& rig = *this;
  HostPhys where;
  {
    // It never has an entry, so it dies without a shootdown.
    auto const table = rig.table(rig.first);
    where = table.root();
    EXPECT_EQ(rig.visit(rig.first, table), HostPhys{});
  }
  {
    auto table = rig.table(rig.second);
    ASSERT_EQ(table.root(), where);
    ASSERT_TRUE(table.map(rig.page, HostPhys{0x8'0000'0000}, rwx));
    EXPECT_EQ(rig.visit(rig.second, table), HostPhys{0x8'0000'0000});
  }
  auto table = rig.table(rig.first);
  ASSERT_EQ(table.root(), where);
  ASSERT_TRUE(table.map(rig.page, HostPhys{0x9'0000'0000}, rwx));
  EXPECT_EQ(rig.visit(rig.first, table), HostPhys{0x9'0000'0000});
}

TYPED_TEST(ShootdownOfRoots, AlsoWhereTheLastOneDiedWhileItsRootWasLoaded) {
  auto& rig = *this;
  {
    auto table = rig.table(rig.first);
    ASSERT_TRUE(table.map(rig.page, HostPhys{0x7'0000'0000}, rwx));
    EXPECT_EQ(rig.visit(rig.first, table), HostPhys{0x7'0000'0000});
    rig.first.load(0, table.root());
  }
  rig.first.unload(0);
  {
    auto table = rig.table(rig.second);
    ASSERT_TRUE(table.map(rig.page, HostPhys{0x8'0000'0000}, rwx));
    EXPECT_EQ(rig.visit(rig.second, table), HostPhys{0x8'0000'0000});
  }
  auto table = rig.table(rig.first);
  ASSERT_TRUE(table.map(rig.page, HostPhys{0x9'0000'0000}, rwx));
  EXPECT_EQ(rig.visit(rig.first, table), HostPhys{0x9'0000'0000});
}

// ---- INVEPT ----

/// What CPUs answer to the types that they are given, in order.
struct Answers {
  std::vector<VmxVerdict> left;
  std::vector<std::uint64_t> types{};
  InveptDescriptor last{};

  VmxVerdict operator()(std::uint64_t type, const InveptDescriptor& descriptor) {
    types.push_back(type);
    last = descriptor;
    auto const verdict = left.at(types.size() - 1);
    return verdict;
  }
};
constexpr InveptDescriptor descriptor{0x1000'001E, 0};

TEST(Invept, IsEnoughWhenItSucceeds) {
  Answers cpu{{VmxVerdict::succeeded}};
  EXPECT_TRUE(forget_eptp(cpu, 1, descriptor));
  EXPECT_EQ(cpu.types, (std::vector<std::uint64_t>{1}));
  EXPECT_EQ(cpu.last, descriptor);
}

TEST(Invept, ThatFailsIsFollowedByOneForAllGuests) {
  for (auto const failed : {VmxVerdict::failed_invalid, VmxVerdict::failed_valid}) {
    Answers cpu{{failed, VmxVerdict::succeeded}};
    EXPECT_TRUE(forget_eptp(cpu, 1, descriptor));
    EXPECT_EQ(cpu.types, (std::vector<std::uint64_t>{1, 2}));
    EXPECT_EQ(cpu.last, InveptDescriptor{}) << "which names no EPTP that could be refused";
  }
}

TEST(Invept, ThatFailsForAllGuestsTooIsAFailure) {
  Answers cpu{{VmxVerdict::failed_valid, VmxVerdict::failed_valid}};
  EXPECT_FALSE(forget_eptp(cpu, 1, descriptor));
}

TEST(VmxVerdicts, AreReadFromCarryAndZero) {
  EXPECT_EQ(vmx_verdict(false, false), VmxVerdict::succeeded);
  EXPECT_EQ(vmx_verdict(true, false), VmxVerdict::failed_invalid);
  EXPECT_EQ(vmx_verdict(false, true), VmxVerdict::failed_valid);
}

}  // namespace
}  // namespace slat::x86_64
