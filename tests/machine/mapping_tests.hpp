#pragma once

// Mapping, unmapping, moving, splitting. Each test has the guest use a page before it changes, so that the CPU has the
// old translation at hand, and looks at it through the guest's eyes afterwards.

#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>

#include "tests/machine/report.hpp"
#include "tests/machine/seen.hpp"
#include "tests/machine/stub.hpp"

namespace slat::test {

inline constexpr GuestPhys data{0x5000'0000};

template <class Rig>
void map(Rig& rig) {
  auto const host = rig.host_page(11);
  expect(rig.load(data).faulted(Fault::absent), "the guest reads where nothing is mapped");
  expect(rig.set.map({data, Rig::page, rw, Linear{host}}, rig.table));
  expect(rig.load(data).value == 11, "the guest does not read what the host wrote");
  expect(rig.store(data + 8, 22).worked(), "the guest cannot write");
  expect(rig.host_word(host + 8) == 22, "the host does not read what the guest wrote");
  expect(rig.load(data + Rig::page).faulted(Fault::absent), "more is mapped than was asked for");
  expect(rig.load(data + Rig::page).at == data + Rig::page, "the fault names another address");
  expect(!!rig.set.audit(rig.table), "areas and tables disagree");
}

template <class Rig>
void unmap(Rig& rig) {
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{rig.host_memory(2 * Rig::page, 11)}}, rig.table));
  expect(rig.load(data).value == 11 && rig.load(data + Rig::page).value == 11, "the guest cannot read a mapped page");
  expect(rig.set.unmap(data, Rig::page, rig.table));
  expect(rig.load(data).faulted(Fault::absent), "the guest still reads an unmapped page");
  expect(rig.load(data + Rig::page).value == 11, "the neighbour went too");
  expect(rig.set.clear(rig.table));
  expect(rig.table.tables() == 1, "unmapping everything left tables");
}

template <class Rig>
void protect_write(Rig& rig) {
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{rig.host_memory(2 * Rig::page)}}, rig.table));
  expect(rig.store(data, 1).worked() && rig.store(data + Rig::page, 1).worked(), "the guest cannot write");
  expect(rig.set.protect(
      data, Rig::page, [](Attr a) { return a - Prot::w; }, rig.table));
  expect(rig.store(data, 2).faulted(Fault::denied), "the guest still writes a write-protected page");
  expect(rig.load(data).value == 1, "the guest cannot read a write-protected page");
  expect(rig.store(data + Rig::page, 2).worked(), "the neighbour was write-protected too");
}

template <class Rig>
void protect_execute(Rig& rig) {
  auto const host = rig.host_page();
  rig.write_function(host, 7);
  expect(rig.set.map({data, Rig::page, rx, Linear{host}}, rig.table));
  expect(rig.call(data).value == 7, "the guest cannot execute");
  expect(rig.set.protect(
      data, Rig::page, [](Attr a) { return a - Prot::x; }, rig.table));
  auto const seen = rig.call(data);
  expect(seen.faulted(Fault::denied) && seen.instruction, "the guest still executes a page without the right");
  expect(rig.load(data).worked(), "the guest cannot read the page any more");
}

/// Rights that come back are seen after the local invalidation that a spurious fault asks for.
template <class Rig>
void grow(Rig& rig) {
  expect(rig.set.map({data, Rig::page, ro, Linear{rig.host_page()}}, rig.table));
  expect(rig.load(data).worked(), "the guest cannot read");
  expect(rig.store(data, 1).faulted(Fault::denied), "the guest writes a read-only page");
  auto const denied = rig.set.resolve(data, Prot::w, rig.table);
  expect(denied && *denied == Resolution::denied, "a missing right is not called denied");
  expect(rig.set.protect(
      data, Rig::page, [](Attr a) { return a | Prot::w; }, rig.table));
  auto const spurious = rig.set.resolve(data, Prot::w, rig.table);
  expect(spurious && *spurious == Resolution::spurious, "an allowed access is not called spurious");
  rig.forget_here(data);
  expect(rig.store(data, 1).worked(), "the guest cannot write after it got the right");
}

/// One page of a block changes its rights: the block becomes a table of pages.
template <class Rig>
void split(Rig& rig) {
  auto const host = rig.host_memory(Rig::block);
  auto const middle = data + 3 * Rig::page;
  auto const last = data + Rig::block - Rig::page;
  for (auto at : {data, middle, last}) rig.host_word(host + (at - data)) = at.raw();
  expect(rig.set.map({data, Rig::block, rw, Linear{host}}, rig.table));
  expect(rig.table.query(middle).level == 1, "an aligned range did not become a block");
  for (auto at : {data, middle, last}) expect(rig.store(at + 8, 1).worked(), "the guest cannot write into the block");

  expect(rig.set.protect(
      middle, Rig::page, [](Attr a) { return a - Prot::w; }, rig.table));
  expect(rig.table.query(middle).level == 0, "the block was not split");
  expect(rig.store(middle, 2).faulted(Fault::denied), "the guest still writes a page that was split off a block");
  for (auto at : {data, middle, last})
    expect(rig.load(at).value == at.raw(), "a page of the block translates otherwise than before");
  for (auto at : {data, last}) expect(rig.store(at + 8, 2).worked(), "the rest of the block lost a right");
}

/// And back: one block instead of the pages.
template <class Rig>
void coalesce(Rig& rig) {
  auto const host = rig.host_memory(Rig::block, 5);
  auto const middle = data + 3 * Rig::page;
  expect(rig.set.map({data, Rig::block, rw, Linear{host}}, rig.table));
  expect(rig.table.split({data, Rig::block}));
  for (auto at : {data, middle}) expect(rig.load(at).value == 5, "the guest cannot read a page");
  auto const tables = rig.table.tables();
  expect(rig.table.coalesce({data, Rig::block}));
  expect(rig.table.tables() == tables - 1 && rig.table.query(middle).level == 1, "the pages did not become a block");
  for (auto at : {data, middle}) {
    expect(rig.load(at).value == 5, "the guest cannot read the block");
    expect(rig.store(at, 6).worked(), "the guest cannot write the block");
  }
  expect(rig.host_word(host + 3 * Rig::page) == 6, "the block is somewhere else");
}

template <class Rig>
void remap(Rig& rig) {
  auto const before = rig.host_page(1);
  auto const after = rig.host_page(2);
  expect(rig.set.map({data, Rig::page, rw, Linear{before}}, rig.table));
  expect(rig.load(data).value == 1, "the guest cannot read");
  expect(rig.set.map({data, Rig::page, rw, Linear{after}}, rig.table, true));
  auto const seen = rig.load(data).value;
  expect(seen == 2, "the guest still reads the old page", seen);
  expect(rig.store(data, 3).worked() && rig.host_word(after) == 3 && rig.host_word(before) == 1,
         "the guest writes the old page");
}

/// A table goes, another comes, and has the number of the first: VMID, or the address of its root.
template <class Rig>
void reuse(Rig& rig) {
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page(1)}}, rig.table));
  expect(rig.load(data).value == 1, "the guest cannot read");
  rig.table = rig.make_table();
  typename Rig::Set second{FrameNodes<FramePool>{rig.frames, Rig::page}};
  rig.map_guest(second);
  expect(second.map({data, Rig::page, rw, Linear{rig.host_page(2)}}, rig.table));
  rig.load_table();
  expect(rig.load(data).value == 2, "the guest reads a page of the table before");
}

template <class Rig>
void demand(Rig& rig) {
  expect(rig.set.map({data, Rig::block, rwx, Lazy{rig.source}}, rig.table));
  for (auto at : {data, data + Rig::block - 8}) {
    auto const seen = rig.load(at);
    expect(seen.faulted(Fault::absent) && seen.at == at, "a page was there before it was touched");
    auto const resolution = rig.set.resolve(seen.at, seen.wanted, rig.table);
    expect(resolution && *resolution == Resolution::mapped, "the fault did not populate");
    auto const again = rig.go_on();
    expect(again.worked() && again.value == 0, "the guest does not read zeros after the fault");
    expect(rig.store(at, 9).worked() && rig.load(at).value == 9, "the guest cannot use the page");
  }
  expect(rig.source.in_use() == 2, "not one page for each fault");
  expect(rig.set.clear(rig.table));
  expect(rig.source.in_use() == 0, "the pages did not come back");
  expect(rig.load(data).faulted(Fault::absent), "the guest still reads a page that went back");
}

/// Device areas are never mapped: every access comes to the hypervisor, which answers for the device.
template <class Rig>
void emulate(Rig& rig) {
  expect(rig.set.map({data, Rig::page, rw | Memory::device, Device{}}, rig.table));
  auto const seen = rig.load(data + 0x10);
  expect(seen.faulted(Fault::absent) && seen.at == data + 0x10, "an access to a device did not come out");
  auto const resolution = rig.set.resolve(seen.at, seen.wanted, rig.table);
  expect(resolution && *resolution == Resolution::emulate, "an access to a device is not to be emulated");
  rig.answer_load(42);
  auto const after = rig.go_on();
  expect(after.worked() && after.value == 42, "the guest does not go on with the device's answer");
}

/// Two levels of blocks: one page of a gigabyte changes its rights.
template <class Rig>
void gigabyte(Rig& rig) {
  constexpr GuestPhys there{0xc000'0000};
  auto const host = rig.host_page(5);
  auto const other = rig.host_page(6);
  auto const base = host.down_to(1_GiB);
  auto const at = there + (host - base);
  auto const neighbour = there + (other - base);
  expect(rig.set.map({there, 1_GiB, rw, Linear{base}}, rig.table));
  expect(rig.table.query(at).level == 2, "an aligned gigabyte did not become a block");
  expect(rig.load(at).value == 5 && rig.load(neighbour).value == 6, "the guest does not read the gigabyte");
  expect(rig.store(at, 7).worked() && rig.host_word(host) == 7, "the guest does not write the gigabyte");

  expect(rig.set.protect(
      at, Rig::page, [](Attr a) { return a - Prot::w; }, rig.table));
  expect(rig.table.query(at).level == 0, "the gigabyte was not split down to a page");
  expect(rig.table.query(there + (base + 512_MiB - base)).level == 1, "more was split than had to be");
  expect(rig.store(at, 8).faulted(Fault::denied), "the guest still writes a page that was split off a block");
  expect(rig.load(at).value == 7 && rig.load(neighbour).value == 6, "a page translates otherwise than before");
  expect(rig.store(neighbour, 9).worked() && rig.host_word(other) == 9, "the rest of the block lost a right");
}

}  // namespace slat::test
