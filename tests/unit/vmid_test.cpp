// VMIDs: no two VMs share one that a CPU may still know, and running VMs keep theirs.

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>
#include <vector>

#include <slat/arch/aarch64/vmid.hpp>

namespace slat::aarch64 {
namespace {

TEST(Vmid, ZeroIsNeverGivenOut) {
  VmidAllocator<1> vmids{8};
  for (int i = 0; i < 1000; ++i) {
    Vmid vm;
    (void)vmids.enter(0, vm);
    EXPECT_NE(vm.value, 0);
  }
}

TEST(Vmid, StaysWithItsVm) {
  VmidAllocator<2> vmids{8};
  Vmid vm;
  EXPECT_FALSE(vmids.enter(0, vm));
  auto const first = vm;
  vmids.leave(0);
  EXPECT_FALSE(vmids.enter(1, vm));
  EXPECT_EQ(vm, first);
}

TEST(Vmid, AVmThatNeverRanHasNothingToInvalidate) {
  VmidAllocator<1> vmids{8};
  Vmid vm;
  EXPECT_FALSE(vmids.may_be_cached(vm));
  (void)vmids.enter(0, vm);
  EXPECT_TRUE(vmids.may_be_cached(vm));
  vmids.leave(0);
  EXPECT_TRUE(vmids.may_be_cached(vm));
}

template <unsigned Bits>
void rolls_over_once_all_are_given_out() {
  VmidAllocator<2> vmids{Bits};
  std::set<std::uint16_t> given;
  std::vector<Vmid> vms((1u << Bits) - 1);
  for (auto& vm : vms) {
    ASSERT_FALSE(vmids.enter(0, vm));
    vmids.leave(0);
    given.insert(vm.value);
  }
  EXPECT_EQ(given.size(), vms.size()) << "none twice";
  Vmid one_more;
  EXPECT_TRUE(vmids.enter(0, one_more)) << "demands the invalidation";
  for (auto const& vm : vms) ASSERT_FALSE(vmids.may_be_cached(vm));
  EXPECT_FALSE(vmids.enter(1, vms[5])) << "once for all";
  EXPECT_NE(vms[5].value, one_more.value);
  EXPECT_EQ(vms[5].generation, one_more.generation);
}
TEST(Vmid, RollsOverOnceAllOf8BitsAreGivenOut) { rolls_over_once_all_are_given_out<8>(); }
TEST(Vmid, RollsOverOnceAllOf16BitsAreGivenOut) { rolls_over_once_all_are_given_out<16>(); }

TEST(Vmid, ARunningVmKeepsItsVmidAcrossARollover) {
  VmidAllocator<3> vmids{8};
  Vmid running;
  (void)vmids.enter(0, running);
  (void)vmids.enter(1, running);
  auto const value = running.value;
  std::vector<Vmid> others(600);
  for (auto& vm : others) {
    (void)vmids.enter(2, vm);
    EXPECT_NE(vm.value, value);
    EXPECT_TRUE(vmids.may_be_cached(running));
  }
  // It stops on one CPU and starts again there, in another generation, while it still runs on the other.
  vmids.leave(0);
  EXPECT_FALSE(vmids.enter(0, running));
  EXPECT_EQ(running.value, value);
  vmids.leave(0);
  for (auto& vm : others) {
    vm = {};
    (void)vmids.enter(2, vm);
    EXPECT_NE(vm.value, value);
    EXPECT_TRUE(vmids.may_be_cached(running));
  }
  EXPECT_FALSE(vmids.enter(0, running));
  EXPECT_EQ(running.value, value) << "one VM on two CPUs has one number";
}

TEST(Vmid, AVmidFromLongAgoIsNotTakenForTheOneThatIsKept) {
  VmidAllocator<2> vmids{8};
  Vmid old, filler;
  (void)vmids.enter(0, old);  // 1, in the first generation
  vmids.leave(0);
  auto const roll = [&] {
    while (!vmids.enter(1, filler = {})) {
    }
    vmids.leave(1);
  };
  roll();
  Vmid heir;
  while (heir.value != old.value) (void)vmids.enter(0, heir = {});
  roll();  // the heir runs on CPU 0 and keeps the number
  EXPECT_TRUE(vmids.may_be_cached(heir));
  EXPECT_FALSE(vmids.may_be_cached(old));
  (void)vmids.enter(1, old);
  EXPECT_NE(old.value, heir.value);
}

// Against a model of the TLBs: each CPU remembers which VM a number meant to it, until all forget.
TEST(Vmid, NoCpuEverSeesANumberMeanAnotherVm) {
  constexpr std::size_t cpus = 4;
  std::mt19937 random{7};
  VmidAllocator<cpus> vmids{8};
  std::vector<Vmid> vms(400);
  std::array<std::size_t, cpus> on{};       // the VM that a CPU runs, plus one
  std::array<std::uint16_t, cpus> vttbr{};  // under which number
  std::array<std::map<std::uint16_t, std::size_t>, cpus> tlb;
  unsigned rollovers = 0;
  for (int i = 0; i < 300'000; ++i) {
    auto const cpu = random() % cpus;
    if (random() % 3 == 0) {
      vmids.leave(cpu);
      on[cpu] = 0;
      continue;
    }
    auto const vm = random() % (random() % 8 == 0 ? vms.size() : 20);
    if (vmids.enter(cpu, vms[vm])) {
      ++rollovers;
      // What still runs fills its TLB again at once, under the number that it was given before.
      for (std::size_t other = 0; other < cpus; ++other) {
        tlb[other].clear();
        if (on[other] != 0) tlb[other][vttbr[other]] = on[other] - 1;
      }
    }
    auto const number = vms[vm].value;
    for (std::size_t other = 0; other < cpus; ++other) {
      auto const meaning = tlb[other].find(number);
      ASSERT_TRUE(meaning == tlb[other].end() || meaning->second == vm);
      if (other != cpu && on[other] == vm + 1) {
        ASSERT_EQ(vttbr[other], number) << "one VM on two CPUs has one number";
      }
    }
    on[cpu] = vm + 1;
    vttbr[cpu] = number;
    tlb[cpu][number] = vm;
    ASSERT_TRUE(vmids.may_be_cached(vms[vm]));
  }
  EXPECT_GT(rollovers, 50u);
}

}  // namespace
}  // namespace slat::aarch64
