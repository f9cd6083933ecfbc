// The hook of a VM's table on Arm, with its steps written down in place of executed: which VMID they are for, and when
// there is nothing to invalidate.

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include <slat/arch/aarch64/tlb.hpp>

namespace slat::aarch64 {
namespace {

using enum Step::What;

struct WriteDown {
  std::vector<Step>* steps;
  void operator()(const Step& step) const { steps->push_back(step); }
};

class TlbHook : public ::testing::Test {
 protected:
  static constexpr HostPhys root{0x8000'0000};
  static constexpr Features cpu{.vmid_bits = 16, .ttl = true, .tlbi_range = true};

  static Stale one_page() {
    Stale stale;
    stale.add({GuestPhys{0x4000'0000}, 4_KiB}, 0, false, false);
    return stale;
  }
  std::vector<Step> taken() { return std::exchange(steps_, {}); }
  Tlb<WriteDown> of(std::uint16_t vmid) { return {{Granule::k4, cpu}, vmid, {}, WriteDown{&steps_}}; }

 private:
  std::vector<Step> steps_;
};

TEST_F(TlbHook, AVmThatHasNoVmidYetHasItsStoresPublishedAndNothingInvalidated) {
  auto tlb = of(0);
  tlb(root, one_page());
  EXPECT_EQ(taken(), (std::vector<Step>{{dsb_ishst}}));
}

TEST_F(TlbHook, InvalidatesForTheVmidThatTheVmHasByThen) {
  constexpr std::uint16_t vmids[] = {7, 0xFFFE};
  auto tlb = of(0);
  for (auto const vmid : vmids) {
    tlb.assign(vmid);
    EXPECT_EQ(tlb.vmid(), vmid);
    auto const vttbr = std::uint64_t{vmid} << 48 | root.raw();
    tlb(root, one_page());
    EXPECT_EQ(taken(), (std::vector<Step>{{dsb_ish},
                                          {select, vttbr},
                                          {ipas2e1is, 0x0000'7000'0004'0000},
                                          {dsb_ish},
                                          {vmalle1is},
                                          {dsb_ish},
                                          {restore},
                                          {isb}}));
    tlb.forget_here(root, GuestPhys{0x4000'0123});
    EXPECT_EQ(taken().at(1), (Step{select, vttbr}));
    tlb.resolve_conflict(root);
    EXPECT_EQ(taken().at(1), (Step{select, vttbr}));
  }
}

TEST_F(TlbHook, PublishingIsOneBarrierWhateverTheVmid) {
  constexpr std::uint16_t vmids[] = {0, 7};
  for (auto const vmid : vmids) {
    auto tlb = of(vmid);
    tlb.publish();
    EXPECT_EQ(taken(), (std::vector<Step>{{dsb_ishst}}));
  }
}

TEST_F(TlbHook, ForgettingAllGuestsNeedsNoVmid) {
  of(0).forget_all_guests();
  EXPECT_EQ(taken(), (std::vector<Step>{{dsb_ish}, {alle1is}, {dsb_ish}, {isb}}));
}

}  // namespace
}  // namespace slat::aarch64
