// Many mappings in one call: all or none, for exactly the frames that it says, and no more is told than has to be.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

using Runs = std::vector<Map>;

template <class Format>
class MapMany : public FormatTest<Format> {
 protected:
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;

  /// A table and what was written down about it.
  struct Scene {
    explicit Scene(const Format& format, std::size_t spare_frames = 80)
        : frames{recorder, format.geometry().table_bytes(),
                 format.geometry().root_bytes() / format.geometry().table_bytes() + spare_frames},
          table{*Table::create(format, frames, RecordingHook{recorder})} {}
    Recorder recorder;
    RecordingFrames frames;
    Table table;
  };

  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  GuestPhys at(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return GuestPhys{blocks * block() + pages * page()};
  }
  /// Host memory for guest memory from `at` on, aligned like it, or not.
  HostPhys ram(GuestPhys from, std::uint64_t askew = 0) const {
    return HostPhys{from.raw() + geometry.span(geometry.top_leaf) * 8 + askew * page()};
  }
  Map one(std::uint64_t blocks, std::uint64_t pages = 0, Attr attr = rw) const {
    return {{at(blocks, pages), page()}, ram(at(blocks, pages)), attr};
  }
  Map whole(std::uint64_t blocks, std::uint64_t askew = 0) const {
    return {{at(blocks), block()}, ram(at(blocks), askew), rw};
  }

  static std::span<const Map> span(const Runs& runs) { return runs; }
  static std::vector<Leaf> leaves(const Table& table) {
    std::vector<Leaf> all;
    table.visit([&](const Leaf& leaf) { all.push_back(leaf); });
    return all;
  }
  static bool equal(const std::vector<Leaf>& a, const std::vector<Leaf>& b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Leaf& x, const Leaf& y) {
      return x.range == y.range && x.level == y.level && x.entry == y.entry;
    });
  }

  /// The runs in one call and, beside it, one by one: the same table, for as many frames as were asked for.
  void expect_as_in_turn(const Runs& furniture, const Runs& runs) {
    Scene many{this->make()}, single{this->make()};
    for (auto const& run : furniture) {
      ASSERT_TRUE(many.table.apply(run));
      ASSERT_TRUE(single.table.apply(run));
    }
    auto const needed = many.table.frames_needed(span(runs));
    ASSERT_TRUE(needed);
    many.recorder.clear_counts();
    auto const before = many.frames.allocations(), before_single = single.frames.allocations();
    for (auto const& run : runs) ASSERT_TRUE(single.table.apply(run));
    ASSERT_TRUE(many.table.map_many(runs));
    EXPECT_EQ(many.frames.allocations() - before, *needed);
    EXPECT_EQ(single.frames.allocations() - before_single, *needed);
    EXPECT_EQ(many.frames.in_use(), single.frames.in_use());
    EXPECT_EQ(many.table.tables(), single.table.tables());
    EXPECT_TRUE(equal(leaves(many.table), leaves(single.table)));
    EXPECT_EQ(many.recorder.publishes(), runs.empty() ? 0u : 1u);
    EXPECT_EQ(many.recorder.shootdowns(), 0u);
    EXPECT_TRUE(many.table.audit());
    EXPECT_FALSE(many.recorder.violation());
  }

  /// Refused, by what it says, and nothing happened.
  Error expect_refused(Scene& scene, const Runs& runs) {
    scene.recorder.clear_counts();
    auto const before = scene.frames.fingerprint();
    auto const planned = scene.table.frames_needed(span(runs));
    auto const done = scene.table.map_many(runs);
    EXPECT_FALSE(done);
    EXPECT_EQ(scene.frames.fingerprint(), before);
    EXPECT_EQ(scene.recorder.stores(), 0u);
    EXPECT_EQ(scene.recorder.publishes(), 0u);
    EXPECT_EQ(scene.recorder.shootdowns(), 0u);
    if (done) return {};
    if (!planned) {
      EXPECT_EQ(planned.error(), done.error());
    } else {
      EXPECT_EQ(done.error().code, Errc::no_memory);
    }
    return done.error();
  }

  Geometry geometry = FormatTest<Format>::make().geometry();
};

FORMAT_TEST(MapMany, NoRunsAtAllAreNothing) { this->expect_as_in_turn({}, {}); }

FORMAT_TEST(MapMany, OneRunIsAMap) {
  this->expect_as_in_turn({}, {this->one(0)});
  this->expect_as_in_turn({}, {this->whole(0)});
  this->expect_as_in_turn({this->one(0)}, {this->one(0, 1)});
}

// Two runs in one slot of each level in turn: the tables below it are the ones that they do not share.
FORMAT_TEST(MapMany, WhatTwoRunsShareIsNeededOnce) {
  for (Level level = 0; level <= this->geometry.root; ++level) {
    auto const next = GuestPhys{this->geometry.span(level)};
    Map const far{{next, this->page()}, this->ram(this->at(0)), rw};
    Runs const runs{this->one(0), far};
    this->expect_as_in_turn({}, runs);
    typename TestFixture::Scene scene{this->make()};
    EXPECT_EQ(*scene.table.frames_needed(TestFixture::span(runs)), this->geometry.root + level) << "level " << level;
  }
}

FORMAT_TEST(MapMany, RunsThatTouchRunsThatDoNotAndTablesThatAreThereAreCountedOnce) {
  auto const last = this->geometry.entries(0) - 1;
  auto const one = [this](std::uint64_t blocks, std::uint64_t pages) { return this->one(blocks, pages); };
  this->expect_as_in_turn({}, {one(0, 0), one(0, 1), one(0, 2), one(0, 7)});
  this->expect_as_in_turn({}, {one(0, last), one(1, 0)});
  this->expect_as_in_turn({one(0, 3)}, {one(0, last), one(1, 0), one(1, 1)});
  this->expect_as_in_turn({one(1, 3)}, {one(0, last), one(1, 0), one(1, 4), one(2, 0)});
  this->expect_as_in_turn({one(2, 3)}, {one(0, 1), one(2, 2), one(2, 4), one(3, 0)});
  this->expect_as_in_turn({this->whole(1)}, {one(0, last), one(2, 0)});
}

FORMAT_TEST(MapMany, BlocksAmongPagesStayBlocks) {
  auto const last = this->geometry.entries(0) - 1;
  Runs const runs{this->one(0, last), this->whole(1), this->one(2, 0), this->whole(3, 1), this->whole(4)};
  this->expect_as_in_turn({}, runs);
  this->expect_as_in_turn({this->one(0), this->one(2, 5)}, runs);
  // Over the edge of a block, on both sides of a page.
  Map const wide{GuestRange::between(this->at(0, 2), this->at(2, 2)), this->ram(this->at(0, 2)), rwx};
  this->expect_as_in_turn({}, {this->one(0, 1), wide, this->one(2, 2)});
  this->expect_as_in_turn({this->one(0, 1)}, {wide, this->one(2, 2), this->whole(3)});
}

FORMAT_TEST(MapMany, EveryRunHasItsOwnAttributes) {
  Runs runs;
  for (std::uint64_t i = 0; i != 8; ++i) runs.push_back(this->one(i / 4, i, i % 2 == 0 ? rw : i % 3 == 0 ? rx : ro));
  this->expect_as_in_turn({}, runs);
  this->expect_as_in_turn({this->one(0, 20)}, runs);
}

// What is planned by looking once at each page is counted like all else: random runs, on tables that are partly there.
FORMAT_TEST(MapMany, AnyRunsAreMappedAsIfInTurn) {
  auto const entries = this->geometry.entries(0);
  auto const count = 2 + 10 * 512 / entries;
  for (std::uint64_t seed = 1; seed <= count; ++seed) {
    Random random{seed};
    Runs furniture, runs;
    auto next = GuestPhys{this->geometry.root >= 2 ? this->geometry.span(2) - 2 * this->block() : 0};
    for (auto i = 0; i != 14 && next.raw() < this->geometry.input_size() - 3 * this->block(); ++i) {
      auto pages = 1 + random.below(3);
      if (random.once_in(5)) {
        next = next.down_to(this->block()) + this->block();
        pages = entries * (1 + random.below(2)) + random.below(2);
      }
      GuestRange const range{next, pages * this->page()};
      (random.once_in(4) ? furniture : runs)
          .push_back({range, this->ram(next, random.once_in(4) ? 1 : 0), random.once_in(3) ? ro : rw});
      next = range.end() + (random.once_in(3) ? random.below(2 * entries) : random.below(2)) * this->page();
    }
    this->expect_as_in_turn(furniture, runs);
    if (this->HasFailure()) {
      ADD_FAILURE() << "seed " << seed;
      return;
    }
  }
}

// ---- all or nothing ----

FORMAT_TEST(MapMany, EveryAllocationThatFailsLeavesNothingBehind) {
  Runs const runs{this->one(0), this->one(0, 1), this->whole(1, 1), this->one(2, 1), this->one(3, 3, ro)};
  for (auto const furnished : {false, true}) {
    typename TestFixture::Scene scene{this->make()};
    if (furnished) {
      ASSERT_TRUE(scene.table.apply(this->one(0, 5)));
    }
    auto const needed = *scene.table.frames_needed(TestFixture::span(runs));
    ASSERT_EQ(needed, (furnished ? 0u : this->geometry.root) + 3u);
    for (std::uint64_t k = 0; k != needed; ++k) {
      scene.frames.fail_after(k);
      auto const why = this->expect_refused(scene, runs);
      EXPECT_EQ(why.code, Errc::no_memory);
      EXPECT_EQ(why.argument, Argument::frames);
      EXPECT_EQ(why.value, needed);
    }
    scene.frames.fail_after(needed);
    EXPECT_TRUE(scene.table.map_many(runs));
    EXPECT_TRUE(scene.table.audit());
    EXPECT_FALSE(scene.recorder.violation());
  }
}

FORMAT_TEST(MapMany, RunsThatDoNotAscendAreRefusedByName) {
  typename TestFixture::Scene scene{this->make()};
  for (auto const furnished : {false, true}) {
    if (furnished) {
      ASSERT_TRUE(scene.table.map(this->one(0, 9).range, this->ram(this->at(0, 9)), rw));
    }
    Map const two{{this->at(0, 4), 2 * this->page()}, this->ram(this->at(0, 4)), rw};
    for (auto const& [first, second] :
         {std::pair{this->one(0, 2), this->one(0, 1)}, std::pair{this->one(0, 2), this->one(0, 2)},
          std::pair{this->one(1), this->one(0, 4)}, std::pair{two, this->one(0, 5)},
          std::pair{this->whole(1), this->one(1, 7)}}) {
      auto const why = this->expect_refused(scene, {this->one(0), first, second});
      EXPECT_EQ(why.code, Errc::invalid_param);
      EXPECT_EQ(why.argument, Argument::start);
      EXPECT_EQ(why.value, second.range.begin.raw());
      EXPECT_EQ(why.range, second.range);
      EXPECT_EQ(why.other, first.range);
    }
  }
  EXPECT_TRUE(scene.table.map_many(Runs{this->one(0, 1), this->one(0, 2)})) << "they may touch";
}

FORMAT_TEST(MapMany, OneRunThatCannotBeIsAsIfNoneWasAsked) {
  typename TestFixture::Scene scene{this->make()};
  ASSERT_TRUE(scene.table.map(this->one(0, 9).range, this->ram(this->at(0, 9)), rw));
  ASSERT_TRUE(scene.table.map(this->one(0, 8).range, this->ram(this->at(0, 8)), rw));
  auto const with = [this](Map bad) { return Runs{this->one(0), this->one(0, 1), bad, this->one(3)}; };
  auto bad = this->one(0, 9);
  auto why = this->expect_refused(scene, with(bad));
  EXPECT_EQ(why.code, Errc::already_mapped);
  EXPECT_EQ(why.other, bad.range);
  bad = this->one(0, 3);
  bad.range.size = 0;
  EXPECT_EQ(this->expect_refused(scene, with(bad)).code, Errc::invalid_param);
  bad = this->one(0, 3);
  bad.range.begin = bad.range.begin + 8;
  EXPECT_EQ(this->expect_refused(scene, with(bad)).code, Errc::misaligned);
  bad = this->one(0, 3);
  bad.host = bad.host + 8;
  EXPECT_EQ(this->expect_refused(scene, with(bad)).code, Errc::misaligned);
  bad = this->one(0, 3);
  bad.host = HostPhys{1ull << this->make().output_bits()};
  EXPECT_EQ(this->expect_refused(scene, with(bad)).code, Errc::out_of_range);
  bad = this->one(0, 3, {Prot::rw, Memory::normal, 255});
  EXPECT_EQ(this->expect_refused(scene, with(bad)).code, Errc::unsupported);
  GuestRange const outside{GuestPhys{this->geometry.input_size()}, this->page()};
  GuestRange const last{GuestPhys{0} - this->page(), this->page()};
  for (auto const& range : {outside, last}) {
    auto const refused = this->expect_refused(scene, {this->one(0), {range, this->ram(this->at(0)), rw}});
    EXPECT_TRUE(refused.code == Errc::out_of_range || refused.code == Errc::invalid_param);
  }
  EXPECT_TRUE(scene.table.map_many(Runs{this->one(0), this->one(0, 1), this->one(3)}));
}

// ---- under hardware that acts at every access ----

FORMAT_TEST(MapMany, InAnEditThatOwesWhatTheRunsCoverNothingStaleIsUsed) {
  Oracle<Format> oracle{this->make(), {.frames = 64, .tlb = {.period = 4}}};
  auto const map_many = [&](const Runs& runs) {
    auto const all = GuestRange::between(runs.front().range.begin, runs.back().range.end());
    Change change{all, {}, false};
    auto from = all.begin;
    auto const keep = [&](GuestPhys end) {
      if (from == end) return;
      for (auto const& piece : oracle.intent().within(GuestRange::between(from, end))) change.after.push_back(piece);
    };
    for (auto const& run : runs) {
      keep(run.range.begin);
      change.after.push_back({run.range, Meaning{run.host, run.attr}});
      from = run.range.end();
    }
    return oracle.perform("map_many", std::move(change), [&] { return oracle.table().map_many(runs); });
  };
  Runs const before{this->one(0, 1), this->one(0, 2), this->one(0, 4), this->one(1), this->whole(2)};
  ASSERT_TRUE(map_many(before));
  for (auto const& run : before) oracle.tlb().use(run.range.begin, true);
  oracle.recorder().clear_counts();
  Runs after = before;
  for (auto& run : after) run.host = run.host + this->block() * 64;
  after.insert(after.begin() + 2, this->one(0, 3));
  {
    auto edit = oracle.edit();
    ASSERT_TRUE(oracle.unmap(this->one(0, 2).range));
    ASSERT_TRUE(map_many({this->one(0, 2, ro), this->one(0, 6), this->one(0, 7)}));
    // In a table that stays, a page of known attributes too.
    auto again = this->one(0, 4);
    again.host = again.host + this->block() * 32;
    ASSERT_TRUE(oracle.unmap(again.range));
    ASSERT_TRUE(map_many({again, this->one(0, 8)}));
    auto const waits = oracle.table().query(again.range.begin).kind == Kind::broken;
    EXPECT_EQ(waits, this->make().can_break());
    for (auto const& run : before) ASSERT_TRUE(oracle.unmap(run.range));
    ASSERT_TRUE(oracle.unmap({this->at(0), 2 * this->block()}));
    ASSERT_TRUE(map_many(after));
    EXPECT_EQ(oracle.recorder().shootdowns(), 0u);
  }
  EXPECT_EQ(oracle.recorder().shootdowns(), 1u);
  for (auto const& run : after) {
    EXPECT_EQ(oracle.table().query(run.range.begin).kind, Kind::leaf);
    EXPECT_EQ(oracle.table().query(run.range.begin).host, run.host);
  }
  EXPECT_TRUE(oracle.table().audit());
  EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
}

// ---- transactions of pages ----

FORMAT_TEST(MapMany, ATransactionOfPagesCommitsWhatItPlanned) {
  typename TestFixture::Scene scene{this->make()};
  auto& table = scene.table;
  for (auto const n : {0u, 1u, 2u, 3u}) ASSERT_TRUE(table.apply(this->one(0, n)));
  scene.recorder.clear_counts();
  auto const frames = scene.frames.allocations();
  {
    typename TestFixture::Table::Transaction transaction{table};
    Unmap const gone{this->one(0, 1).range};
    Protect const less{this->one(0, 2).range, ro};
    auto const added = this->one(0, 5), again = this->one(0, 6);
    Replace const moved{this->one(0, 7).range, again.host, rw};
    ASSERT_TRUE(transaction.plan(gone));
    ASSERT_TRUE(transaction.plan(less));
    ASSERT_TRUE(transaction.plan(added));
    ASSERT_TRUE(transaction.plan(again));
    ASSERT_TRUE(transaction.plan(moved));
    EXPECT_EQ(scene.recorder.stores(), 0u);
    transaction.commit(gone);
    transaction.commit(less);
    transaction.commit(added);
    transaction.commit(again);
    transaction.commit(moved);
    EXPECT_EQ(scene.recorder.publishes(), 0u);
  }
  EXPECT_EQ(scene.frames.allocations(), frames);
  EXPECT_EQ(scene.recorder.stores(), 5u);
  EXPECT_EQ(scene.recorder.publishes(), 1u);
  ASSERT_EQ(scene.recorder.shootdowns(), 1u);
  auto const stale = scene.recorder.invalidations().back();
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, (GuestRange{this->at(0, 1), 2 * this->page()}));
  EXPECT_EQ(table.query(this->at(0, 1)).kind, Kind::absent);
  EXPECT_EQ(table.query(this->at(0, 2)).attr, ro);
  for (auto const n : {5u, 6u, 7u}) EXPECT_EQ(table.query(this->at(0, n)).attr, rw);
  EXPECT_TRUE(table.audit());
}

// Both pages of a table could go by a store alone, until the first has gone.
FORMAT_TEST(MapMany, ATransactionThatTakesTheLastPagesOfATableTakesTheTable) {
  typename TestFixture::Scene scene{this->make()};
  auto& table = scene.table;
  auto const in_use = scene.frames.in_use();
  ASSERT_TRUE(table.apply(this->one(0)));
  ASSERT_TRUE(table.apply(this->one(0, 1)));
  {
    typename TestFixture::Table::Transaction transaction{table};
    Unmap const first{this->one(0).range}, second{this->one(0, 1).range};
    ASSERT_TRUE(transaction.plan(first));
    ASSERT_TRUE(transaction.plan(second));
    transaction.commit(first);
    transaction.commit(second);
  }
  EXPECT_EQ(table.tables(), 1u);
  EXPECT_EQ(scene.frames.in_use(), in_use);
  EXPECT_TRUE(scene.recorder.invalidations().back().tables());
  EXPECT_TRUE(table.audit());
}

}  // namespace
}  // namespace slat::test
