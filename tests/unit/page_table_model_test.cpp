// Random calls on every format, under the eyes of the oracle: what a table translates is what it was told, no store
// breaks a rule, everything stale is invalidated and nothing else, and a call takes exactly the frames it asked for.

#include <gtest/gtest.h>

#include <random>

#include "oracle/oracle.hpp"
#include "unit/format_suite.hpp"

namespace slat::test {
namespace {

template <class Format>
class PageTableModel : public FormatTest<Format> {
 protected:
  Geometry geometry = FormatTest<Format>::make().geometry();
  Oracle<Format> oracle{FormatTest<Format>::make(),
                        {.frames = geometry.page_bits == 12 ? 1200u : 200u, .tlb = {.period = 3}}};
  std::mt19937_64 random{20260101};
  std::size_t changes = 0;

  /// Larger tables take longer to look at.
  int rounds(int n) const { return geometry.page_bits == 12 ? n : n / 4; }
  std::uint64_t below(std::uint64_t n) { return random() % n; }
  std::uint64_t page() const { return geometry.page_size(); }

  /// Addresses near each other and near the edges of blocks of every level.
  GuestRange some_range() {
    auto const window = 3 * geometry.span(geometry.top_leaf);
    auto const level = static_cast<Level>(below(geometry.top_leaf + 1));
    auto const span = geometry.span(level);
    auto begin = below(window / span) * span;
    auto size = span * (1 + below(level == 0 ? 6 : 2));
    if (below(3) == 0) begin += page() * below(3);
    if (below(3) == 0 && size > 2 * page()) size -= page() * (1 + below(2));
    return {GuestPhys{begin}, size};
  }
  HostPhys some_host(GuestRange range) {
    auto const same = geometry.span(geometry.top_leaf) * (8 + below(4)) + range.begin.raw();
    // Blocks do not fit there; only for small ranges, because it takes many tables.
    bool const skewed = range.size <= 4 * geometry.span(1) && below(3) == 0;
    return HostPhys{skewed ? same + page() * below(4) : same};
  }
  Attr some_attr() {
    constexpr Attr choices[] = {rw, rwx, ro, rx, {Prot::rw, Memory::device}, {Prot::r, Memory::normal, 2}};
    return choices[below(std::size(choices))];
  }

  /// Makes the call: now and then first with one frame too few or none, and always with the exact count.
  template <class Change, class Call>
  void expect(const Change& change, Call call) {
    auto& frames = oracle.frames();
    auto const needed = oracle.table().frames_needed(change);
    if (!needed) {
      EXPECT_TRUE(call().error() == needed.error().code);
      return;
    }
    if (*needed > frames.count() - frames.in_use()) {
      EXPECT_TRUE(call().error() == Errc::no_memory);
      return;
    }
    if (*needed != 0 && below(8) == 0) {
      auto const before = frames.fingerprint();
      frames.fail_after(below(2) == 0 ? *needed - 1 : below(*needed));
      auto const refused = call();
      frames.never_fail();
      EXPECT_TRUE(!refused && refused.error() == Errc::no_memory);
      // Hardware may have marked an entry meanwhile; the oracle has seen to everything else.
      if (FormatTest<Format>::make().hardware_age() == Age{}) {
        EXPECT_EQ(frames.fingerprint(), before) << "a failing call changed something";
      }
    }
    auto const allocations = frames.allocations();
    EXPECT_TRUE(call());
    EXPECT_EQ(frames.allocations() - allocations, *needed);
    ++changes;
  }

  void step() {
    auto const range = some_range();
    auto const host = some_host(range);
    auto const attr = some_attr();
    switch (below(12)) {
      case 0:
      case 1: return expect(Map{range, host, attr}, [&] { return oracle.map(range, host, attr); });
      case 2:
      case 3: return expect(Replace{range, host, attr}, [&] { return oracle.replace(range, host, attr); });
      case 4:
      case 5: return expect(Unmap{range}, [&] { return oracle.unmap(range); });
      case 6:
      case 7:
      case 8: return expect(Protect{range, attr}, [&] { return oracle.protect(range, attr); });
      case 9: return expect(Coalesce{range}, [&] { return oracle.coalesce(range); });
      case 10: {
        auto const few = GuestRange{range.begin, range.size < 16 * page() ? range.size : 16 * page()};
        return expect(Split{few}, [&] { return oracle.split(few); });
      }
      default: {
        Age const what{.accessed = FormatTest<Format>::make().harvestable().accessed && below(2) == 0, .dirty = true};
        EXPECT_TRUE(oracle.harvest(range, what));
      }
    }
  }

  void check() {
    auto const audit = oracle.table().audit();
    ASSERT_TRUE(audit) << name(audit.flaw) << std::hex << " at " << audit.where.begin.raw() << " " << audit.value;
    ASSERT_EQ(oracle.violation(), Offence::none) << oracle.why();
  }
};
FORMAT_TEST(PageTableModel, RandomCallsBreakNoRuleAndTakeTheFramesTheyAskedFor) {
  auto const calls = this->rounds(800);
  for (int i = 0; i != calls && !this->HasFatalFailure(); ++i) {
    auto const shootdowns = this->oracle.recorder().shootdowns();
    this->step();
    this->check();
    ASSERT_LE(this->oracle.recorder().shootdowns(), shootdowns + 1);
  }
  EXPECT_GT(this->changes, static_cast<std::size_t>(calls) / 2);
  ASSERT_TRUE(this->oracle.unmap({GuestPhys{0}, this->geometry.input_size()}));
  EXPECT_EQ(this->oracle.table().tables(), 1u);
  this->check();
}

FORMAT_TEST(PageTableModel, AWiderEditOfRandomCallsIsOneShootdownAndBreaksNoRule) {
  auto const edits = this->rounds(160);
  for (int i = 0; i != edits && !this->HasFatalFailure(); ++i) {
    auto const shootdowns = this->oracle.recorder().shootdowns();
    bool settled = false;
    {
      auto edit = this->oracle.edit();
      for (auto calls = this->below(8); calls-- != 0 && !this->HasFatalFailure();) {
        this->step();
        this->check();
        if (this->below(8) == 0) {
          edit.settle();
          settled = true;
        }
      }
      EXPECT_TRUE(settled || this->oracle.recorder().shootdowns() == shootdowns);
    }
    EXPECT_TRUE(settled || this->oracle.recorder().shootdowns() <= shootdowns + 1);
    this->check();
  }
}

}  // namespace
}  // namespace slat::test
