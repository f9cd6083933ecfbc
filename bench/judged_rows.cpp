// Random calls on a few pages under the hostile MMU, beside the same calls on a table that nobody watches. The machine
// counts with floating-point numbers and has a heap: these rows are not compiled as the others are.

#include "judged_rows.hpp"

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/npt.hpp>
#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>

#include "guest.hpp"

namespace slat::bench {
namespace {

constexpr std::uint64_t calls = 2000;

/// One of replace, protect and unmap of one to four pages out of 32: most of them change the table.
template <class Table>
Result<> some_call(Table& table, testing::Random& random) {
  GuestRange const range{GuestPhys{random.below(32) * 4_KiB}, (1 + random.below(4)) * 4_KiB};
  switch (random.below(3)) {
    case 0: return table.replace(range, HostPhys{1_GiB + range.begin.raw()}, rwx);
    case 1: return table.protect(range, random.once_in(2) ? ro : rw);
    default: return table.unmap(range);
  }
}

template <class Format>
class Judged final : public GuestRow<Format> {
 public:
  explicit Judged(const Format& format) : GuestRow<Format>{format, 24}, judged_{format, {.frames = 24}} {}

  void prepare() override { shootdowns_ = judged_.recorder().shootdowns(); }
  void limit(unsigned) override { run(this->guest_.table()); }
  void subject() override {
    run(judged_);
    if (judged_.violation() != testing::Offence::none) std::abort();
  }
  Facts facts() const override { return {judged_.recorder().shootdowns() - shootdowns_, judged_.table().tables()}; }

 private:
  template <class Table>
  static void run(Table& table) {
    testing::Random random{1};
    for (std::uint64_t i = 0; i != calls; ++i) must(some_call(table, random));
  }

  mutable testing::Oracle<Format> judged_;  // it only looks
  std::uint64_t shootdowns_ = 0;
};

}  // namespace

std::vector<RowEntry> judged_rows() {
  constexpr aarch64::Features arm_cpu{
      .pa_bits = 48, .granule_4k = true, .hardware_accessed = true, .hardware_dirty = true, .xnx = true, .fwb = true};
  constexpr x86_64::NptFeatures amd_cpu{.pa_bits = 48, .nested_paging = true, .leaf_1g = true, .no_execute = true};
  auto const arm = *aarch64::Stage2<>::create(arm_cpu, {});
  auto const npt = *x86_64::Npt::create(amd_cpu, {});
  return {
      entry<Judged<aarch64::Stage2<>>>("a judged call, Arm stage 2", calls, 0, arm),
      entry<Judged<x86_64::Ept>>("a judged call, EPT", calls, 0, marking_ept()),
      entry<Judged<x86_64::Npt>>("a judged call, NPT", calls, 0, npt),
  };
}

}  // namespace slat::bench
