#pragma once

// Whether areas, and the table they describe, agree.

#include <concepts>
#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/audit.hpp>

namespace slat {

/// Whether areas are sorted, disjoint, not empty and inside the address space.
template <class Run>
constexpr Audit audit_order(const Run& areas) {
  GuestRange before;
  for (auto const& area : areas) {
    auto const range = area.range();
    if (range.empty() || range.wraps()) return {Flaw::area_order, range, range.size};
    if (before.overlaps(range)) return {Flaw::area_overlap, range, before.begin.raw()};
    if (range.begin < before.begin) return {Flaw::area_order, range, before.begin.raw()};
    before = range;
  }
  return {};
}

/// Audits the order of `areas`, the table as such, then each area and the gaps before, between and after them, with
/// what the backend has of these, each answering an Audit:
///
///   B::audit_table(pt)                the table is whole
///   b.audit(range, flags, pt) const   it holds in the area what this backend would put there
///   B::audit_gap(range, pt)           it holds nothing there
///
/// Nobody may write the set or the table meanwhile.
template <class B, class F, class Run, class PT>
Audit audit_areas(const Run& areas, PT& pt) {
  constexpr bool of_areas = requires(const B& b, GuestRange range, const F& flags) {
    { b.audit(range, flags, pt) } -> std::same_as<Audit>;
  };
  constexpr bool of_gaps = requires(GuestRange range) {
    { B::audit_gap(range, pt) } -> std::same_as<Audit>;
  };
  constexpr bool of_table = requires {
    { B::audit_table(pt) } -> std::same_as<Audit>;
  };
  static_assert(
      of_areas || !requires(B& b, GuestRange range, const F& flags) { b.audit(range, flags, pt); },
      "a backend's audit() is const and returns an Audit");

  if (auto const found = audit_order(areas); !found) return found;
  // Before anything is read through it: a table that is not sound may lead anywhere.
  if constexpr (of_table)
    if (auto const found = B::audit_table(pt); !found) return found;
  auto const gap = [&](GuestRange range) -> Audit {
    if constexpr (of_gaps)
      if (!range.empty()) return B::audit_gap(range, pt);
    return {};
  };
  GuestPhys from;  // where the last area ended
  for (auto const& area : areas) {
    if (auto const found = gap(GuestRange::between(from, area.start())); !found) return found;
    if constexpr (of_areas)
      if (auto const found = area.backend().audit(area.range(), area.flags(), pt); !found) return found;
    from = area.range().end();
  }
  if (areas.empty()) {
    // All of the address space is more than a size can say.
    GuestRange const low{GuestPhys{0}, std::uint64_t{1} << 63};
    if (auto const found = gap(low); !found) return found;
    from = low.end();
  }
  // Up to 2^64, whose low 64 bits are 0: nothing is left when an area ends there.
  return gap(GuestRange::between(from, GuestPhys{0}));
}

}  // namespace slat
