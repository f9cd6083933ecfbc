// Memory for nodes that is missing at each point where it is asked for: nothing changes, and in the end everything goes
// back.

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include <slat/mm/area_index.hpp>
#include <slat/mm/memory_area.hpp>

#include "model/area_index_probe.hpp"
#include "unit/mock_backend.hpp"

namespace slat::test {
namespace {

/// Calls `act` with the first allocation failing, then the second, until all succeed. Returns how many did fail.
template <class Act, class Unchanged>
unsigned fail_each(NodeLedger& ledger, Act act, Unchanged unchanged) {
  for (unsigned k = 1;; ++k) {
    auto const live = ledger.live;
    ledger.fail_at = ledger.calls + k;
    bool const done = act();
    bool const failed = ledger.calls >= ledger.fail_at;
    ledger.fail_at = 0;
    EXPECT_EQ(done, !failed) << "allocation " << k;
    if (done || testing::Test::HasFailure()) return k - 1;
    EXPECT_EQ(ledger.live, live) << "allocation " << k;
    unchanged();
  }
}

using Area = MemoryArea<MockFlags, LinearMock>;
using Index = AreaIndex<Area, CountedNodes>;
std::vector<std::pair<GuestRange, std::uint64_t>> content(const Index& index) {
  std::vector<std::pair<GuestRange, std::uint64_t>> all;
  for (auto const& area : index) all.emplace_back(area.range(), area.backend().base);
  return all;
}

TEST(AreaIndexFailure, AReserveThatFailsAnywhereChangesNothingAndOneThatDoesNotIsEnough) {
  unsigned failures = 0;
  for (std::uint64_t const count : {0u, 15u, 16u, 17u, 100u, 256u, 4000u})
    for (std::size_t const more : {1u, 2u, 3u, 40u, 500u})
      for (auto const order : {0, 1, 2}) {
        SCOPED_TRACE(testing::Message() << count << " areas, " << more << " more, order " << order);
        NodeLedger ledger;
        {
          Index index{CountedNodes{&ledger}};
          auto const add = [&](std::uint64_t n) { index.insert(Area{gpa(n * 1000), 900, 1, LinearMock{n}}); };
          auto room = index.reserve(count);
          ASSERT_TRUE(room);
          index.adopt(*std::move(room));
          for (std::uint64_t n = 0; n != count; ++n) add(n);
          index.trim();
          auto const before = content(index);
          auto const failed = fail_each(
              ledger,
              [&] {
                auto got = index.reserve(more);
                if (!got) return false;
                index.adopt(*std::move(got));
                return true;
              },
              [&] { EXPECT_EQ(content(index), before); });
          failures += failed;

          ledger.empty = true;
          for (std::size_t i = 0; i != more; ++i) {
            if (order == 0 || count == 0)
              add(count + i);  // behind all
            else if (order == 1)
              index.cut(gpa(count / 2 * 1000 + 1 + i));  // many in one place
            else
              index.cut(gpa(i * 7 % count * 1000 + 1 + i));  // all over
          }
          EXPECT_EQ(index.size(), count + more);
          EXPECT_EQ(AreaIndexProbe::flaw(index), "");
          // What is taken out needs no memory.
          while (index.size() > 1) index.erase(std::prev(index.end(), 2), index.end());
          EXPECT_EQ(AreaIndexProbe::flaw(index), "");
        }
        EXPECT_TRUE(ledger.live.empty());
      }
  EXPECT_GT(failures, 500u);
}

/// So wide that a block is one leaf: what is reserved of them is then not rounded up.
using WideFlags = std::array<std::uint64_t, 27>;
using Wide = MemoryArea<WideFlags, LinearMock>;

TEST(AreaIndexFailure, WhatIsReservedIsEnoughWhereEachNodeOfThePathIsFull) {
  for (std::uint64_t const count : {16u, 16u * 24, 16u * 24 * 24})
    for (std::size_t const more : {1u, 2u, 4u}) {
      SCOPED_TRACE(testing::Message() << count << " areas, " << more << " more");
      NodeLedger ledger;
      AreaIndex<Wide, CountedNodes> index{CountedNodes{&ledger}};
      auto const make_room = [&](std::size_t wanted) {
        auto room = index.reserve(wanted);
        ASSERT_TRUE(room);
        index.adopt(*std::move(room));
      };
      for (std::uint64_t n = 0; n != count; ++n) {
        make_room(1);
        index.insert(Wide{gpa(n * 16), 8, WideFlags{}, LinearMock{n}});
      }
      ASSERT_EQ(AreaIndexProbe::height(index), count == 16 ? 0u : count == 384 ? 1u : 2u);
      make_room(more);
      ledger.empty = true;
      for (std::size_t i = 0; i != more; ++i) index.cut(gpa((count / 2 + i / 2 * (count / 4)) * 16 + 1 + i));
      EXPECT_EQ(index.size(), count + more);
      EXPECT_EQ(AreaIndexProbe::flaw(index), "");
    }
}

constexpr std::size_t cells = 6000;
using Table = HostTable<cells>;
using Set = MemorySet<MockFlags, Table, LinearMock, CountedNodes>;

TEST(AreaIndexFailure, EveryEditOfASetSurvivesEachMissingBlock) {
  NodeLedger ledger;
  auto const table = std::make_unique<Table>();
  unsigned failures = 0;
  {
    Set set{CountedNodes{&ledger}};
    auto const areas = [&] {
      std::vector<std::tuple<GuestRange, MockFlags, std::uint64_t>> all;
      for (auto const& a : set.iter()) all.emplace_back(a.range(), a.flags(), a.backend().base);
      return all;
    };
    auto const each = [&](const char* name, auto edit) {
      SCOPED_TRACE(testing::Message() << name << ", " << set.len() << " areas");
      auto const before = areas();
      failures += fail_each(
          ledger,
          [&] {
            Result<> const done = edit();
            if (!done) {
              EXPECT_EQ(done.error(), Errc::no_memory);
            }
            return static_cast<bool>(done);
          },
          [&] { ASSERT_EQ(areas(), before); });
    };
    for (std::uint64_t n = 0; n != 300; ++n) {
      GuestPhys const at{n * 7 % 300 * 20};
      each("map", [&] { return set.map({at, 12, 1, LinearMock{at.raw() + 10'000}}, *table); });
      each("protect", [&] {
        return set.protect(
            at + 4, 4, [](MockFlags) { return MockFlags{2}; }, *table);
      });
      each("map over", [&] { return set.map({at + 5, 2, 3, LinearMock{7}}, *table, true); });
      each("unmap", [&] { return set.unmap(at + 1, 2, *table); });
      each("map again", [&] { return set.map({at, 12, 1, LinearMock{at.raw() + 10'000}}, *table, true); });
      if (HasFailure()) return;
    }
    ASSERT_TRUE(describes(set, *table));
    ASSERT_TRUE(set.unmap(gpa(0), cells, *table));
    EXPECT_TRUE(ledger.live.empty());
  }
  EXPECT_GT(failures, 10u);
}

}  // namespace
}  // namespace slat::test
