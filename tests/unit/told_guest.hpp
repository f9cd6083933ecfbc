#pragma once

// Tests of the hostile MMU as rows: what a guest's machine is told, event by event, and the offence that it names.
//
//   {"ATlbiThatNothingWaitsForIsNamed", {unmap_first, dsb, vmalls12e1is}, Offence::not_completed},
//
// The row's name is the promise. Every sequence ends with What::finish: nothing may be owed then.

#include <gtest/gtest.h>

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include <slat/testing/machine.hpp>

#include "unit/by_hand.hpp"

namespace slat::test {
using namespace slat::testing;

using Steps = std::vector<Event>;
inline Steps operator+(Steps first, const Steps& second) {
  first.insert(first.end(), second.begin(), second.end());
  return first;
}

struct Row {
  const char* promise;
  Steps steps;
  Offence wanted;

  friend std::ostream& operator<<(std::ostream& out, const Row& row) { return out << row.promise; }
};
inline std::string promise(const ::testing::TestParamInfo<Row>& info) { return info.param.promise; }

// ---- where things are

inline constexpr HostPhys root{0x7'0000'0000};
/// Of the lowest two levels; and a frame that nobody has yet. What deeper trees have in between comes after them.
inline constexpr HostPhys middle = root + page, leaves = root + 2 * page, spare = root + 3 * page;
constexpr HostPhys leaf_slot(std::uint64_t i) { return leaves + i * sizeof(Entry); }

// ---- what can be told

constexpr Event store(HostPhys at, Entry next, std::uint64_t bytes = sizeof(Entry)) {
  return {What::store, 0, {at.raw(), 0, next, bytes}};
}
constexpr Event exchange(HostPhys at, Entry next) { return {What::exchange, 0, {at.raw(), 0, next}}; }
constexpr Event release(HostPhys frame) { return {What::release, 0, {frame.raw(), page}}; }
constexpr Event zero(HostPhys frame) { return {What::zero, 0, {frame.raw(), page}}; }
/// And cleared.
inline Steps allocate(HostPhys frame) { return {{What::allocate, 0, {frame.raw(), page}}, zero(frame)}; }
constexpr Event tlbi(What what, std::uint64_t operand = 0) { return {what, 0, {operand}}; }
constexpr Event enter(HostPhys at, std::uint64_t tag = 0) { return {What::enter, 0, {at.raw(), tag}}; }
constexpr Event leave{What::leave};
constexpr Event finish{What::finish};
constexpr Event publish{What::dsb_ishst};
constexpr Event unmap_first = store(leaves, 0), unlink = store(middle, 0);
/// By another CPU than 0.
constexpr Event on(std::uint8_t cpu, Event event) {
  event.cpu = cpu;
  return event;
}
inline Steps on(std::uint8_t cpu, Steps steps) {
  for (auto& event : steps) event.cpu = cpu;
  return steps;
}

/// Tables all the way down, and pages of `ram` in the first sixteen slots. `before` comes before the root is a table's.
template <class Kind>
class ToldGuest {
 public:
  using Reader = decltype(Kind::reader());

  explicit ToldGuest(const Steps& before = {}) {
    run(allocate(root) + before + Steps{{What::root, 0, {root.raw()}}});
    auto table = root;
    for (auto level = Kind::reader().shape().root; level != 0; --level) {
      auto const below = level == 1 ? leaves : level == 2 ? middle : root + (2 + level) * page;
      run(allocate(below) + Steps{store(table, Kind::table(below))});
      table = below;
    }
    for (std::uint64_t i = 0; i != 16; ++i) run({store(leaf_slot(i), Kind::leaf(0, ram + i * page))});
    run({publish});
  }

  /// Each step must be one that the machine takes.
  ToldGuest& run(const Steps& steps) {
    for (auto const& event : steps) EXPECT_TRUE(machine.apply(event)) << text(event);
    return *this;
  }
  void expect(Offence wanted) {
    EXPECT_EQ(machine.offence(), wanted) << (machine.violation() ? machine.violation()->text : "sound");
  }
  void expect(const Row& row) { run(row.steps + Steps{finish}).expect(row.wanted); }

  Machine<Reader> machine{Kind::reader(), {.frames = 16}};
};

}  // namespace slat::test
