// What slat promises, a sentence a test, on every granule and format, under the eyes of the oracle.

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

template <class Format>
class Promise : public FormatTest<Format> {
 protected:
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;
  using Backend = Backends<Table, PageSource<RecordingFrames>>;
  using Set = MemorySet<Attr, Table, Backend>;

  void TearDown() override {
    EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
    if (!alive) return;
    auto const audit = set.audit(table());
    EXPECT_TRUE(audit) << name(audit.flaw) << std::hex << " at " << audit.where.begin.raw();
  }

  Table& table() { return oracle.table(); }
  Recorder& recorder() { return oracle.recorder(); }
  bool breaks() { return table().format().can_break(); }
  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  GuestPhys at(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return GuestPhys{blocks * block() + pages * page()};
  }
  /// As much as 1 GiB where a guest has that many blocks of it; whole blocks in any case.
  std::uint64_t gib() const { return block() > 1_GiB ? block() : 1_GiB; }
  HostPhys ram() const { return HostPhys{geometry.span(geometry.top_leaf) * 8}; }

  Result<> map(GuestRange range, HostPhys host, Attr attr, bool over = false) {
    return oracle.perform("set.map", Change::map(range, host, attr), [&] {
      return set.map({range.begin, range.size, attr, Linear{host}}, table(), over);
    });
  }
  Result<> unmap(GuestRange range) {
    return oracle.perform("set.unmap", Change::unmap(range),
                          [&] { return set.unmap(range.begin, range.size, table()); });
  }
  Result<> protect(GuestRange range, Attr attr) {
    return oracle.perform("set.protect", Change::attributes(oracle.intent(), range, attr), [&] {
      return set.protect(
          range.begin, range.size, [=](Attr) { return std::optional{attr}; }, table());
    });
  }

  /// What the last shootdown named, joined to a text: "[a, b) level n tables".
  std::string named() {
    std::string out;
    auto const append = [&out](std::string_view piece) { out += piece; };
    if (recorder().invalidations().empty()) return "nothing";
    auto const& stale = recorder().invalidations().back();
    if (stale.everything()) return "everything";
    for (auto const& range : stale.ranges()) {
      out += out.empty() ? "" : " ";
      print_range(append, range.range);
      out += range.level == Stale::unknown_level ? " any" : " " + std::to_string(range.level);
      if (range.tables) out += " tables";
    }
    return out;
  }
  static std::string name_of(GuestRange range, const std::string& level) { return text(range) + " " + level; }

  Geometry geometry = FormatTest<Format>::make().geometry();
  Oracle<Format> oracle{FormatTest<Format>::make(), {.frames = geometry.page_bits == 12 ? 600u : 80u}};
  Set set;
  bool alive = true;
};
// ---- P1 ----

FORMAT_TEST(Promise, AreasAndTablesAgreeAfterEveryCallSuccessOrFailure) {
  std::mt19937 random{11};
  auto const below = [&](std::uint64_t n) { return random() % n; };
  constexpr Attr attrs[] = {rw, rwx, ro, rx};
  std::size_t succeeded = 0, failed = 0;
  for (int i = 0; i != 100; ++i) {
    auto const begin = this->at(below(4), below(3) == 0 ? below(8) : 0);
    auto const size = below(3) == 0 ? this->page() * (1 + below(9)) : this->block() * (1 + below(2));
    GuestRange const range{begin, size};
    HostPhys const host{this->ram().raw() + begin.raw()};
    if (below(4) == 0) this->oracle.frames().fail_after(below(3));
    auto const done = [&] {
      switch (below(4)) {
        case 0: return this->map(range, host, attrs[below(4)]);
        case 1: return this->map(range, host, attrs[below(4)], true);
        case 2: return this->unmap(range);
        default: return this->protect(range, attrs[below(4)]);
      }
    }();
    this->oracle.frames().never_fail();
    ++(done ? succeeded : failed);
    auto const audit = this->set.audit(this->table());
    ASSERT_TRUE(audit) << name(audit.flaw) << " after call " << i;
    ASSERT_EQ(this->oracle.violation(), Offence::none) << this->oracle.why();
  }
  EXPECT_GT(succeeded, 25u);
  EXPECT_GT(failed, 12u);
}

// ---- P2 ----

FORMAT_TEST(Promise, ACallThatReturnsAnErrorChangedNothing) {
  // Hardware's own marks would differ from one fingerprint to the next: a table that no hardware walks.
  Recorder quiet;
  RecordingFrames frames{quiet, this->geometry.table_bytes(), 80};
  auto still = *TestFixture::Table::create(this->make(), frames, RecordingHook{quiet});
  typename TestFixture::Set areas;
  auto const block = this->block();
  auto const page = this->page();
  for (std::uint64_t n : {0u, 4u, 8u, 12u})
    ASSERT_TRUE(
        areas.map({GuestPhys{n * block}, 2 * block, rwx, Linear{HostPhys{this->ram().raw() + n * block}}}, still));

  struct Call {
    const char* name;
    std::function<Result<>()> call;
  };
  // Each in two blocks of its own, which it cuts: so it needs several frames.
  auto const across = [&](std::uint64_t n) { return GuestPhys{(n + 1) * block - page}; };
  auto const to_ro = [](Attr) { return std::optional{ro}; };
  std::vector<Call> const calls{
      {"map",
       [&] {
         return areas.map({across(16), page * 2, rw, Linear{this->ram()}}, still);
       }},
      {"replace",
       [&] {
         return areas.map({across(0), page * 2, rw, Linear{this->ram()}}, still, true);
       }},
      {"unmap", [&] { return areas.unmap(across(4), page * 2, still); }},
      {"protect", [&] { return areas.protect(across(8), page * 2, to_ro, still); }},
      {"split",
       [&] {
         return still.split({GuestPhys{block * 12}, 2 * block});
       }},
  };
  for (auto const& [name, call] : calls) {
    for (std::size_t k = 0;; ++k) {
      ASSERT_LT(k, 20u) << name;
      auto const before = frames.fingerprint();
      auto const count = areas.len();
      auto const hooks = quiet.shootdowns();
      auto const publishes = quiet.publishes();
      auto const in_use = frames.in_use();
      frames.fail_after(k);
      auto const done = call();
      frames.never_fail();
      if (done) {
        EXPECT_GT(k, 1u) << name << " needs too little memory here to show anything";
        break;
      }
      EXPECT_EQ(done.error().code, Errc::no_memory);
      EXPECT_EQ(frames.fingerprint(), before) << name << " with " << k << " allocations";
      EXPECT_EQ(frames.in_use(), in_use);
      EXPECT_EQ(areas.len(), count);
      EXPECT_EQ(quiet.shootdowns(), hooks);
      EXPECT_EQ(quiet.publishes(), publishes);
    }
    EXPECT_TRUE(areas.audit(still)) << name;
  }
}

// ---- P3 ----

FORMAT_TEST(Promise, AbsentToPresentNeedsNoShootdownButIsPublished) {
  ASSERT_TRUE(this->map({this->at(1), this->block() * 2}, this->ram(), rwx));
  EXPECT_EQ(this->recorder().shootdowns(), 0u);
  EXPECT_EQ(this->recorder().publishes(), 1u);
}

FORMAT_TEST(Promise, RightsThatOnlyGrowNeedNoShootdown) {
  ASSERT_TRUE(this->map({this->at(1), this->block() * 2}, this->ram(), ro));
  ASSERT_TRUE(this->protect({this->at(1), this->block() * 2}, rwx));
  EXPECT_EQ(this->recorder().shootdowns(), 0u);
}

FORMAT_TEST(Promise, AOnePageUnmapNamesOnePage) {
  ASSERT_TRUE(this->map({this->at(1), this->page() * 4}, this->ram(), rw));
  ASSERT_TRUE(this->unmap({this->at(1, 1), this->page()}));
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_EQ(this->named(), this->name_of({this->at(1, 1), this->page()}, "0"));
}

FORMAT_TEST(Promise, AShootdownSaysWhetherRightsShrankAndNoMore) {
  auto const only_rights = [&] { return this->recorder().invalidations().back().only_rights_shrank(); };
  GuestRange const range{this->at(1), this->page() * 4};
  ASSERT_TRUE(this->map(range, this->ram(), rw));
  ASSERT_TRUE(this->protect(range, ro));
  EXPECT_TRUE(only_rights());
  ASSERT_TRUE(this->protect(range, rw));
  ASSERT_TRUE(this->protect(range, ro | Memory::uncached));
  EXPECT_EQ(this->recorder().shootdowns(), 2u);
  EXPECT_FALSE(only_rights()) << "the memory type is another";
  ASSERT_TRUE(this->unmap(range));
  EXPECT_FALSE(only_rights());
}

FORMAT_TEST(Promise, AnUnmapThatEmptiesATableNamesTheWholeSpanOfIt) {
  ASSERT_TRUE(this->map({this->at(1), this->block()}, this->ram(), rw));  // keeps the tables above in use
  ASSERT_TRUE(this->map({this->at(2), this->page() * 4}, this->ram(), rw));
  ASSERT_TRUE(this->unmap({this->at(2), this->page() * 4}));
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_EQ(this->named(), this->name_of({this->at(2), this->block()}, "any tables"));
}

FORMAT_TEST(Promise, AGibibyteProtectWithBothEdgesInsideBlocksIsOneShootdownNamingNoMoreThanItMust) {
  // Whole blocks around the range, pages of them outside at either end.
  auto const blocks = this->gib() / this->block() + 2;
  ASSERT_TRUE(this->map({this->at(1), this->block() * blocks}, HostPhys{this->ram().raw() + this->block()}, rwx));
  GuestRange const range{this->at(2, 0) - this->page(), this->gib() + 2 * this->page()};
  ASSERT_TRUE(this->protect(range, rx));
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  // A split names the whole old block at either edge: together, all the blocks that the range touches.
  auto const& stale = this->recorder().invalidations().back();
  ASSERT_FALSE(stale.everything());
  std::uint64_t bytes = 0;
  for (auto const& named : stale.ranges()) {
    bytes += named.range.size;
    EXPECT_FALSE(named.tables) << "no table was unlinked";
  }
  auto const large = this->table().query(this->at(1)).level;  // what the edge was cut to
  EXPECT_EQ(large, 0u);
  auto const edge_blocks = 2 * this->block();
  EXPECT_GE(bytes, range.size);
  EXPECT_LE(bytes, this->gib() + edge_blocks + (this->geometry.top_leaf > 1 ? 2 * this->geometry.span(2) : 0));
}

FORMAT_TEST(Promise, AThousandScatteredChangesInOneEditAreOneShootdown) {
  ASSERT_TRUE(this->map({this->at(1), this->block()}, this->ram(), rwx));
  auto const shootdowns = this->recorder().shootdowns();
  {
    auto edit = this->oracle.edit();
    for (unsigned n = 0; n < 1000; n += 2)
      ASSERT_TRUE(this->protect({this->at(1, n % (this->block() / this->page())), this->page()}, n % 4 == 0 ? ro : rw));
  }
  EXPECT_EQ(this->recorder().shootdowns(), shootdowns + 1);
}

FORMAT_TEST(Promise, AnEagerSplitIsOneShootdownOrWhereBlocksBreakOneForEvery512) {
  constexpr unsigned blocks = 600;
  Recorder quiet;
  RecordingFrames frames{quiet, this->geometry.table_bytes(), blocks + 40};
  auto still = *TestFixture::Table::create(this->make(), frames, RecordingHook{quiet});
  GuestRange const range{GuestPhys{0}, blocks * this->block()};
  // Guest and host are skewed by one block, so that none is larger.
  ASSERT_TRUE(still.map(range, HostPhys{this->ram().raw() + this->block()}, rwx));
  auto const e = still.query(GuestPhys{0}).entry;
  ASSERT_TRUE(still.split(range));
  bool const breaks = still.format().swap(1, e, still.format().table(1, HostPhys{0})) == Swap::break_;
  EXPECT_EQ(quiet.shootdowns(), breaks ? 2u : 1u);
  EXPECT_EQ(still.query(GuestPhys{0} + 599 * this->block()).level, 0u);
  EXPECT_TRUE(still.audit());
}

FORMAT_TEST(Promise, ACallThatChangesNothingOwesNothing) {
  ASSERT_TRUE(this->map({this->at(1), this->block()}, this->ram(), rw));
  auto const stores = this->recorder().stores();
  ASSERT_TRUE(this->protect({this->at(1, 3), this->page()}, rw));
  ASSERT_TRUE(this->unmap({this->at(3), this->block()}));
  EXPECT_EQ(this->recorder().stores(), stores);
  EXPECT_EQ(this->recorder().shootdowns(), 0u);
}

// ---- P4 ----

FORMAT_TEST(Promise, ATableFrameIsReleasedOnlyAfterTheInvalidationThatCoversIt) {
  ASSERT_TRUE(this->map({this->at(1), this->page() * 4}, this->ram(), rw));
  auto const in_use = this->oracle.frames().in_use();
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->unmap({this->at(1), this->page() * 4}));
    EXPECT_EQ(this->oracle.frames().in_use(), in_use) << "still owed";
    edit.settle();
    EXPECT_LT(this->oracle.frames().in_use(), in_use);
    EXPECT_EQ(this->recorder().shootdowns(), 1u);
    EXPECT_EQ(this->recorder().waits(), 1u) << "readers may be inside the table";
  }
}

// ---- P5 ----

FORMAT_TEST(Promise, BreakBeforeMakeHoldsAcrossTheCallsOfAWiderEdit) {
  ASSERT_TRUE(this->map({this->at(1), this->block() * 3}, this->ram(), rwx));
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->unmap({this->at(2), this->block()}));
    ASSERT_TRUE(this->map({this->at(2), this->block()}, HostPhys{this->ram().raw() * 2}, rw));
    ASSERT_TRUE(this->protect({this->at(2, 5), this->page()}, ro));
    ASSERT_TRUE(this->map({this->at(2, 2), this->page() * 6}, HostPhys{this->ram().raw() * 3}, rw, true));
    ASSERT_TRUE(this->oracle.coalesce({this->at(1), this->block() * 3}));
    auto const expected = this->breaks() ? Kind::broken : Kind::leaf;
    EXPECT_EQ(this->table().query(this->at(2)).kind, expected);
  }
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_EQ(this->table().query(this->at(2)).kind, Kind::leaf);
}

FORMAT_TEST(Promise, ABlockUnitedAndDividedInOneEditNeverHasTwoTablesForOneSlot) {
  GuestRange const range{this->at(1), this->block()};
  ASSERT_TRUE(this->map(range, this->ram(), rwx));
  ASSERT_TRUE(this->oracle.split(range));
  {
    auto edit = this->oracle.edit();
    ASSERT_TRUE(this->oracle.coalesce(range));
    ASSERT_TRUE(this->protect({this->at(1, 2), this->page()}, rx));
    ASSERT_TRUE(this->protect({this->at(1, 2), this->page()}, rwx));
    ASSERT_TRUE(this->oracle.coalesce(range));
  }
  EXPECT_EQ(this->recorder().shootdowns(), 2u) << "one for the split, one for the edit";
  EXPECT_EQ(this->table().query(this->at(1)).level, 1u);
}

FORMAT_TEST(Promise, MovingABlockToOtherMemoryBreaksWhereTheFormatBreaks) {
  ASSERT_TRUE(this->map({this->at(1), this->block()}, this->ram(), rwx));
  ASSERT_TRUE(this->map({this->at(1), this->block()}, HostPhys{this->ram().raw() + 4 * this->block()}, rwx, true));
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
}

// ---- P6, P7 ----

FORMAT_TEST(Promise, NothingOutsideTheRangeLosesItsTranslationItsRightsOrItsMarks) {
  ASSERT_TRUE(this->map({this->at(1), this->block() * 2}, this->ram(), rwx));
  for (auto n : {0u, 4u, 9u}) this->oracle.tlb().use(this->at(1, n), true);
  this->oracle.tlb().use(this->at(1, 2), false);
  ASSERT_TRUE(this->protect({this->at(1, 3), this->page() * 2}, ro));
  ASSERT_TRUE(this->unmap({this->at(1, 6), this->page()}));
  ASSERT_TRUE(this->unmap({this->at(2, 3), this->page()}));  // of a block that was whole until then
  EXPECT_EQ(this->table().query(this->at(2, 4)).host_of(this->at(2, 4)),
            this->ram() + this->block() + 4 * this->page());
  for (auto n : {0u, 4u, 9u}) EXPECT_TRUE(this->table().query(this->at(1, n)).age.dirty) << n;
  EXPECT_EQ(this->table().query(this->at(1, 9)).attr, rwx);
  EXPECT_EQ(this->table().query(this->at(1, 9)).host_of(this->at(1, 9)), this->ram() + 9 * this->page());
}

FORMAT_TEST(Promise, AtEveryStoreAnAddressMeansWhatItMeantOrWillMeanOrIsBroken) {
  // The oracle judges every store; here are the calls whose naive form would show something else on the way.
  ASSERT_TRUE(this->map({this->at(1), this->block() * 2}, this->ram(), rwx));
  ASSERT_TRUE(this->map({this->at(1, 3), this->block()}, HostPhys{this->ram().raw() * 2 + this->page()}, rw, true));
  ASSERT_TRUE(this->protect({this->at(1, 1), this->block()}, ro));
  ASSERT_TRUE(this->oracle.split({this->at(1), this->block() * 2}));
  ASSERT_TRUE(this->map({this->at(1), this->block() * 2}, this->ram(), rwx, true));
  ASSERT_TRUE(this->oracle.coalesce({this->at(1), this->block() * 2}));
  EXPECT_EQ(this->table().query(this->at(1)).level, 1u);
}

// ---- P8 ----

FORMAT_TEST(Promise, UnmappingEverythingLeavesTheRootAndNothingElse) {
  auto const root = this->oracle.frames().in_use();
  for (unsigned n = 0; n != 6; ++n)
    ASSERT_TRUE(this->map({this->at(2 * n, n), this->block()}, HostPhys{this->ram().raw() + n * this->page()}, rw));
  ASSERT_TRUE(this->unmap({GuestPhys{0}, this->geometry.input_size()}));
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_TRUE(this->set.is_empty());
  EXPECT_EQ(this->oracle.frames().in_use(), root);
  EXPECT_EQ(this->table().tables(), 1u);
}

FORMAT_TEST(Promise, UnmappingWholeAreasNeverNeedsMemory) {
  ASSERT_TRUE(this->map({this->at(1, 1), this->block() * 2}, HostPhys{this->ram().raw() + this->page()}, rw));
  ASSERT_TRUE(this->map({this->at(4), this->block()}, this->ram(), rwx));
  this->oracle.frames().fail_after(0);
  EXPECT_TRUE(this->unmap({this->at(4), this->block()}));
  EXPECT_TRUE(this->oracle.perform("clear", Change::unmap({GuestPhys{0}, this->geometry.input_size()}),
                                   [&] { return this->set.clear(this->table()); }));
  this->oracle.frames().never_fail();
  EXPECT_EQ(this->table().tables(), 1u);
}

// ---- P9 ----

FORMAT_TEST(Promise, MemoryIsTheMinimumForTheLeavesInUseAndCoalescingRestoresIt) {
  auto const block = this->block();
  ASSERT_TRUE(this->map({this->at(1), block}, this->ram(), rwx));
  auto const minimum = this->table().tables();
  EXPECT_EQ(minimum, this->geometry.root + (this->geometry.root == 0 ? 1 : 0)) << "a block needs no table of pages";
  ASSERT_TRUE(this->protect({this->at(1, 1), this->page()}, ro));
  EXPECT_EQ(this->table().tables(), minimum + 1);
  ASSERT_TRUE(this->protect({this->at(1, 1), this->page()}, rwx));
  EXPECT_EQ(this->set.len(), 1u) << "joined again";
  GuestRange const area{this->at(1), block};
  ASSERT_TRUE(this->oracle.perform("set.coalesce", Change::same(this->oracle.intent(), area),
                                   [&] { return this->set.coalesce(area.begin, area.size, this->table()); }));
  EXPECT_EQ(this->table().tables(), minimum);
  EXPECT_EQ(this->table().query(this->at(1)).level, 1u);

  // One page of the largest leaf there is: one table for each level on the way to it.
  auto const largest = this->geometry.span(this->geometry.top_leaf);
  GuestRange const whole{GuestPhys{2 * largest}, largest};
  ASSERT_TRUE(this->map(whole, HostPhys{this->ram().raw() * 8}, rwx));
  auto const before = this->table().tables();
  ASSERT_TRUE(this->protect({whole.begin + this->page(), this->page()}, ro));
  EXPECT_EQ(this->table().tables(), before + this->geometry.top_leaf);
}

FORMAT_TEST(Promise, CoalescingIsOneStepAtTheHighestSlotHoweverDeepItWas) {
  auto const top = this->geometry.top_leaf;
  auto const span = this->geometry.span(top);
  GuestRange const range{GuestPhys{span}, span};
  ASSERT_TRUE(this->map(range, HostPhys{this->ram().raw() * 8}, rwx));
  ASSERT_TRUE(this->oracle.split(range));
  EXPECT_EQ(this->table().query(range.begin).level, 0u);
  auto const stores = this->recorder().stores();
  auto const shootdowns = this->recorder().shootdowns();
  ASSERT_TRUE(this->oracle.coalesce(range));
  EXPECT_EQ(this->table().query(range.begin).level, top);
  EXPECT_EQ(this->recorder().shootdowns(), shootdowns + 1);
  EXPECT_LE(this->recorder().stores(), stores + 2) << "broken, and made";
  EXPECT_EQ(this->named(), text(range) + " any tables");
}

FORMAT_TEST(Promise, AChangeTouchesOnlyTheTablesOnItsWay) {
  auto const pages = this->block() / this->page();
  ASSERT_TRUE(this->map({this->at(1), this->block()}, this->ram(), rwx));
  ASSERT_TRUE(this->oracle.split({this->at(1), this->block()}));
  auto const stores = this->recorder().stores();
  ASSERT_TRUE(this->protect({this->at(1, pages / 2), this->page()}, ro));
  EXPECT_EQ(this->recorder().stores(), stores + 1);
  // A whole table goes by one store, however full it is.
  ASSERT_TRUE(this->map({this->at(4), this->block()}, HostPhys{this->ram().raw() + this->page()}, rw));
  EXPECT_EQ(this->table().query(this->at(4)).level, 0u);
  auto const again = this->recorder().stores();
  ASSERT_TRUE(this->unmap({this->at(4), this->block()}));
  EXPECT_EQ(this->recorder().stores(), again + 1);
}

// ---- P10 ----

FORMAT_TEST(Promise, BadInputIsATypedErrorThatNamesTheOffenceAndChangesNothing) {
  auto& tested = this->table();
  auto const page = this->page();
  auto const input = this->geometry.input_size();
  auto const output = std::uint64_t{1} << tested.format().output_bits();
  ASSERT_TRUE(this->map({this->at(1), page}, this->ram(), rw));
  auto const before = this->oracle.frames().fingerprint();
  auto const stores = this->recorder().stores();

  struct Case {
    const char* what;
    GuestRange range;
    HostPhys host;
    Attr attr;
    Errc code;
    Argument argument;
  };
  HostPhys const ram = this->ram();
  Case const cases[] = {
      {"start", {this->at(2) + 1, page}, ram, rw, Errc::misaligned, Argument::start},
      {"start by half a page", {this->at(2) + page / 2, page}, ram, rw, Errc::misaligned, Argument::start},
      {"size", {this->at(2), page + 8}, ram, rw, Errc::misaligned, Argument::size},
      {"size 0", {this->at(2), 0}, ram, rw, Errc::invalid_param, Argument::size},
      {"past 2^64", {GuestPhys{0} - page, 2 * page}, ram, rw, Errc::invalid_param, Argument::size},
      {"up to 2^64", {GuestPhys{0} - page, page}, ram, rw, Errc::out_of_range, Argument::range},
      {"at the input size", {GuestPhys{input}, page}, ram, rw, Errc::out_of_range, Argument::range},
      {"over the input size", {GuestPhys{input - page}, 2 * page}, ram, rw, Errc::out_of_range, Argument::range},
      {"host", {this->at(2), page}, ram + 8, rw, Errc::misaligned, Argument::host},
      {"host past the output size", {this->at(2), page}, HostPhys{output}, rw, Errc::out_of_range, Argument::host},
      {"over the output size",
       {this->at(2), 2 * page},
       HostPhys{output - page},
       rw,
       Errc::out_of_range,
       Argument::host},
      {"executable device", {this->at(2), page}, ram, rwx | Memory::device, Errc::unsupported, Argument::attributes},
      {"software bits",
       {this->at(2), page},
       ram,
       {Prot::rw, Memory::normal, 4},
       Errc::unsupported,
       Argument::attributes},
      {"overlap", {this->at(1), page}, ram, rw, Errc::already_mapped, Argument::start},
  };
  for (auto const& c : cases) {
    auto const mapped = tested.map(c.range, c.host, c.attr);
    ASSERT_FALSE(mapped) << c.what;
    EXPECT_EQ(mapped.error().code, c.code) << c.what;
    EXPECT_EQ(mapped.error().argument, c.argument) << c.what;
    EXPECT_FALSE(tested.frames_needed(Map{c.range, c.host, c.attr})) << c.what;
    if (c.code != Errc::already_mapped) {
      EXPECT_EQ(tested.replace(c.range, c.host, c.attr).error().code, c.code) << c.what;
    }
    bool const of_range = c.argument == Argument::start || c.argument == Argument::range ||
                          (c.argument == Argument::size && c.range.size != 0);
    if (of_range && c.code != Errc::already_mapped) {
      EXPECT_EQ(tested.unmap(c.range).error().code, c.code) << c.what;
      EXPECT_EQ(tested.protect(c.range, rw).error().code, c.code) << c.what;
      EXPECT_EQ(tested.split(c.range).error().code, c.code) << c.what;
      EXPECT_EQ(tested.coalesce(c.range).error().code, c.code) << c.what;
      EXPECT_EQ(tested.harvest(c.range, {false, true}, [](GuestRange) {}).error().code, c.code) << c.what;
    }
    EXPECT_EQ(this->set.map({c.range.begin, c.range.size, c.attr, Linear{c.host}}, tested).error().code,
              c.code == Errc::already_mapped ? Errc::already_exists : c.code)
        << c.what;
  }
  EXPECT_TRUE(tested.unmap({this->at(2), 0}));
  EXPECT_TRUE(tested.protect({this->at(2), 0}, rw));
  EXPECT_EQ(tested.query(GuestPhys{input}).kind, Kind::absent);
  if (tested.format().hardware_age() == Age{}) {  // which hardware may set at any time
    EXPECT_EQ(this->oracle.frames().fingerprint(), before);
  }
  EXPECT_EQ(this->recorder().stores(), stores);
  EXPECT_EQ(this->recorder().shootdowns(), 0u);
}

// ---- P11 ----

FORMAT_TEST(Promise, WhatWasWrittenCanBeReadBack) {
  constexpr Attr choices[] = {
      ro, rw, rx, rwx, {Prot::rw, Memory::device}, {Prot::rw, Memory::uncached}, {Prot::r, Memory::normal, 3}};
  std::uint64_t n = 0;
  for (auto const& attr : choices) {
    ASSERT_TRUE(this->map({this->at(1, n), this->page()}, this->ram() + n * this->page(), attr));
    auto const leaf = this->table().query(this->at(1, n) + 5);
    EXPECT_EQ(leaf.kind, Kind::leaf);
    EXPECT_EQ(leaf.level, 0u);
    EXPECT_EQ(leaf.attr, attr);
    EXPECT_EQ(leaf.range, (GuestRange{this->at(1, n), this->page()}));
    EXPECT_EQ(leaf.host_of(this->at(1, n) + 5), this->ram() + (n * this->page() + 5));
    ++n;
  }
  std::uint64_t visited = 0;
  this->table().visit([&](const Leaf& leaf) {
    EXPECT_EQ(leaf.attr, choices[visited]);
    ++visited;
  });
  EXPECT_EQ(visited, n);

  ASSERT_TRUE(this->map({this->at(3), this->block() * 2}, this->ram(), rwx));
  std::string dump;
  auto const append = [&dump](std::string_view piece) { dump += piece; };
  this->table().dump(append);
  EXPECT_NE(dump.find("[" + hex(this->at(3).raw()) + ", "), std::string::npos) << dump;
  EXPECT_NE(dump.find(" -> " + hex(this->ram().raw()) + " "), std::string::npos) << dump;
  EXPECT_NE(dump.find("r-- normal sw3"), std::string::npos) << dump;
  EXPECT_NE(dump.find("rw- device"), std::string::npos) << dump;
}

FORMAT_TEST(Promise, AccessedAndDirtyMarksCanBeReadBack) {
  // A table that no hardware walks: marks are only where this puts them.
  Recorder quiet;
  RecordingFrames frames{quiet, this->geometry.table_bytes(), 40};
  auto still = *TestFixture::Table::create(this->make(), frames, RecordingHook{quiet});
  GuestRange const both{this->at(1), 2 * this->page()}, written{this->at(1), this->page()};
  ASSERT_TRUE(still.map(both, this->ram(), rw));
  ASSERT_TRUE(still.harvest(both, {false, true}, [](GuestRange) {}));
  ASSERT_TRUE(still.replace(written, this->ram(), rw));  // born dirty
  EXPECT_EQ(still.query(this->at(1)).age, (Age{true, true}));
  EXPECT_FALSE(still.query(this->at(1, 1)).age.dirty);
  std::vector<bool> visited;
  still.visit([&](const Leaf& leaf) { visited.push_back(leaf.age.dirty); });
  EXPECT_EQ(visited, (std::vector{true, false}));
  std::string dump;
  auto const append = [&dump](std::string_view piece) { dump += piece; };
  still.dump(append);
  EXPECT_NE(dump.find("rw- normal  AD\n"), std::string::npos) << dump;
  EXPECT_NE(dump.find(this->make().hardware_age().accessed ? "rw- normal  --\n" : "rw- normal  A-\n"),
            std::string::npos)
      << dump;
}

// ---- scopes and hooks ----

/// Does what a hook must not do.
struct CallingBack {
  std::function<void()>* call;
  void operator()(HostPhys, const Stale&) noexcept { (*call)(); }
  void publish() noexcept { (*call)(); }
};

FORMAT_TEST(Promise, AHookThatCallsBackIsBusyAndNothingHappens) {
  using Knotted = PageTable<Format, RecordingFrames, CallingBack>;
  Recorder quiet;
  RecordingFrames frames{quiet, this->geometry.table_bytes(), 40};
  std::function<void()> call = [] {};
  auto knotted = *Knotted::create(this->make(), frames, CallingBack{&call});
  MemorySet<Attr, Knotted, Backends<Knotted, PageSource<RecordingFrames>>> areas;
  ASSERT_TRUE(areas.map({this->at(1), this->block(), rw, Linear{this->ram()}}, knotted));

  std::vector<Errc> answers;
  auto const note = [&](const auto& done) { answers.push_back(done ? Errc::bad_state : done.error().code); };
  call = [&] {
    note(knotted.map({this->at(3), this->page()}, this->ram(), rw));
    note(knotted.harvest({this->at(1), this->page()}, {false, true}, [](GuestRange) {}));
    note(knotted.lift_protection(this->at(1)));
    note(areas.unmap(this->at(1), this->page(), knotted));
    note(areas.map({this->at(5), this->page(), rw, Device{}}, knotted));
    auto const edit = knotted.edit();
  };
  ASSERT_TRUE(areas.unmap(this->at(1, 1), this->page(), knotted));
  call = [] {};
  EXPECT_GE(answers.size(), 10u) << "once in publish, once in the hook";
  for (auto const answer : answers) EXPECT_EQ(answer, Errc::busy);
  EXPECT_EQ(areas.len(), 2u);
  EXPECT_TRUE(areas.audit(knotted));
}

FORMAT_TEST(Promise, ManyAreasInOneCallBreakNoMoreThanTheFormatDemands) {
  using Watched = PageTable<Format, RecordingFrames, CallingBack>;
  Recorder quiet;
  RecordingFrames frames{quiet, this->geometry.table_bytes(), 40};
  std::function<void()> look = [] {};
  auto watched = *Watched::create(this->make(), frames, CallingBack{&look});
  MemorySet<Attr, Watched, Backends<Watched, PageSource<RecordingFrames>>> areas;
  // More areas than Stale has ranges, and a block that the range cuts.
  for (unsigned n = 0; n != 20; ++n)
    ASSERT_TRUE(areas.map({this->at(1, 2 * n), this->page(), rw, Linear{this->ram() + n * this->page()}}, watched));
  auto const host = HostPhys{this->ram().raw() + this->block()};
  ASSERT_TRUE(areas.map({this->at(2), this->block(), rw, Linear{host}}, watched));
  auto const e = watched.query(this->at(2)).entry;
  auto const& format = watched.format();
  auto const expected = format.swap(1, e, format.table(1, host)) == Swap::break_ ? Kind::broken : Kind::leaf;
  std::vector<Kind> seen;
  look = [&] { seen.push_back(watched.query(this->at(2, 5)).kind); };
  auto const range = GuestRange::between(this->at(1), this->at(2, 2));
  ASSERT_TRUE(areas.protect(
      range.begin, range.size, [](Attr) { return std::optional{ro}; }, watched));
  look = [] {};
  ASSERT_GE(seen.size(), 2u);
  EXPECT_EQ(seen[1], expected) << "outside the range, and no earlier call owes anything";
}

FORMAT_TEST(Promise, AHookThatCallsBackTakesNothingFromTheCallAroundIt) {
  using Knotted = PageTable<Format, RecordingFrames, CallingBack>;
  constexpr unsigned blocks = 600;
  Recorder quiet;
  RecordingFrames frames{quiet, this->geometry.table_bytes(), blocks + 40};
  std::function<void()> call = [] {};
  auto knotted = *Knotted::create(this->make(), frames, CallingBack{&call});
  GuestRange const range{GuestPhys{0}, blocks * this->block()};
  ASSERT_TRUE(knotted.map(range, HostPhys{this->ram().raw() + this->block()}, rwx));
  // Where blocks break, the hook runs while most of the split is still to come.
  call = [&] { EXPECT_TRUE(knotted.unmap({GuestPhys{0}, this->page()}).error() == Errc::busy); };
  ASSERT_TRUE(knotted.split(range));
  call = [] {};
  EXPECT_EQ(knotted.query(GuestPhys{0} + (blocks - 1) * this->block()).level, 0u);
  EXPECT_TRUE(knotted.audit());
}

FORMAT_TEST(Promise, OtherCallsTakeNothingFromWhatATransactionHasReserved) {
  GuestRange const range{this->at(1), this->page()};
  auto const planned_around_another = [&]() -> Result<> {
    typename TestFixture::Table::Transaction transaction{this->table()};
    Map const change{range, this->ram(), rw};
    SLAT_TRY(transaction.plan(change));
    SLAT_TRY(this->table().unmap({this->at(8), this->block()}));
    this->oracle.frames().fail_after(0);
    transaction.commit(change);
    this->oracle.frames().never_fail();
    return {};
  };
  ASSERT_TRUE(this->oracle.perform("transaction", Change::map(range, this->ram(), rw), planned_around_another));
  EXPECT_EQ(this->table().query(this->at(1)).attr, rw);
  ASSERT_TRUE(this->oracle.unmap(range));
}

FORMAT_TEST(Promise, FramesBeyondTheOutputSizeAreRefusedAndNotTruncated) {
  Recorder quiet;
  auto const beyond = HostPhys{std::uint64_t{1} << this->make().output_bits()};
  RecordingFrames frames{quiet, this->geometry.table_bytes(), 64, beyond};
  auto const refused = TestFixture::Table::create(this->make(), frames, RecordingHook{quiet});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::out_of_range);
  EXPECT_EQ(frames.in_use(), 0u);

  // The root is the last that fits; the next frame is not.
  RecordingFrames edge{quiet, this->geometry.table_bytes(), 64, beyond - this->geometry.root_bytes()};
  auto table = *TestFixture::Table::create(this->make(), edge, RecordingHook{quiet});
  if (this->geometry.root == 0) return;
  EXPECT_EQ(table.map({GuestPhys{0}, this->page()}, this->ram(), rw).error().code, Errc::out_of_range);
  EXPECT_EQ(table.tables(), 1u);
}

FORMAT_TEST(Promise, AWriteFaultBeyondTheInputSizeIsRefusedAndNotTruncated) {
  ASSERT_TRUE(this->map({this->at(1), this->page()}, this->ram(), rw));
  ASSERT_TRUE(this->oracle.harvest({this->at(1), this->page()}, {false, true}));
  auto const stores = this->recorder().stores();
  auto const beyond = GuestPhys{this->geometry.input_size()} + this->at(1).raw();
  EXPECT_EQ(this->table().lift_protection(beyond).error().code, Errc::out_of_range);
  EXPECT_EQ(this->recorder().stores(), stores);
}

/// Frames that run `between` before each load.
struct Interposed : RecordingFrames {
  using RecordingFrames::RecordingFrames;
  Entry load(const Entry* entry) noexcept {
    auto const value = RecordingFrames::load(entry);
    if (auto const act = std::exchange(*after, nullptr)) act();
    return value;
  }
  std::unique_ptr<std::function<void()>> after = std::make_unique<std::function<void()>>();
};

FORMAT_TEST(Promise, AReaderBesideTheWriterSeesWhatWasOrWhatWillBe) {
  using Watched = PageTable<Format, Interposed, RecordingHook>;
  for (unsigned loads = 0; loads != 5; ++loads) {
    Recorder quiet;
    Interposed frames{quiet, this->geometry.table_bytes(), 64};
    auto table = *Watched::create(this->make(), frames, RecordingHook{quiet});
    GuestRange const range{this->at(1), this->block()};
    ASSERT_TRUE(table.map(range, this->ram(), rwx));
    // The writer divides the block after the reader's load of this number.
    std::function<void()> later = [&, left = loads]() mutable {
      if (left-- == 0)
        ASSERT_TRUE(table.split(range));
      else
        *frames.after = later;
    };
    *frames.after = later;
    auto const seen = table.query(this->at(1, 3));
    *frames.after = nullptr;
    if (seen.kind == Kind::broken) continue;
    ASSERT_EQ(seen.kind, Kind::leaf);
    EXPECT_EQ(seen.host_of(this->at(1, 3)), this->ram() + 3 * this->page()) << "after load " << loads;
    EXPECT_EQ(seen.attr, rwx);
  }
}

FORMAT_TEST(Promise, ATableThatDiesEmptyIsStillForgottenOnce) {
  ASSERT_TRUE(this->oracle.map({this->at(1), this->page()}, this->ram(), rwx));
  ASSERT_TRUE(this->oracle.unmap({this->at(1), this->page()}));
  this->oracle.destroy();
  this->alive = false;
  EXPECT_EQ(this->recorder().shootdowns(), 2u) << "a CPU may still have the root";
}

FORMAT_TEST(Promise, ATableThatDiesInvalidatesEverythingOnceAndGivesAllBack) {
  ASSERT_TRUE(this->oracle.map({this->at(1), this->block() + this->page()}, this->ram(), rwx));
  this->oracle.destroy();
  this->alive = false;
  EXPECT_EQ(this->recorder().shootdowns(), 1u);
  EXPECT_TRUE(this->recorder().invalidations().back().everything());
  EXPECT_EQ(this->oracle.frames().in_use(), 0u);
}

}  // namespace
}  // namespace slat::test
