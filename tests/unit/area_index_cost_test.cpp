// What the verbs of the index cost, counted: looks at areas, areas moved, pages of nodes touched, and blocks asked of
// the node source. And the same through a set, which is promise P9.

#include <gtest/gtest.h>

#include <sys/mman.h>

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <vector>

#include <slat/mm/area_index.hpp>
#include <slat/mm/memory_area.hpp>
#include <slat/mm/memory_set.hpp>

#include "model/area_index_probe.hpp"
#include "unit/mock_backend.hpp"

namespace slat::test {
namespace {

/// Memory for nodes, a page for each block, that counts the pages which are touched: all are closed, and the first
/// access opens one.
class WatchedPages {
 public:
  static constexpr std::size_t page = 4096, pages = 4096;

  WatchedPages() {
    void* const memory = mmap(nullptr, pages * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    memory_ = static_cast<std::byte*>(memory);
    for (std::size_t i = 0; i != pages; ++i) free_.push_back(memory_ + (pages - 1 - i) * page);
    current_ = this;
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t* info, void*) { current_->open(static_cast<std::byte*>(info->si_addr)); };
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, &before_);
  }
  WatchedPages(const WatchedPages&) = delete;
  WatchedPages& operator=(const WatchedPages&) = delete;
  ~WatchedPages() {
    sigaction(SIGSEGV, &before_, nullptr);
    munmap(memory_, pages * page);
  }

  /// How many pages `act` touches.
  template <class Act>
  unsigned touched_by(Act act) {
    touched_ = 0;
    mprotect(memory_, pages * page, PROT_NONE);
    act();
    mprotect(memory_, pages * page, PROT_READ | PROT_WRITE);
    return touched_;
  }
  void* allocate(std::size_t bytes) {
    if (bytes > page || free_.empty()) return nullptr;
    auto* const block = free_.back();
    free_.pop_back();
    return block;
  }
  void release(void* block) { free_.push_back(static_cast<std::byte*>(block)); }

 private:
  void open(std::byte* at) {
    if (at < memory_ || at >= memory_ + pages * page) {
      sigaction(SIGSEGV, &before_, nullptr);  // not ours: it comes again
      return;
    }
    ++touched_;
    mprotect(memory_ + (at - memory_) / static_cast<std::ptrdiff_t>(page) * static_cast<std::ptrdiff_t>(page), page,
             PROT_READ | PROT_WRITE);
  }

  static inline WatchedPages* current_ = nullptr;
  std::byte* memory_ = nullptr;
  std::vector<std::byte*> free_;
  struct sigaction before_ {};
  unsigned touched_ = 0;
};
struct PagedNodes {
  WatchedPages* pages;
  void* allocate(std::size_t bytes) noexcept { return pages->allocate(bytes); }
  void release(void* block, std::size_t) noexcept { pages->release(block); }
};

/// A backend that counts how often one comes to be, and does nothing.
struct Counted {
  static inline unsigned moves = 0;

  Counted() = default;
  Counted(const Counted&) { ++moves; }
  Counted(Counted&&) noexcept { ++moves; }
  Counted& operator=(const Counted&) = default;
  ~Counted() = default;
  Counted advanced(std::uint64_t) const { return {}; }

  struct Nowhere {};
  bool map(GuestPhys, std::uint64_t, MockFlags, Nowhere&) { return true; }
  bool unmap(GuestPhys, std::uint64_t, Nowhere&) { return true; }
  bool protect(GuestPhys, std::uint64_t, MockFlags, Nowhere&) { return true; }
};
/// An area that counts how often it is looked at.
struct Watched : MemoryArea<MockFlags, Counted> {
  using Plain = MemoryArea<MockFlags, Counted>;
  static inline unsigned looks = 0;

  Watched(Plain plain) : Plain{std::move(plain)} {}
  GuestRange range() const { return ++looks, Plain::range(); }
  GuestPhys start() const { return ++looks, Plain::start(); }
  std::uint64_t size() const { return ++looks, Plain::size(); }
  bool contains(GuestPhys at) const { return ++looks, Plain::contains(at); }
};

struct Cost {
  unsigned looks = 0, moves = 0, pages = 0;
};
/// The most that `verb` costs, each number by itself, at any of many places among 2^14 areas of 8 bytes every 16.
constexpr std::uint64_t count = 1 << 14;
/// But for a few, so that 24 free bytes can be found.
bool is_left_out(std::uint64_t n) { return n % 1024 == 1000; }
template <class Verb>
Cost most(WatchedPages& pages, Verb verb) {
  Cost most;
  for (std::uint64_t n = 0; n < count; n += 97) {
    if (is_left_out(n)) continue;
    Watched::looks = Counted::moves = 0;
    most.pages = std::max(most.pages, pages.touched_by([&] { verb(gpa(n * 16)); }));
    most.looks = std::max(most.looks, Watched::looks);
    most.moves = std::max(most.moves, Counted::moves);
  }
  return most;
}
void expect_at_most(Cost cost, Cost limit, const char* verb) {
  EXPECT_LE(cost.looks, limit.looks) << verb;
  EXPECT_LE(cost.moves, limit.moves) << verb;
  EXPECT_LE(cost.pages, limit.pages) << verb;
}

// A descent is five nodes. A split moves half a leaf, as does sending areas to a neighbour, and each move is two; it
// tells up to 16 nodes what their place and parent is, on a level or two.
TEST(AreaIndexCost, EveryVerbLooksAtMovesAndVisitsALogarithmOfTheAreas) {
  WatchedPages pages;
  AreaIndex<Watched, PagedNodes> index{PagedNodes{&pages}};
  auto room = index.reserve(3 * count);
  ASSERT_TRUE(room);
  index.adopt(*std::move(room));
  // Ascending: all leaves are full, so that each place has a split ahead.
  for (std::uint64_t n = 0; n != count; ++n)
    if (!is_left_out(n)) index.insert(Watched::Plain{gpa(n * 16), 8, 1});

  auto const check = [&](const char* name, Cost limit, auto verb) { expect_at_most(most(pages, verb), limit, name); };
  check("find", {2, 0, 5}, [&](GuestPhys at) { ASSERT_NE(index.find(at), nullptr); });
  check("touching", {4, 0, 10}, [&](GuestPhys at) { index.touching({at, 24}); });
  check("next_gap", {40, 0, 10}, [&](GuestPhys at) { ASSERT_TRUE(index.next_gap(at, 17, {gpa(0), 1_GiB}, 1)); });
  check("insert", {60, 30, 40}, [&](GuestPhys at) { index.insert(Watched::Plain{at + 8, 1, 1}); });
  check("insert where it was looked for", {60, 30, 40}, [&](GuestPhys at) {
    index.insert(index.touching({at + 9, 1}).first, Watched::Plain{at + 9, 1, 1});
  });
  check("cut", {60, 30, 40}, [&](GuestPhys at) { index.cut(at + 4); });
  index.trim();
  check("join", {60, 30, 40}, [&](GuestPhys at) { index.join(*index.seam(at + 4)); });
  check("erase", {80, 30, 40}, [&](GuestPhys at) {
    auto const run = index.touching({at, 8});
    index.erase(run.first, run.last);
  });
  EXPECT_EQ(AreaIndexProbe::flaw(index), "");
  EXPECT_LE(AreaIndexProbe::height(index), 4u);
}

TEST(AreaIndexCost, ErasingNeighboursCostsThemAndALogarithm) {
  WatchedPages pages;
  AreaIndex<Watched, PagedNodes> index{PagedNodes{&pages}};
  auto room = index.reserve(2 * count);
  ASSERT_TRUE(room);
  index.adopt(*std::move(room));
  for (std::uint64_t n = 0; n != count; ++n) index.insert(Watched::Plain{gpa(n * 16), 8, 1});
  index.trim();
  Watched::looks = Counted::moves = 0;
  auto const touched = pages.touched_by([&] {
    auto const run = index.touching({gpa(8000), 16 * 1000});
    index.erase(run.first, run.last);
  });
  EXPECT_EQ(index.size(), count - 1000);
  EXPECT_LE(touched, 1000 / 16 / 4 + 25u);
  EXPECT_LE(Watched::looks, 200u);
  EXPECT_LE(Counted::moves, 60u);
}

TEST(MemorySetCost, EveryEditOfOneAreaVisitsALogarithmOfTheAreas) {
  WatchedPages pages;
  Counted::Nowhere nowhere;
  MemorySet<MockFlags, Counted::Nowhere, Counted, PagedNodes> set{PagedNodes{&pages}};
  for (std::uint64_t n = 0; n != count; ++n) {
    if (is_left_out(n)) continue;
    ASSERT_TRUE(set.map({gpa(n * 16), 8, 1}, nowhere));
  }

  auto const check = [&](const char* name, Cost limit, auto verb) { expect_at_most(most(pages, verb), limit, name); };
  check("find", {0, 0, 5}, [&](GuestPhys at) { ASSERT_NE(set.find(at), nullptr); });
  check("find_free_area", {0, 0, 10}, [&](GuestPhys at) {
    ASSERT_TRUE(set.find_free_area(at, 17, {gpa(0), 1_GiB}, 1));
  });
  check("map", {0, 40, 40}, [&](GuestPhys at) { ASSERT_TRUE(set.map({at + 8, 2, 1}, nowhere)); });
  check("protect a part", {0, 40, 40}, [&](GuestPhys at) {
    ASSERT_TRUE(set.protect(
        at + 2, 3, [](MockFlags) { return MockFlags{2}; }, nowhere));
  });
  check("protect it back", {0, 40, 40}, [&](GuestPhys at) {
    ASSERT_TRUE(set.protect(
        at + 2, 3, [](MockFlags) { return MockFlags{1}; }, nowhere));
  });
  check("map over a part", {0, 40, 40}, [&](GuestPhys at) { ASSERT_TRUE(set.map({at + 2, 3, 4}, nowhere, true)); });
  check("unmap a part", {0, 40, 40}, [&](GuestPhys at) { ASSERT_TRUE(set.unmap(at + 1, 6, nowhere)); });
  check("unmap", {0, 40, 40}, [&](GuestPhys at) { ASSERT_TRUE(set.unmap(at + 8, 2, nowhere)); });
}

// What is asked of the node source.

using Small = MemoryArea<MockFlags, LinearMock>;
using SmallIndex = AreaIndex<Small, CountedNodes>;
void add(SmallIndex& index, std::uint64_t start) {
  auto room = index.reserve(1);
  ASSERT_TRUE(room);
  index.adopt(*std::move(room));
  index.insert(Small{gpa(start), 8, 1, LinearMock{start}});
}
void remove(SmallIndex& index, std::uint64_t start) {
  auto const run = index.touching({gpa(start), 1});
  ASSERT_FALSE(run.empty());
  index.erase(run.first, run.last);
  index.trim();
}

TEST(AreaIndexMemory, ErasingAndInsertingOneAreaAsksTheSourceForNothing) {
  NodeLedger ledger;
  SmallIndex index{CountedNodes{&ledger}};
  for (std::uint64_t n = 0; n != 3000; ++n) {
    add(index, n * 16);
    if (n > 40 && n % 37 != 0) continue;
    // Twice at first: the first time may take what is kept from then on.
    auto const again = [&](std::uint64_t start) {
      remove(index, start);
      add(index, start);
    };
    again(n * 16);
    again(n * 16);
    auto const calls = ledger.calls;
    for (unsigned times = 0; times != 20; ++times) again(n * 16);
    EXPECT_EQ(ledger.calls, calls) << n + 1 << " areas, the last one";
    for (unsigned times = 0; times != 20; ++times) again(n / 2 * 16);
    EXPECT_LE(ledger.calls, calls + 1) << n + 1 << " areas, one in the middle";
  }
}

TEST(AreaIndexMemory, NoMoreThanAFewNodesAreSpare) {
  NodeLedger ledger;
  SmallIndex index{CountedNodes{&ledger}};
  for (std::uint64_t n = 0; n != 4096; ++n) add(index, n * 16);
  for (std::uint64_t n = 4096; n != 17; --n) {
    remove(index, (n - 1) * 16);
    // What is taken in order goes back in order: no block is half in use but one.
    ASSERT_LE(AreaIndexProbe::idle_nodes(index), AreaIndexProbe::nodes_to_keep(index) + 2 * 8) << n - 1 << " areas";
    ASSERT_LE(AreaIndexProbe::nodes_to_keep(index), 2 * (AreaIndexProbe::height(index) + 1u) + 2);
  }
  while (index.size() != 8) remove(index, (index.size() - 1) * 16);
  EXPECT_TRUE(ledger.live.empty());
}

}  // namespace
}  // namespace slat::test
