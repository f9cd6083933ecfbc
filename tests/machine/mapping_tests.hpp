#pragma once

// Mapping, unmapping, moving, splitting. Each test has the guest use a page before it changes, so that the CPU has the
// old translation at hand, and looks at it through the guest's eyes afterwards.

#include "tests/machine/rig.hpp"

namespace slat::test {

using Kind = hv::Abort::Kind;
inline constexpr GuestPhys data{0x5000'0000};

template <class Rig>
void map(Rig& rig) {
  auto const host = rig.host_page(11);
  expect(rig.load(data).faulted(Kind::translation), "the guest reads where nothing is mapped");
  expect(rig.set.map({data, Rig::page, rw, Linear{host}}, rig.table));
  expect(rig.load(data).value == 11, "the guest does not read what the host wrote");
  expect(rig.store(data + 8, 22).worked(), "the guest cannot write");
  expect(rig.host_word(host + 8) == 22, "the host does not read what the guest wrote");
  expect(rig.load(data + Rig::page).faulted(Kind::translation), "more is mapped than was asked for");
  expect(rig.load(data + Rig::page).at == data + Rig::page, "the fault names another address");
  expect(!!rig.set.audit(rig.table), "areas and tables disagree");
}

template <class Rig>
void unmap(Rig& rig) {
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{rig.host_memory(2 * Rig::page, 11)}}, rig.table));
  expect(rig.load(data).value == 11 && rig.load(data + Rig::page).value == 11, "the guest cannot read a mapped page");
  expect(rig.set.unmap(data, Rig::page, rig.table));
  expect(rig.load(data).faulted(Kind::translation), "the guest still reads an unmapped page");
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
  expect(rig.store(data, 2).faulted(Kind::permission), "the guest still writes a write-protected page");
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
  expect(seen.faulted(Kind::permission) && seen.fault->instruction,
         "the guest still executes a page without the right");
  expect(rig.load(data).worked(), "the guest cannot read the page any more");
}

/// Rights that come back are seen after the local invalidation that a spurious fault asks for.
template <class Rig>
void grow(Rig& rig) {
  expect(rig.set.map({data, Rig::page, ro, Linear{rig.host_page()}}, rig.table));
  expect(rig.load(data).worked(), "the guest cannot read");
  expect(rig.store(data, 1).faulted(Kind::permission), "the guest writes a read-only page");
  auto const denied = rig.set.resolve(data, Prot::w, rig.table);
  expect(denied && *denied == Resolution::denied, "a missing right is not called denied");
  expect(rig.set.protect(
      data, Rig::page, [](Attr a) { return a | Prot::w; }, rig.table));
  auto const spurious = rig.set.resolve(data, Prot::w, rig.table);
  expect(spurious && *spurious == Resolution::spurious, "an allowed access is not called spurious");
  rig.table.hook().forget_here(rig.table.root(), data);
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
  expect(rig.store(middle, 2).faulted(Kind::permission), "the guest still writes a page that was split off a block");
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
  expect(rig.load(data).value == 2, "the guest still reads the old page");
  expect(rig.store(data, 3).worked() && rig.host_word(after) == 3 && rig.host_word(before) == 1,
         "the guest writes the old page");
}

/// A table goes, another comes, and has the number of the first.
template <class Rig>
void reuse(Rig& rig) {
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page(1)}}, rig.table));
  expect(rig.load(data).value == 1, "the guest cannot read");
  rig.table = rig.make_table();
  typename Rig::Set second{FrameNodes<FramePool>{rig.frames, Rig::page}};
  auto const code = rig.host_page();
  rig.write(code, stub());
  expect(second.map({Rig::code, Rig::page, rx, Linear{code}}, rig.table));
  expect(second.map({data, Rig::page, rw, Linear{rig.host_page(2)}}, rig.table));
  rig.enter_stage2(hv::hcr::dc);
  expect(rig.load(data).value == 2, "the guest reads a page of the table that had the VMID before");
}

template <class Rig>
void demand(Rig& rig) {
  expect(rig.set.map({data, Rig::block, rwx, Lazy{rig.source}}, rig.table));
  for (auto at : {data, data + Rig::block - 8}) {
    auto const seen = rig.load(at);
    expect(seen.faulted(Kind::translation) && seen.at == at, "a page was there before it was touched");
    auto const resolution = rig.set.resolve(seen.at, seen.fault->wanted, rig.table);
    expect(resolution && *resolution == Resolution::mapped, "the fault did not populate");
    auto const again = rig.go_on();
    expect(again.worked() && again.value == 0, "the guest does not read zeros after the fault");
    expect(rig.store(at, 9).worked() && rig.load(at).value == 9, "the guest cannot use the page");
  }
  expect(rig.source.in_use() == 2, "not one page for each fault");
  expect(rig.set.clear(rig.table));
  expect(rig.source.in_use() == 0, "the pages did not come back");
  expect(rig.load(data).faulted(Kind::translation), "the guest still reads a page that went back");
}

}  // namespace slat::test
