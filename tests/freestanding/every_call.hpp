#pragma once

// Calls everything that the library offers, so that every template is instantiated. Compiled, never run.

#include <array>

#include <slat/mm/backends.hpp>
#include <slat/mm/cursor.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>
#include <slat/mm/page_source.hpp>
#include <slat/mm/page_table.hpp>

namespace slat::test {

template <class Table>
Result<> every_call_of_a_table(Table& table, GuestRange range, HostPhys to) {
  SLAT_TRY(table.map(range, to, rwx));
  SLAT_TRY(table.replace(range, to, rw));
  SLAT_TRY(table.protect(range, ro));
  SLAT_TRY(table.split(range));
  SLAT_TRY(table.coalesce(range));
  SLAT_TRY(table.lift_protection(range.begin));
  SLAT_TRY(table.frames_needed(Map{range, to, rw}));
  SLAT_TRY(table.frames_needed(Replace{range, to, rw}));
  SLAT_TRY(table.frames_needed(Unmap{range}));
  SLAT_TRY(table.frames_needed(Split{range}));
  SLAT_TRY(table.frames_needed(Coalesce{range}));
  SLAT_TRY(table.harvest(range, {.accessed = true, .dirty = true}, [](GuestRange) {}));
  SLAT_TRY(table.unmap(range, {.accessed = true, .dirty = true}, [](GuestRange) {}));
  SLAT_TRY(table.map_many(std::array{Map{range, to, rw}}));
  {
    Cursor next{table, range.begin};
    SLAT_TRY(next.map(to, rw));
    next.seek(range.begin);
    SLAT_TRY(next.protect(ro));
    next.settle();
    SLAT_TRY(next.unmap());
  }
  {
    auto edit = table.edit();
    SLAT_TRY(table.unmap(range));
    edit.settle();
  }
  TextBuffer<256> text;
  table.dump(text);
  table.visit([](const Leaf&) {});
  print(text, table.audit());
  return table.tables() == 1 && table.query(range.begin).kind == Kind::absent ? table.ready() : Error{};
}

template <class Set, class Table, class Source>
Result<> every_call_of_a_set(Set& set, Table& table, Source& source, GuestRange range, HostPhys to) {
  SLAT_TRY(set.map({range.begin, range.size, rwx, Linear{to}}, table));
  SLAT_TRY(set.map({range.begin, range.size, rw, Lazy{source}}, table, true));
  SLAT_TRY(set.map({range.end(), range.size, rw | Memory::device, Device{}}, table));
  SLAT_TRY(set.protect(
      range.begin, range.size, [](Attr a) { return a - Prot::w; }, table));
  SLAT_TRY(set.resolve(range.begin, Prot::r, table));
  SLAT_TRY(set.harvest(
      range, [](GuestRange) {}, table));
  SLAT_TRY(set.unmap(range.begin, range.size, table));
  SLAT_TRY(set.find_free_area(range.begin, range.size, range, 1, Wrap::yes));
  for (auto const& area : set.iter())
    if (set.find(area.start()) != &area || !set.overlaps(area.range())) return Error{};
  TextBuffer<256> text;
  print(text, set.audit(table));
  Set other{std::move(set)};
  set = std::move(other);
  return set.is_empty() == (set.len() == 0) ? set.clear(table) : Error{};
}

template <class Format, class Hook>
Result<> every_call(const Format& format, const Hook& hook, FramePool& pool, GuestRange range, HostPhys to) {
  using Table = PageTable<Format, FramePool, Hook>;
  using Source = PageSource<FramePool>;
  using Set = MemorySet<Attr, Table, Backends<Table, Source>, FrameNodes<FramePool>>;
  auto table = SLAT_TRY(Table::create(format, pool, hook));
  Source source{pool, pool.granule(), pool.granule()};
  Set set{FrameNodes{pool}};
  SLAT_TRY(every_call_of_a_table(table, range, to));
  return every_call_of_a_set(set, table, source, range, to);
}

}  // namespace slat::test
