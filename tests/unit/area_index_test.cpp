// The verbs of the index by themselves, over areas that are neither trivial nor default constructible, and the two
// sources of nodes that come with it.

#include <array>
#include <iterator>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <slat/mm/area_index.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/memory_area.hpp>

#include "unit/mock_backend.hpp"

namespace slat::test {
namespace {

/// An area whose flags own memory: a copy too many or a destructor too few is seen by the sanitizers.
using Named = MemoryArea<std::string, LinearMock>;
using Index = AreaIndex<Named, CountedNodes>;

std::string name_of(std::uint64_t n) { return "an area with a name too long to be kept inside: " + std::to_string(n); }
Named named(std::uint64_t start, std::uint64_t size) { return {gpa(start), size, name_of(start), LinearMock{start}}; }

class AreaIndexVerbs : public ::testing::Test {
 protected:
  void add(std::uint64_t start, std::uint64_t size) {
    auto room = index_.reserve(1);
    ASSERT_TRUE(room);
    index_.adopt(*std::move(room));
    index_.insert(named(start, size));
  }
  void make_room(std::size_t more) {
    auto room = index_.reserve(more);
    ASSERT_TRUE(room);
    index_.adopt(*std::move(room));
  }
  std::vector<GuestRange> ranges() const {
    std::vector<GuestRange> all;
    for (auto const& area : index_) all.push_back(area.range());
    return all;
  }

  NodeLedger ledger_;
  Index index_{CountedNodes{&ledger_}};
};

TEST_F(AreaIndexVerbs, InsertedInAnyOrderAreasAreSortedAndFound) {
  for (std::uint64_t n = 0; n != 200; ++n) add(n * 77 % 200 * 10, 5);
  ASSERT_EQ(index_.size(), 200u);
  for (std::uint64_t n = 0; n != 200; ++n) {
    auto const* area = index_.find(gpa(n * 10 + 4));
    ASSERT_NE(area, nullptr);
    EXPECT_EQ(area->start(), gpa(n * 10));
    EXPECT_EQ(area->flags(), name_of(n * 10));
    EXPECT_EQ(index_.find(gpa(n * 10 + 5)), nullptr);
  }
  EXPECT_TRUE(audit_order(AreaRun<Index::ConstPosition>{index_.begin(), index_.end()}));
}

TEST_F(AreaIndexVerbs, TouchingIsWhatSharesAnAddress) {
  for (std::uint64_t const s : {0u, 10u, 20u, 30u}) add(s, 5);
  auto const count = [&](GuestRange range) {
    auto const run = index_.touching(range);
    return std::distance(run.first, run.last);
  };
  EXPECT_EQ(count(bytes(0, 35)), 4);
  EXPECT_EQ(count(bytes(4, 11)), 2);
  EXPECT_EQ(count(bytes(5, 10)), 0);
  EXPECT_EQ(count(bytes(5, 31)), 3);
  EXPECT_EQ(count({gpa(12), 0}), 0);
  EXPECT_EQ(count({gpa(35), 1000}), 0);
  EXPECT_EQ(index_.touching(bytes(14, 21)).first->start(), gpa(10));
}

TEST_F(AreaIndexVerbs, CutMakesTwoAndJoinMakesOneAgain) {
  add(0, 10);
  add(10, 10);
  make_room(2);
  index_.cut(gpa(4));
  index_.cut(gpa(4));   // there already
  index_.cut(gpa(10));  // between two areas
  index_.cut(gpa(50));  // in none
  EXPECT_EQ(ranges(), (std::vector<GuestRange>{bytes(0, 4), bytes(4, 10), bytes(10, 20)}));
  EXPECT_EQ(index_.find(gpa(4))->backend().base, 4u);
  EXPECT_EQ(index_.find(gpa(4))->flags(), name_of(0));
  EXPECT_FALSE(index_.seam(gpa(0)));
  EXPECT_FALSE(index_.seam(gpa(5)));
  EXPECT_FALSE(index_.seam(gpa(20)));
  auto const seam = index_.seam(gpa(4));
  ASSERT_TRUE(seam);
  index_.join(*seam);
  EXPECT_EQ(ranges(), (std::vector<GuestRange>{bytes(0, 10), bytes(10, 20)}));
}

TEST_F(AreaIndexVerbs, EraseRemovesNeighboursAndLeavesTheRest) {
  for (std::uint64_t s = 0; s != 300; s += 10) add(s, 5);
  auto const run = index_.touching(bytes(50, 250));
  auto const next = index_.erase(run.first, run.last);
  EXPECT_EQ(next->start(), gpa(250));
  EXPECT_EQ(index_.size(), 10u);
  EXPECT_EQ(index_.erase(next, next), next);
  EXPECT_EQ(index_.size(), 10u);
  for (auto const& area : index_) EXPECT_EQ(area.flags(), name_of(area.start().raw()));
}

TEST_F(AreaIndexVerbs, ReserveChangesNothingAndWhatIsNotAdoptedGoesBack) {
  for (std::uint64_t s = 0; s != 160; s += 10) add(s, 5);
  auto const* const first = &*index_.begin();
  {
    auto const room = index_.reserve(1);
    ASSERT_TRUE(room);
    EXPECT_EQ(ledger_.live.size(), 2u);  // leaves, and what is above them
    EXPECT_EQ(&*index_.begin(), first);
  }
  EXPECT_TRUE(ledger_.live.empty());
  ledger_.empty = true;
  EXPECT_FALSE(index_.reserve(1));
  EXPECT_TRUE(index_.reserve(0));
  EXPECT_EQ(&*index_.begin(), first);
  EXPECT_EQ(index_.size(), 16u);
}

TEST_F(AreaIndexVerbs, AfterAReserveAsManyInsertsNeedNoMemory) {
  for (std::uint64_t s = 0; s != 100; s += 10) add(s, 5);
  make_room(500);
  ledger_.empty = true;
  auto const calls = ledger_.calls;
  for (std::uint64_t n = 0; n != 500; ++n) index_.insert(named(1000 + n * 10, 5));
  EXPECT_EQ(ledger_.calls, calls);
  EXPECT_EQ(index_.size(), 510u);
}

TEST_F(AreaIndexVerbs, MemoryIsAskedForInPowersOfTwoLess64AndRarely) {
  for (std::uint64_t n = 0; n != 1000; ++n) add(n * 10, 5);
  for (auto const& [block, size] : ledger_.live) EXPECT_TRUE(size >= 4096 - 64 && is_power_of_two(size + 64));
  EXPECT_EQ(ledger_.calls, ledger_.live.size());
  EXPECT_LE(ledger_.calls, 1000 / 16 / 3 + 5u);
}

TEST_F(AreaIndexVerbs, TrimGivesMemoryBackOnceEightAreLeft) {
  for (std::uint64_t n = 0; n != 20; ++n) add(n * 10, 5);
  index_.erase(std::next(index_.begin(), 9), index_.end());
  index_.trim();
  EXPECT_FALSE(ledger_.live.empty());
  index_.erase(index_.begin(), std::next(index_.begin()));
  index_.trim();
  EXPECT_TRUE(ledger_.live.empty());
  EXPECT_EQ(index_.size(), 8u);
  for (auto const& area : index_) EXPECT_EQ(area.flags(), name_of(area.start().raw()));
}

TEST_F(AreaIndexVerbs, MovingAnIndexEmptiesTheSource) {
  for (std::uint64_t const count : {5u, 40u}) {
    SCOPED_TRACE(count);
    for (std::uint64_t n = 0; n != count; ++n) add(n * 10, 5);
    Index other{std::move(index_)};
    EXPECT_EQ(index_.size(), 0u);  // NOLINT(bugprone-use-after-move): that is the promise
    EXPECT_EQ(other.size(), count);
    add(1000, 5);
    index_ = std::move(other);
    EXPECT_EQ(index_.size(), count);
    EXPECT_EQ(index_.find(gpa(10))->flags(), name_of(10));
    index_.clear();
    EXPECT_TRUE(ledger_.live.empty());
  }
}

template <std::size_t words>
struct Carried {
  std::array<std::uint64_t, words> what;
  Carried advanced(std::uint64_t n) const {
    auto result = *this;
    result.what[0] += n;
    return result;
  }
};
/// As large as with a linear backend, of 32 bytes, to as large as with one of any kind, of 48.
using SizesOfAreas = testing::Types<MemoryArea<std::uint64_t, Carried<1>>, MemoryArea<std::uint64_t, Carried<2>>,
                                    MemoryArea<std::uint64_t, Carried<3>>>;
template <class Area>
class AreaIndexMemory : public testing::Test {};
TYPED_TEST_SUITE(AreaIndexMemory, SizesOfAreas);

TYPED_TEST(AreaIndexMemory, ARegionCostsAtMost32BytesMoreThanItsArea) {
  using Area = TypeParam;
  enum class Order { sorted, random, churned };
  for (std::uint64_t const count : {4096u, 65536u})
    for (auto const order : {Order::sorted, Order::random, Order::churned}) {
      SCOPED_TRACE(testing::Message() << count << " areas, order " << static_cast<int>(order));
      NodeLedger ledger;
      AreaIndex<Area, CountedNodes> index{CountedNodes{&ledger}};
      std::mt19937 random{1};
      auto const add = [&](std::uint64_t start) {
        auto room = index.reserve(1);
        ASSERT_TRUE(room);
        index.adopt(*std::move(room));
        index.insert(Area{gpa(start), 8, 1, {{start}}});
      };
      std::vector<std::uint64_t> starts;
      for (std::uint64_t n = 0; n != count; ++n) starts.push_back(n * 16);
      if (order != Order::sorted) std::shuffle(starts.begin(), starts.end(), random);
      for (auto const start : starts) add(start);
      if (order == Order::churned)
        for (std::uint64_t n = 0; n != 4 * count; ++n) {
          auto& start = starts[random() % count];
          auto const run = index.touching({gpa(start), 1});
          index.erase(run.first, run.last);
          do start = std::uint64_t{random()} * 8;
          while (index.find(gpa(start)) != nullptr);
          add(start);
          index.trim();
        }
      std::size_t bytes = 0;
      for (auto const& [block, size] : ledger.live) bytes += size;
      // Four leaves of the largest areas do not fill a frame; it shows where churn leaves the least in each.
      bool const leaves_gaps = order == Order::churned && sizeof(Area) > 40;
      EXPECT_LE(bytes, count * (sizeof(Area) + (leaves_gaps ? 40 : 32)));
    }
}

// FrameNodes

/// Frames of 4 KiB out of one buffer, lowest first; "host addresses" are offsets from 1 MiB.
class FewFrames {
 public:
  static constexpr std::uint64_t origin = 1_MiB;

  std::optional<HostPhys> allocate(std::uint64_t size) noexcept {
    EXPECT_TRUE(is_power_of_two(size) && size >= 4096) << size;
    for (std::uint64_t at = 0; at + size <= used_.size() * 4096; at += size) {
      auto const from = used_.begin() + static_cast<std::ptrdiff_t>(at / 4096);
      auto const to = from + static_cast<std::ptrdiff_t>(size / 4096);
      if (std::any_of(from, to, [](bool b) { return b; })) continue;
      std::fill(from, to, true);
      return HostPhys{origin + at};
    }
    return std::nullopt;
  }
  void release(HostPhys at, std::uint64_t size) noexcept {
    for (auto i = (at.raw() - origin) / 4096, n = size / 4096; n != 0; ++i, --n) {
      EXPECT_TRUE(used_.at(i));
      used_.at(i) = false;
    }
  }
  Entry* view(HostPhys at) const noexcept { return memory_.get() + (at.raw() - origin) / sizeof(Entry); }
  std::uint64_t& word(HostPhys) noexcept { return word_; }
  long in_use() const { return std::count(used_.begin(), used_.end(), true); }

 private:
  std::array<bool, 32> used_{};
  std::unique_ptr<Entry[]> memory_ = std::make_unique<Entry[]>(32 * 4_KiB / sizeof(Entry));
  std::uint64_t word_ = 0;
};
static_assert(FrameSource<FewFrames>);
static_assert(NodeSource<FrameNodes<FewFrames>> && NodeSource<HeapNodes>);

TEST(FrameNodes, ASetLivesInFramesAndGivesThemAllBack) {
  FewFrames frames;
  MemorySet<MockFlags, HostTable<0x1000>, LinearMock, FrameNodes<FewFrames>> set{FrameNodes{frames}};
  auto const pt = std::make_unique<HostTable<0x1000>>();
  std::uint64_t mapped = 0;
  for (; mapped != 0x1000; ++mapped)
    if (auto const done = set.map({gpa(mapped), 1, 1, LinearMock{mapped}}, *pt); !done) {
      EXPECT_EQ(done.error(), Errc::no_memory);
      break;
    }
  // Ascending inserts leave full leaves: all but the key, the nodes above and the last frame is areas.
  EXPECT_GE(mapped * (sizeof(MemoryArea<MockFlags, LinearMock>) + 8), 26u * 4096);
  EXPECT_TRUE(describes(set, *pt));
  EXPECT_GT(frames.in_use(), 0);
  ASSERT_TRUE(set.unmap(gpa(0), 0x1000, *pt));
  EXPECT_EQ(frames.in_use(), 0);
}

TEST(FrameNodes, ABlockIsAlignedTo16AndAFrameAtLeast) {
  FewFrames frames;
  FrameNodes nodes{frames};
  auto* const small = nodes.allocate(64);
  auto* const large = nodes.allocate(3 * 4_KiB);
  auto* const page = nodes.allocate(4096 - 64);
  EXPECT_EQ(frames.in_use(), 1 + 4 + 1);
  for (auto* const block : {small, large, page}) EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 16, 0u);
  nodes.release(small, 64);
  nodes.release(page, 4096 - 64);
  EXPECT_EQ(frames.in_use(), 4);
  nodes.release(large, 3 * 4_KiB);
  EXPECT_EQ(frames.in_use(), 0);
  EXPECT_EQ(nodes.allocate(64 * 4_KiB), nullptr);
}

}  // namespace
}  // namespace slat::test
