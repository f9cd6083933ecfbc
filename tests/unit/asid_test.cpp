// ASIDs: on no CPU does one mean two virtual CPUs, nor two tables, nor the same one as it was before; what TLB_CONTROL
// is told; and how they go with shootdowns.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <map>
#include <random>
#include <set>
#include <type_traits>
#include <vector>

#include <slat/arch/x86_64/asid.hpp>
#include <slat/arch/x86_64/shootdown.hpp>

namespace slat::x86_64 {
namespace {

constexpr std::uint64_t cr3 = 0x1000, other_cr3 = 0x2000;

constexpr NptFeatures cpu_with(std::uint32_t asids, bool flush_by_asid) {
  return {.nested_paging = true, .flush_by_asid = flush_by_asid, .asids = asids};
}

// A CPU of 16 ASIDs that has run something before: its first VMRUN flushed.
AsidAllocator used(std::uint32_t cpu, bool flush_by_asid) {
  AsidAllocator asids{cpu, cpu_with(16, flush_by_asid)};
  Asid first;
  EXPECT_EQ(asids.enter(first, cr3), TlbControl::everything) << "who knows what ran before";
  return asids;
}

TEST(Asid, ZeroIsNeverGivenOutNorOneThatTheCpuLacks) {
  auto asids = used(0, true);
  for (int i = 0; i != 100; ++i) {
    Asid vcpu;
    (void)asids.enter(vcpu, cr3);
    EXPECT_NE(vcpu.value, 0u);
    EXPECT_LT(vcpu.value, 16u);
  }
}

TEST(Asid, StaysWithItsVirtualCpuAndFlushesNothing) {
  auto asids = used(0, true);
  Asid vcpu, other;
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing) << "nobody had it in this generation";
  auto const first = vcpu;
  EXPECT_EQ(asids.enter(other, cr3), TlbControl::nothing);
  EXPECT_NE(other.value, vcpu.value);
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing);
  EXPECT_EQ(vcpu, first);
}

TEST(Asid, AGenerationEndsWithAFlushOfEverything) {
  for (auto const by_asid : {false, true}) {
    AsidAllocator asids{3, cpu_with(16, by_asid)};
    std::vector<Asid> vcpus(15);
    std::set<std::uint32_t> given;
    for (auto& vcpu : vcpus) {
      ASSERT_EQ(asids.enter(vcpu, cr3), given.empty() ? TlbControl::everything : TlbControl::nothing);
      given.insert(vcpu.value);
    }
    EXPECT_EQ(given.size(), vcpus.size()) << "none twice";
    Asid one_more;
    EXPECT_EQ(asids.enter(one_more, cr3), TlbControl::everything);
    auto const old = vcpus[5];
    EXPECT_EQ(asids.enter(vcpus[5], cr3), TlbControl::nothing) << "once for all";
    EXPECT_NE(vcpus[5].generation, old.generation);
    EXPECT_NE(vcpus[5].value, one_more.value);
  }
}

TEST(Asid, AFlushIsOfOneAsidWhereTheCpuCan) {
  auto asids = used(0, true);
  Asid vcpu;
  (void)asids.enter(vcpu, cr3);
  auto const value = vcpu.value;
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::this_asid);
  EXPECT_EQ(vcpu.value, value);
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing) << "once";
}

TEST(Asid, AFlushIsAFreshAsidWhereTheCpuCannot) {
  auto asids = used(0, false);
  Asid vcpu;
  (void)asids.enter(vcpu, cr3);
  auto const value = vcpu.value;
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing);
  EXPECT_NE(vcpu.value, value);
  auto const fresh = vcpu.value;
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing);
  EXPECT_EQ(vcpu.value, fresh) << "once";
}

TEST(Asid, AVirtualCpuThatComesBackFromAnotherCpuStartsClean) {
  auto here = used(0, true), there = used(1, true);
  Asid vcpu;
  EXPECT_EQ(here.enter(vcpu, cr3), TlbControl::nothing);
  auto const before = vcpu.value;
  EXPECT_EQ(there.enter(vcpu, cr3), TlbControl::nothing);
  EXPECT_EQ(vcpu.cpu, 1u);
  EXPECT_EQ(here.enter(vcpu, cr3), TlbControl::nothing);
  EXPECT_NE(vcpu.value, before) << "what it has cached here knows nothing of what it did there";
}

TEST(Asid, AFlushThatWasOwedIsNotOwedOnAnotherCpu) {
  auto here = used(0, true), there = used(1, true);
  Asid vcpu;
  (void)here.enter(vcpu, cr3);
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(there.enter(vcpu, cr3), TlbControl::nothing) << "it has nothing there";
  EXPECT_EQ(there.enter(vcpu, cr3), TlbControl::nothing);
}

TEST(Asid, OtherNestedTablesNeedAnotherAsid) {
  auto asids = used(0, true);
  Asid vcpu;
  (void)asids.enter(vcpu, cr3);
  auto const before = vcpu.value;
  EXPECT_EQ(asids.enter(vcpu, other_cr3), TlbControl::nothing);
  auto const after = vcpu.value;
  EXPECT_NE(after, before) << "the CPU would take the one table's translations for the other's";
  EXPECT_EQ(asids.enter(vcpu, other_cr3), TlbControl::nothing);
  EXPECT_EQ(vcpu.value, after);
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing);
  EXPECT_NE(vcpu.value, after);
}

TEST(Asid, WhatAVmrunThatFailedWasToFlushIsOwedStill) {
  auto asids = used(0, true);
  Asid vcpu, other;
  (void)asids.enter(vcpu, cr3);
  (void)asids.enter(other, cr3);
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::this_asid);
  asids.start_over();
  EXPECT_EQ(asids.enter(other, cr3), TlbControl::everything) << "also for who comes first";
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::nothing);
  asids.start_over();
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::everything);
  asids.start_over();
  EXPECT_EQ(asids.enter(vcpu, cr3), TlbControl::everything) << "and again";
}

TEST(Asid, ACpuWithOneAsidFlushesAtEveryChange) {
  for (auto const count : {0u, 1u, 2u}) {
    AsidAllocator asids{0, cpu_with(count, false)};
    Asid a, b;
    EXPECT_EQ(asids.enter(a, cr3), TlbControl::everything);
    EXPECT_EQ(asids.enter(a, cr3), TlbControl::nothing);
    EXPECT_EQ(asids.enter(b, cr3), TlbControl::everything);
    EXPECT_EQ(asids.enter(a, cr3), TlbControl::everything);
    EXPECT_EQ(a.value, 1u);
  }
}

// Against a model of the TLBs: each CPU remembers, under each number, whose translations they are, of which state of
// which nested tables, and from which stay on this CPU (another CPU's stay may have changed the guest's own tables).
class Model {
 public:
  Model(unsigned seed, bool flush_by_asid) : random_{seed} {
    for (std::uint32_t cpu = 0; cpu != cpus; ++cpu) asids_.emplace_back(cpu, cpu_with(16, flush_by_asid));
    for (auto& state : states_) state.nested_cr3 = cr3;
    // What ran before was no guest of ours.
    for (auto& tlb : tlbs_)
      for (std::uint32_t i = 1; i != 16; ++i) tlb[i] = {vcpus, 0, 0, 0};
  }

  void step() {
    auto const vcpu = random_() % vcpus;
    switch (random_() % 8) {
      case 0:
        ++states_[vcpu].tables;
        AsidAllocator::flush(records_[vcpu]);
        return;
      case 2:
        if (random_() % 4 != 0) break;
        states_[vcpu].nested_cr3 ^= cr3 ^ other_cr3;
        break;
      case 1:
        if (random_() % 20 != 0) break;
        return asids_[random_() % cpus].start_over();
      default: break;
    }
    // Mostly where it was.
    auto const cpu = random_() % 4 == 0 ? random_() % cpus : homes_[vcpu];
    if (cpu != homes_[vcpu]) ++states_[vcpu].stay;
    homes_[vcpu] = cpu;
    run(cpu, vcpu);
  }
  unsigned rollovers() const { return rollovers_; }

 private:
  static constexpr std::size_t cpus = 3, vcpus = 24;
  struct Cached {
    std::size_t vcpu;
    unsigned tables, stay;
    std::uint64_t nested_cr3;
    friend bool operator==(const Cached&, const Cached&) = default;
  };

  void run(std::size_t cpu, std::size_t vcpu) {
    auto& tlb = tlbs_[cpu];
    auto const control = asids_[cpu].enter(records_[vcpu], states_[vcpu].nested_cr3);
    if (random_() % 50 == 0) return asids_[cpu].start_over();  // VMRUN failed, and flushed nothing
    auto const number = records_[vcpu].value;
    if (control == TlbControl::everything) {
      ++rollovers_;
      tlb.clear();
    }
    if (control == TlbControl::this_asid) tlb.erase(number);
    ASSERT_NE(control, TlbControl::this_asid_non_global);
    auto const now = Cached{vcpu, states_[vcpu].tables, states_[vcpu].stay, states_[vcpu].nested_cr3};
    auto const known = tlb.find(number);
    ASSERT_TRUE(known == tlb.end() || known->second == now) << "ASID " << number << " on CPU " << cpu;
    tlb[number] = now;
  }

  std::mt19937 random_;
  std::vector<AsidAllocator> asids_;
  std::array<Asid, vcpus> records_{};
  std::array<Cached, vcpus> states_{};
  std::array<std::size_t, vcpus> homes_{};
  std::array<std::map<std::uint32_t, Cached>, cpus> tlbs_;
  unsigned rollovers_ = 0;
};

TEST(Asid, NoVirtualCpuEverMeetsWhatIsNotItsOwnOrIsStale) {
  for (auto const by_asid : {false, true}) {
    Model model{11, by_asid};
    for (int i = 0; i != 200'000 && !HasFatalFailure(); ++i) model.step();
    EXPECT_GT(model.rollovers(), 1000u);
  }
}

// ---- with shootdowns ----

/// How a hypervisor puts the two together.
struct Habits {
  bool marks_one = false;   // a shootdown flushes only the ASID of the virtual CPU that is here now
  bool asid_first = false;  // it is chosen before the shootdown's enter()
};

/// CPU 0 runs two virtual CPUs of a guest in turn and keeps what they translate, by ASID. CPU 1 edits their table.
template <Presence When>
struct Guest {
  struct Machine {
    Guest* guest;
    std::size_t this_cpu() noexcept { return guest->editing ? 1 : 0; }
    bool invalidate(HostPhys) noexcept {
      if (guest->habits.marks_one)
        AsidAllocator::flush(*guest->here);
      else
        guest->asids.start_over();
      return true;
    }
    void kick(std::size_t) noexcept {}
    void relax() noexcept { guest->handle_kick(); }
  };
  static constexpr HostPhys root{cr3};

  explicit Guest(bool flush_by_asid, Habits chosen = {}) : habits{chosen}, asids{0, cpu_with(16, flush_by_asid)} {}

  Habits habits;
  AsidAllocator asids;
  Asid a, b;
  Asid* here = &a;
  bool editing = false;
  unsigned entry = 1;
  std::map<std::uint32_t, unsigned> tlb;
  Shootdown<When, Machine, 2> shootdown{Machine{this}};
  typename Shootdown<When, Machine, 2>::Hook hook = shootdown.hook();

  void switch_to(Asid& vcpu) {
    shootdown.unload(0);
    here = &vcpu;
    shootdown.load(0, root);
  }
  /// What the guest finds once it has been entered. leave() follows.
  unsigned enter() {
    auto control = TlbControl::nothing;
    if (habits.asid_first) control = asids.enter(*here, cr3);
    EXPECT_TRUE(shootdown.enter(0));
    if (!habits.asid_first) control = asids.enter(*here, cr3);
    if (control == TlbControl::everything) tlb.clear();
    if (control == TlbControl::this_asid) tlb.erase(here->value);
    return tlb.try_emplace(here->value, entry).first->second;
  }
  unsigned visit(Asid& vcpu) {
    switch_to(vcpu);
    auto const found = enter();
    shootdown.leave(0);
    return found;
  }
  void edit() {
    ++entry;
    Stale everything;
    everything.add_everything();
    editing = true;
    hook(root, everything);
    editing = false;
  }
  void handle_kick() {
    editing = false;
    shootdown.leave(0);
    shootdown.answer(0);
    editing = true;
  }
};

template <class When>
class AsidsOfAGuest : public testing::Test {
 protected:
  using Rig = Guest<When::value>;
  /// What `a` finds when it comes back after an edit that found `b` in the guest.
  static unsigned found_by_the_other(Rig& guest) {
    EXPECT_EQ(guest.visit(guest.a), 1u);
    guest.switch_to(guest.b);
    EXPECT_EQ(guest.enter(), 1u);
    guest.edit();
    guest.shootdown.leave(0);
    EXPECT_EQ(guest.visit(guest.b), 2u);
    return guest.visit(guest.a);
  }
};
using Forms = testing::Types<std::integral_constant<Presence, Presence::loaded>,
                             std::integral_constant<Presence, Presence::entered>>;
TYPED_TEST_SUITE(AsidsOfAGuest, Forms);

TYPED_TEST(AsidsOfAGuest, AreAllForgottenInAShootdownThatFindsOneOfThemInTheGuest) {
  for (auto const by_asid : {false, true}) {
    typename TestFixture::Rig guest{by_asid};
    EXPECT_EQ(this->found_by_the_other(guest), 2u);
  }
}

TYPED_TEST(AsidsOfAGuest, AreNotSafeWhereAShootdownMarksOneAlone) {
  typename TestFixture::Rig guest{true, {.marks_one = true}};
  EXPECT_EQ(this->found_by_the_other(guest), 1u) << "this is what start_over() is for";
}

TEST(AsidsOfAGuestEntered, AreChosenAfterTheShootdownHasBeenAnswered) {
  for (auto const asid_first : {false, true}) {
    Guest<Presence::entered> guest{true, {.asid_first = asid_first}};
    EXPECT_EQ(guest.visit(guest.a), 1u);
    EXPECT_EQ(guest.visit(guest.a), 1u);
    guest.edit();
    EXPECT_EQ(guest.visit(guest.a), asid_first ? 1u : 2u) << "the answer starts over, which the ASID must heed";
  }
}

}  // namespace
}  // namespace slat::x86_64
