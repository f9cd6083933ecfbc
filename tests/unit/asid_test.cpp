// ASIDs: on no CPU does one mean two virtual CPUs, nor the same one as it was before; and what TLB_CONTROL is told.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <slat/arch/x86_64/asid.hpp>

namespace slat::x86_64 {
namespace {

constexpr NptFeatures cpu_with(std::uint32_t asids, bool flush_by_asid) {
  return {.nested_paging = true, .flush_by_asid = flush_by_asid, .asids = asids};
}

// A CPU of 16 ASIDs that has run something before: its first VMRUN flushed.
AsidAllocator used(std::uint32_t cpu, bool flush_by_asid) {
  AsidAllocator asids{cpu, cpu_with(16, flush_by_asid)};
  Asid first;
  EXPECT_EQ(asids.enter(first), TlbControl::everything) << "who knows what ran before";
  return asids;
}

TEST(Asid, ZeroIsNeverGivenOutNorOneThatTheCpuLacks) {
  auto asids = used(0, true);
  for (int i = 0; i != 100; ++i) {
    Asid vcpu;
    (void)asids.enter(vcpu);
    EXPECT_NE(vcpu.value, 0u);
    EXPECT_LT(vcpu.value, 16u);
  }
}

TEST(Asid, StaysWithItsVirtualCpuAndFlushesNothing) {
  auto asids = used(0, true);
  Asid vcpu, other;
  EXPECT_EQ(asids.enter(vcpu), TlbControl::nothing) << "nobody had it in this generation";
  auto const first = vcpu;
  EXPECT_EQ(asids.enter(other), TlbControl::nothing);
  EXPECT_NE(other.value, vcpu.value);
  EXPECT_EQ(asids.enter(vcpu), TlbControl::nothing);
  EXPECT_EQ(vcpu, first);
}

TEST(Asid, AGenerationEndsWithAFlushOfEverything) {
  for (auto const by_asid : {false, true}) {
    AsidAllocator asids{3, cpu_with(16, by_asid)};
    std::vector<Asid> vcpus(15);
    std::set<std::uint32_t> given;
    for (auto& vcpu : vcpus) {
      ASSERT_EQ(asids.enter(vcpu), given.empty() ? TlbControl::everything : TlbControl::nothing);
      given.insert(vcpu.value);
    }
    EXPECT_EQ(given.size(), vcpus.size()) << "none twice";
    Asid one_more;
    EXPECT_EQ(asids.enter(one_more), TlbControl::everything);
    auto const old = vcpus[5];
    EXPECT_EQ(asids.enter(vcpus[5]), TlbControl::nothing) << "once for all";
    EXPECT_NE(vcpus[5].generation, old.generation);
    EXPECT_NE(vcpus[5].value, one_more.value);
  }
}

TEST(Asid, AFlushIsOfOneAsidWhereTheCpuCan) {
  auto asids = used(0, true);
  Asid vcpu;
  (void)asids.enter(vcpu);
  auto const value = vcpu.value;
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(asids.enter(vcpu), TlbControl::this_asid);
  EXPECT_EQ(vcpu.value, value);
  EXPECT_EQ(asids.enter(vcpu), TlbControl::nothing) << "once";
}

TEST(Asid, AFlushIsAFreshAsidWhereTheCpuCannot) {
  auto asids = used(0, false);
  Asid vcpu;
  (void)asids.enter(vcpu);
  auto const value = vcpu.value;
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(asids.enter(vcpu), TlbControl::nothing);
  EXPECT_NE(vcpu.value, value);
  auto const fresh = vcpu.value;
  EXPECT_EQ(asids.enter(vcpu), TlbControl::nothing);
  EXPECT_EQ(vcpu.value, fresh) << "once";
}

TEST(Asid, AVirtualCpuThatComesBackFromAnotherCpuStartsClean) {
  auto here = used(0, true), there = used(1, true);
  Asid vcpu;
  EXPECT_EQ(here.enter(vcpu), TlbControl::nothing);
  auto const before = vcpu.value;
  EXPECT_EQ(there.enter(vcpu), TlbControl::nothing);
  EXPECT_EQ(vcpu.cpu, 1u);
  EXPECT_EQ(here.enter(vcpu), TlbControl::nothing);
  EXPECT_NE(vcpu.value, before) << "what it has cached here knows nothing of what it did there";
}

TEST(Asid, AFlushThatWasOwedIsNotOwedOnAnotherCpu) {
  auto here = used(0, true), there = used(1, true);
  Asid vcpu;
  (void)here.enter(vcpu);
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(there.enter(vcpu), TlbControl::nothing) << "it has nothing there";
  EXPECT_EQ(there.enter(vcpu), TlbControl::nothing);
}

TEST(Asid, WhatAVmrunThatFailedWasToFlushIsOwedStill) {
  auto asids = used(0, true);
  Asid vcpu, other;
  (void)asids.enter(vcpu);
  (void)asids.enter(other);
  AsidAllocator::flush(vcpu);
  EXPECT_EQ(asids.enter(vcpu), TlbControl::this_asid);
  asids.start_over();
  EXPECT_EQ(asids.enter(other), TlbControl::everything) << "also for who comes first";
  EXPECT_EQ(asids.enter(vcpu), TlbControl::nothing);
  asids.start_over();
  EXPECT_EQ(asids.enter(vcpu), TlbControl::everything);
  asids.start_over();
  EXPECT_EQ(asids.enter(vcpu), TlbControl::everything) << "and again";
}

TEST(Asid, ACpuWithOneAsidFlushesAtEveryChange) {
  for (auto const count : {0u, 1u, 2u}) {
    AsidAllocator asids{0, cpu_with(count, false)};
    Asid a, b;
    EXPECT_EQ(asids.enter(a), TlbControl::everything);
    EXPECT_EQ(asids.enter(a), TlbControl::nothing);
    EXPECT_EQ(asids.enter(b), TlbControl::everything);
    EXPECT_EQ(asids.enter(a), TlbControl::everything);
    EXPECT_EQ(a.value, 1u);
  }
}

// Against a model of the TLBs: each CPU remembers, under each number, whose translations they are, of which state of
// the nested tables, and from which stay on this CPU (another CPU's stay may have changed the guest's own tables).
class Model {
 public:
  Model(unsigned seed, bool flush_by_asid) : random_{seed} {
    for (std::uint32_t cpu = 0; cpu != cpus; ++cpu) asids_.emplace_back(cpu, cpu_with(16, flush_by_asid));
    // What ran before was no guest of ours.
    for (auto& tlb : tlbs_)
      for (std::uint32_t i = 1; i != 16; ++i) tlb[i] = {vcpus, 0, 0};
  }

  void step() {
    auto const vcpu = random_() % vcpus;
    switch (random_() % 8) {
      case 0:
        ++states_[vcpu].tables;
        AsidAllocator::flush(records_[vcpu]);
        return;
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
    friend bool operator==(const Cached&, const Cached&) = default;
  };

  void run(std::size_t cpu, std::size_t vcpu) {
    auto& tlb = tlbs_[cpu];
    auto const control = asids_[cpu].enter(records_[vcpu]);
    if (random_() % 50 == 0) return asids_[cpu].start_over();  // VMRUN failed, and flushed nothing
    auto const number = records_[vcpu].value;
    if (control == TlbControl::everything) {
      ++rollovers_;
      tlb.clear();
    }
    if (control == TlbControl::this_asid) tlb.erase(number);
    ASSERT_NE(control, TlbControl::this_asid_non_global);
    auto const now = Cached{vcpu, states_[vcpu].tables, states_[vcpu].stay};
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

}  // namespace
}  // namespace slat::x86_64
