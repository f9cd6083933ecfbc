#pragma once

// Backends over plain arrays: a MemorySet needs nothing of hardware.
//
//   MockBackend      the three operations, answering bool, over an array of bytes (a byte holds its flags, 0 is
//   unmapped) ResultBackend    the same, answering Result<> LinearMock       has a host base that moves with a split,
//   over cells of flags and host address; can be made to fail PlanningMock     the same with plans; checks that each
//   commit was planned and that nothing happens outside an edit

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <set>
#include <vector>

#include <slat/mm/memory_set.hpp>

namespace slat::test {

using MockFlags = std::uint8_t;
template <std::size_t N>
using ByteTable = std::array<std::uint8_t, N>;
using MockPageTable = ByteTable<0x10000>;

template <class Verdict>
struct ByteBackend {
  template <std::size_t N>
  Verdict map(GuestPhys start, std::uint64_t size, MockFlags flags, ByteTable<N>& pt) {
    return write(start, size, pt, false, flags);
  }
  template <std::size_t N>
  Verdict unmap(GuestPhys start, std::uint64_t size, ByteTable<N>& pt) {
    return write(start, size, pt, true, 0);
  }
  template <std::size_t N>
  Verdict protect(GuestPhys start, std::uint64_t size, MockFlags flags, ByteTable<N>& pt) {
    return write(start, size, pt, true, flags);
  }

 private:
  template <std::size_t N>
  static Verdict write(GuestPhys start, std::uint64_t size, ByteTable<N>& pt, bool mapped, MockFlags flags) {
    if (size == 0 || size > N || start.raw() > N - size) return no(Errc::out_of_range);
    auto const from = pt.begin() + static_cast<std::ptrdiff_t>(start.raw());
    auto const to = from + static_cast<std::ptrdiff_t>(size);
    if (!std::all_of(from, to, [&](MockFlags f) { return (f != 0) == mapped; })) return no(Errc::already_mapped);
    std::fill(from, to, flags);
    if constexpr (std::same_as<Verdict, bool>) return true;
    return Verdict();
  }
  static Verdict no([[maybe_unused]] Errc why) {
    if constexpr (std::same_as<Verdict, bool>)
      return false;
    else
      return Error{.code = why};
  }
};
using MockBackend = ByteBackend<bool>;
using ResultBackend = ByteBackend<Result<>>;

/// A page table that remembers where each address goes, and what was asked of it.
template <std::size_t N>
struct HostTable {
  struct Cell {
    MockFlags flags = 0;
    std::uint64_t host = 0;
    friend bool operator==(Cell, Cell) = default;
  };

  std::array<Cell, N> cells{};
  std::uint64_t origin = 0;    // the guest address of the first cell
  unsigned calls = 0;          // operations, or plans
  std::set<unsigned> failing;  // the numbers of the calls that fail, from 1
  unsigned begins = 0;
  unsigned open = 0;
  bool in_hook = false;

  bool permits() { return !failing.contains(++calls); }
  /// The cells of a range that lies inside.
  Cell* find(GuestPhys start, std::uint64_t size) {
    auto const offset = start.raw() - origin;
    return size <= N && offset <= N - size ? &cells[offset] : nullptr;
  }
};

/// Maps address a of an area to `base` + (a - start): knows when it is called with the wrong part's base.
struct LinearMock {
  std::uint64_t base = 0;

  LinearMock advanced(std::uint64_t bytes) const { return {base + bytes}; }
  friend bool operator==(LinearMock, LinearMock) = default;

  template <std::size_t N>
  bool map(GuestPhys start, std::uint64_t size, MockFlags flags, HostTable<N>& pt) {
    return pt.permits() && is_free(start, size, pt) && fill(start, size, flags, pt);
  }
  template <std::size_t N>
  bool unmap(GuestPhys start, std::uint64_t size, HostTable<N>& pt) {
    return pt.permits() && is_mine(start, size, pt) && fill(start, size, 0, pt);
  }
  template <std::size_t N>
  bool protect(GuestPhys start, std::uint64_t size, MockFlags flags, HostTable<N>& pt) {
    return pt.permits() && is_mine(start, size, pt) && fill(start, size, flags, pt);
  }

  template <std::size_t N>
  bool is_free(GuestPhys start, std::uint64_t size, HostTable<N>& pt) const {
    auto const cell = pt.find(start, size);
    return cell != nullptr && size != 0 && std::all_of(cell, cell + size, [](auto c) { return c.flags == 0; });
  }
  template <std::size_t N>
  bool is_mine(GuestPhys start, std::uint64_t size, HostTable<N>& pt) const {
    auto const cell = pt.find(start, size);
    if (cell == nullptr || size == 0) return false;
    for (std::uint64_t i = 0; i != size; ++i)
      if (cell[i].flags == 0 || cell[i].host != base + i) return false;
    return true;
  }
  template <std::size_t N>
  bool fill(GuestPhys start, std::uint64_t size, MockFlags flags, HostTable<N>& pt) const {
    auto const cell = pt.find(start, size);
    for (std::uint64_t i = 0; i != size; ++i)
      if (flags == 0)
        cell[i] = {};
      else
        cell[i] = {flags, base + i};
    return true;
  }
};

/// Index nodes that are counted, and of which the k-th can be missing.
struct NodeLedger {
  std::map<void*, std::size_t> live;
  unsigned calls = 0;
  unsigned fail_at = 0;  // 0: none
  bool empty = false;    // none at all
};
struct CountedNodes {
  NodeLedger* ledger;
  void* allocate(std::size_t bytes) noexcept {
    if (++ledger->calls == ledger->fail_at || ledger->empty) return nullptr;
    auto* const block = std::malloc(bytes);
    ledger->live[block] = bytes;
    return block;
  }
  void release(void* block, std::size_t bytes) noexcept {
    auto const found = ledger->live.find(block);
    if (found == ledger->live.end() || found->second != bytes) {
      ADD_FAILURE() << "released what was not allocated";
      return;
    }
    ledger->live.erase(found);
    std::free(block);
  }
};

inline GuestPhys gpa(std::uint64_t raw) { return GuestPhys{raw}; }
inline GuestRange bytes(std::uint64_t begin, std::uint64_t end) { return GuestRange::between(gpa(begin), gpa(end)); }

/// Everything there is to know of a set, in order.
template <class Set>
auto areas_of(const Set& set) {
  std::vector<typename Set::Area> areas;
  for (auto const& area : set.iter()) areas.push_back(area);
  return areas;
}
template <class Set>
std::vector<std::pair<GuestRange, MockFlags>> shape_of(const Set& set) {
  std::vector<std::pair<GuestRange, MockFlags>> shape;
  for (auto const& area : set.iter()) shape.emplace_back(area.range(), area.flags());
  return shape;
}
using Shape = std::vector<std::pair<GuestRange, MockFlags>>;

/// Whether the areas are sorted and disjoint, and say of each cell exactly what it holds.
template <class Set, std::size_t N>
::testing::AssertionResult describes(const Set& set, const HostTable<N>& pt) {
  if (auto const order = audit_order(set.iter()); !order) return ::testing::AssertionFailure() << name(order.flaw);
  std::array<typename HostTable<N>::Cell, N> said{};
  for (auto const& area : set.iter()) {
    auto const backend = area.backend();
    std::uint64_t base = 0;
    if constexpr (requires { backend.linear; })
      base = backend.linear.base;
    else
      base = backend.base;
    auto const offset = area.start().raw() - pt.origin;
    if (offset >= N || area.size() > N - offset) return ::testing::AssertionFailure() << "an area outside the table";
    for (std::uint64_t i = 0; i != area.size(); ++i) said[offset + i] = {area.flags(), base + i};
  }
  for (std::size_t i = 0; i != N; ++i)
    if (!(said[i] == pt.cells[i]))
      return ::testing::AssertionFailure()
             << "cell " << i << ": flags " << int{pt.cells[i].flags} << ", area says " << int{said[i].flags};
  return ::testing::AssertionSuccess();
}

}  // namespace slat::test

namespace slat {
/// How GoogleTest shows a range and a pair with one.
inline void PrintTo(const GuestRange& range, std::ostream* out) {
  TextBuffer<64> text;
  print_range(text, range);
  *out << text.view();
}
inline void PrintTo(const Error& error, std::ostream* out) {
  TextBuffer<256> text;
  print(text, error);
  *out << text.view();
}
}  // namespace slat
