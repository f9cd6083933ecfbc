#pragma once

// Which pages the guest wrote, by write protection and by the hardware's dirty state. Nothing that it writes may go
// unreported, and nothing that it does not.

#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// Harvests three pages and says which were reported, a bit each.
template <class Rig>
unsigned harvest(Rig& rig) {
  unsigned reported = 0;
  expect(rig.set.harvest(
      {data, 3 * Rig::page},
      [&](GuestRange range) {
        for (unsigned i = 0; i != 3; ++i)
          if (range.contains(data + i * Rig::page)) reported |= 1u << i;
      },
      rig.table));
  return reported;
}

template <class Rig>
void harvest_by_protection(Rig& rig) {
  auto const one = data + Rig::page;
  expect(!rig.table.format().hardware_age().dirty, "the test wants dirty=protect");
  expect(rig.set.map({data, 3 * Rig::page, rw, Linear{rig.host_memory(3 * Rig::page)}}, rig.table));
  expect(rig.store(one, 1).worked(), "the guest cannot write");
  expect(harvest(rig) == 0b111, "a page that was never harvested is not reported");
  expect(harvest(rig) == 0, "a clean page is reported");

  for (unsigned round = 0; round != 2; ++round) {
    expect(rig.store(one, 2).faulted(Fault::denied), "a write after the harvest was not noticed");
    auto const resolution = rig.set.resolve(one, Prot::w, rig.table);
    expect(resolution && *resolution == Resolution::spurious, "the write was not allowed again");
    rig.forget_here(one);
    expect(rig.go_on().worked(), "the guest cannot write after the fault");
    expect(harvest(rig) == 0b010, "not exactly the written page is reported");
  }
}

template <class Rig>
void harvest_by_hardware(Rig& rig) {
  auto const one = data + Rig::page;
  expect(rig.table.format().hardware_age().dirty, "the CPU lacks hardware dirty state");
  expect(rig.set.map({data, 3 * Rig::page, rw, Linear{rig.host_memory(3 * Rig::page)}}, rig.table));
  expect(harvest(rig) == 0, "a page that was never written is reported");
  expect(rig.load(data).worked(), "the guest cannot read");
  for (unsigned round = 0; round != 3; ++round) {
    expect(rig.store(one, round).worked(), "the guest cannot write");
    expect(harvest(rig) == 0b010, "a write after the harvest was not noticed");
  }
  expect(harvest(rig) == 0, "a clean page is reported");
  // What is dirty stays so when it loses the right to be written.
  expect(rig.store(one, 9).worked(), "the guest cannot write");
  expect(rig.set.protect(
      data, 3 * Rig::page, [](Attr a) { return a - Prot::w; }, rig.table));
  expect(rig.store(one, 10).faulted(Fault::denied), "the guest still writes a write-protected page");
  expect(harvest(rig) == 0b010, "write protection lost a dirty mark");
}

/// Both of hardware's marks, read back and harvested. A page that is written is read, too.
template <class Rig>
void age(Rig& rig) {
  expect(rig.table.format().hardware_age() == Age{true, true}, "the CPU lacks hardware accessed or dirty state");
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page()}}, rig.table));
  auto const now = [&] { return rig.table.query(data).age; };
  auto const harvested = [&](Age what) {
    bool any = false;
    expect(rig.table.harvest({data, Rig::page}, what, [&](GuestRange) { any = true; }));
    return any;
  };
  expect(now() == Age{}, "a page that was never used has marks");
  for (unsigned round = 0; round != 2; ++round) {
    expect(rig.load(data).worked(), "the guest cannot read");
    expect(now() == Age{true, false}, "a page that was only read is not marked so");
    expect(rig.store(data, 1).worked(), "the guest cannot write");
    expect(now() == Age{true, true}, "a page that was written is not marked so");
    expect(harvested({false, true}) && now() == Age{true, false}, "harvesting dirty marks took others, or none");
    expect(harvested({true, false}) && now() == Age{}, "harvesting accessed marks left some");
    expect(!harvested({true, true}), "marks are harvested twice");
  }
}

}  // namespace slat::test
