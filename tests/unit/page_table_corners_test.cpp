// What happens to a page table at the edges: without memory, in another's place, at nothing, and between two states.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <slat/testing/oracle.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

template <class Format>
class TableCorners : public FormatTest<Format> {
 protected:
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;

  void TearDown() override { EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why(); }

  Table& table() { return oracle.table(); }
  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  GuestPhys at(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return GuestPhys{blocks * block() + pages * page()};
  }
  HostPhys ram() const { return HostPhys{block() * 16}; }

  Geometry geometry = FormatTest<Format>::make().geometry();
  Oracle<Format> oracle{FormatTest<Format>::make(), {.frames = 40}};
};

FORMAT_TEST(TableCorners, ATableWithoutMemoryForItsRootIsRefusedAndNamesWhatItNeeds) {
  Recorder recorder;
  RecordingFrames frames{recorder, this->page(), 40};
  frames.fail_after(0);
  auto const refused = TestFixture::Table::create(this->make(), frames, RecordingHook{recorder});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::no_memory);
  EXPECT_EQ(refused.error().argument, Argument::frames);
  EXPECT_EQ(refused.error().value, this->geometry.root_bytes() / this->page());
  EXPECT_EQ(frames.in_use(), 0u);
}

// A walk knows five levels, which is what the deepest architecture has.
struct SixLevels : x86_64::Npt {
  constexpr Geometry geometry() const {
    auto shape = Npt::geometry();
    shape.root = 5;
    return shape;
  }
};
TEST(TableCornersOfNone, AFormatOfMoreLevelsThanAWalkKnowsIsRefused) {
  Recorder recorder;
  RecordingFrames frames{recorder, 4096, 40};
  SixLevels const deep{*x86_64::Npt::create({.nested_paging = true}, {})};
  auto const refused =
      PageTable<SixLevels, RecordingFrames, RecordingHook>::create(deep, frames, RecordingHook{recorder});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_EQ(refused.error().argument, Argument::levels);
  EXPECT_EQ(refused.error().value, 6u);
  EXPECT_EQ(frames.in_use(), 0u);
}

FORMAT_TEST(TableCorners, ATableThatIsGivenAnothersTreeEndsItsOwnFirst) {
  Recorder recorder, other_recorder;
  RecordingFrames frames{recorder, this->page(), 40}, other_frames{other_recorder, this->page(), 40};
  {
    auto table = *TestFixture::Table::create(this->make(), frames, RecordingHook{recorder});
    auto other = *TestFixture::Table::create(this->make(), other_frames, RecordingHook{other_recorder});
    ASSERT_TRUE(table.map({this->at(0), this->page()}, this->ram(), rw));
    ASSERT_TRUE(other.map({this->at(1), this->page()}, this->ram(), rw));
    auto const root = other.root();
    auto const in_use = other_frames.in_use();

    table = std::move(other);
    EXPECT_EQ(frames.in_use(), 0u);
    ASSERT_EQ(recorder.shootdowns(), 1u);
    EXPECT_TRUE(recorder.invalidations().back().everything());
    EXPECT_EQ(other_recorder.shootdowns(), 0u) << "what moved goes on living";
    EXPECT_EQ(other_frames.in_use(), in_use);
    EXPECT_EQ(table.root(), root);
    EXPECT_EQ(table.query(this->at(0)).kind, Kind::absent);
    EXPECT_EQ(table.query(this->at(1)).host, this->ram());

    auto& same = table;
    table = std::move(same);
    EXPECT_EQ(table.query(this->at(1)).host, this->ram()) << "moved onto itself";
    EXPECT_TRUE(table.audit());
  }
  EXPECT_EQ(other_frames.in_use(), 0u);
  EXPECT_EQ(other_recorder.shootdowns(), 1u);
  EXPECT_FALSE(recorder.violation() || other_recorder.violation());
}

struct CountingHook {
  unsigned calls = 0;
  void operator()(HostPhys, const Stale&) noexcept { ++calls; }
  void publish() noexcept {}
};

FORMAT_TEST(TableCorners, TheHookOfATableCanBeReached) {
  Recorder recorder;
  RecordingFrames frames{recorder, this->page(), 40};
  auto table = *PageTable<Format, RecordingFrames, CountingHook>::create(this->make(), frames, {});
  ASSERT_TRUE(table.map({this->at(0), this->page()}, this->ram(), rw));
  EXPECT_EQ(table.hook().calls, 0u);
  ASSERT_TRUE(table.unmap({this->at(0), this->page()}));
  EXPECT_EQ(table.hook().calls, 1u);
}

FORMAT_TEST(TableCorners, ACallForNothingStoresNothing) {
  ASSERT_TRUE(this->oracle.map({this->at(0), this->block()}, this->ram(), rw));
  this->oracle.recorder().clear_counts();
  GuestRange const nothing{this->at(0, 1), 0};
  EXPECT_TRUE(this->table().unmap(nothing));
  EXPECT_TRUE(this->table().protect(nothing, ro));
  EXPECT_TRUE(this->table().split(nothing));
  EXPECT_TRUE(this->table().coalesce(nothing));
  EXPECT_TRUE(this->table().harvest(nothing, {.dirty = true}, [](GuestRange) { ADD_FAILURE(); }));
  EXPECT_EQ(this->oracle.recorder().stores(), 0u);
  EXPECT_EQ(this->oracle.recorder().shootdowns(), 0u);
  EXPECT_EQ(this->table().query(this->at(0)).range.size, this->block());
}

FORMAT_TEST(TableCorners, AttributesThatTheFormatLacksAreRefusedForWhatIsMapped) {
  ASSERT_TRUE(this->oracle.map({this->at(0), this->page()}, this->ram(), rw));
  auto const refused = this->oracle.protect({this->at(0), this->page()}, rwx | Memory::device);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_EQ(refused.error().argument, Argument::attributes);
  EXPECT_EQ(this->table().query(this->at(0)).attr, rw);
}

FORMAT_TEST(TableCorners, AHostAddressFarBeyondTheOutputSizeDoesNotWrapIntoIt) {
  auto const beyond = HostPhys{0} - this->page();
  for (auto const host : {beyond, HostPhys{(std::uint64_t{1} << this->make().output_bits()) + this->page()}}) {
    auto const refused = this->oracle.map({this->at(0), this->page()}, host, rw);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::out_of_range);
    EXPECT_EQ(refused.error().argument, Argument::host);
  }
}

FORMAT_TEST(TableCorners, AccessedMarksAreHarvestedOnlyWhereHardwareSetsThem) {
  GuestRange const range{this->at(0), this->page()};
  ASSERT_TRUE(this->oracle.map(range, this->ram(), rw));
  auto const done = this->oracle.harvest(range, {.accessed = true});
  EXPECT_EQ(bool(done), this->make().hardware_age().accessed);
  if (done) return;
  EXPECT_EQ(done.error().code, Errc::unsupported);
  EXPECT_EQ(done.error().argument, Argument::attributes);
  EXPECT_EQ(done.error().value, 1u);
}

FORMAT_TEST(TableCorners, OnlyALeafThatIsWatchedForWritesHasProtectionToLift) {
  GuestRange const range{this->at(0), this->page()};
  auto const lift = [&] {
    return *this->oracle.perform("lift", Change::same(this->oracle.intent(), range),
                                 [&] { return this->table().lift_protection(range.begin); });
  };
  EXPECT_FALSE(lift()) << "nothing is there";
  ASSERT_TRUE(this->oracle.map(range, this->ram(), rw));
  EXPECT_FALSE(lift()) << "the guest may write";
  ASSERT_TRUE(this->oracle.harvest(range, {.dirty = true}));
  auto edit = this->oracle.edit();
  ASSERT_TRUE(this->oracle.protect(range, rw | Memory::uncached));
  auto const waits = this->table().query(range.begin).kind == Kind::broken;
  this->oracle.recorder().clear_counts();
  EXPECT_EQ(lift(), !waits && !this->make().hardware_age().dirty);
  if (waits) {
    EXPECT_EQ(this->oracle.recorder().stores(), 0u) << "what is broken is the edit's";
  }
}

// Where the block's slot breaks, its new pages are nobody's until the edit ends; else they are live at once.
FORMAT_TEST(TableCorners, WhatHangsBelowABrokenSlotIsVisitedAsBroken) {
  GuestRange const range{this->at(0), this->block()};
  ASSERT_TRUE(this->oracle.map(range, this->ram(), rw));
  auto const& format = this->table().format();
  auto const e = this->table().query(this->at(0)).entry;
  auto const breaks = format.swap(1, e, format.table(1, this->ram())) == Swap::break_;
  std::size_t leaves = 0, broken = 0;
  auto const count = [&](const Leaf& leaf) {
    ++leaves;
    if (leaf.kind == Kind::broken) ++broken;
  };
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.protect({this->at(0, 3), this->page()}, ro));
    this->table().visit(range, count);
    EXPECT_EQ(leaves, this->geometry.entries(0));
    EXPECT_EQ(broken, breaks ? leaves : 0u);
    EXPECT_EQ(this->table().query(this->at(0)).kind, breaks ? Kind::broken : Kind::leaf);
  }
  broken = 0;
  this->table().visit(range, count);
  EXPECT_EQ(broken, 0u);
}

// Some CPUs let a table be swapped live for the block; but not while what a page of it meant before may be cached.
FORMAT_TEST(TableCorners, ABlockWaitsForTheInvalidationThatAPageOfItIsOwed) {
  GuestRange const range{this->at(0), this->block()}, one{this->at(0, 3), this->page()};
  ASSERT_TRUE(this->oracle.map(range, this->ram(), rw));
  ASSERT_TRUE(this->oracle.replace(one, this->ram() + 4 * this->block(), rw));
  ASSERT_EQ(this->table().query(this->at(0)).level, 0u);
  this->oracle.recorder().clear_counts();
  auto const& format = this->table().format();
  auto const e = this->table().query(this->at(0, 3)).entry;
  auto const breaks = format.swap(0, e, format.leaf(0, this->ram(), rw)) == Swap::break_;
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.replace(one, this->ram() + 3 * this->page(), rw));
    EXPECT_EQ(this->table().query(this->at(0, 3)).kind, breaks ? Kind::broken : Kind::leaf);
    ASSERT_TRUE(this->oracle.coalesce(range));
    EXPECT_EQ(this->table().query(this->at(0, 3)).kind, format.can_break() ? Kind::broken : Kind::leaf);
    EXPECT_EQ(this->oracle.recorder().shootdowns(), 0u);
  }
  EXPECT_EQ(this->oracle.recorder().shootdowns(), 1u);
  auto const leaf = this->table().query(this->at(0, 3));
  EXPECT_EQ(leaf.kind, Kind::leaf);
  EXPECT_EQ(leaf.level, 1u);
  EXPECT_EQ(leaf.host, this->ram());
  EXPECT_TRUE(this->table().audit());
}

/// A format that keeps no dirty marks at all.
struct Markless : x86_64::Ept {
  explicit Markless(const x86_64::Ept& format) : x86_64::Ept{format} {}
  constexpr Age harvestable() const { return {}; }
};

TEST(TableCornersByFormat, DirtyMarksAreRefusedWhereTheFormatKeepsNone) {
  Recorder recorder;
  RecordingFrames frames{recorder, 4_KiB, 16};
  auto table = *PageTable<Markless, RecordingFrames, RecordingHook>::create(Markless{Ept4NoAge::make()}, frames,
                                                                            RecordingHook{recorder});
  auto const refused = table.harvest({0x0_gpa, 4_KiB}, {.dirty = true}, [](GuestRange) { ADD_FAILURE(); });
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::unsupported);
  EXPECT_EQ(refused.error().value, 2u);
}

// Against the page-size erratum: what becomes executable becomes small, however it came to be there.
TEST(TableCornersByFormat, WhereExecutableLeavesAreSmallABlockThatBecomesExecutableIsCutWhole) {
  auto const format = detail::ept(detail::with_page_size_erratum(detail::new_intel), {.small_executable = true});
  Oracle<x86_64::Ept> oracle{format, {.frames = 16}};
  auto& table = oracle.table();
  GuestRange const range{0x0_gpa, 2_MiB};
  ASSERT_TRUE(oracle.map(range, HostPhys{1_GiB}, rw));
  ASSERT_EQ(table.query(range.begin).level, 1u);
  EXPECT_EQ(*table.frames_needed(Protect{range, rwx}), 1u);
  ASSERT_TRUE(oracle.protect(range, rwx));
  EXPECT_EQ(table.query(range.begin).level, 0u);
  EXPECT_EQ(table.query(range.last()).attr, rwx);
  ASSERT_TRUE(oracle.coalesce(range));
  EXPECT_EQ(table.query(range.begin).level, 0u) << "equal and contiguous, but executable";
  ASSERT_TRUE(oracle.protect(range, rw));
  ASSERT_TRUE(oracle.coalesce(range));
  EXPECT_EQ(table.query(range.begin).level, 1u);
  EXPECT_TRUE(table.audit());
  EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
}

}  // namespace
}  // namespace slat::test
