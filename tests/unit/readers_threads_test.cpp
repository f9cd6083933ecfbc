// What may run beside the one writer of a table: queries in other threads, and hardware. First what must be so without
// any luck, with a reader that is stopped wherever it may stand and hardware that is always faster; then everything at
// once, for ThreadSanitizer to see.

#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>

#include "unit/beside_writer.hpp"
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

// ---- epochs ----

using Readers = EpochReaders<2>;

TEST(EpochReaders, AWaitEndsNoSoonerThanAQueryThatHadBegun) {
  Readers readers;
  for (std::size_t const reader : {0u, 1u}) {
    auto reading = std::make_unique<Readers::Reading>(readers, reader);
    auto looks = 0;
    readers.wait([&] {
      if (++looks == 100) reading.reset();
    });
    EXPECT_EQ(looks, 100);
  }
}

TEST(EpochReaders, OneThatBeginsLaterIsNotWaitedFor) {
  Readers readers;
  auto old = std::make_unique<Readers::Reading>(readers, 0);
  std::unique_ptr<Readers::Reading> later;
  readers.wait([&] {
    ASSERT_FALSE(later) << "it is waited for";
    later = std::make_unique<Readers::Reading>(readers, 1);
    old.reset();
  });
  auto looks = 0;
  readers.wait([&] {
    ++looks;
    later.reset();
  });
  EXPECT_EQ(looks, 1) << "the next wait is for it, too";
}

TEST(EpochReaders, NobodyIsNotWaitedFor) {
  Readers readers;
  { Readers::Reading const reading{readers, 1}; }
  readers.wait([] { FAIL() << "nobody reads"; });
}

// ---- a reader that is stopped ----

/// A thread may have itself stopped just before it loads an entry.
class StoppingFrames : public PoisonedFrames {
 public:
  using PoisonedFrames::PoisonedFrames;

  static inline thread_local unsigned loads_left = 0;  // the last of them is where to stop; 0 is never
  std::atomic<bool> stopped{false}, go_on{false};

  Entry load(const Entry* slot) const {
    if (loads_left != 0 && --loads_left == 0) {
      auto& self = const_cast<StoppingFrames&>(*this);
      self.stopped.store(true);
      while (!go_on.load()) std::this_thread::yield();
    }
    return std::atomic_ref(*const_cast<Entry*>(slot)).load(std::memory_order_acquire);
  }
};

/// A table with one page in it, a reader that may be stopped, and a writer whose hook looks at what has come back.
template <class Format, bool Waits>
struct Scene {
  struct Careless {
    Scene* scene;
    void operator()(HostPhys, const Stale&) noexcept { scene->nothing_came_back(); }
    void publish() noexcept {}
  };
  struct Waiting : Careless {
    void wait_for_readers() noexcept {
      this->scene->nothing_came_back();
      this->scene->waits.store(true);
      this->scene->readers.wait([] { std::this_thread::yield(); });
    }
  };
  using Table = PageTable<Format, StoppingFrames, std::conditional_t<Waits, Waiting, Careless>>;
  using Source = PageSource<PoisonedFrames>;

  explicit Scene(const Format& format) : geometry{format.geometry()}, table{*Table::create(format, frames, {this})} {}

  Geometry geometry;
  StoppingFrames frames{128, geometry.page_size()};
  PoisonedFrames ram{16, geometry.page_size()};
  EpochReaders<1> readers;
  std::atomic<bool> waits{false}, done{false};
  Table table;

  /// Not the first of any table, and the block around it.
  GuestRange const page{GuestPhys{geometry.span(geometry.top_leaf) + geometry.span(1) + geometry.page_size()},
                        geometry.page_size()};
  GuestRange const block = geometry.slot(page.begin, 1);
  HostPhys const host{0x8'0000'0000};
  unsigned loads() const { return geometry.root + 1; }

  void nothing_came_back() const {
    if (done.load()) return;  // the table is on its way out
    EXPECT_EQ(frames.released(), 0u);
    EXPECT_EQ(ram.released(), 0u);
  }
  /// Stops a query of the page before its load number `load`, has `edit()` done up to where it waits, or ends, calls
  /// `meanwhile()`, and lets the query go.
  template <class Edit, class Meanwhile>
  Leaf query_beside(unsigned load, Edit edit, Meanwhile meanwhile) {
    Leaf answer;
    std::atomic<bool> answered{false};
    std::thread reader{[&] {
      EpochReaders<1>::Reading const reading{readers, 0};
      StoppingFrames::loads_left = load;
      answer = table.query(page.begin);
      answered.store(true);
    }};
    while (!frames.stopped.load() && !answered.load()) std::this_thread::yield();
    EXPECT_FALSE(answered.load()) << "it does not look where it was to be stopped";
    std::thread writer{[&] {
      edit();
      done.store(true);
    }};
    while (!waits.load() && !done.load()) std::this_thread::yield();
    meanwhile();
    frames.go_on.store(true);
    reader.join();
    writer.join();
    return answer;
  }
};

template <class Format>
class BesideAStoppedReader : public FormatTest<Format> {};

FORMAT_TEST(BesideAStoppedReader, AQueryLoadsEachEntryOnce) {
  Scene<Format, true> scene{this->make()};
  ASSERT_TRUE(scene.table.map(scene.page, scene.host, rw));
  StoppingFrames::loads_left = 100;
  EXPECT_EQ(scene.table.query(scene.page.begin).host, scene.host);
  EXPECT_EQ(100 - std::exchange(StoppingFrames::loads_left, 0), scene.loads());
}

FORMAT_TEST(BesideAStoppedReader, NoTableIsReleasedThatItMayBeIn) {
  for (auto const replacing : {false, true})
    for (auto load = 1u; load <= this->make().geometry().root + 1; ++load) {
      SCOPED_TRACE(load);
      Scene<Format, true> scene{this->make()};
      ASSERT_TRUE(scene.table.map(scene.page, scene.host, rw));
      auto const answer = scene.query_beside(
          load,
          [&] {
            EXPECT_TRUE(replacing ? scene.table.replace(scene.block, scene.host + 1_GiB * 4, rw)
                                  : scene.table.unmap(scene.page));
          },
          [&] {
            EXPECT_TRUE(scene.waits.load());
            EXPECT_FALSE(scene.done.load());
            scene.nothing_came_back();
          });
      EXPECT_NE(answer.entry, PoisonedFrames::poison);
      EXPECT_EQ(scene.frames.released(), replacing ? 1u : scene.loads() - 1) << "when it has left, they are";
      EXPECT_EQ(scene.frames.lost(), PoisonedFrames::nowhere);
    }
}

FORMAT_TEST(BesideAStoppedReader, NoPageOfALazyAreaIsGivenBackThatItMayStillFind) {
  using Beside = Scene<Format, true>;
  Beside scene{this->make()};
  typename Beside::Source source{scene.ram, scene.geometry.page_size(), scene.geometry.page_size()};
  MemorySet<Attr, typename Beside::Table, Backends<typename Beside::Table, typename Beside::Source>> set;
  ASSERT_TRUE(set.map({scene.page.begin, scene.page.size, rw, Lazy{source}}, scene.table));
  auto const resolution = set.resolve(scene.page.begin, Prot::w, scene.table);
  ASSERT_TRUE(resolution && *resolution == Resolution::mapped);
  auto const host = scene.table.query(scene.page.begin).host;

  auto const answer = scene.query_beside(
      scene.loads(), [&] { EXPECT_TRUE(set.unmap(scene.page.begin, scene.page.size, scene.table)); },
      [&] {
        EXPECT_TRUE(scene.waits.load());
        scene.nothing_came_back();
      });
  EXPECT_EQ(answer.kind, Kind::leaf) << "the table that it is in has gone as it was";
  EXPECT_EQ(answer.host, host);
  EXPECT_EQ(scene.ram.released(), 1u);
}

// The test of the tests above, and what the documentation says of such a hook: the caller has to keep readers out.
FORMAT_TEST(BesideAStoppedReader, AHookThatDoesNotKnowOfReadersLetsThemFindPoison) {
  for (auto load = 2u; load <= this->make().geometry().root + 1; ++load) {
    SCOPED_TRACE(load);
    Scene<Format, false> scene{this->make()};
    ASSERT_TRUE(scene.table.map(scene.page, scene.host, rw));
    auto const answer = scene.query_beside(
        load, [&] { EXPECT_TRUE(scene.table.unmap(scene.page)); },
        [&] {
          EXPECT_TRUE(scene.done.load());
          EXPECT_EQ(scene.frames.released(), scene.loads() - 1);
        });
    EXPECT_EQ(answer.entry, PoisonedFrames::poison);
  }
}

// ---- hardware that is faster ----

/// A CPU marks one leaf as soon as the writer has loaded it for the n-th time, before the writer can do anything about
/// it.
template <class Reader>
class FasterHardware : public PoisonedFrames {
 public:
  explicit FasterHardware(const Reader& reader) : PoisonedFrames{64, reader.shape().granule()}, reader_{reader} {}

  mutable Entry* last = nullptr;  // what was loaded last
  Entry* leaf = nullptr;          // the one to mark
  Level level = 0;
  mutable unsigned loads_left = 0;
  mutable bool marked = false;
  bool writes = true;  // or reads

  Entry load(Entry* slot) const {
    last = slot;
    auto const e = std::atomic_ref(*slot).load(std::memory_order_acquire);
    if (slot == leaf && loads_left != 0 && --loads_left == 0) {
      marked = reader_.decode(level, e).leaf();
      if (marked) std::atomic_ref(*slot).store(writes ? reader_.written(level, e) : reader_.accessed(level, e));
    }
    return e;
  }

 private:
  Reader reader_;
};

template <class Format>
class MarksOfHardware : public FormatTest<Format> {};

FORMAT_TEST(MarksOfHardware, OneThatIsSetBetweenALookAndAChangeIsKept) {
  struct Hook {
    void operator()(HostPhys, const Stale&) noexcept {}
    void publish() noexcept {}
  };
  using Frames = FasterHardware<decltype(reader_for(this->make()))>;
  using Table = PageTable<Format, Frames, Hook>;
  auto const format = this->make();
  auto const geometry = format.geometry();
  GuestRange const block{GuestPhys{geometry.span(1)}, geometry.span(1)};
  GuestRange const page{block.begin, geometry.page_size()};
  struct Kept {
    bool marked;  // not where the leaf is broken by then
    Age age;
  };
  /// The marks that remain, by the load of the leaf that hardware comes after, for as many as there are.
  auto const marked_after = [&](unsigned loads, bool pages, auto change) -> std::optional<Kept> {
    Frames frames{reader_for(format)};
    auto table = *Table::create(format, frames, Hook{});
    EXPECT_TRUE(table.map(block, HostPhys{0x8'0000'0000}, rw));
    if (pages) {
      EXPECT_TRUE(table.split(block));
    }
    frames.level = table.query(block.begin).level;
    EXPECT_EQ(frames.level, pages ? 0u : 1u);
    frames.leaf = frames.last;
    frames.loads_left = loads;
    change(table, frames);
    frames.leaf = nullptr;
    if (frames.loads_left != 0) return {};
    return Kept{frames.marked, table.query(block.begin).age};
  };
  auto const keeps_dirty = [&](bool pages, auto change) {
    auto times = 0u, loads = 1u;
    for (; auto const kept = marked_after(loads, pages, change); ++loads)
      if (kept->marked) {
        ++times;
        EXPECT_TRUE(kept->age.dirty) << "set after load " << loads;
      }
    EXPECT_NE(times, 0u);
  };
  auto const protect = [&](GuestRange range, Attr attr) {
    return [=](Table& table, Frames&) { EXPECT_TRUE(table.protect(range, attr)); };
  };
  if (!format.hardware_age().dirty) {
    EXPECT_FALSE(reader_for(format).sets_dirty()) << "then there is nothing to lose";
    return;
  }
  for (auto const pages : {false, true}) {
    keeps_dirty(pages, protect(block, ro));
    keeps_dirty(pages, protect(page, ro));
    keeps_dirty(pages, protect(page, rw | Memory::uncached));  // broken where it may be
  }
  keeps_dirty(false, [&](Table& table, Frames&) { EXPECT_TRUE(table.split(block)); });
  keeps_dirty(true, [&](Table& table, Frames&) { EXPECT_TRUE(table.coalesce(block)); });
  // It was written before; while that is reported and forgotten, it is read.
  auto const kept = marked_after(1, false, [&](Table& table, Frames& frames) {
    EXPECT_FALSE(table.query(block.begin).age.dirty) << "written as soon as it was looked at";
    frames.writes = false;
    frames.loads_left = 1;
    auto runs = 0;
    EXPECT_TRUE(table.harvest(block, {.dirty = true}, [&](GuestRange) { ++runs; }));
    EXPECT_EQ(runs, 1);
  });
  ASSERT_TRUE(kept && kept->marked);
  EXPECT_EQ(kept->age, (Age{.accessed = true, .dirty = false}));
}

// ---- everything at once ----

template <class Format>
class BesideOne : public FormatTest<Format> {
 protected:
  static constexpr std::size_t calls = 2000;

  void run(Writes by) {
    BesideWriter<Format> all{this->make(), by, calls, 1};
    all.run();
    if (this->HasFailure()) return;
    EXPECT_GT(all.amid_edits(), calls);
    EXPECT_EQ(all.broken_seen() != 0, this->make().can_break() || by == Writes::table);
    EXPECT_EQ(all.writes_told() > calls / 40, by == Writes::table);
    EXPECT_GT(all.held(), calls / 20);
    EXPECT_GT(all.writes_held_to(), calls / 20);
    EXPECT_GT(all.frames_released(), calls / 4);
  }
};

/// Tables of 512 entries, and every way to change them: blocks that break or do not; marks by hardware or not.
using Tables4k = ::testing::Types<Arm4k, Arm4kAccessed, Arm4kDirty, Arm4kBbm2, Arm4kBbm2Dirty, Ept4, Ept4NoAge,
                                  Ept4Erratum, Ept4ErratumNoAge, Npt4>;

template <class Format>
class WriterOfATable : public BesideOne<Format> {
 public:
  using TestFixture = BesideOne<Format>;
  void TestBody() override { this->run(Writes::table); }
};
template <class Format>
class WriterOfASet : public BesideOne<Format> {
 public:
  using TestFixture = BesideOne<Format>;
  void TestBody() override { this->run(Writes::set); }
};
[[maybe_unused]] const bool registered =
    detail::register_all<WriterOfATable>(Tables4k{}, "BesideTheWriterOfATable", "QueriesAndHardwareFindWhatWasTrueThen",
                                         __FILE__, __LINE__) &&
    detail::register_all<WriterOfASet>(Tables4k{}, "BesideTheWriterOfASet", "QueriesAndHardwareFindWhatWasTrueThen",
                                       __FILE__, __LINE__);

}  // namespace
}  // namespace slat::test
