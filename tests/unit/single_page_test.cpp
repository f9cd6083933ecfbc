// One page at a time, which does not go the way of everything else: nobody can tell by what is stored, told and owed,
// and nothing that it remembers is believed for longer than it is true.

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <slat/mm/frame_pool.hpp>
#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>
#include "unit/format_suite.hpp"
#include "unit/twins.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

template <class Format>
class SinglePage : public FormatTest<Format> {
 protected:
  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  GuestRange one(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return {GuestPhys{blocks * block() + pages * page()}, page()};
  }
  HostPhys ram(std::uint64_t pages = 0) const { return HostPhys{16 * block() + pages * page()}; }

  Geometry geometry = FormatTest<Format>::make().geometry();
};

/// Some calls, mostly for single pages, in a handful of blocks around a boundary of the level above.
template <class Format>
class Calls {
 public:
  Calls(const Format& format, std::uint64_t seed)
      : random_{seed},
        shape_{format.geometry()},
        marks_{format.harvestable()},
        // Hardly more frames than the way down takes: a released one is the next table.
        twins_{format, shape_.root + random_.below(4)} {}

  bool run(int calls) {
    for (auto i = 0; i != calls && twins_.sound(); ++i) step();
    return twins_.finish();
  }
  std::string why() const { return twins_.why(); }

 private:
  void step() {
    auto const range = some_range();
    auto const host = some_host(range);
    auto const attr = some_attr();
    switch (random_.below(24)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4:
      case 5: twins_.make(Map{range, host, attr}); break;
      case 6:
      case 7: twins_.make(Replace{range, host, attr}); break;
      case 8:
      case 9:
      case 10:
      case 11:
      case 12: twins_.make(Unmap{range}); break;
      case 13:
      case 14:
      case 15:
      case 16: twins_.make(Protect{range, attr}); break;
      case 17: twins_.open(); break;
      case 18: twins_.close(); break;
      case 19: random_.once_in(2) ? twins_.settle() : twins_.harvest(range, {false, marks_.dirty}); break;
      case 20: random_.once_in(2) ? twins_.make(Split{range}) : twins_.make(Coalesce{block_of(range)}); break;
      case 21: garbage(range, host, attr); break;
      default:
        for (auto i = 0; i != 4; ++i) twins_.use(some_range().begin, random_.once_in(2));
    }
  }

  void garbage(GuestRange range, HostPhys host, Attr attr) {
    auto const beyond = HostPhys{~(shape_.page_size() - 1)};
    GuestRange const odd{range.begin + 8, range.size}, last{GuestPhys{0} - shape_.page_size(), shape_.page_size()};
    GuestRange const outside{GuestPhys{shape_.input_size()} + range.begin.raw(), range.size};
    switch (random_.below(8)) {
      case 0: twins_.refuse(Map{last, host, attr}); break;
      case 1: twins_.refuse(Unmap{random_.once_in(2) ? last : outside}); break;
      case 2: twins_.refuse(Map{odd, host, attr}); break;
      case 3: twins_.refuse(Unmap{odd}); break;
      case 4: twins_.refuse(Protect{random_.once_in(2) ? odd : outside, attr}); break;
      case 5: twins_.refuse(Map{range, host + 8, attr}); break;
      case 6: twins_.refuse(Replace{range, beyond, attr}); break;
      default: twins_.refuse(Protect{range, {Prot::rw, Memory::normal, 255}});
    }
  }

  GuestRange block_of(GuestRange range) const { return shape_.slot(range.begin, 1); }
  GuestRange some_range() {
    auto const page = shape_.page_size();
    auto const block = shape_.span(1);
    auto const base = shape_.root >= 2 ? shape_.span(2) - 2 * block : 0;
    GuestPhys const at{base + random_.below(4) * block};
    if (random_.once_in(16)) return {at, block};
    auto const first = random_.once_in(4) ? shape_.entries(0) - 1 : random_.below(3);
    return {at + first * page, random_.once_in(8) ? 2 * page : page};
  }
  HostPhys some_host(GuestRange range) {
    return HostPhys{shape_.span(1) * 16 * (1 + random_.below(2)) + range.begin.raw()};
  }
  Attr some_attr() {
    switch (random_.below(8)) {
      case 0: return ro;
      case 1: return rx;
      case 2: return rw | Memory::uncached;
      case 3: return rw | Memory::device;
      case 4: return {Prot::rw, Memory::normal, 3};
      case 5: return rwx | Memory::device;  // no format has this
      default: return random_.once_in(2) ? rw : rwx;
    }
  }

  Random random_;
  Geometry shape_;
  Age marks_;
  Twins<Format> twins_;
};

FORMAT_TEST(SinglePage, IsChangedAsApplyChangesIt) {
  auto const sequences = 1 + 8 * 512 / this->geometry.entries(0);
  for (std::uint64_t seed = 1; seed <= sequences; ++seed) {
    Calls<Format> calls{this->make(), seed};
    ASSERT_TRUE(calls.run(100)) << "seed " << seed << "\n" << calls.why();
  }
}

/// What an edit may owe before a page's turn comes.
enum class Owes { nothing, the_page, a_neighbour, its_table, everything };

FORMAT_TEST(SinglePage, IsChangedAsApplyChangesItWhateverTheEditOwes) {
  auto const here = this->one(0, 1), beside = this->one(0, 2), other = this->one(1);
  for (auto const owes : {Owes::nothing, Owes::the_page, Owes::a_neighbour, Owes::its_table, Owes::everything})
    for (auto const present : {false, true}) {
      Twins<Format> twins{this->make(), 12};
      for (auto verb = 0; verb != 6; ++verb) {
        // What is remembered is about this very page and these very attributes.
        for (auto const page : {this->one(0), here, beside, other}) ASSERT_TRUE(twins.make(Map{page, this->ram(), rw}));
        ASSERT_TRUE(twins.make(Protect{this->one(0), ro}));
        ASSERT_TRUE(twins.make(Protect{this->one(0), rw}));
        if (!present && owes != Owes::the_page) {
          ASSERT_TRUE(twins.make(Unmap{here}));
        }
        if (owes != Owes::nothing) twins.open();
        switch (owes) {
          case Owes::nothing: break;
          case Owes::the_page:
            ASSERT_TRUE(twins.make(Unmap{here}));
            if (present) {
              ASSERT_TRUE(twins.make(Map{here, this->ram(4), rw}));
            }
            break;
          case Owes::a_neighbour: ASSERT_TRUE(twins.make(Unmap{beside})); break;
          case Owes::its_table: ASSERT_TRUE(twins.make(Unmap{{GuestPhys{0}, 2 * this->block()}})); break;
          case Owes::everything:
            for (std::uint64_t i = 0; i != Stale::capacity + 1; ++i) {
              ASSERT_TRUE(twins.make(Map{this->one(1, 2 * i + 2), this->ram(), rw}));
              ASSERT_TRUE(twins.make(Unmap{this->one(1, 2 * i + 2)}));
            }
        }
        switch (verb) {
          case 0: twins.make(Map{here, this->ram(1), rw}); break;
          case 1: twins.make(Replace{here, this->ram(1), rw}); break;
          case 2: twins.make(Unmap{here}); break;
          case 3: twins.make(Protect{here, ro}); break;
          case 4: twins.make(Protect{here, rw | Memory::uncached}); break;
          default: twins.make(Protect{here, rw});
        }
        twins.make(Map{beside, this->ram(2), rw});
        twins.close();
        ASSERT_TRUE(twins.sound()) << "owes " << int(owes) << ", present " << present << ", verb " << verb << "\n"
                                   << twins.why();
        ASSERT_TRUE(twins.make(Unmap{{GuestPhys{0}, this->geometry.input_size()}}));
      }
      ASSERT_TRUE(twins.finish()) << twins.why();
    }
}

// It was never there for hardware: that it goes is no reason to invalidate more than rights.
FORMAT_TEST(SinglePage, APageThatWaitsForTheInvalidationIsTakenAwayForNothing) {
  Twins<Format> twins{this->make(), 12};
  for (std::uint64_t i = 0; i != 2 * Stale::capacity + 4; ++i)
    ASSERT_TRUE(twins.make(Map{this->one(0, i), this->ram(i), rw}));
  ASSERT_TRUE(twins.make(Map{this->one(1), this->ram(), rw}));
  twins.open();
  for (std::uint64_t i = 0; i != Stale::capacity + 1; ++i) ASSERT_TRUE(twins.make(Protect{this->one(0, 2 * i), ro}));
  ASSERT_TRUE(twins.make(Map{this->one(1, 1), this->ram(1), rw}));
  auto const waits = twins.table().query(this->one(1, 1).begin).kind == Kind::broken;
  EXPECT_EQ(waits, this->make().can_break());
  ASSERT_TRUE(twins.make(Unmap{this->one(1, 1)}));
  twins.close();
  EXPECT_EQ(twins.recorder().invalidations().back().only_rights_shrank(), waits);
  EXPECT_TRUE(twins.finish()) << twins.why();
}

FORMAT_TEST(SinglePage, TheFirstCallEverMayBeForAnything) {
  GuestRange const last{GuestPhys{0} - this->page(), this->page()};
  Attr const strange{Prot::none, Memory::normal, 255}, all_bits{Prot(255), Memory(255), 255};
  for (auto const& range : {last, this->one(0), GuestRange{GuestPhys{~std::uint64_t{0}}, this->page()}})
    for (auto const& attr : {strange, all_bits, Attr{}, rw})
      for (auto verb = 0; verb != 4; ++verb) {
        if (range == this->one(0) && (attr == rw || this->make().supports(attr) || verb >= 2)) continue;
        Twins<Format> twins{this->make(), 8};
        switch (verb) {
          case 0: twins.refuse(Map{range, HostPhys{0}, attr}); break;
          case 1: twins.refuse(Replace{range, HostPhys{0}, attr}); break;
          case 2: twins.refuse(Unmap{range}); break;
          default: twins.refuse(Protect{range, attr});
        }
        ASSERT_TRUE(twins.finish()) << verb << twins.why();
      }
}

FORMAT_TEST(SinglePage, AttributesThatTheFormatLacksAreRefusedForAPageThatIsAbsent) {
  Twins<Format> twins{this->make(), 8};
  ASSERT_TRUE(twins.make(Map{this->one(0), this->ram(), rw}));
  ASSERT_TRUE(twins.make(Protect{this->one(0), ro}));
  ASSERT_TRUE(twins.make(Protect{this->one(0, 1), ro})) << "nothing there";
  twins.refuse(Protect{this->one(0, 1), {Prot::rw, Memory::normal, 255}});
  twins.refuse(Protect{this->one(0, 1), rwx | Memory::device});
  twins.refuse(Protect{this->one(0), {Prot::rw, Memory::normal, 255}});
  EXPECT_TRUE(twins.finish()) << twins.why();
}

// Nor is what a telling unmap took away: the tables of the page, and the one above them.
FORMAT_TEST(SinglePage, NothingIsNearThatWasTakenAway) {
  if (this->geometry.root < 2) return;
  auto const above = this->geometry.slot(GuestPhys{0}, 2);
  for (auto const telling : {false, true}) {
    Twins<Format> twins{this->make(), 12};
    ASSERT_TRUE(twins.make(Map{this->one(0), this->ram(), rw}));
    ASSERT_TRUE(twins.make(Map{this->one(0, 1), this->ram(), rw}));
    ASSERT_TRUE(twins.make(Map{{above.end(), this->page()}, this->ram(), rw}));
    if (telling)
      twins.unmap_telling(above);
    else
      ASSERT_TRUE(twins.make(Unmap{above}));
    // Its frames are another table's by now.
    ASSERT_TRUE(twins.make(Map{{above.end() + this->block(), this->page()}, this->ram(), rw}));
    ASSERT_TRUE(twins.make(Map{{above.end() + 2 * this->block(), this->page()}, this->ram(), rw}));
    for (auto const page : {this->one(0, 1), this->one(0), this->one(1)})
      ASSERT_TRUE(twins.make(Map{page, this->ram(), rw}));
    ASSERT_TRUE(twins.finish()) << twins.why();
  }
}

// One publish for what only adds, and one invalidation more for what takes away, which names the page and no more.
FORMAT_TEST(SinglePage, OutsideOfAnEditEachCallPaysForItself) {
  Twins<Format> twins{this->make(), 8};
  auto& recorder = twins.recorder();
  auto const costs = [&](std::size_t stores, std::size_t publishes, std::size_t shootdowns) {
    EXPECT_EQ(recorder.stores(), stores);
    EXPECT_EQ(recorder.publishes(), publishes);
    EXPECT_EQ(recorder.shootdowns(), shootdowns);
    recorder.clear_counts();
  };
  for (auto const n : {0u, 1u, 2u}) ASSERT_TRUE(twins.make(Map{this->one(0, n), this->ram(n), rw}));
  recorder.clear_counts();
  ASSERT_TRUE(twins.table().map(this->one(0, 3), this->ram(3), rw));
  costs(1, 1, 0);
  ASSERT_TRUE(twins.table().replace(this->one(0, 4), this->ram(4), rw));
  costs(1, 1, 0);
  ASSERT_TRUE(twins.table().unmap(this->one(0, 5)));
  costs(0, 0, 0);
  ASSERT_TRUE(twins.table().protect(this->one(0, 4), rw));
  costs(0, 0, 0);
  ASSERT_TRUE(twins.table().unmap(this->one(0, 1)));
  ASSERT_EQ(recorder.invalidations().size(), 1u);
  auto const stale = recorder.invalidations().back();
  ASSERT_EQ(stale.ranges().size(), 1u);
  EXPECT_EQ(stale.ranges()[0].range, this->one(0, 1));
  EXPECT_EQ(stale.ranges()[0].level, 0u);
  EXPECT_FALSE(stale.tables());
  EXPECT_FALSE(stale.only_rights_shrank());
  costs(1, 1, 1);
  ASSERT_TRUE(twins.table().protect(this->one(0, 2), ro));
  ASSERT_EQ(recorder.invalidations().size(), 1u);
  EXPECT_TRUE(recorder.invalidations().back().only_rights_shrank());
  costs(1, 1, 1);
  EXPECT_EQ(recorder.waits(), 0u) << "no table went";
}

// ---- under hardware that acts at every access, and keeps all it may ----

FORMAT_TEST(SinglePage, NothingThatMayBeCachedIsEverWrong) {
  // Pages are many in a table of a large granule: fewer calls look at as many entries.
  auto const calls = 16 + 48 * 512 / int(this->geometry.entries(0));
  for (std::uint64_t seed = 1; seed != 3; ++seed) {
    Oracle<Format> oracle{this->make(), {.frames = 48, .tlb = {.seed = seed, .period = 8}}};
    Random random{seed};
    std::optional<typename Oracle<Format>::Edit> edit;
    for (auto i = 0; i != calls && oracle.violation() == Offence::none; ++i) {
      auto const range = this->one(random.below(2), random.below(4));
      auto const attr = random.once_in(2) ? rw : random.once_in(3) ? rw | Memory::uncached : ro;
      switch (random.below(9)) {
        case 0:
        case 1: (void)oracle.map(range, this->ram(random.below(8)), attr); break;
        case 2: ASSERT_TRUE(oracle.replace(range, this->ram(random.below(8)), attr)); break;
        case 3:
        case 4: ASSERT_TRUE(oracle.unmap(range)); break;
        case 5:
        case 6: ASSERT_TRUE(oracle.protect(range, attr)); break;
        case 7: edit ? edit.reset() : void(edit.emplace(oracle)); break;
        default: oracle.tlb().use(range.begin, random.once_in(2));
      }
      ASSERT_TRUE(oracle.table().audit());
    }
    edit.reset();
    ASSERT_EQ(oracle.violation(), Offence::none) << oracle.why();
  }
}

// ---- what is remembered ----

// The frame of the table that went is the next one's, at another place and at another level.
FORMAT_TEST(SinglePage, ATableThatWentIsNotTakenForThere) {
  auto const far = GuestRange{GuestPhys{this->geometry.input_size()} - this->block(), this->page()};
  // As many as one page takes, so that each table is the other's.
  Oracle<Format> oracle{this->make(), {.frames = this->geometry.root_bytes() / this->page() + this->geometry.root}};
  auto& table = oracle.table();
  for (auto round = 0; round != 3; ++round)
    for (auto const& [here, there] : {std::pair{this->one(0), far}, std::pair{far, this->one(0)}}) {
      ASSERT_TRUE(oracle.map(here, this->ram(), rw));
      GuestRange const next{here.begin + this->page(), this->page()};
      ASSERT_TRUE(oracle.map(next, this->ram(1), rw));
      ASSERT_TRUE(oracle.unmap(here));
      ASSERT_TRUE(oracle.unmap(next)) << "the last of its table";
      ASSERT_EQ(table.tables(), 1u);
      ASSERT_TRUE(oracle.map(there, this->ram(2), rw));
      EXPECT_TRUE(oracle.unmap(here)) << "nothing there";
      EXPECT_TRUE(oracle.protect(here, ro));
      EXPECT_EQ(table.query(there.begin).attr, rw);
      auto const refused = oracle.map(here, this->ram(), rw);
      if (this->geometry.slot(here.begin, 2).contains(there)) {
        EXPECT_FALSE(refused && this->geometry.root == 2);
      } else {
        ASSERT_FALSE(refused);
        EXPECT_EQ(refused.error().code, Errc::no_memory);
      }
      EXPECT_TRUE(table.audit());
      ASSERT_TRUE(oracle.unmap({GuestPhys{0}, this->geometry.input_size()}));
    }
  EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
}

FORMAT_TEST(SinglePage, ATableThatBecameABlockIsNotTakenForThere) {
  Twins<Format> twins{this->make(), 12};
  GuestRange const whole{GuestPhys{0}, this->block()};
  ASSERT_TRUE(twins.make(Map{whole, this->ram(), rw}));
  ASSERT_TRUE(twins.make(Split{whole}));
  ASSERT_TRUE(twins.make(Protect{this->one(0, 1), ro}));
  ASSERT_TRUE(twins.make(Protect{this->one(0, 1), rw}));
  ASSERT_TRUE(twins.make(Coalesce{whole}));
  EXPECT_EQ(twins.table().query(GuestPhys{0}).level, 1u);
  ASSERT_TRUE(twins.make(Protect{this->one(0, 1), ro}));
  EXPECT_EQ(twins.table().query(this->one(0, 1).begin).attr, ro);
  EXPECT_EQ(twins.table().query(this->one(0, 2).begin).attr, rw);
  ASSERT_TRUE(twins.make(Replace{whole, this->ram(), rw}));
  ASSERT_TRUE(twins.make(Unmap{this->one(0, 1)}));
  EXPECT_EQ(twins.table().query(this->one(0, 1).begin).kind, Kind::absent);
  EXPECT_TRUE(twins.finish()) << twins.why();
}

FORMAT_TEST(SinglePage, ATableThatMovedGoesOnWhereItWas) {
  Recorder recorder;
  RecordingFrames frames{recorder, this->page(), 96};
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;
  auto table = *Table::create(this->make(), frames, RecordingHook{recorder});
  ASSERT_TRUE(table.map(this->one(0), this->ram(), rw));
  ASSERT_TRUE(table.map(this->one(0, 1), this->ram(1), rw));
  auto other = *Table::create(this->make(), frames, RecordingHook{recorder});
  ASSERT_TRUE(other.map(this->one(0), this->ram(), rw));
  ASSERT_TRUE(other.map(this->one(0, 1), this->ram(1), rw));
  other = std::move(table);
  ASSERT_TRUE(other.map(this->one(0, 2), this->ram(2), rw));
  ASSERT_TRUE(other.protect(this->one(0, 1), ro));
  ASSERT_TRUE(other.unmap(this->one(0)));
  EXPECT_EQ(other.query(this->one(0, 2).begin).host, this->ram(2));
  EXPECT_EQ(other.query(this->one(0, 1).begin).attr, ro);
  EXPECT_EQ(other.query(this->one(0).begin).kind, Kind::absent);
  EXPECT_TRUE(other.audit());
  EXPECT_FALSE(recorder.violation());
}

// Attributes that differ in one byte only, one after the other.
FORMAT_TEST(SinglePage, EveryPageGetsItsOwnAttributes) {
  Twins<Format> twins{this->make(), 8};
  auto const format = this->make();
  std::vector<Attr> attrs;
  for (auto const prot : {Prot::r, Prot::rw, Prot::rwx})
    for (auto const memory : {Memory::normal, Memory::uncached, Memory::device})
      for (std::uint8_t software = 0; software != 4; ++software)
        if (Attr const attr{prot, memory, software}; format.supports(attr)) attrs.push_back(attr);
  for (std::size_t i = 0; i != attrs.size(); ++i) {
    ASSERT_TRUE(twins.make(Map{this->one(0, i), this->ram(i), attrs[i]}));
    EXPECT_EQ(twins.table().query(this->one(0, i).begin).attr, attrs[i]);
  }
  for (std::size_t i = 0; i != attrs.size(); ++i) {
    auto const& next = attrs[(i * 5 + 1) % attrs.size()];
    for (auto const n : {i, (i + 1) % attrs.size()}) {
      ASSERT_TRUE(twins.make(Protect{this->one(0, n), next}));
      EXPECT_EQ(twins.table().query(this->one(0, n).begin).attr, next);
      EXPECT_EQ(twins.table().query(this->one(0, n).begin).host, this->ram(n));
    }
  }
  EXPECT_TRUE(twins.finish()) << twins.why();
}

// ---- from inside the hook ----

/// Calls back, as no hook may.
struct CallingHook {
  std::function<void()>* call;
  void operator()(HostPhys, const Stale&) noexcept { (*call)(); }
  void publish() noexcept { (*call)(); }
  void wait_for_readers() noexcept { (*call)(); }
};

FORMAT_TEST(SinglePage, ACallFromInsideTheHookIsRefused) {
  Recorder recorder;
  RecordingFrames frames{recorder, this->page(), 40};
  std::function<void()> call = [] {};
  auto table = *PageTable<Format, RecordingFrames, CallingHook>::create(this->make(), frames, {&call});
  for (auto const n : {0u, 1u, 2u}) ASSERT_TRUE(table.map(this->one(0, n), this->ram(n), rw));
  ASSERT_TRUE(table.protect(this->one(0, 2), ro));
  auto const absent = this->one(0, 9), present = this->one(0, 1);
  Map const run{absent, HostPhys{0}, rw};
  unsigned calls = 0, busy = 0;
  auto const ask = [&](const Result<>& answer) {
    ++calls;
    if (!answer && answer.error().code == Errc::busy) ++busy;
  };
  std::function<void()> const ask_all = [&] {
    ask(table.map(absent, HostPhys{0}, rw));
    ask(table.replace(absent, HostPhys{0}, rw));
    ask(table.unmap(present));
    ask(table.unmap(absent));
    ask(table.protect(present, ro));
    ask(table.protect(present, rw));
    ask(table.map_many(std::span{&run, 1}));
    ask(table.map_many(std::span<const Map>{}));
  };
  auto const refused_during = [&](auto change) {
    calls = busy = 0;
    call = ask_all;
    ASSERT_TRUE(change());
    call = [] {};
    EXPECT_GT(calls, 0u);
    EXPECT_EQ(calls, busy);
    EXPECT_EQ(table.query(absent.begin).kind, Kind::absent);
    EXPECT_EQ(table.query(present.begin).attr, rw);
  };
  refused_during([&] { return table.map(this->one(0, 3), this->ram(3), rw); });
  refused_during([&] { return table.unmap(this->one(0)); });
  refused_during([&] { return table.protect(this->one(0, 3), ro); });
  refused_during([&] { return table.apply(Map{this->one(1), this->ram(), rw}); });
  refused_during([&] { return table.unmap(this->one(1)); });  // the last of its table: readers are waited for
  EXPECT_TRUE(table.audit());
}

// ---- hardware between the load and the exchange ----

/// Frames in which hardware marks an entry just before it is exchanged.
class RacingFrames {
 public:
  explicit RacingFrames(std::uint64_t granule)
      : bytes_(64 * granule), pool_{std::span{bytes_}, HostPhys{0x7'0000'0000}, granule} {}

  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept { return pool_.allocate(bytes); }
  void release(HostPhys frame, std::uint64_t bytes) noexcept { pool_.release(frame, bytes); }
  Entry* view(HostPhys frame) const noexcept { return pool_.view(frame); }
  std::uint64_t& word(HostPhys frame) noexcept { return pool_.word(frame); }
  Entry load(const Entry* entry) const noexcept { return *entry; }
  void store(Entry* entry, Entry next) noexcept {
    ++stores;
    *entry = next;
  }
  Entry exchange(Entry* entry, Entry next) noexcept {
    race(entry);
    return std::exchange(*entry, next);
  }
  bool compare_exchange(Entry* entry, Entry& expected, Entry next) noexcept {
    race(entry);
    if (*entry != expected) {
      expected = *entry;
      return false;
    }
    *entry = next;
    return true;
  }

  std::vector<Entry> marks;  // the bits that hardware will set, one by one
  unsigned stores = 0;

 private:
  void race(Entry* entry) {
    if (marks.empty()) return;
    *entry |= marks.back();
    marks.pop_back();
  }
  std::vector<std::byte> bytes_;
  FramePool pool_;
};

struct QuietHook {
  std::vector<bool>* only_rights;
  void operator()(HostPhys, const Stale& stale) noexcept { only_rights->push_back(stale.only_rights_shrank()); }
  void publish() noexcept {}
};

FORMAT_TEST(SinglePage, MarksThatHardwareSetsBesideAProtectAreKept) {
  auto const format = this->make();
  if (format.hardware_age() == Age{}) return;  // a plain store
  RacingFrames frames{this->page()};
  std::vector<bool> told;
  auto table = *PageTable<Format, RacingFrames, QuietHook>::create(format, frames, {&told});
  for (auto const n : {0u, 1u, 2u}) ASSERT_TRUE(table.map(this->one(0, n), this->ram(n), rw));
  ASSERT_TRUE(table.protect(this->one(0), ro));  // it is known what becomes of such a page
  auto const fresh = table.query(this->one(0, 1).begin).entry;
  auto const accessed = format.aged(0, fresh, {.accessed = true}) & ~fresh;
  frames.marks = {accessed};
  frames.stores = 0;
  told.clear();
  ASSERT_TRUE(table.protect(this->one(0, 1), ro));
  EXPECT_TRUE(frames.marks.empty());
  EXPECT_EQ(frames.stores, 0u) << "no store may go over what hardware writes";
  EXPECT_EQ(table.query(this->one(0, 1).begin).attr, ro);
  EXPECT_EQ(table.query(this->one(0, 1).begin).host, this->ram(1));
  EXPECT_TRUE(table.query(this->one(0, 1).begin).age.accessed);
  EXPECT_EQ(told, std::vector<bool>{true});
  // And where it is faster twice, also inside of an edit.
  if (format.hardware_age().dirty) {
    auto const dirty = format.aged(0, fresh | accessed, {.accessed = true, .dirty = true}) & ~(fresh | accessed);
    frames.marks = {dirty, accessed};
    told.clear();
    {
      auto edit = table.edit();
      ASSERT_TRUE(table.protect(this->one(0, 2), ro));
    }
    EXPECT_EQ(table.query(this->one(0, 2).begin).attr, ro);
    EXPECT_EQ(table.query(this->one(0, 2).begin).age, (Age{true, true}));
    EXPECT_EQ(told.size(), 1u);
  }
  EXPECT_TRUE(table.audit());
}

// A block is divided while the guest goes on using it.
FORMAT_TEST(SinglePage, MarksThatHardwareSetsWhileABlockIsDividedAreInEveryPart) {
  auto const format = this->make();
  if (format.hardware_age() == Age{}) return;
  for (auto const marked_before : {false, true}) {
    RacingFrames frames{this->page()};
    std::vector<bool> told;
    auto table = *PageTable<Format, RacingFrames, QuietHook>::create(format, frames, {&told});
    GuestRange const whole{GuestPhys{0}, this->block()};
    ASSERT_TRUE(table.map(whole, this->ram(), rw));
    auto const leaf = table.query(whole.begin);
    if (leaf.level == 0) continue;  // no blocks here
    auto const marked = format.aged(leaf.level, leaf.entry, {.accessed = true});
    if (marked_before) {
      frames.marks = {marked & ~leaf.entry};
      ASSERT_TRUE(table.protect(whole, rw | Prot::x));  // one exchange, which hardware precedes
      ASSERT_TRUE(table.query(whole.begin).age.accessed);
    } else {
      frames.marks = {marked & ~leaf.entry};
    }
    ASSERT_TRUE(table.split(whole));
    EXPECT_TRUE(frames.marks.empty());
    table.visit([&](const Leaf& part) {
      EXPECT_EQ(part.level, 0u);
      EXPECT_TRUE(part.age.accessed) << text(part.range);
      EXPECT_EQ(part.age.dirty, leaf.age.dirty) << "dirty by nature, or not";
    });
    EXPECT_TRUE(table.audit());
  }
}

// ---- a root that holds the pages itself ----

TEST(SinglePageByFormat, ARootOfPagesIsChangedAsApplyChangesIt) {
  // One table that is not full, and four side by side.
  for (auto const bits : {24u, 31u}) {
    auto const format = detail::stage2<Granule::k64>(detail::new_arm, {.ipa_bits = bits});
    ASSERT_EQ(format.geometry().root, 0u);
    Twins<aarch64::Stage2<Granule::k64>> twins{format, 4};
    Random random{7};
    for (auto i = 0; i != 300 && twins.sound(); ++i) {
      auto const table = random.below(bits == 24 ? 1 : 4);
      GuestRange const page{GuestPhys{table << 29 | random.below(5) * 64_KiB}, 64_KiB};
      HostPhys const host{(16 + random.below(4)) * 64_KiB};
      switch (random.below(7)) {
        case 0:
        case 1: twins.make(Map{page, host, rw}); break;
        case 2: twins.make(Unmap{page}); break;
        case 3: twins.make(Protect{page, random.once_in(2) ? ro : rw}); break;
        case 4: twins.make(Replace{page, host, rw}); break;
        case 5: twins.open(); break;
        default: twins.close();
      }
    }
    EXPECT_TRUE(twins.finish()) << twins.why();
  }
}

}  // namespace
}  // namespace slat::test
