// Areas of three kinds over a real table: what a fault does, where pages go, and what audit() sees.

#include <vector>

#include <slat/mm/frame_pool.hpp>

#include "unit/backends_suite.hpp"

namespace slat::test {
namespace {

FORMAT_TEST(BackendsTest, ALinearAreaMovesItsHostBaseWithEverySplit) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(16), rwx, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->set.unmap(this->gpa(20), PAGES(2), this->table));
  ASSERT_TRUE(this->set.protect(
      this->gpa(24), PAGES(2), [](Attr a) { return std::optional{a - Prot::w}; }, this->table));
  EXPECT_EQ(this->set.len(), 4u);
  EXPECT_EQ(this->set.find(this->gpa(23))->backend(), (typename TestFixture::Backend{Linear{this->hpa(518)}}));
  EXPECT_EQ(this->table.query(this->gpa(23)).host_of(this->gpa(23)), this->hpa(519));
  EXPECT_TRUE(this->set.audit(this->table));
}

FORMAT_TEST(BackendsTest, AFaultPopulatesALazyAreaOnceAndIsThenSpurious) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(16), rw, Lazy{this->source}}, this->table));
  EXPECT_EQ(this->table.query(this->gpa(17)).kind, Kind::absent);
  EXPECT_EQ(*this->set.resolve(this->gpa(17) + 8, Prot::w, this->table), Resolution::mapped);
  EXPECT_EQ(*this->set.resolve(this->gpa(17) + 8, Prot::w, this->table), Resolution::spurious);
  EXPECT_EQ(this->source.in_use(), 1u);
  auto const leaf = this->table.query(this->gpa(17));
  EXPECT_EQ(leaf.attr, rw);
  EXPECT_EQ(this->frames.view(leaf.host)[0], 0u) << "a page with another guest's content";
  EXPECT_EQ(this->recorder.shootdowns(), 0u);
  EXPECT_TRUE(this->set.audit(this->table));
}

FORMAT_TEST(BackendsTest, AFaultIsDecidedByTheAreaAndTheTableAsTheyAre) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(1), ro, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->set.map({this->gpa(32), PAGES(1), {Prot::rw, Memory::device}, Device{}}, this->table));
  EXPECT_EQ(*this->set.resolve(this->gpa(16), Prot::r, this->table), Resolution::spurious);
  EXPECT_EQ(*this->set.resolve(this->gpa(16), Prot::w, this->table), Resolution::denied);
  EXPECT_EQ(*this->set.resolve(this->gpa(32), Prot::w, this->table), Resolution::emulate);
  EXPECT_EQ(*this->set.resolve(this->gpa(15), Prot::r, this->table), Resolution::unknown);
  EXPECT_TRUE(this->set.audit(this->table));
}

FORMAT_TEST(BackendsTest, AFaultOnABrokenSlotIsBusyUntilTheEditEnds) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  {
    auto edit = this->table.edit();
    ASSERT_TRUE(this->set.unmap(this->gpa(16), PAGES(4), this->table));
    ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(600)}}, this->table));
    auto const expected = this->table.format().can_break() ? Resolution::busy : Resolution::spurious;
    EXPECT_EQ(*this->set.resolve(this->gpa(16), Prot::w, this->table), expected);
  }
  EXPECT_EQ(*this->set.resolve(this->gpa(16), Prot::w, this->table), Resolution::spurious);
}

FORMAT_TEST(BackendsTest, AWriteAfterAHarvestIsLetThroughAndHarvestedAgain) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  if (this->table.format().hardware_age().dirty) {
    auto& e = this->entry(this->gpa(18));
    e = this->table.format().aged(0, e, {true, true});
  }
  std::vector<GuestRange> found;
  auto const sink = [&](GuestRange run) { found.push_back(run); };
  ASSERT_TRUE(this->set.harvest({this->gpa(0), PAGES(64)}, sink, this->table));
  auto const whole = GuestRange{this->gpa(16), PAGES(4)};
  auto const one = GuestRange{this->gpa(18), PAGES(1)};
  EXPECT_EQ(found, std::vector{this->table.format().hardware_age().dirty ? one : whole});
  EXPECT_EQ(this->recorder.shootdowns(), 1u);

  found.clear();
  ASSERT_TRUE(this->set.harvest({this->gpa(0), PAGES(64)}, sink, this->table));
  EXPECT_TRUE(found.empty());
  EXPECT_EQ(this->recorder.shootdowns(), 1u) << "nothing was cleared, nothing is stale";

  EXPECT_EQ(*this->set.resolve(this->gpa(18), Prot::w, this->table), Resolution::spurious);
  EXPECT_TRUE(this->table.format().permits(0, this->entry(this->gpa(18)), Prot::w));
  EXPECT_EQ(this->recorder.shootdowns(), 1u) << "rights that only grow need no shootdown";
  if (this->table.format().hardware_age().dirty) return;
  ASSERT_TRUE(this->set.harvest({this->gpa(0), PAGES(64)}, sink, this->table));
  EXPECT_EQ(found, std::vector{one});
  EXPECT_TRUE(this->set.audit(this->table));
}

FORMAT_TEST(BackendsTest, AReadAfterAHarvestIsNoWrite) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto const harvest = [&] {
    std::size_t runs = 0;
    EXPECT_TRUE(this->set.harvest(
        {this->gpa(0), PAGES(64)}, [&](GuestRange) { ++runs; }, this->table));
    return runs;
  };
  (void)harvest();
  EXPECT_EQ(*this->set.resolve(this->gpa(18), Prot::r, this->table), Resolution::spurious);
  EXPECT_EQ(harvest(), 0u);
}

FORMAT_TEST(BackendsTest, AFaultThatAreaAndTableDisagreeAboutIsAnErrorAndNoLoop) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->table.protect({this->gpa(16), PAGES(1)}, ro));
  EXPECT_EQ(this->set.resolve(this->gpa(16), Prot::w, this->table).error().code, Errc::bad_state);
}

FORMAT_TEST(BackendsTest, APageSourceFeedsOneTableAtATime) {
  RecordingFrames frames_of_other{this->recorder, this->geometry.table_bytes(), 32, HostPhys{0x6'0000'0000}};
  auto other = *TestFixture::Table::create(this->make(), frames_of_other, RecordingHook{this->recorder});
  typename TestFixture::Set others;
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Lazy{this->source}}, this->table));
  ASSERT_TRUE(others.map({this->gpa(16), PAGES(4), rw, Lazy{this->source}}, other));
  ASSERT_EQ(*this->set.resolve(this->gpa(16), Prot::r, this->table), Resolution::mapped);
  EXPECT_EQ(others.resolve(this->gpa(16), Prot::r, other).error().code, Errc::bad_state);
  ASSERT_TRUE(this->set.clear(this->table));
  EXPECT_EQ(*others.resolve(this->gpa(16), Prot::r, other), Resolution::mapped);
  ASSERT_TRUE(others.clear(other));
}

FORMAT_TEST(BackendsTest, WhereNoLargePageIsLeftALazyAreaIsPopulatedByTheGranule) {
  typename TestFixture::Source large{this->frames, this->page(), this->page() * 4};
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(16), rw, Lazy{large}}, this->table));
  // Every other frame is taken: no four are free side by side.
  std::vector<HostPhys> taken;
  while (auto const frame = this->frames.allocate(this->page())) taken.push_back(*frame);
  for (std::size_t i = 0; i < taken.size(); i += 2) this->frames.release(taken[i], this->page());
  EXPECT_EQ(*this->set.resolve(this->gpa(17), Prot::r, this->table), Resolution::mapped);
  EXPECT_EQ(this->table.query(this->gpa(17)).range.size, this->page());
  EXPECT_EQ(large.in_use(), 1u);
  ASSERT_TRUE(this->set.clear(this->table));
}

FORMAT_TEST(BackendsTest, ADeviceAreaMayHaveAttributesThatNoEntryCouldHave) {
  EXPECT_TRUE(this->set.map({this->gpa(16), PAGES(1), {Prot::none, Memory::device}, Device{}}, this->table));
  EXPECT_EQ(this->set.map({this->gpa(17) + 1, PAGES(1), rw, Device{}}, this->table).error().code, Errc::misaligned);
}

FORMAT_TEST(BackendsTest, AMisalignedRangeIsRefusedWhateverItTouches) {
  EXPECT_EQ(this->set.unmap(this->gpa(16) + 1, PAGES(1), this->table).error().code, Errc::misaligned);
  auto const same = [](Attr a) { return std::optional{a}; };
  EXPECT_EQ(this->set.protect(this->gpa(16), 5, same, this->table).error().code, Errc::misaligned);
}

FORMAT_TEST(BackendsTest, PagesOfALazyAreaComeBackOnlyAfterTheInvalidation) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(16), rw, Lazy{this->source}}, this->table));
  for (auto n : {16u, 17u, 20u, 31u})
    ASSERT_EQ(*this->set.resolve(this->gpa(n), Prot::r, this->table), Resolution::mapped);
  {
    auto edit = this->table.edit();
    ASSERT_TRUE(this->set.unmap(this->gpa(17), PAGES(8), this->table));
    EXPECT_EQ(this->source.in_use(), 4u) << "released before the invalidation";
  }
  EXPECT_EQ(this->source.in_use(), 2u);
  EXPECT_EQ(this->recorder.shootdowns(), 1u);
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(16), rw, Device{}}, this->table, true));
  EXPECT_EQ(this->source.in_use(), 0u);
  EXPECT_EQ(this->recorder.shootdowns(), 2u);
  EXPECT_TRUE(this->set.audit(this->table));
}

// Pages that were given out one by one may go as the one block that they became.
TEST(Backends, PagesOfALazyAreaThatBecameABlockAllComeBack) {
  constexpr std::uint64_t page = 4_KiB;
  std::vector<std::byte> memory(6_MiB);
  auto const unaligned = -reinterpret_cast<std::uintptr_t>(memory.data()) % 2_MiB;
  FramePool pages{std::span{memory}.subspan(unaligned, 4_MiB), HostPhys{1_GiB}, page};
  while (pages.capacity() - pages.used() != 512) ASSERT_TRUE(pages.allocate(page));  // an aligned block is left
  Recorder recorder;
  RecordingFrames frames{recorder, page, 16};
  using Table = PageTable<x86_64::Ept, RecordingFrames, RecordingHook>;
  auto table = *Table::create(Ept4::make(), frames, RecordingHook{recorder});
  PageSource<FramePool> source{pages, page, page};
  MemorySet<Attr, Table, Backends<Table, PageSource<FramePool>>> set;
  ASSERT_TRUE(set.map({GuestPhys{2_MiB}, 2_MiB, rw, Lazy{source}}, table));
  for (std::uint64_t at = 2_MiB; at != 4_MiB; at += page)
    ASSERT_EQ(*set.resolve(GuestPhys{at}, Prot::w, table), Resolution::mapped);
  EXPECT_EQ(source.in_use(), 512u);
  ASSERT_TRUE(set.coalesce(GuestPhys{2_MiB}, 2_MiB, table));
  ASSERT_EQ(table.query(GuestPhys{2_MiB}).level, 1u) << "the pool gave pages that are no block";
  EXPECT_TRUE(set.audit(table));
  auto const used = pages.used();
  ASSERT_TRUE(set.clear(table));
  EXPECT_EQ(source.in_use(), 0u);
  EXPECT_EQ(pages.used(), used - 512);
}

FORMAT_TEST(BackendsTest, AFaultWithoutMemoryIsAnErrorAndChangesNothing) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(16), rw, Lazy{this->source}}, this->table));
  auto const needed = 1 + *this->table.frames_needed(Map{{this->gpa(16), PAGES(1)}, this->hpa(0), rw});
  for (std::size_t k = 0; k != needed; ++k) {
    auto const before = this->frames.fingerprint();
    auto const in_use = this->frames.in_use();
    this->frames.fail_after(k);
    auto const refused = this->set.resolve(this->gpa(16), Prot::r, this->table);
    this->frames.never_fail();
    ASSERT_FALSE(refused) << k;
    EXPECT_EQ(refused.error().code, Errc::no_memory);
    EXPECT_EQ(this->frames.fingerprint(), before);
    EXPECT_EQ(this->frames.in_use(), in_use);
  }
  EXPECT_EQ(*this->set.resolve(this->gpa(16), Prot::r, this->table), Resolution::mapped);
}

FORMAT_TEST(BackendsTest, ReplacingIsOneCallAndOneShootdownWhateverWasThere) {
  ASSERT_TRUE(this->set.map({this->gpa(0), PAGES(8), rw, Lazy{this->source}}, this->table));
  ASSERT_TRUE(this->set.map({this->gpa(8), PAGES(8), rwx, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(8), rw, Device{}}, this->table));
  ASSERT_EQ(*this->set.resolve(this->gpa(5), Prot::r, this->table), Resolution::mapped);
  ASSERT_EQ(*this->set.resolve(this->gpa(1), Prot::r, this->table), Resolution::mapped);
  ASSERT_TRUE(this->set.map({this->gpa(4), PAGES(16), ro, Linear{this->hpa(1024)}}, this->table, true));
  EXPECT_EQ(this->recorder.shootdowns(), 1u);
  EXPECT_EQ(this->source.in_use(), 1u);
  EXPECT_EQ(this->set.len(), 3u);
  EXPECT_EQ(this->table.query(this->gpa(19)).host_of(this->gpa(19)), this->hpa(1039));
  EXPECT_TRUE(this->set.audit(this->table));
}

FORMAT_TEST(BackendsTest, EverythingUnmappedLeavesTheRootAndNothingElse) {
  auto const root = this->frames.in_use();
  ASSERT_TRUE(this->set.map({GuestPhys{0}, this->block() * 3, rwx, Linear{HostPhys{this->block() * 8}}}, this->table));
  ASSERT_TRUE(this->set.map({GuestPhys{this->block() * 5}, PAGES(20), rw, Lazy{this->source}}, this->table));
  ASSERT_EQ(*this->set.resolve(GuestPhys{this->block() * 5}, Prot::r, this->table), Resolution::mapped);
  ASSERT_TRUE(this->set.protect(
      this->gpa(3), PAGES(7), [](Attr a) { return std::optional{a - Prot::w}; }, this->table));
  this->recorder.clear_counts();
  ASSERT_TRUE(this->set.clear(this->table));
  EXPECT_EQ(this->recorder.shootdowns(), 1u);
  EXPECT_TRUE(this->set.is_empty());
  EXPECT_EQ(this->table.tables(), 1u);
  EXPECT_EQ(this->frames.in_use(), root);
}

FORMAT_TEST(BackendsTest, ALeafThatIsOnlyPartlyHarvestedStaysDirty) {
  ASSERT_TRUE(this->set.map({GuestPhys{0}, this->block(), rw, Linear{HostPhys{this->block() * 8}}}, this->table));
  auto& e = this->entry(GuestPhys{0});
  e = this->table.format().aged(1, e, {true, true});
  std::vector<GuestRange> found;
  auto const part = GuestRange{this->gpa(2), PAGES(3)};
  auto const tables = this->table.tables();
  ASSERT_TRUE(this->set.harvest(
      part, [&](GuestRange run) { found.push_back(run); }, this->table));
  EXPECT_EQ(found, std::vector{part});
  EXPECT_TRUE(this->table.query(GuestPhys{0}).age.dirty);
  EXPECT_EQ(this->table.tables(), tables) << "a harvest splits nothing";
}

// ---- audit: one thing corrupted, and seen by its name ----

FORMAT_TEST(BackendsTest, AuditSeesALeafWithAnotherHostAddress) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto& e = this->entry(this->gpa(17));
  e = this->table.format().leaf(0, this->hpa(700), rw);
  EXPECT_EQ(this->flaw(), Flaw::leaf_host);
}
FORMAT_TEST(BackendsTest, AuditSeesALeafWithOtherAttributes) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto& e = this->entry(this->gpa(17));
  e = this->table.format().leaf(0, this->hpa(513), ro);
  EXPECT_EQ(this->flaw(), Flaw::leaf_attributes);
}
FORMAT_TEST(BackendsTest, AuditSeesAHoleInALinearArea) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->table.unmap({this->gpa(18), PAGES(1)}));
  EXPECT_EQ(this->flaw(), Flaw::hole);
}
FORMAT_TEST(BackendsTest, AuditSeesALeafInNoArea) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->table.map({this->gpa(20), PAGES(1)}, this->hpa(900), rw));
  EXPECT_EQ(this->flaw(), Flaw::leaf_outside);
}
FORMAT_TEST(BackendsTest, AuditSeesALeafThatReachesOverItsArea) {
  ASSERT_TRUE(this->table.map({GuestPhys{0}, this->block()}, HostPhys{0}, rw));
  ASSERT_EQ(this->set.map({this->gpa(16), PAGES(4), rw, Device{}}, this->table).error().code, Errc::already_mapped);
  EXPECT_EQ(this->flaw(), Flaw::leaf_outside);
}
FORMAT_TEST(BackendsTest, AuditSeesALeafInADeviceArea) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Device{}}, this->table));
  ASSERT_TRUE(this->table.map({this->gpa(17), PAGES(1)}, this->hpa(900), rw));
  EXPECT_EQ(this->flaw(), Flaw::device_mapped);
}
FORMAT_TEST(BackendsTest, AuditSeesAWrongCount) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Lazy{this->source}}, this->table));
  ASSERT_EQ(*this->set.resolve(this->gpa(16), Prot::r, this->table), Resolution::mapped);
  ASSERT_EQ(*this->set.resolve(this->gpa(17), Prot::r, this->table), Resolution::mapped);
  this->entry(this->gpa(16)) = 0;
  EXPECT_EQ(this->flaw(), Flaw::wrong_count);
}
FORMAT_TEST(BackendsTest, AuditSeesReservedBits) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  this->entry(this->gpa(17)) |= std::uint64_t{1} << this->table.format().output_bits();
  EXPECT_EQ(this->flaw(), Flaw::reserved_bits);
}
FORMAT_TEST(BackendsTest, AuditSeesATableReachableTwice) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto const root = this->frames.view(this->table.root());
  root[1] = root[0];
  ++this->frames.word(this->table.root());
  EXPECT_EQ(this->flaw(), Flaw::table_shared);
  root[1] = 0;
  --this->frames.word(this->table.root());
  EXPECT_EQ(this->flaw(), Flaw::none) << "audit leaves no mark behind";
}
FORMAT_TEST(BackendsTest, AuditSeesATableOutsideTheFrames) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto const root = this->frames.view(this->table.root());
  root[1] = this->table.format().table(this->geometry.root, HostPhys{1_GiB});
  ++this->frames.word(this->table.root());
  EXPECT_EQ(this->table.audit().flaw, Flaw::table_foreign);
  root[1] = 0;
  --this->frames.word(this->table.root());
}
FORMAT_TEST(BackendsTest, AuditSeesABrokenSlotLeftBehind) {
  if (!this->table.format().can_break()) return;
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto& e = this->entry(this->gpa(17));
  e = this->table.format().broken(e);
  EXPECT_EQ(this->flaw(), Flaw::broken_left);
}
FORMAT_TEST(BackendsTest, AuditSeesAMarkThatLeadsToNothing) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  this->frames.word(this->table.root()) |= std::uint64_t{1} << 63;
  EXPECT_EQ(this->flaw(), Flaw::wrong_mark);
}
FORMAT_TEST(BackendsTest, AuditSeesAnEmptyTable) {
  ASSERT_TRUE(this->table.map({this->gpa(16), PAGES(1)}, this->hpa(512), rw));
  auto where = this->table.root();
  for (Level level = this->geometry.root; level != 0; --level)
    where = this->table.format().address(level, this->frames.view(where)[0]);
  this->frames.view(where)[16] = 0;
  --this->frames.word(where);
  EXPECT_EQ(this->flaw(), Flaw::table_empty);
}

}  // namespace
}  // namespace slat::test
