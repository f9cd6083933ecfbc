// Random debts, and the sequences of TLBI and barriers that they become, judged by what those take away.

#include <slat/testing/random.hpp>

#include "mutants/check.hpp"
#include "mutants/tlbi_judge.hpp"

namespace slat::test {
using aarch64::Granule;
using testing::Random;

const char* const check_name = "invalidations";

namespace {

constexpr std::uint64_t vttbr = 0x0007'0000'8000'2000;

std::string one(Random& random) {
  auto const granule = static_cast<Granule>(random.below(3));
  auto const bits = aarch64::page_bits(granule);
  aarch64::TlbiTarget const target{granule, {.ttl = random.once_in(2), .tlbi_range = !random.once_in(3)}};
  aarch64::TlbiOptions const options{.most = random.once_in(2) ? 512u : 100'000u,
                                     .tables_by_vmid = random.once_in(4),
                                     .repeat_last = random.once_in(4)};
  Stale stale;
  for (auto ranges = 1 + random.below(3); ranges-- != 0;) {
    bool const tables = random.once_in(4);
    // Of pages, of blocks, or of both; what hung in a table is all of one size, or not.
    auto const level = random.once_in(3) ? Stale::unknown_level : static_cast<Level>(random.below(2));
    auto const unit = std::uint64_t{1} << (bits + (level == 1 ? bits - 3 : 0));
    // Now and then exactly as much as one range operation can do, or more.
    auto const most = (std::uint64_t{1} << (bits + 21)) / unit;
    auto const count = target.cpu.tlbi_range && random.once_in(8) ? most * (1 + random.below(2)) + random.below(3)
                                                                  : 1 + random.below(600);
    stale.add({GuestPhys{random.below(1u << 10) * unit}, count * unit}, level, tables, false);
  }
  if (random.once_in(20)) stale.add_everything();
  TlbiJudge judge{granule, vttbr};
  aarch64::shootdown(target, options, vttbr, stale, [&](const aarch64::Step& step) { judge(step); });
  return judge.verdict(stale, options.repeat_last ? 2 : 1);
}

}  // namespace

Outcome run_check() {
  Outcome outcome;
  Random random{1};
  while (outcome.operations != 2000 && outcome.violation.empty()) {
    ++outcome.operations;
    outcome.violation = one(random);
  }
  return outcome;
}

}  // namespace slat::test
