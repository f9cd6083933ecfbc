// After every single store of every kind of call, on every format: each page inside the range translates as before, as
// after, or not at all because it is broken; each page outside as before, or is broken with the block that must break.
// store_history.hpp says how that is seen.
//
// SLAT_CALLS in the environment says how many random calls to make on each format (for a granule of 4K), SLAT_SEED
// where to begin.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include "model/random.hpp"
#include "model/store_history.hpp"
#include "unit/format_suite.hpp"

namespace slat::test {
namespace {

template <class Format>
class StoreHistoryTest : public FormatTest<Format> {
 protected:
  static GuestRange universe(const Geometry& geometry) {
    auto const block = geometry.span(1);
    // Where there is a table above that of the blocks, three blocks around the end of one.
    return {geometry.root >= 2 ? GuestPhys{geometry.span(2) - block} : GuestPhys{0}, 3 * block};
  }
  void TearDown() override {
    EXPECT_EQ(history.why(), "");
    auto const audit = history.table().audit();
    EXPECT_TRUE(audit) << name(audit.flaw);
  }

  GuestPhys at(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return all.begin + blocks * geometry.span(1) + pages * geometry.page_size();
  }
  HostPhys host(GuestPhys of, std::uint64_t which) const {
    return HostPhys{which * 2 * geometry.span(2 > geometry.top_leaf ? 1 : 2)} +
           (of - all.begin.down_to(geometry.span(geometry.top_leaf)));
  }
  /// From inside the first block to inside the last, and few pages of either: each of them is a store.
  GuestRange across() const { return GuestRange::between(at(1) - 5 * geometry.page_size(), at(2, 7)); }
  void blocks(Attr attr = rwx) { ASSERT_TRUE(history.replace(all, host(all.begin, 2), attr)); }

  Format format = FormatTest<Format>::make();
  Geometry geometry = format.geometry();
  GuestRange all = universe(geometry);
  StoreHistory<Format> history{format, all, from_environment("SLAT_SEED", 1)};
  bool breaks_by_size = reader_for(format).size_breaks();
};

FORMAT_TEST(StoreHistoryTest, UnmappingAcrossBlocksCutsThemAtBothEdges) {
  this->blocks();
  auto const looks = this->history.looks();
  ASSERT_TRUE(this->history.unmap(this->across()));
  EXPECT_FALSE(this->history.is_block(this->at(0)));
  EXPECT_FALSE(this->history.is_block(this->at(2)));
  EXPECT_GT(this->history.looks(), looks + 2) << "no store was looked at";
  EXPECT_EQ(this->history.broken_outside_seen() != 0, this->breaks_by_size) << "a cut block breaks, or does not";
}

FORMAT_TEST(StoreHistoryTest, ProtectingAcrossBlocksCutsThemAtBothEdges) {
  this->blocks();
  ASSERT_TRUE(this->history.protect(this->across(), rx));
  ASSERT_TRUE(this->history.protect(this->across(), rwx));
  EXPECT_FALSE(this->history.is_block(this->at(0)));
  EXPECT_FALSE(this->history.is_block(this->at(2)));
  EXPECT_EQ(this->history.broken_outside_seen() != 0, this->breaks_by_size);
}

FORMAT_TEST(StoreHistoryTest, ReplacingAcrossBlocksCutsThemAtBothEdges) {
  this->blocks();
  auto const range = this->across();
  ASSERT_TRUE(this->history.replace(range, this->host(range.begin, 3), rwx));
  ASSERT_TRUE(this->history.replace(range, this->host(range.begin, 3) + this->geometry.page_size(), rw));
  EXPECT_EQ(this->history.broken_outside_seen() != 0, this->breaks_by_size);
}

FORMAT_TEST(StoreHistoryTest, AMemoryTypeChangesPageByPageAndBlockByBlock) {
  auto const other = this->format.supports(rw | Memory::uncached) ? rw | Memory::uncached : rw | Memory::write_through;
  this->blocks(rw);
  ASSERT_TRUE(this->history.protect(this->all, other));
  ASSERT_TRUE(this->history.protect({this->at(1, 3), 9 * this->geometry.page_size()}, rw));
  this->blocks(rw);
  ASSERT_TRUE(this->history.protect(this->across(), rw | Memory::device));
  // Even where a type may change in place: while the cut block may be cached, its pages of another type wait.
  EXPECT_EQ(this->history.broken_seen() != 0, this->format.can_break());
}

FORMAT_TEST(StoreHistoryTest, SplittingAndCoalescingChangeNothing) {
  this->blocks();
  ASSERT_TRUE(this->history.split(this->all));
  EXPECT_FALSE(this->history.is_block(this->at(1)));
  ASSERT_TRUE(this->history.coalesce(this->all));
  EXPECT_TRUE(this->history.is_block(this->at(1)));
}

FORMAT_TEST(StoreHistoryTest, MappingFillsHolesAndReplacingTablesWithBlocksLeavesNone) {
  this->blocks();
  ASSERT_TRUE(this->history.unmap({this->at(1, 1), 2 * this->geometry.page_size()}));
  ASSERT_TRUE(this->history.map({this->at(1, 1), this->geometry.page_size()}, this->host(this->at(1), 3), ro));
  ASSERT_TRUE(this->history.replace({this->at(1), this->geometry.span(1)}, this->host(this->at(1), 4), rwx));
  EXPECT_TRUE(this->history.is_block(this->at(1)));
  ASSERT_TRUE(this->history.unmap(this->all));
  EXPECT_EQ(this->history.table().tables(), 1u);
}

FORMAT_TEST(StoreHistoryTest, RandomCallsAreNeverSeenHalfDone) {
  auto const per_4k = from_environment("SLAT_CALLS", 2000 / SLAT_MODEL_PART);
  auto const count = 20 + per_4k * 512 / this->geometry.entries(0);
  auto const page = this->geometry.page_size();
  Random random{from_environment("SLAT_SEED", 1)};
  auto& calls = this->history;
  std::uint64_t succeeded = 0;
  for (std::uint64_t i = 0; i != count; ++i) {
    auto const last = this->geometry.span(1) / page - 1;
    auto const first = random.below(3);
    GuestRange range{this->at(first), (1 + random.below(3 - first)) * this->geometry.span(1)};
    switch (random.below(8)) {
      case 0:
        // In a large granule a block of pages is too many stores.
        if (last < 512 || calls.is_block(range.begin)) break;
        [[fallthrough]];
      case 1:
        range =
            GuestRange::between(this->at(0, last - random.below(8)), this->at(1 + random.below(2), random.below(8)));
        break;
      case 2: range = {this->at(first), (1 + random.below(9)) * page}; break;
      default: range = {this->at(first, random.below(12)), (1 + random.below(6)) * page};
    }
    if (range.empty()) continue;
    auto const attr = random.one_of({rwx, rwx, rw, rx, rw | Memory::device});
    auto const host = this->host(range.begin, 2 + random.below(2)) + (random.once_in(4) ? page : 0);
    auto const done = [&] {
      switch (random.below(9)) {
        case 0:
        case 1: return calls.replace(range, host, attr);
        case 2: return calls.replace(this->all, this->host(this->all.begin, 2 + random.below(2)), rwx);
        case 3: return calls.map(range, host, attr);
        case 4: return calls.unmap(range);
        case 5: return calls.split({range.begin.down_to(this->geometry.span(1)), this->geometry.span(1)});
        case 6: return calls.coalesce(this->all);
        default: return calls.protect(range, attr);
      }
    }();
    if (done) ++succeeded;
    ASSERT_EQ(calls.why(), "") << "call " << i;
  }
  EXPECT_GT(succeeded * 2, count);
  EXPECT_GT(calls.looks(), count);
  EXPECT_GT(calls.marks_kept(), count / 10) << "too few marks to lose";
}

}  // namespace
}  // namespace slat::test
