#pragma once

// How a set is edited where a call is about more than one whole area: set memory aside, plan, cut the areas at both
// ends of the range, act on whole areas. Until the cut nothing has changed. Where the backend can plan, nothing fails
// after it, so that a call is all or nothing; where it has the three operations alone, a failing one stops the call,
// and the set describes what the table then holds.

#include <concepts>
#include <cstddef>
#include <iterator>
#include <optional>
#include <utility>

#include <slat/mm/address.hpp>
#include <slat/mm/area_index.hpp>
#include <slat/mm/backend_calls.hpp>
#include <slat/mm/error.hpp>
#include <slat/mm/memory_area.hpp>
#include <slat/mm/node_source.hpp>
#include <slat/mm/range_ends.hpp>
#include <slat/mm/result.hpp>

namespace slat {

/// One call of a MemorySet, whose thread rules it has.
template <class F, class PT, class B, NodeSource Nodes>
class SetEdit {
  using Area = MemoryArea<F, B>;
  using Areas = AreaIndex<Area, Nodes>;
  using Calls = BackendCalls<F, PT, B>;
  using Position = typename Areas::Position;

 public:
  /// `old` is what `range` touches.
  SetEdit(Areas& areas, GuestRange range, AreaRun<Position> old, PT& pt)
      : areas_{areas}, range_{range}, old_{old}, pt_{pt}, edit_{Calls::begin(pt)} {}
  SetEdit(const SetEdit&) = delete;
  SetEdit& operator=(const SetEdit&) = delete;

  static Error no_nodes(std::size_t more, GuestRange range) {
    return {.code = Errc::no_memory, .argument = Argument::nodes, .value = more, .range = range};
  }
  static bool differ(const F& a, const F& b) {
    if constexpr (std::equality_comparable<F>) return !(a == b);
    return false;  // nor can they ever be found equal
  }

  /// Unmaps all of `old`.
  Result<> clear() {
    SLAT_TRY(edit_.ready());
    for (auto& area : old_) SLAT_TRY(Calls::plan_unmap(area, area.range(), edit_));
    return remove(old_);
  }

  /// Puts `area`, whose range it is, where `old` is, or refuses to.
  Result<> map(Area area, bool unmap_overlap) {
    SLAT_TRY(edit_.ready());
    if (!unmap_overlap) return Error{.code = Errc::already_exists, .range = range_, .other = old_.first->range()};
    RangeEnds ends{areas_, range_, old_};
    auto room = areas_.reserve(ends.cuts());
    if (!room) return no_nodes(ends.cuts(), range_);
    SLAT_TRY(Calls::plan_replace(area, edit_));
    areas_.adopt(*std::move(room));
    if (auto const done = replace(area, ends.cut(old_)); !done) {
      ends.mend();
      return done;
    }
    areas_.insert(std::move(area));
    areas_.trim();
    return {};
  }

  /// Removes what of `old` lies in the range.
  Result<> unmap() {
    SLAT_TRY(edit_.ready());
    SLAT_TRY(Calls::check(range_, edit_));
    RangeEnds ends{areas_, range_, old_};
    auto room = areas_.reserve(ends.cuts());
    if (!room) return no_nodes(ends.cuts(), range_);
    for (auto& area : old_) SLAT_TRY(Calls::plan_unmap(area, range_.clamp_to(area.range()), edit_));
    areas_.adopt(*std::move(room));
    auto const done = remove(ends.cut(old_));
    ends.mend();
    return done;
  }

  /// What the areas in the range are after `update`: see MemorySet.
  template <class Update>
  Result<> protect(Update& update) {
    SLAT_TRY(edit_.ready());
    SLAT_TRY(Calls::check(range_, edit_));
    if (old_.empty()) return {};
    // The areas at the ends are asked first: whether they are cut depends on the answer.
    auto const ask = [&](const Area& area) -> std::optional<F> { return update(area.flags()); };
    auto const first = ask(*old_.first);
    auto const last = std::next(old_.first) == old_.last ? first : ask(*std::prev(old_.last));
    auto const answer = [&](auto at) {
      if (at == old_.first) return first;
      return std::next(at) == old_.last ? last : ask(*at);
    };
    RangeEnds ends{areas_, range_, old_};
    if (!first) ends.begin = Seam::kept;
    if (!last) ends.end = Seam::kept;

    auto room = areas_.reserve(ends.cuts());
    if (!room) return no_nodes(ends.cuts(), range_);
    if constexpr (Calls::plans)
      for (auto at = old_.first; at != old_.last; ++at)
        if (auto const next = answer(at))
          SLAT_TRY(Calls::plan_protect(*at, range_.clamp_to(at->range()), *next, edit_));
    areas_.adopt(*std::move(room));
    old_ = ends.cut(old_);

    Result<> done;
    for (auto at = old_.first; at != old_.last; ++at) {
      auto next = answer(at);
      if (!next) continue;
      done = Calls::protect(*at, *next, pt_, edit_);
      if (!done) break;
      if (at == old_.first && (ends.begin == Seam::cut || differ(at->flags(), *next))) ends.begin = Seam::changed;
      if (std::next(at) == old_.last && (ends.end == Seam::cut || differ(at->flags(), *next))) ends.end = Seam::changed;
      at->protect(*std::move(next));
    }
    ends.mend();
    return done;
  }

 private:
  /// Unmaps these areas, up to the first that fails, and forgets those that are gone.
  Result<> remove(AreaRun<Position> run) {
    Result<> done;
    auto at = run.first;
    for (; at != run.last; ++at) {
      done = Calls::unmap(*at, pt_, edit_);
      if (!done) break;
    }
    areas_.erase(run.first, at);
    areas_.trim();
    return done;
  }

  /// Puts `area`, not yet in the index, where the areas `old` in its range are. After a failure these are mapped again,
  /// and the set keeps those for which that did not fail too.
  Result<> replace(Area& area, AreaRun<Position> old) {
    Result<> done;
    auto at = old.first;
    std::size_t gone = 0;
    for (; at != old.last; ++at, ++gone) {
      done = Calls::give_way(*at, pt_, edit_);
      if (!done) break;
    }
    if (done) done = Calls::map_over(area, pt_, edit_);
    if (done) {
      areas_.erase(old.first, old.last);
    } else {
      for (; gone != 0; --gone)
        if (--at; !Calls::map(*at, pt_)) at = areas_.erase(at, std::next(at));
    }
    return done;
  }

  Areas& areas_;
  GuestRange range_;
  AreaRun<Position> old_;
  PT& pt_;
  typename Calls::Edit edit_;
};

}  // namespace slat
