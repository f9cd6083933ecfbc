// An unmap that tells of the marks of what it takes away: all that hardware could set, by one shootdown, with no memory
// to remember what was unlinked.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <slat/testing/oracle.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

constexpr Age dirty{.dirty = true};

template <class Format>
class UnmapTelling : public FormatTest<Format> {
 protected:
  void TearDown() override {
    EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
    auto const audit = table().audit();
    EXPECT_TRUE(audit) << name(audit.flaw) << std::hex << " at " << audit.where.begin.raw();
    oracle.destroy();
    EXPECT_EQ(oracle.frames().in_use(), 0u);
  }

  auto& table() { return oracle.table(); }
  Recorder& recorder() { return oracle.recorder(); }
  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  GuestPhys at(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return GuestPhys{blocks * block() + pages * page()};
  }
  GuestRange pages(std::uint64_t blocks, std::uint64_t first, std::uint64_t count) const {
    return {at(blocks, first), count * page()};
  }
  HostPhys ram() const { return HostPhys{geometry.span(geometry.top_leaf) * 8}; }

  /// Pages, none of them dirty.
  void map_clean_pages(GuestRange range) {
    ASSERT_TRUE(oracle.map(range, ram() + page() + range.begin.offset_in(block()), rw));
    ASSERT_TRUE(oracle.harvest(range, dirty));
  }
  /// The guest writes a page. Where its leaf is protected to notice that, it first faults.
  void write(GuestPhys where) {
    (void)oracle.perform("lift", Change::same(oracle.intent(), {where, page()}),
                         [&] { return table().lift_protection(where); });
    oracle.tlb().use(where, true);
    ASSERT_TRUE(table().query(where).age.dirty);
  }

  /// Where a leaf stands.
  Entry* entry_of(const Leaf& leaf, const RecordingFrames& frames) const {
    for (std::size_t i = 0; i != frames.count(); ++i) {
      auto* const entries = frames.view(frames.frame(i));
      auto* const end = entries + page() / sizeof(Entry);
      auto* const found = std::find(entries, end, leaf.entry);
      if (frames.owns(frames.frame(i)) && found != end) return found;
    }
    return nullptr;
  }

  std::vector<GuestRange> told;
  Result<> unmap(GuestRange range, Age what = dirty) {
    told.clear();
    return oracle.unmap(range, what, [&](GuestRange run) { told.push_back(run); });
  }

  Geometry geometry = FormatTest<Format>::make().geometry();
  // Hardware acts when it is told to, and in the test of random calls.
  Oracle<Format> oracle{FormatTest<Format>::make(), {.frames = 40, .tlb = {.period = 0}}};
};

FORMAT_TEST(UnmapTelling, TellsOfTheWrittenPagesInRunsByOneShootdownAndGivesAllTablesBack) {
  auto const range = GuestRange{this->at(1), 2 * this->block()};
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(range));
  auto const last = this->block() / this->page() - 1;
  for (auto const where : {this->at(1, 3), this->at(1, 4), this->at(1, 9), this->at(1, last), this->at(2, 0)})
    ASSERT_NO_FATAL_FAILURE(this->write(where));
  this->recorder().clear_counts();

  ASSERT_TRUE(this->unmap(range));
  EXPECT_EQ(this->told, (std::vector{this->pages(1, 3, 2), this->pages(1, 9, 1), this->pages(1, last, 2)}));
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_EQ(this->recorder().publishes(), 2u) << "the slot that broke, and that it is empty";
  EXPECT_EQ(this->recorder().waits(), 1u) << "readers may be inside the tables";
  EXPECT_EQ(this->oracle.frames().in_use() * this->page(), this->geometry.root_bytes());
  EXPECT_EQ(this->table().tables(), 1u);
  EXPECT_EQ(this->table().query(this->at(1, 3)).kind, Kind::absent);
}

FORMAT_TEST(UnmapTelling, TheHighestSlotThatBecomesEmptyGoesByOneStoreAndIsForgottenByAnother) {
  // A table that holds two pages, far apart; what is beside them was never there.
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(1, 2, 1)));
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(1, 7, 1)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 7)));
  this->recorder().clear_counts();
  ASSERT_TRUE(this->unmap(this->pages(1, 2, 6)));
  EXPECT_EQ(this->told, std::vector{this->pages(1, 7, 1)});
  EXPECT_EQ(this->recorder().stores(), 2u);
  EXPECT_EQ(this->table().tables(), 1u);
  // The next page there finds no table that is still known.
  ASSERT_TRUE(this->oracle.map(this->pages(1, 3, 1), this->ram(), rw));
  EXPECT_EQ(this->table().query(this->at(1, 3)).kind, Kind::leaf);
}

FORMAT_TEST(UnmapTelling, PagesOfATableThatStaysAreForgottenOneByOneAndCounted) {
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(1, 0, 8)));
  ASSERT_TRUE(this->oracle.unmap(this->pages(1, 3, 1)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 2)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 4)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 7)));
  this->recorder().clear_counts();
  ASSERT_TRUE(this->unmap(this->pages(1, 1, 5)));
  EXPECT_EQ(this->told, (std::vector{this->pages(1, 2, 1), this->pages(1, 4, 1)})) << "a hole between them";
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_TRUE(this->table().query(this->at(1, 7)).age.dirty) << "outside";
  EXPECT_TRUE(this->table().audit());
  // The rest empties the table: so what went was counted.
  ASSERT_TRUE(this->unmap(this->pages(1, 0, 8)));
  EXPECT_EQ(this->told, std::vector{this->pages(1, 7, 1)});
  EXPECT_EQ(this->table().tables(), 1u);
}

FORMAT_TEST(UnmapTelling, ABlockIsToldOfForThePartThatGoesAndTheRestKeepsItsMark) {
  for (bool const written : {false, true}) {
    GuestRange const both{this->at(1), 2 * this->block()};
    ASSERT_TRUE(this->oracle.map(both, this->ram() + this->block(), rw));
    ASSERT_TRUE(this->oracle.harvest(both, dirty));
    ASSERT_EQ(this->table().query(this->at(1)).level, 1u);
    if (written) {
      ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 5)));
    }
    this->recorder().clear_counts();
    auto const middle = GuestRange::between(this->at(1, 3), this->at(2, 6));
    ASSERT_TRUE(this->unmap(middle));
    auto const of_first = GuestRange::between(this->at(1, 3), this->at(2));
    EXPECT_EQ(this->told, written ? std::vector{of_first} : std::vector<GuestRange>{});
    EXPECT_EQ(this->recorder().shootdowns(), 1u);
    EXPECT_EQ(this->table().query(this->at(1, 3)).kind, Kind::absent);
    EXPECT_EQ(this->table().query(this->at(1, 2)).kind, Kind::leaf);
    EXPECT_EQ(this->table().query(this->at(1, 2)).age.dirty, written);
    EXPECT_FALSE(this->table().query(this->at(2, 6)).age.dirty);
    ASSERT_TRUE(this->unmap(both));
    EXPECT_EQ(this->told, written ? std::vector{this->pages(1, 0, 3)} : std::vector<GuestRange>{});
    EXPECT_EQ(this->table().tables(), 1u);
  }
}

FORMAT_TEST(UnmapTelling, AccessedMarksAreToldOfWhereHardwareSetsThem) {
  auto const range = this->pages(1, 0, 6);
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(range));
  Age const both{true, true};
  bool const can = this->make().hardware_age().accessed;
  if (can) {
    ASSERT_TRUE(this->oracle.harvest(range, both));
    this->oracle.tlb().use(this->at(1, 2), false);
  }
  this->recorder().clear_counts();
  auto const before = this->oracle.frames().fingerprint();
  auto const done = this->unmap(range, both);
  EXPECT_EQ(bool(done), can);
  if (done) {
    EXPECT_EQ(this->told, std::vector{this->pages(1, 2, 1)});
    return;
  }
  EXPECT_EQ(done.error(), (Error{Errc::unsupported, Argument::attributes, 1, range}));
  EXPECT_TRUE(this->told.empty());
  EXPECT_EQ(this->oracle.frames().fingerprint(), before);
  EXPECT_EQ(this->recorder().stores() + this->recorder().shootdowns(), 0u);
}

FORMAT_TEST(UnmapTelling, OfNothingThereIsNothingToTell) {
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(1, 0, 2)));
  this->recorder().clear_counts();
  ASSERT_TRUE(this->unmap(this->pages(1, 1, 0)));
  ASSERT_TRUE(this->unmap(this->pages(1, 4, 3)));
  ASSERT_TRUE(this->unmap({this->at(3), this->block()}));
  EXPECT_TRUE(this->told.empty());
  EXPECT_EQ(this->recorder().stores() + this->recorder().shootdowns(), 0u);
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.unmap(this->pages(1, 0, 1)));
    ASSERT_TRUE(this->unmap(this->pages(1, 1, 0)));
    EXPECT_EQ(this->recorder().shootdowns(), 1u) << "it pays all the same";
  }
  // Without marks to tell it is an unmap.
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 1)));
  ASSERT_TRUE(this->unmap(this->pages(1, 0, 2), {}));
  EXPECT_TRUE(this->told.empty());
  EXPECT_EQ(this->table().tables(), 1u);
}

// ---- in a wider edit

FORMAT_TEST(UnmapTelling, InAWiderEditItPaysWhatIsOwedAndWhatWaitsIsMendedAfterIt) {
  auto const range = this->pages(1, 0, 40);
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(range));
  GuestRange const block{this->at(3), this->block()};
  ASSERT_TRUE(this->oracle.map(block, this->ram() + this->block(), rw));
  ASSERT_TRUE(this->oracle.harvest(block, dirty));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 12)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(3, 9)));
  auto const in_use = this->oracle.frames().in_use();
  this->recorder().clear_counts();
  {
    auto edit = this->oracle.edit();
    // Owed: a page that went, two that were put in the place of others, a cut block. Where slots break, these wait.
    ASSERT_TRUE(this->oracle.unmap(this->pages(1, 3, 1)));
    ASSERT_TRUE(this->oracle.replace(this->pages(1, 10, 2), this->ram() + 64 * this->page(), rw));
    ASSERT_TRUE(this->oracle.protect(this->pages(3, 4, 1), ro));
    EXPECT_EQ(this->recorder().shootdowns(), 0u);

    // One of the two new pages, a written one beside it, and pages below the slot of the block.
    ASSERT_TRUE(this->unmap(GuestRange::between(this->at(1, 11), this->at(3, 4))));
    EXPECT_EQ(this->told, (std::vector{this->pages(1, 11, 2), this->pages(3, 0, 4)}))
        << "what is put in another's place is born dirty, and the block was written";
    EXPECT_EQ(this->recorder().shootdowns(), 1u);
    EXPECT_EQ(this->table().query(this->at(1, 10)).kind, Kind::leaf) << "it waited no longer";
    EXPECT_EQ(this->table().query(this->at(3, 3)).kind, Kind::absent);
    EXPECT_EQ(this->table().query(this->at(3, 4)).attr, ro);
    EXPECT_EQ(this->oracle.frames().in_use(), in_use + 1) << "the cut block's table, and no debt";

    ASSERT_TRUE(this->unmap(block));
    EXPECT_EQ(this->told, std::vector{GuestRange::between(this->at(3, 4), this->at(4))});
    EXPECT_EQ(this->recorder().shootdowns(), 2u);
    EXPECT_EQ(this->oracle.frames().in_use(), in_use);
  }
  EXPECT_EQ(this->recorder().shootdowns(), 2u) << "nothing was owed any more";
}

FORMAT_TEST(UnmapTelling, WhatWaitsBrokenIsCutAndToldOfToo) {
  GuestRange const both{this->at(1), 2 * this->block()};
  ASSERT_TRUE(this->oracle.map(both, this->ram() + this->block(), rw));
  ASSERT_TRUE(this->oracle.harvest(both, dirty));
  auto const old = this->table().query(this->at(1)).entry;
  auto const other = this->ram() + 8 * this->block();
  this->recorder().clear_counts();
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.replace(both, other, rw));
    auto const format = this->make();
    bool const waits = format.swap(1, old, format.leaf(1, other, rw)) == Swap::break_;
    EXPECT_EQ(this->table().query(this->at(1)).kind, waits ? Kind::broken : Kind::leaf);
    auto const middle = GuestRange::between(this->at(1, 3), this->at(2, 6));
    ASSERT_TRUE(this->unmap(middle));
    EXPECT_EQ(this->told, std::vector{middle}) << "born dirty";
    EXPECT_EQ(this->recorder().shootdowns(), 1u);
    for (auto const where : {this->at(1, 2), this->at(2, 6)}) {
      EXPECT_EQ(this->table().query(where).kind, Kind::leaf);
      EXPECT_TRUE(this->table().query(where).age.dirty);
    }
  }
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
}

FORMAT_TEST(UnmapTelling, WhatWaitsBrokenIsForgottenWhole) {
  GuestRange const block{this->at(1), this->block()};
  ASSERT_TRUE(this->oracle.map(this->pages(3, 0, 1), this->ram(), rw));  // keeps the tables above
  ASSERT_TRUE(this->oracle.map(block, this->ram() + this->block(), rw));
  ASSERT_TRUE(this->oracle.harvest(block, dirty));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 5)));
  auto const tables = this->table().tables();
  auto const in_use = this->oracle.frames().in_use();
  this->recorder().clear_counts();
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.protect(this->pages(1, 3, 2), ro));  // cut, and where it breaks its table waits
    auto const waits = this->table().query(this->at(1)).kind == Kind::broken;
    auto const stores = this->recorder().stores();
    ASSERT_TRUE(this->unmap(block));
    EXPECT_EQ(this->recorder().stores() - stores, waits ? 1u : 2u) << "what is broken is not broken again";
    EXPECT_EQ(this->told, std::vector{block}) << "the block's mark is that of all its pages";
    EXPECT_EQ(this->recorder().shootdowns(), 1u);
    EXPECT_EQ(this->table().tables(), tables);
    EXPECT_EQ(this->oracle.frames().in_use(), in_use);
  }
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
}

FORMAT_TEST(UnmapTelling, ACallThatFailsLeavesWhatTheEditOwes) {
  GuestRange const block{this->at(1), this->block()};
  ASSERT_TRUE(this->oracle.map(block, this->ram() + this->block(), rw));
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(3, 0, 4)));
  this->recorder().clear_counts();
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.unmap(this->pages(3, 1, 1)));
    this->oracle.frames().fail_after(0);
    auto const done = this->unmap(this->pages(1, 3, 1));
    this->oracle.frames().never_fail();
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error().code, Errc::no_memory);
    EXPECT_EQ(this->recorder().shootdowns(), 0u);
    EXPECT_TRUE(this->told.empty());
  }
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
}

FORMAT_TEST(UnmapTelling, ItsSinkMayLookAndMustNotChange) {
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(1, 0, 8)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 2)));
  auto& table = this->table();
  unsigned calls = 0;
  auto const range = this->pages(1, 1, 4);
  auto const done = this->oracle.unmap(range, dirty, [&](GuestRange) {
    ++calls;
    EXPECT_NE(table.query(this->at(1, 2)).kind, Kind::leaf);
    EXPECT_EQ(table.query(this->at(1, 6)).kind, Kind::leaf);
    auto const outside = this->pages(1, 6, 1);
    EXPECT_EQ(table.map(this->pages(2, 0, 1), this->ram(), rw).error().code, Errc::busy);
    EXPECT_EQ(table.unmap(outside).error().code, Errc::busy);
    EXPECT_EQ(table.protect(outside, ro).error().code, Errc::busy);
    EXPECT_EQ(table.harvest(outside, dirty, [](GuestRange) {}).error().code, Errc::busy);
    EXPECT_EQ(table.unmap(range, dirty, [](GuestRange) {}).error().code, Errc::busy);
    auto edit = table.edit();
    edit.settle();
  });
  ASSERT_TRUE(done);
  EXPECT_EQ(calls, 1u);
  EXPECT_EQ(this->recorder().waits(), 0u) << "no table went";
  EXPECT_TRUE(this->oracle.map(this->pages(1, 1, 1), this->ram(), rw)) << "and is busy no longer";
}

FORMAT_TEST(UnmapTelling, NorMustThatOfAHarvest) {
  ASSERT_NO_FATAL_FAILURE(this->map_clean_pages(this->pages(1, 0, 8)));
  ASSERT_NO_FATAL_FAILURE(this->write(this->at(1, 2)));
  auto& table = this->table();
  GuestRange const all{GuestPhys{0}, this->geometry.input_size()};
  unsigned calls = 0;
  ASSERT_TRUE(this->oracle.harvest(all, dirty, [&](GuestRange) {
    ++calls;
    EXPECT_EQ(table.query(this->at(1, 2)).kind, Kind::leaf);
    EXPECT_EQ(table.map(this->pages(2, 0, 1), this->ram(), rw).error().code, Errc::busy);
    EXPECT_EQ(table.unmap(all).error().code, Errc::busy);
    EXPECT_EQ(table.unmap(this->pages(1, 3, 1)).error().code, Errc::busy);
    EXPECT_EQ(table.unmap(all, dirty, [](GuestRange) {}).error().code, Errc::busy);
    table.edit().settle();
  }));
  EXPECT_EQ(calls, 1u);
  EXPECT_TRUE(this->oracle.unmap(all)) << "and is busy no longer";
}

// ---- beside hardware

/// A hook during which hardware acts.
struct ActingHook {
  Recorder* recorder;
  std::function<void()>* act;
  void operator()(HostPhys root, const Stale& stale) noexcept {
    recorder->asked(root, stale);
    (*act)();
    recorder->record(What::granted);
    recorder->record(What::settled, {root.raw()});
  }
  void publish() noexcept { recorder->record(What::publish); }
  void wait_for_readers() noexcept { recorder->record(What::readers_gone); }
};

/// What hardware still writes into a table that is unlinked, before it has heard of the invalidation: a large table
/// that goes whole, and a smaller one.
FORMAT_TEST(UnmapTelling, MarksThatHardwareSetsUntilTheInvalidationHasReturnedAreTold) {
  auto const reader = reader_for(this->make());
  if (!reader.sets_dirty()) {
    EXPECT_FALSE(this->make().hardware_age().dirty) << "then there is nothing to lose";
    return;
  }
  for (bool const large : {false, true}) {
    Recorder quiet;
    RecordingFrames frames{quiet, this->page(), 64};
    std::function<void()> act = [] {};
    auto table = *PageTable<Format, RecordingFrames, ActingHook>::create(this->make(), frames, {&quiet, &act});
    GuestRange const range{this->at(1), large ? 3 * this->block() : this->block()};
    ASSERT_TRUE(table.map(range, this->ram() + this->page(), rw));
    auto const where = range.last().down_to(this->page()) - this->page();
    auto const leaf = table.query(where);
    ASSERT_FALSE(leaf.age.dirty);
    auto* const entry = this->entry_of(leaf, frames);
    ASSERT_NE(entry, nullptr);
    this->told.clear();
    unsigned hooks = 0;
    act = [&] {
      ++hooks;
      EXPECT_TRUE(this->told.empty()) << "told before hardware was done";
      EXPECT_EQ(*entry, leaf.entry) << "the table is as it was, and hardware is in it";
      *entry = reader.written(0, reader.accessed(0, *entry));
    };
    ASSERT_TRUE(table.unmap(range, dirty, [&](GuestRange run) { this->told.push_back(run); }));
    EXPECT_EQ(this->told, (std::vector{GuestRange{where, this->page()}}));
    EXPECT_EQ(hooks, 1u);
    EXPECT_EQ(table.tables(), 1u);
    EXPECT_EQ(frames.in_use() * this->page(), this->geometry.root_bytes());
    EXPECT_EQ(quiet.violation(), std::nullopt);
    act = [] {};
  }
}

/// Frames in which hardware marks an entry after it was loaded, and could be marked, for the `turn`th time.
struct MarkingFrames : RecordingFrames {
  using RecordingFrames::RecordingFrames;
  Entry load(const Entry* entry) const noexcept {
    auto const value = RecordingFrames::load(entry);
    if (entry == watched && value == unmarked && *turn != 0 && --*turn == 0) *watched = marked;
    return value;
  }
  Entry* watched = nullptr;
  Entry unmarked = 0, marked = 0;
  std::unique_ptr<unsigned> turn = std::make_unique<unsigned>(0);
};

FORMAT_TEST(UnmapTelling, AMarkThatHardwareSetsBesideTheStoreThatBreaksALeafIsTold) {
  auto const reader = reader_for(this->make());
  if (!reader.sets_dirty()) return;
  auto times = 0u;
  for (bool const cut : {false, true})
    for (unsigned load = 1; load != 8; ++load) {
      Recorder quiet;
      MarkingFrames frames{quiet, this->page(), 64};
      auto table = *PageTable<Format, MarkingFrames, RecordingHook>::create(this->make(), frames, RecordingHook{quiet});
      GuestRange const range{this->at(1), this->block()};
      ASSERT_TRUE(table.map(range, this->ram() + (cut ? this->block() : this->page()), rw));
      auto const leaf = table.query(this->at(1, 3));
      ASSERT_EQ(leaf.level, cut ? 1u : 0u);
      frames.watched = this->entry_of(leaf, frames);
      ASSERT_NE(frames.watched, nullptr);
      frames.unmarked = leaf.entry;
      frames.marked = reader.written(leaf.level, reader.accessed(leaf.level, leaf.entry));
      *frames.turn = load;
      this->told.clear();
      ASSERT_TRUE(table.unmap(this->pages(1, 3, 1), dirty, [&](GuestRange run) { this->told.push_back(run); }));
      frames.watched = nullptr;
      if (*frames.turn != 0) continue;  // it was broken before
      ++times;
      EXPECT_EQ(this->told, std::vector{this->pages(1, 3, 1)})
          << "set after load " << load << (cut ? " of a block" : "");
      EXPECT_EQ(table.query(this->at(1, 4)).age.dirty, cut);
      EXPECT_TRUE(table.audit());
    }
  EXPECT_GE(times, 4u);
}

FORMAT_TEST(UnmapTelling, WhateverHardwareDoesAtEveryMomentIsTold) {
  for (std::uint64_t seed = 1; seed != 3; ++seed) {
    Oracle<Format> busy{this->make(), {.frames = 40, .tlb = {.seed = seed, .period = 2}}};
    GuestRange const range{this->at(1), 2 * this->block()};
    for (bool const blocks : {false, true}) {
      ASSERT_TRUE(busy.map(range, this->ram() + (blocks ? this->block() : this->page()), rw));
      Age const what{this->make().harvestable().accessed && seed % 2 == 0, true};
      for (unsigned i = 0; i != 30; ++i) busy.tlb().use(this->at(1 + i % 2, i), i % 2 == 0);
      auto const outside = [&](GuestRange part) { return [=](GuestRange run) { EXPECT_TRUE(part.contains(run)); }; };
      for (auto const part : {this->pages(1, 3, 2), GuestRange::between(this->at(1, 6), this->at(2, 5)), range})
        ASSERT_TRUE(busy.unmap(part, what, outside(part)));
      ASSERT_EQ(busy.violation(), Offence::none) << busy.why();
      EXPECT_EQ(busy.table().tables(), 1u);
    }
  }
}

}  // namespace
}  // namespace slat::test
