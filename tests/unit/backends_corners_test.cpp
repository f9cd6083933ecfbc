// Areas at the edges: one operation by itself, faults that area and table disagree about, large pages that do not fit,
// refusals, and what audit() sees at the ends of an area and between two tables.

#include <functional>

#include "unit/backends_suite.hpp"

namespace slat::test {
namespace {

using Pages = PageSource<RecordingFrames>;

template <class Format>
class BackendCorners : public BackendsTest<Format> {
 protected:
  /// Maps `pages` pages at page 16, lazily.
  void lazy(std::uint64_t pages, Pages& from) {
    ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(pages), rw, Lazy{from}}, this->table));
  }
  Resolution fault(std::uint64_t n) { return *this->set.resolve(this->gpa(n), Prot::r, this->table); }
  /// The word beside the table of `level` on the way to `at`.
  std::uint64_t& word(GuestPhys at, Level level) {
    auto where = this->table.root();
    for (auto above = this->geometry.root; above != level; --above)
      where = this->table.format().address(above, this->frames.view(where)[this->geometry.index(at, above)]);
    return this->frames.word(where);
  }
  static constexpr std::uint64_t mark = std::uint64_t{1} << 63;
};

// ---- one operation by itself ----

FORMAT_TEST(BackendCorners, EachOperationByItselfIsAnEditOfItsOwn) {
  typename TestFixture::Backend backend{Linear{this->hpa(512)}};
  ASSERT_TRUE(backend.map(this->gpa(16), PAGES(4), rw, this->table));
  EXPECT_EQ(this->table.query(this->gpa(19)).host, this->hpa(515));
  EXPECT_EQ(this->recorder.shootdowns(), 0u);
  ASSERT_TRUE(backend.protect(this->gpa(16), PAGES(4), ro, this->table));
  EXPECT_EQ(this->table.query(this->gpa(19)).attr, ro);
  EXPECT_EQ(this->recorder.shootdowns(), 1u);
  ASSERT_TRUE(backend.unmap(this->gpa(16), PAGES(4), this->table));
  EXPECT_EQ(this->table.query(this->gpa(19)).kind, Kind::absent);
  EXPECT_EQ(this->recorder.shootdowns(), 2u);
}

FORMAT_TEST(BackendCorners, AnOperationByItselfThatIsRefusedSaysWhyAndChangesNothing) {
  typename TestFixture::Backend const kinds[] = {Linear{this->hpa(512)}, Lazy{this->source}, Device{}};
  auto const before = this->frames.fingerprint();
  for (auto backend : kinds) {
    auto const empty = backend.map(this->gpa(16), 0, rw, this->table);
    ASSERT_FALSE(empty);
    EXPECT_EQ(empty.error().code, Errc::invalid_param);
    EXPECT_EQ(empty.error().argument, Argument::size);
    EXPECT_EQ(backend.map(this->gpa(16) + 1, PAGES(1), rw, this->table).error(), Errc::misaligned);
    EXPECT_EQ(backend.unmap(this->gpa(16) + 1, PAGES(1), this->table).error(), Errc::misaligned);
    EXPECT_EQ(backend.protect(this->gpa(16), 1, ro, this->table).error(), Errc::misaligned);
  }
  EXPECT_EQ(this->frames.fingerprint(), before);
  EXPECT_EQ(this->recorder.stores(), 0u);
}

struct Calling {
  std::function<void()>* call;
  void operator()(HostPhys, const Stale&) noexcept { (*call)(); }
  void publish() noexcept {}
};

FORMAT_TEST(BackendCorners, FromInsideTheHookAnOperationByItselfAndACoalesceAreBusy) {
  using Knotted = PageTable<Format, RecordingFrames, Calling>;
  using Knot = Backends<Knotted, PageSource<RecordingFrames>>;
  std::function<void()> call = [] {};
  auto knotted = *Knotted::create(this->make(), this->frames, Calling{&call});
  MemorySet<Attr, Knotted, Knot> areas;
  ASSERT_TRUE(areas.map({this->gpa(16), PAGES(2), rw, Linear{this->hpa(512)}}, knotted));
  unsigned calls = 0;
  call = [&] {
    ++calls;
    Knot backend{Linear{this->hpa(600)}};
    EXPECT_EQ(backend.map(this->gpa(32), PAGES(1), rw, knotted).error(), Errc::busy);
    EXPECT_EQ(backend.unmap(this->gpa(16), PAGES(1), knotted).error(), Errc::busy);
    EXPECT_EQ(backend.protect(this->gpa(16), PAGES(1), ro, knotted).error(), Errc::busy);
    EXPECT_EQ(areas.coalesce(this->gpa(16), PAGES(2), knotted).error(), Errc::busy);
  };
  ASSERT_TRUE(areas.unmap(this->gpa(17), PAGES(1), knotted));
  call = [] {};
  EXPECT_EQ(calls, 1u);
  EXPECT_EQ(knotted.query(this->gpa(32)).kind, Kind::absent);
  EXPECT_TRUE(areas.audit(knotted));
}

FORMAT_TEST(BackendCorners, ACoalesceThatIsRefusedNamesTheOffence) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  EXPECT_EQ(this->set.coalesce(this->gpa(16), PAGES(1) + 1, this->table).error(), Errc::misaligned);
  EXPECT_EQ(this->set.coalesce(this->gpa(16), ~std::uint64_t{0}, this->table).error(), Errc::invalid_param);
}

// ---- refusals ----

FORMAT_TEST(BackendCorners, ALazyAreaMayNotWantWhatNoEntryCanHave) {
  auto const impossible = rwx | Memory::device;
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  auto const before = this->frames.fingerprint();
  for (bool const over : {false, true}) {
    auto const at = over ? this->gpa(16) : this->gpa(32);
    auto const refused = this->set.map({at, PAGES(4), impossible, Lazy{this->source}}, this->table, over);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::unsupported);
    EXPECT_EQ(refused.error().argument, Argument::attributes);
  }
  EXPECT_EQ(this->set.len(), 1u);
  EXPECT_EQ(this->frames.fingerprint(), before);
  EXPECT_TRUE(this->set.audit(this->table));
}

// ---- faults ----

FORMAT_TEST(BackendCorners, AFaultOnAHoleInALinearAreaIsAnErrorAndNoLoop) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->table.unmap({this->gpa(17), PAGES(1)}));
  auto const refused = this->set.resolve(this->gpa(17), Prot::r, this->table);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::bad_state);
  EXPECT_EQ(refused.error().value, this->gpa(17).raw());
}

FORMAT_TEST(BackendCorners, AnExecutionThatTheAreaAllowsAndTheTableDoesNotIsAnErrorAndNoLoop) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rwx, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->table.protect({this->gpa(16), PAGES(1)}, rw));
  ASSERT_TRUE(this->table.harvest({this->gpa(16), PAGES(1)}, {.dirty = true}, [](GuestRange) {}));
  auto const before = this->frames.fingerprint();
  EXPECT_EQ(this->set.resolve(this->gpa(16), Prot::x, this->table).error(), Errc::bad_state);
  EXPECT_EQ(this->frames.fingerprint(), before) << "a page that is watched for writes was not written";
  EXPECT_EQ(*this->set.resolve(this->gpa(16), Prot::r, this->table), Resolution::spurious);
}

FORMAT_TEST(BackendCorners, AFaultPopulatesALargePageAtOnceWhereItFits) {
  Pages large{this->frames, this->page(), PAGES(4)};
  this->lazy(16, large);
  ASSERT_EQ(this->fault(18), Resolution::mapped);
  EXPECT_EQ(large.in_use(), 4u);
  for (auto const n : {16u, 17u, 18u, 19u}) EXPECT_EQ(this->fault(n), Resolution::spurious) << n;
  EXPECT_EQ(this->table.query(this->gpa(20)).kind, Kind::absent);
  EXPECT_TRUE(this->set.audit(this->table));
  ASSERT_TRUE(this->set.clear(this->table));
  EXPECT_EQ(large.in_use(), 0u);
}

FORMAT_TEST(BackendCorners, ALargePageThatTheAreaCutsIsPopulatedByTheGranule) {
  Pages large{this->frames, this->page(), PAGES(4)};
  this->lazy(3, large);
  ASSERT_EQ(this->fault(17), Resolution::mapped);
  EXPECT_EQ(large.in_use(), 1u);
  EXPECT_EQ(this->table.query(this->gpa(16)).kind, Kind::absent);
  ASSERT_TRUE(this->set.clear(this->table));
}

FORMAT_TEST(BackendCorners, ALargePageThatHoldsASmallOneIsPopulatedByTheGranule) {
  Pages large{this->frames, this->page(), PAGES(4)};
  this->lazy(3, large);
  ASSERT_EQ(this->fault(17), Resolution::mapped);
  // With this the area holds all of the large page; one page of it is there already.
  ASSERT_TRUE(this->set.map({this->gpa(19), PAGES(1), ro, Lazy{large}}, this->table));
  ASSERT_TRUE(this->set.protect(
      this->gpa(19), PAGES(1), [](Attr) { return std::optional{rw}; }, this->table));
  ASSERT_EQ(this->set.len(), 1u);
  ASSERT_EQ(this->fault(18), Resolution::mapped);
  EXPECT_EQ(large.in_use(), 2u);
  EXPECT_TRUE(this->set.audit(this->table));
  ASSERT_TRUE(this->set.clear(this->table));
  EXPECT_EQ(large.in_use(), 0u);
}

FORMAT_TEST(BackendCorners, AnErrorOtherThanMissingMemoryIsNotTriedAgainInSmall) {
  RecordingFrames frames_of_other{this->recorder, this->page(), 32, HostPhys{0x6'0000'0000}};
  auto other = *TestFixture::Table::create(this->make(), frames_of_other, RecordingHook{this->recorder});
  typename TestFixture::Set others;
  Pages large{this->frames, this->page(), PAGES(4)};
  this->lazy(16, large);
  ASSERT_EQ(this->fault(16), Resolution::mapped);
  ASSERT_TRUE(others.map({this->gpa(16), PAGES(16), rw, Lazy{large}}, other));
  auto const refused = others.resolve(this->gpa(16), Prot::r, other);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::bad_state);
  EXPECT_EQ(refused.error().range.size, PAGES(4)) << "it was the large page that was refused";
  EXPECT_EQ(large.in_use(), 4u);
  ASSERT_TRUE(this->set.clear(this->table));
}

// ---- audit ----

FORMAT_TEST(BackendCorners, AuditSeesALeafThatReachesOverTheEndOfTheAreaItBeginsIn) {
  ASSERT_TRUE(this->table.map({GuestPhys{0}, this->block()}, HostPhys{0}, rw));
  // Two areas without a gap, of a set of their own that was told of an empty table.
  Recorder quiet;
  RecordingFrames others{quiet, this->page(), 32};
  auto empty = *TestFixture::Table::create(this->make(), others, RecordingHook{quiet});
  typename TestFixture::Set areas;
  auto const half = this->block() / 2;
  ASSERT_TRUE(areas.map({GuestPhys{0}, half, rw, Lazy{this->source}}, empty));
  ASSERT_TRUE(areas.map({GuestPhys{half}, half, rw, Lazy{this->source}}, empty));
  auto const audit = areas.audit(this->table);
  EXPECT_EQ(audit.flaw, Flaw::leaf_outside);
  EXPECT_EQ(audit.where, (GuestRange{GuestPhys{0}, this->block()}));
}

FORMAT_TEST(BackendCorners, AuditSeesAHoleAtTheEndOfALinearArea) {
  ASSERT_TRUE(this->set.map({this->gpa(16), PAGES(4), rw, Linear{this->hpa(512)}}, this->table));
  ASSERT_TRUE(this->table.unmap({this->gpa(18), PAGES(2)}));
  auto const audit = this->set.audit(this->table);
  EXPECT_EQ(audit.flaw, Flaw::hole);
  EXPECT_EQ(audit.where, (GuestRange{this->gpa(18), PAGES(2)}));
}

FORMAT_TEST(BackendCorners, AuditNamesTheFirstOfTheLeavesThatLieInNoArea) {
  ASSERT_TRUE(this->table.map({this->gpa(20), PAGES(1)}, this->hpa(900), rw));
  ASSERT_TRUE(this->table.map({this->gpa(30), PAGES(1)}, this->hpa(901), rw));
  auto const audit = this->set.audit(this->table);
  EXPECT_EQ(audit.flaw, Flaw::leaf_outside);
  EXPECT_EQ(audit.where, (GuestRange{this->gpa(20), PAGES(1)}));
}

FORMAT_TEST(BackendCorners, AuditSeesABrokenSlotToWhichNoMarkLeads) {
  ASSERT_TRUE(this->table.map({this->gpa(16), PAGES(2)}, this->hpa(512), rw));
  auto const edit = this->table.edit();
  ASSERT_TRUE(this->table.replace({this->gpa(17), PAGES(1)}, this->hpa(700), rw));
  if (this->table.query(this->gpa(17)).kind != Kind::broken) return;  // this format need not break
  EXPECT_TRUE(this->table.audit()) << "inside an edit it may be broken";
  for (Level level = 0; level <= this->geometry.root; ++level) {
    // In the table itself, or on the way to it.
    this->word(this->gpa(17), level) &= ~TestFixture::mark;
    EXPECT_EQ(this->table.audit().flaw, Flaw::wrong_mark) << "without the mark at level " << level;
    this->word(this->gpa(17), level) |= TestFixture::mark;
  }
  EXPECT_TRUE(this->table.audit());
}

FORMAT_TEST(BackendCorners, AuditSeesABrokenSlotBelowAnother) {
  ASSERT_TRUE(this->table.map({GuestPhys{0}, this->block()}, HostPhys{this->block() * 8}, rw));
  auto const edit = this->table.edit();
  ASSERT_TRUE(this->table.protect({this->gpa(3), PAGES(1)}, ro));
  auto const above = this->table.query(GuestPhys{0});
  if (above.kind != Kind::broken) return;  // this format swaps the table live
  EXPECT_TRUE(this->table.audit());
  auto const& format = this->table.format();
  auto& child = this->frames.view(format.address(1, format.mended(above.entry)))[5];
  auto const good = std::exchange(child, format.broken(child));
  EXPECT_EQ(this->table.audit().flaw, Flaw::broken_left);
  child = good;
  EXPECT_TRUE(this->table.audit());
}

}  // namespace
}  // namespace slat::test
