// What a set does with a backend that offers more than the three operations: resolve, harvest, audit.

#include <vector>

#include "unit/mock_backend.hpp"

namespace slat::test {
namespace {

/// Remembers what it was asked. A byte of the table: flags, 0x80 for dirty.
struct Journal {
  std::vector<GuestRange> areas{};
  std::vector<GuestRange> gaps{};
  unsigned tables = 0;
  Flaw flaw = Flaw::none;  // what the audits find
  GuestRange where{};      // and where
  std::vector<Age> harvested{};
  GuestPhys resolved{};
  GuestRange resolved_in{};
};

struct AbleBackend {
  int kind = 0;

  bool map(GuestPhys, std::uint64_t, MockFlags, Journal&) { return true; }
  bool unmap(GuestPhys, std::uint64_t, Journal&) { return true; }
  bool protect(GuestPhys, std::uint64_t, MockFlags, Journal&) { return true; }

  Result<Resolution> resolve(GuestPhys at, Prot access, MockFlags flags, GuestRange area, Journal& pt) {
    pt.resolved = at;
    pt.resolved_in = area;
    if (kind == 9) return Error{.code = Errc::no_memory};
    if (kind == 1) return Resolution::emulate;
    return allows(Prot{flags}, access) ? Resolution::mapped : Resolution::denied;
  }
  template <class Sink>
  static Result<> harvest(GuestRange range, Age what, Sink& sink, Journal& pt) {
    pt.harvested.push_back(what);
    sink(range);
    return {};
  }
  Audit audit(GuestRange range, MockFlags, Journal& pt) const {
    pt.areas.push_back(range);
    return found(range, pt);
  }
  static Audit audit_gap(GuestRange range, Journal& pt) {
    pt.gaps.push_back(range);
    return found(range, pt);
  }
  static Audit audit_table(Journal& pt) {
    ++pt.tables;
    return found({}, pt);
  }
  static Audit found(GuestRange range, const Journal& pt) {
    if (pt.flaw == Flaw::none || !(pt.where == range)) return {};
    return {pt.flaw, range, 7};
  }
};
using Set = MemorySet<MockFlags, Journal, AbleBackend>;

constexpr std::uint64_t half = std::uint64_t{1} << 63;

template <class S, class PT>
concept Resolves = requires(S& set, PT& pt) { set.resolve(GuestPhys{}, Prot::r, pt); };
template <class S, class PT>
concept Harvests = requires(S& set, PT& pt, void (*sink)(GuestRange)) { set.harvest(GuestRange{}, sink, pt); };
// The operations exist only where the backend has them.
static_assert(Resolves<Set, Journal> && Harvests<Set, Journal>);
using Bare = MemorySet<MockFlags, MockPageTable, MockBackend>;
static_assert(!Resolves<Bare, MockPageTable> && !Harvests<Bare, MockPageTable>);

TEST(MemorySetResolve, AsksTheBackendOfTheAreaThatHoldsTheAddress) {
  Journal pt;
  Set set;
  ASSERT_TRUE(set.map({gpa(0x1000), 0x1000, MockFlags(Prot::r), AbleBackend{0}}, pt));
  ASSERT_TRUE(set.map({gpa(0x2000), 0x1000, MockFlags(Prot::rw), AbleBackend{1}}, pt));
  ASSERT_TRUE(set.map({gpa(0x3000), 0x1000, MockFlags(Prot::rw), AbleBackend{9}}, pt));
  EXPECT_EQ(*set.resolve(gpa(0x1fff), Prot::r, pt), Resolution::mapped);
  EXPECT_EQ(pt.resolved, gpa(0x1fff));
  EXPECT_EQ(pt.resolved_in, bytes(0x1000, 0x2000));
  EXPECT_EQ(*set.resolve(gpa(0x1fff), Prot::w, pt), Resolution::denied);
  EXPECT_EQ(*set.resolve(gpa(0x2000), Prot::w, pt), Resolution::emulate);
  EXPECT_EQ(set.resolve(gpa(0x3000), Prot::w, pt).error(), Errc::no_memory);
}

TEST(MemorySetResolve, WhereNoAreaIsTheAnswerIsUnknown) {
  Journal pt;
  Set set;
  EXPECT_EQ(*set.resolve(gpa(0), Prot::r, pt), Resolution::unknown);
  ASSERT_TRUE(set.map({gpa(0x1000), 0x1000, 1}, pt));
  EXPECT_EQ(*set.resolve(gpa(0xfff), Prot::r, pt), Resolution::unknown);
  EXPECT_EQ(*set.resolve(gpa(0x2000), Prot::r, pt), Resolution::unknown);
  EXPECT_EQ(pt.resolved, gpa(0));
}

TEST(MemorySetHarvest, IsAboutDirtyUnlessAccessedIsAskedFor) {
  Journal pt;
  Set set;
  std::vector<GuestRange> runs;
  auto const sink = [&](GuestRange run) { runs.push_back(run); };
  ASSERT_TRUE(set.harvest(bytes(0x1000, 0x3000), sink, pt));
  ASSERT_TRUE(set.harvest(bytes(0x1000, 0x3000), sink, pt, {.accessed = true}));
  EXPECT_EQ(pt.harvested, (std::vector<Age>{{.dirty = true}, {.accessed = true}}));
  EXPECT_EQ(runs, (std::vector<GuestRange>{bytes(0x1000, 0x3000), bytes(0x1000, 0x3000)}));
}

TEST(MemorySetHarvest, OfNothingIsNothingAndPastTwoToThe64IsRefused) {
  Journal pt;
  Set set;
  auto const sink = [](GuestRange) { FAIL(); };
  ASSERT_TRUE(set.harvest({gpa(0x1000), 0}, sink, pt));
  auto const done = set.harvest({gpa(0x1000), ~std::uint64_t{0}}, sink, pt);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error(), Errc::invalid_param);
  EXPECT_TRUE(pt.harvested.empty());
}

TEST(MemorySetAudit, LooksAtEveryAreaAndEveryGapUpToTwoToThe64) {
  Journal pt;
  Set set;
  ASSERT_TRUE(set.map({gpa(0x1000), 0x1000, 1}, pt));
  ASSERT_TRUE(set.map({gpa(0x2000), 0x1000, 1}, pt));
  ASSERT_TRUE(set.map({gpa(0x5000), 0x1000, 1}, pt));
  EXPECT_TRUE(set.audit(pt));
  EXPECT_EQ(pt.areas, (std::vector<GuestRange>{bytes(0x1000, 0x2000), bytes(0x2000, 0x3000), bytes(0x5000, 0x6000)}));
  EXPECT_EQ(pt.gaps, (std::vector<GuestRange>{bytes(0, 0x1000), bytes(0x3000, 0x5000), bytes(0x6000, 0)}));
  EXPECT_EQ(pt.tables, 1u);
}

TEST(MemorySetAudit, OfAnEmptySetTheWholeSpaceIsAGapInTwoHalves) {
  Journal pt;
  Set set;
  EXPECT_TRUE(set.audit(pt));
  EXPECT_EQ(pt.gaps, (std::vector<GuestRange>{{gpa(0), half}, {gpa(half), half}}));
  EXPECT_EQ(pt.tables, 1u);
}

TEST(MemorySetAudit, WhereAreasReachBothEndsThereIsNoGap) {
  Journal pt;
  Set set;
  ASSERT_TRUE(set.map({gpa(0), half, 1}, pt));
  ASSERT_TRUE(set.map({gpa(half), half, 1}, pt));
  EXPECT_TRUE(set.audit(pt));
  EXPECT_TRUE(pt.gaps.empty());
}

TEST(MemorySetAudit, ReturnsTheFirstFlawOfAreaGapAndTable) {
  Set set;
  Journal setup;
  ASSERT_TRUE(set.map({gpa(0x1000), 0x1000, 1}, setup));
  for (auto const where : {bytes(0, 0x1000), bytes(0x1000, 0x2000), bytes(0x2000, 0), GuestRange{}}) {
    Journal pt{.flaw = Flaw::leaf_outside, .where = where};
    auto const found = set.audit(pt);
    EXPECT_EQ(found.flaw, Flaw::leaf_outside);
    EXPECT_EQ(found.where, where);
    EXPECT_EQ(found.value, 7u);
  }
}

TEST(MemorySetAudit, ATableThatIsNotSoundIsNotReadThrough) {
  Set set;
  Journal pt;
  ASSERT_TRUE(set.map({gpa(0x1000), 0x1000, 1}, pt));
  pt.flaw = Flaw::table_foreign;
  EXPECT_EQ(set.audit(pt).flaw, Flaw::table_foreign);
  EXPECT_TRUE(pt.areas.empty());
  EXPECT_TRUE(pt.gaps.empty());
}

TEST(MemorySetAudit, NamesAreasThatAreNotSortedOrOverlapOrWrap) {
  auto const with_second = [](GuestRange range) {
    Journal pt;
    Set set;
    EXPECT_TRUE(set.map({gpa(0x1000), 0x1000, 1}, pt));
    EXPECT_TRUE(set.map({gpa(0x3000), 0x1000, 1}, pt));
    // Areas are handed out as const: this is what damage looks like.
    *const_cast<Set::Area*>(set.find(gpa(0x3000))) = {range.begin, range.size, 1};
    auto const found = set.audit(pt);
    EXPECT_TRUE(pt.areas.empty()) << "the table is not looked at by areas that make no sense";
    EXPECT_TRUE(found || found.where == range);
    return found.flaw;
  };
  EXPECT_EQ(with_second(bytes(0x1fff, 0x4000)), Flaw::area_overlap);
  EXPECT_EQ(with_second(bytes(0x800, 0x1001)), Flaw::area_overlap);
  EXPECT_EQ(with_second(bytes(0, 0x1000)), Flaw::area_order);
  EXPECT_EQ(with_second({gpa(0x3000), 0}), Flaw::area_order);
  EXPECT_EQ(with_second({gpa(0x3000), ~std::uint64_t{0}}), Flaw::area_order);
}

TEST(MemorySetAudit, ABackendWithoutAuditStillHasItsAreasChecked) {
  MemorySet<MockFlags, ByteTable<64>, MockBackend> set;
  ByteTable<64> pt{};
  ASSERT_TRUE(set.map({gpa(0), 8, 1}, pt));
  EXPECT_TRUE(set.audit(pt));
  *const_cast<decltype(set)::Area*>(set.find(gpa(0))) = {gpa(0), 0, 1};
  EXPECT_EQ(set.audit(pt).flaw, Flaw::area_order);
}

// The classic example of one line per area, with a backend that is one of a closed set of kinds.

struct Ram {
  std::uint64_t base;
};
struct Any : AbleBackend {
  Any(Ram) {}  // as a variant is made from one of its alternatives
};

TEST(MemoryArea, IsWrittenAsStartSizeFlagsBackend) {
  MemorySet<MockFlags, Journal, Any> set;
  Journal pt;
  ASSERT_TRUE(set.map({0x4000'0000_gpa, 1_GiB, 7, Ram{5}}, pt));
  auto const& area = *set.find(0x7fff'ffff_gpa);
  EXPECT_EQ(area.start(), 0x4000'0000_gpa);
  EXPECT_EQ(area.size(), 1_GiB);
  EXPECT_EQ(area.range(), (GuestRange{0x4000'0000_gpa, 1_GiB}));
  EXPECT_TRUE(area.contains(0x4000'0000_gpa));
  EXPECT_FALSE(area.contains(0x8000'0000_gpa));
  EXPECT_TRUE(area.overlaps({0x3fff'f000_gpa, 0x1001}));
  EXPECT_FALSE(area.overlaps({0x3fff'f000_gpa, 0x1000}));
  EXPECT_FALSE(area.overlaps({0x8000'0000_gpa, 0x1000}));
}

}  // namespace
}  // namespace slat::test
