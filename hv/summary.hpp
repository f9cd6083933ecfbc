#pragma once

// What slat did for a guest, in a few lines.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hv/counted_hook.hpp"
#include "hv/guest_memory.hpp"
#include "hv/print.hpp"

namespace hv {

/// How many leaves there are of each level.
template <class Table>
auto count_leaves(const Table& table) {
  std::array<std::uint64_t, 5> counts{};
  table.visit([&](const slat::Leaf& leaf) { ++counts[leaf.level]; });
  return counts;
}

/// `instructions` is what the architecture invalidates by.
template <slat::TextSink Out, class Table, class Source, class Lock>
void print_summary(Out& out, const GuestMemory<Table, Source, Lock>& memory, const InvalidationCounts& hook,
                   std::string_view instructions) {
  auto const& table = memory.table();
  auto const& geometry = table.geometry();

  print(out, "slat:   areas       ", memory.areas().len(), "\n");
  for (auto const& area : memory.areas().iter()) {
    print(out, "slat:               ");
    slat::print_range(out, area.range());
    print(out, " ", area.flags(), "\n");
  }

  auto const leaves = count_leaves(table);
  std::string_view before = "slat:   leaves      ";
  for (std::size_t level = leaves.size(); level-- != 0;) {
    if (leaves[level] == 0) continue;
    print(out, before, leaves[level], " of ", Bytes{geometry.span(static_cast<slat::Level>(level))});
    before = ", ";
  }
  print(out, "\n");
  print(out, "slat:   tables      ", table.tables(), " of ", Bytes{geometry.table_bytes()}, ", the root among them\n");

  constexpr std::array<std::string_view, 6> names{"mapped", "spurious", "busy", "emulated", "denied", "unknown"};
  before = "slat:   faults      ";
  for (std::size_t i = 0; i != names.size(); ++i) {
    print(out, before, memory.faults()[i], " ", names[i]);
    before = ", ";
  }
  print(out, "\n");
  print(out, "slat:   shootdowns  ", hook.shootdowns.load(), ", ", hook.instructions.load(), " ", instructions, "\n");
}

/// After the guest's end in order: says what happened, and whether all that slat holds about it is in order, to the
/// last table. `snapshot.take_tables()` is called while all is there, and `take_events()` at the end; either is false
/// if it failed.
template <slat::TextSink Out, class Table, class Source, class Lock>
bool print_end(Out& out, GuestMemory<Table, Source, Lock>& memory, const InvalidationCounts& hook,
               std::string_view instructions, auto& snapshot) {
  print(out, "slat: the guest powered off\n");
  print_summary(out, memory, hook, instructions);
  auto const audit = memory.audit();
  print(out, "slat:   audit       ", audit, "\n");
  // A CPU that came with a fault before the end may still be at it.
  bool const taken = memory.at_rest([&] { return snapshot.take_tables(); });
  auto const cleared = memory.clear();
  bool const only_root = cleared && memory.only_root();
  print(out, "slat:   unmapped    ", only_root ? "the root is left and nothing else" : "more than the root is left",
        "\n");
  if (taken && snapshot.take_events()) return audit && only_root;
  print(out, "hv: the snapshot of the tables could not be written\n");
  return false;
}

}  // namespace hv
