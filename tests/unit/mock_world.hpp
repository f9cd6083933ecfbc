#pragma once

// A set of a few areas with its table and its nodes, and edits of it with a name: for tests that try every failure.

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <string>
#include <tuple>
#include <vector>

#include "unit/mock_backend.hpp"
#include "unit/planning_mock.hpp"

namespace slat::test {

inline constexpr std::size_t cells = 64;
using Table = HostTable<cells>;
using PlainSet = MemorySet<MockFlags, Table, LinearMock, CountedNodes>;
using PlanningSet = MemorySet<MockFlags, Table, PlanningMock<cells>, CountedNodes>;

template <class Set>
typename Set::Area area(std::uint64_t start, std::uint64_t size, MockFlags flags, std::uint64_t base) {
  if constexpr (std::same_as<Set, PlainSet>)
    return {gpa(start), size, flags, LinearMock{base + start}};
  else
    return {gpa(start), size, flags, PlanningMock<cells>{{base + start}}};
}

/// Table, set and nodes, with areas [0,8) [8,16) [20,28) [28,36) [40,48) of flags 1 to 5.
template <class Set>
struct World {
  NodeLedger ledger;
  Table pt;
  Set set{CountedNodes{&ledger}};

  World() {
    MockFlags flags = 0;
    for (std::uint64_t const start : {0u, 8u, 20u, 28u, 40u}) add(start, 8, ++flags, 1000);
  }
  void add(std::uint64_t start, std::uint64_t size, MockFlags flags, std::uint64_t base) {
    EXPECT_TRUE(set.map(area<Set>(start, size, flags, base), pt));
    pt.calls = pt.begins = 0;
  }
  auto areas() const {
    std::vector<std::tuple<GuestRange, MockFlags, std::uint64_t>> all;
    for (auto const& a : set.iter()) {
      if constexpr (std::same_as<Set, PlainSet>)
        all.emplace_back(a.range(), a.flags(), a.backend().base);
      else
        all.emplace_back(a.range(), a.flags(), a.backend().linear.base);
    }
    return all;
  }
};

template <class Set>
struct Call {
  std::string name;
  std::function<Result<>(World<Set>&)> run;
};

}  // namespace slat::test
