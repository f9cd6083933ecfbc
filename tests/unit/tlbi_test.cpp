// From a Stale to TLBI operands and barriers: what is covered, in which order, with how many instructions.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include <slat/arch/aarch64/tlbi.hpp>

namespace slat::aarch64 {
namespace {

using enum Step::What;

constexpr Features old_cpu{};
constexpr Features with_ttl{.ttl = true};
constexpr Features with_ranges{.ttl = true, .tlbi_range = true};
constexpr std::uint64_t vttbr = 0x0007'0000'8000'0000;

// The operands read back from the architecture's description of their fields, not with the library's functions.
struct Reach {
  std::uint64_t begin;
  std::uint64_t size;  // of one page, for an operation without a range
  unsigned hint;       // Arm's level, 0 for none
};
unsigned page_shift(std::uint64_t size_code) { return size_code == 1 ? 12 : size_code == 2 ? 14 : 16; }

Reach reach(Granule granule, const Step& step) {
  auto const op = step.operand;
  if (step.what == ripas2e1is) {
    auto const shift = page_shift(op >> 46 & 3);
    EXPECT_EQ(shift, page_bits(granule));
    auto const num = op >> 39 & 31, scale = op >> 44 & 3;
    return {(op & 0x1F'FFFF'FFFF) << shift, (num + 1) << (5 * scale + 1) << shift, static_cast<unsigned>(op >> 37 & 3)};
  }
  EXPECT_EQ(step.what, ipas2e1is);
  EXPECT_EQ(op >> 48, 0u);
  auto const ttl = static_cast<unsigned>(op >> 44 & 15);
  if (ttl != 0) {
    EXPECT_EQ(page_shift(ttl >> 2), page_bits(granule));
  }
  return {(op & 0xFF'FFFF'FFFF) << 12, 1ull << page_bits(granule), ttl & 3};
}

Stale::Range pages(Granule granule, std::uint64_t begin, std::uint64_t count, Level level = Stale::unknown_level,
                   bool tables = false) {
  return {{GuestPhys{begin}, count << page_bits(granule)}, level, tables};
}

std::vector<Step> lowered(Granule granule, const Features& cpu, const Stale::Range& range) {
  std::vector<Step> steps;
  lower_range({granule, cpu}, range, [&](const Step& step) { steps.push_back(step); });
  return steps;
}

// The whole family of sizes, none left out: each is covered from its first page to its last, by few operations, without
// a gap and without a page more.
TEST(TlbiRange, CoversEveryCountOfPagesExactly) {
  constexpr std::uint64_t begin = 0x4000'0000;
  constexpr TlbiTarget target{Granule::k4, with_ranges};
  for (std::uint64_t count = 1; count <= 4ull << 21; ++count) {
    auto at = begin;
    std::uint64_t operations = 0;
    auto sound = true;
    lower_range(target, pages(Granule::k4, begin, count), [&](const Step& s) {
      auto const base = s.what == ripas2e1is ? (s.operand & 0x1F'FFFF'FFFF) << 12 : (s.operand & 0xFF'FFFF'FFFF) << 12;
      auto const num = s.operand >> 39 & 31, scale = s.operand >> 44 & 3;
      sound = sound && base == at && (s.what == ripas2e1is || s.what == ipas2e1is);
      at += (s.what == ripas2e1is ? (num + 1) << (5 * scale + 1) : 1) << 12;
      ++operations;
    });
    ASSERT_TRUE(sound && at == begin + (count << 12)) << count;
    ASSERT_LE(operations, lowered_count(target, pages(Granule::k4, begin, count))) << count;
    ASSERT_LE(operations, 4 + 4u) << count;
  }
}

TEST(TlbiRange, TheLargestOperationIsEightGibibytesOf4K) {
  // Linux once encoded this one as 1 GiB.
  auto const steps = lowered(Granule::k4, with_ranges, pages(Granule::k4, 0, 1ull << 21));
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(steps[0], (Step{ripas2e1is, 0x0000'7F80'0000'0000}));
  EXPECT_EQ(reach(Granule::k4, steps[0]).size, 8_GiB);
}

TEST(TlbiRange, AnOddPageGetsItsOwnOperation) {
  auto const one = lowered(Granule::k4, with_ranges, pages(Granule::k4, 0x4000'0000, 1, 0));
  EXPECT_EQ(one, (std::vector<Step>{{ipas2e1is, 0x0000'7000'0004'0000}}));
  auto const three = lowered(Granule::k4, with_ranges, pages(Granule::k4, 0x4000'0000, 3, 0));
  EXPECT_EQ(three, (std::vector<Step>{{ripas2e1is, 0x0000'4060'0004'0000}, {ipas2e1is, 0x0000'7000'0004'0002}}));
}

TEST(TlbiRange, WithALevelHintEveryOperationBeginsAndEndsAtALeaf) {
  for (auto granule : {Granule::k4, Granule::k16, Granule::k64}) {
    for (Level level = 1; level <= (granule == Granule::k4 ? 2u : 1u); ++level) {
      auto const leaf_pages = 1ull << (level * (page_bits(granule) - 3));
      auto const leaf_size = leaf_pages << page_bits(granule);
      for (std::uint64_t leaves = 1; leaves <= 3000; ++leaves) {
        auto at = 5 * leaf_size;
        for (auto const& step : lowered(granule, with_ranges, pages(granule, at, leaves * leaf_pages, level))) {
          auto const r = reach(granule, step);
          ASSERT_EQ(step.what, ripas2e1is);
          ASSERT_EQ(r.begin, at);
          ASSERT_EQ(r.begin % leaf_size, 0u);
          ASSERT_EQ(r.size % leaf_size, 0u);
          ASSERT_EQ(r.hint, 3 - level);
          at += r.size;
        }
        ASSERT_EQ(at, (5 + leaves) * leaf_size);
      }
    }
  }
}

TEST(TlbiSingle, OneForEachLeafOfKnownLevelWithTheHint) {
  auto const steps = lowered(Granule::k4, with_ttl, pages(Granule::k4, 0x4020'0000, 3 * 512, 1));
  EXPECT_EQ(steps, (std::vector<Step>{{ipas2e1is, 0x0000'6000'0004'0200},
                                      {ipas2e1is, 0x0000'6000'0004'0400},
                                      {ipas2e1is, 0x0000'6000'0004'0600}}));
  // 16K pages count as 10 in the hint and 64K as 11; the address is always in units of 4K.
  EXPECT_EQ(lowered(Granule::k16, with_ttl, pages(Granule::k16, 0x4000'4000, 1, 0)),
            (std::vector<Step>{{ipas2e1is, 0x0000'B000'0004'0004}}));
  EXPECT_EQ(lowered(Granule::k64, with_ttl, pages(Granule::k64, 0x4001'0000, 1, 0)),
            (std::vector<Step>{{ipas2e1is, 0x0000'F000'0004'0010}}));
}

TEST(TlbiSingle, OneForEachPageWhereLeavesWereOfSeveralSizes) {
  for (auto granule : {Granule::k4, Granule::k16, Granule::k64}) {
    auto const steps = lowered(granule, with_ttl, pages(granule, 0x4000'0000, 100));
    ASSERT_EQ(steps.size(), 100u);
    for (std::uint64_t i = 0; i < 100; ++i) {
      auto const r = reach(granule, steps[i]);
      EXPECT_EQ(r.begin, 0x4000'0000 + (i << page_bits(granule)));
      EXPECT_EQ(r.hint, 0u);
    }
  }
}

TEST(TlbiHint, IsNotGivenForTablesNorByACpuWithoutIt) {
  for (auto const& cpu : {with_ttl, with_ranges}) {
    for (auto const& step : lowered(Granule::k4, cpu, pages(Granule::k4, 0x4020'0000, 513, 0, true)))
      EXPECT_EQ(reach(Granule::k4, step).hint, 0u);
  }
  // A table unlinked at a level whose leaves were blocks: every page of the span is named all the same.
  EXPECT_EQ(lowered(Granule::k4, with_ttl, pages(Granule::k4, 0x4020'0000, 512, 1, true)).size(), 512u);
  for (auto const& step : lowered(Granule::k4, old_cpu, pages(Granule::k4, 0x4020'0000, 1024, 1)))
    EXPECT_EQ(reach(Granule::k4, step).hint, 0u);
  EXPECT_EQ(lowered(Granule::k4, old_cpu, pages(Granule::k4, 0x4020'0000, 1024, 1)).size(), 2u);
}

TEST(TlbiHighAddresses, KeepTheirUpperBits) {
  constexpr std::uint64_t last = 0xFFFF'FFFF'0000;
  for (auto const& cpu : {with_ttl, with_ranges})
    for (auto const& step : lowered(Granule::k64, cpu, pages(Granule::k64, last, 1, 0)))
      EXPECT_EQ(reach(Granule::k64, step).begin, last);
  auto const steps = lowered(Granule::k4, with_ranges, pages(Granule::k4, 0xFFFF'FFE0'0000, 512, 1));
  ASSERT_EQ(steps.size(), 1u);
  EXPECT_EQ(reach(Granule::k4, steps[0]).begin, 0xFFFF'FFE0'0000u);
}

std::vector<Step> shot(const Features& cpu, const Stale& stale, const TlbiOptions& options = {}) {
  std::vector<Step> steps;
  shootdown({Granule::k4, cpu}, options, vttbr, stale, [&](const Step& step) { steps.push_back(step); });
  return steps;
}
Stale one_page() {
  Stale stale;
  stale.add({GuestPhys{0x4000'0000}, 4_KiB}, 0, false, false);
  return stale;
}
Stale two_pages() {
  auto stale = one_page();
  stale.add({GuestPhys{0x8000'0000}, 4_KiB}, 0, false, false);
  return stale;
}
Stale everything() {
  Stale stale;
  stale.add_everything();
  return stale;
}
Stale a_table() {
  Stale stale;
  stale.add({GuestPhys{0x4020'0000}, 2_MiB}, Stale::unknown_level, true, false);
  return stale;
}

TEST(Shootdown, OfLeavesDropsStage2EntriesThenCombinedOnes) {
  EXPECT_EQ(shot(with_ranges, two_pages()), (std::vector<Step>{{dsb_ish},
                                                               {select, vttbr},
                                                               {ipas2e1is, 0x0000'7000'0004'0000},
                                                               {ipas2e1is, 0x0000'7000'0008'0000},
                                                               {dsb_ish},
                                                               {vmalle1is},
                                                               {dsb_ish},
                                                               {restore},
                                                               {isb}}));
}

TEST(Shootdown, OfATableNamesItsWholeSpanWithoutAHint) {
  EXPECT_EQ(shot(with_ranges, a_table()), (std::vector<Step>{{dsb_ish},
                                                             {select, vttbr},
                                                             {ripas2e1is, 0x0000'5380'0004'0200},
                                                             {dsb_ish},
                                                             {vmalle1is},
                                                             {dsb_ish},
                                                             {restore},
                                                             {isb}}));
  auto const singles = shot(old_cpu, a_table());
  EXPECT_EQ(std::count_if(singles.begin(), singles.end(), [](auto& step) { return step.what == ipas2e1is; }), 512);
}

std::vector<Step> const whole_vmid{{dsb_ish}, {select, vttbr}, {vmalls12e1is}, {dsb_ish}, {restore}, {isb}};

TEST(Shootdown, OfEverythingIsOneOperation) {
  for (auto const& cpu : {old_cpu, with_ttl, with_ranges}) EXPECT_EQ(shot(cpu, everything()), whole_vmid);
}

TEST(Shootdown, OfTablesIsOneOperationWhereTheUserPrefersIt) {
  EXPECT_EQ(shot(with_ranges, a_table(), {.tables_by_vmid = true}), whole_vmid);
  EXPECT_NE(shot(with_ranges, one_page(), {.tables_by_vmid = true}), whole_vmid);
}

TEST(Shootdown, PastTheThresholdIsOneOperation) {
  Stale stale;
  stale.add({GuestPhys{0}, 512 * 4_KiB}, 0, false, false);
  EXPECT_EQ(shot(old_cpu, stale).size(), 512 + 7u);
  stale.add({GuestPhys{1_GiB}, 4_KiB}, 0, false, false);
  EXPECT_EQ(shot(old_cpu, stale), whole_vmid);
  EXPECT_EQ(shot(with_ranges, stale).size(), 2 + 7u);
  EXPECT_EQ(shot(old_cpu, two_pages(), {.most = 1}), whole_vmid);
  // A leaf of 1 GiB is one operation.
  Stale block;
  block.add({GuestPhys{1_GiB}, 1_GiB}, 2, false, false);
  EXPECT_EQ(shot(old_cpu, block, {.most = 1}).size(), 1 + 7u);
}

TEST(Shootdown, OfAHugeRangeIsDecidedWithoutCountingIt) {
  Stale stale;
  stale.add({GuestPhys{0}, 1ull << 48}, Stale::unknown_level, false, false);
  EXPECT_EQ(shot(old_cpu, stale), whole_vmid);
  EXPECT_EQ(shot(with_ranges, stale), whole_vmid);
}

TEST(Shootdown, CanRepeatItsLastInvalidation) {
  auto const leaves = shot(with_ranges, one_page(), {.repeat_last = true});
  EXPECT_EQ(leaves, (std::vector<Step>{{dsb_ish},
                                       {select, vttbr},
                                       {ipas2e1is, 0x0000'7000'0004'0000},
                                       {dsb_ish},
                                       {vmalle1is},
                                       {dsb_ish},
                                       {vmalle1is},
                                       {dsb_ish},
                                       {restore},
                                       {isb}}));
  auto const all = shot(with_ranges, everything(), {.repeat_last = true});
  EXPECT_EQ(std::count(all.begin(), all.end(), Step{vmalls12e1is}), 2);
}

// Whatever was asked for: a barrier between the stores and the first TLBI, between the two kinds, and after the last;
// the VMID selected around all of them, and restored before the ISB.
TEST(Shootdown, KeepsItsOrderForEveryKindOfStale) {
  for (auto const& cpu : {old_cpu, with_ttl, with_ranges}) {
    for (auto const& stale : {one_page(), two_pages(), a_table(), everything()}) {
      for (auto const& options :
           {TlbiOptions{}, TlbiOptions{.repeat_last = true}, TlbiOptions{.tables_by_vmid = true}}) {
        auto const steps = shot(cpu, stale, options);
        ASSERT_GE(steps.size(), 6u);
        EXPECT_EQ(steps[0], Step{dsb_ish});
        EXPECT_EQ(steps[1], (Step{select, vttbr}));
        EXPECT_EQ(steps[steps.size() - 3], Step{dsb_ish});
        EXPECT_EQ(steps[steps.size() - 2], Step{restore});
        EXPECT_EQ(steps[steps.size() - 1], Step{isb});
        for (std::size_t i = 1; i < steps.size(); ++i)
          if (steps[i].what == vmalle1is) {
            EXPECT_EQ(steps[i - 1], Step{dsb_ish});
          }
      }
    }
  }
}

TEST(ForgetHere, StaysOnThisCpu) {
  std::vector<Step> steps;
  forget_here({Granule::k4, with_ranges}, vttbr, GuestPhys{0x4000'0123},
              [&](const Step& step) { steps.push_back(step); });
  EXPECT_EQ(steps,
            (std::vector<Step>{
                {dsb_nsh}, {select, vttbr}, {ipas2e1, 0x4'0000}, {dsb_nsh}, {vmalle1}, {dsb_nsh}, {restore}, {isb}}));
}

TEST(ResolveConflict, DropsAllOfTheVmidOnThisCpu) {
  std::vector<Step> steps;
  resolve_conflict(vttbr, [&](const Step& step) { steps.push_back(step); });
  EXPECT_EQ(steps, (std::vector<Step>{{dsb_nsh}, {select, vttbr}, {vmalls12e1}, {dsb_nsh}, {restore}, {isb}}));
}

TEST(ForgetAllGuests, NeedsNoVmid) {
  std::vector<Step> steps;
  forget_all_guests({}, [&](const Step& step) { steps.push_back(step); });
  EXPECT_EQ(steps, (std::vector<Step>{{dsb_ish}, {alle1is}, {dsb_ish}, {isb}}));
  steps.clear();
  forget_all_guests({.repeat_last = true}, [&](const Step& step) { steps.push_back(step); });
  EXPECT_EQ(steps, (std::vector<Step>{{dsb_ish}, {alle1is}, {dsb_ish}, {alle1is}, {dsb_ish}, {isb}}));
}

}  // namespace
}  // namespace slat::aarch64
