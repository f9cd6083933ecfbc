#pragma once

// A guest with tables of its own. Its walks go through the second stage as its data does, and a CPU may keep those
// translations in another place than the combined ones: only here QEMU shows when Arm's IPAS2E1IS is missing or wrong.
//
// Rig::Walk makes the guest's tables: the page at the virtual address `window` goes by way of a table of the last level
// that stands at `leaves`, where the test puts now this table, now that.

#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

template <class Rig>
void walk(Rig& rig) {
  using Walk = typename Rig::Walk;
  Walk guest{rig};
  auto const other = data + Rig::page;
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{rig.host_memory(2 * Rig::page)}}, rig.table));
  expect(rig.store(data, 1).worked() && rig.store(other, 2).worked(), "the guest cannot use its data");

  auto const area = 2 * Rig::page;
  expect(rig.set.map({Walk::leaves, area, rw, Linear{guest.leaf_table(data)}}, rig.table));
  expect(rig.load(Walk::window).value == 1, "the guest's own table does not translate");
  expect(rig.set.map({Walk::leaves, area, rw, Linear{guest.leaf_table(other)}}, rig.table, true));
  expect(rig.load(Walk::window).value == 2, "the guest's walk still uses the old table page");

  expect(rig.set.unmap(Walk::leaves, area, rig.table));
  auto const seen = rig.load(Walk::window);
  expect(seen.faulted(Fault::absent) && seen.guest_walk, "the guest's walk still uses an unmapped page");
  expect(seen.at.down_to(Rig::page) == Walk::leaves, "the walk's fault names another address");
}

}  // namespace slat::test
