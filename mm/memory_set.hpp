#pragma once

// What a guest may see and how: a sorted set of disjoint areas that drives a page table through the backend that each
// area carries.
//
//   MemorySet<Attr, Table, Backend> set;
//   SLAT_TRY(set.map({0x4000'0000_gpa, 1_GiB, rwx, Linear{0x1'0000'0000_hpa}}, table));
//   SLAT_TRY(set.protect(0x4020'0000_gpa, 2_MiB, [](Attr a) { return a - Prot::w; }, table));
//
// Every edit is: check, set memory aside, plan, cut the areas at both ends of the range, act on whole areas. Until the
// cut nothing has changed. Where the backend can plan, nothing fails after it, so that a call is all or nothing; where
// it has the three operations alone, a failing one stops the call, and the set describes what the table then holds.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <optional>
#include <utility>

#include <slat/mm/address.hpp>
#include <slat/mm/area_audit.hpp>
#include <slat/mm/area_index.hpp>
#include <slat/mm/attr.hpp>
#include <slat/mm/audit.hpp>
#include <slat/mm/backend_calls.hpp>
#include <slat/mm/error.hpp>
#include <slat/mm/mapping_backend.hpp>
#include <slat/mm/memory_area.hpp>
#include <slat/mm/node_source.hpp>
#include <slat/mm/range_ends.hpp>
#include <slat/mm/result.hpp>

namespace slat {

/// Whether find_free_area() goes on below its hint when nothing is free above it.
enum class Wrap : std::uint8_t { no, yes };

/// A set does not own a table: it is given the same one in every call. Destroying a set returns its index nodes and
/// leaves the table alone. One writer at a time, for all members that are not const (and for the table they are given);
/// const members may run in any number of threads beside each other, not beside the writer. What `find` and `iter` hand
/// out holds until the next call of a writer's member. `update` and sinks are called with the set in use: they must not
/// touch it.
template <std::copyable F, class PT, MappingBackend<F, PT> B, NodeSource Nodes = DefaultNodes>
class MemorySet {
 public:
  /// What the set holds.
  using Area = MemoryArea<F, B>;

  /// An empty set, with index nodes from `nodes`.
  /// @{
  MemorySet()
    requires std::default_initializable<Nodes>
  = default;
  explicit MemorySet(Nodes nodes) : areas_{std::move(nodes)} {}
  /// @}
  /// The source is empty afterwards.
  /// @{
  MemorySet(MemorySet&&) noexcept = default;
  MemorySet& operator=(MemorySet&&) noexcept = default;
  /// @}

  /// How many areas there are.
  std::size_t len() const { return areas_.size(); }
  /// Whether there is none.
  bool is_empty() const { return areas_.size() == 0; }
  /// The area that holds `at`, or null.
  const Area* find(GuestPhys at) const { return areas_.find(at); }
  /// The same for a caller who looks up what is near: `last` is what the caller found last, or null, and must be valid
  /// still. The same area again costs two comparisons. The caller keeps it, for a set that kept it could not be read by
  /// many threads.
  const Area* find(GuestPhys at, const Area* last) const { return areas_.find(at, last); }
  /// Whether any area shares an address with `range`, which must not wrap.
  bool overlaps(GuestRange range) const { return !areas_.touching(range).empty(); }
  /// All areas in address order, for a range-based for.
  auto iter() const -> AreaRun<typename AreaIndex<Area, Nodes>::ConstPosition> {
    return {areas_.begin(), areas_.end()};
  }

  /// Adds `area`, which joins no neighbour. What overlaps it is `already_exists`, or replaced when `unmap_overlap`.
  Result<> map(Area area, PT& pt, bool unmap_overlap = false) {
    auto const range = area.range();
    if (range.empty()) return Error{.code = Errc::invalid_param, .argument = Argument::size, .range = range};
    SLAT_TRY(check(range));
    auto const old = areas_.touching(range);
    if (!old.empty()) return map_over(std::move(area), old, pt, unmap_overlap);
    auto room = areas_.reserve(1);
    if (!room) return no_nodes(1, range);
    SLAT_TRY(Calls::map(area, pt));
    areas_.adopt(*std::move(room));
    areas_.insert(old.first, std::move(area));
    areas_.trim();
    return {};
  }

  /// Removes what lies in the range: areas inside go, areas at its ends shrink, an area around it is split.
  Result<> unmap(GuestPhys start, std::uint64_t size, PT& pt) {
    GuestRange const range{start, size};
    SLAT_TRY(check(range));
    if (range.empty()) return {};
    auto const old = areas_.touching(range);
    if (!is_one(old, range)) return unmap_parts(range, old, pt);
    SLAT_TRY(Calls::unmap(*old.first, pt));
    areas_.erase(old.first, old.last);
    areas_.trim();
    return {};
  }

  /// Unmaps everything. Needs no memory.
  Result<> clear(PT& pt) {
    auto edit = Calls::begin(pt);
    SLAT_TRY(edit.ready());
    AreaRun<Position> const all{areas_.begin(), areas_.end()};
    for (auto& area : all) SLAT_TRY(Calls::plan_unmap(area, area.range(), edit));
    return remove(all, pt, edit);
  }

  /// Asks `update(old flags)` for the new flags of each area that the range touches, and changes what lies in the
  /// range: nothing where the answer is nullopt. `update` is pure: it is asked twice at most for an area. At the two
  /// ends of the range, parts that have become equal and contiguous (again) are one area afterwards.
  template <class Update>
    requires std::invocable<Update&, const F&> &&
             std::convertible_to<std::invoke_result_t<Update&, const F&>, std::optional<F>>
  Result<> protect(GuestPhys start, std::uint64_t size, Update update, PT& pt) {
    GuestRange const range{start, size};
    SLAT_TRY(check(range));
    if (range.empty()) return {};
    auto const old = areas_.touching(range);
    if (!is_one(old, range)) return protect_parts(range, old, update, pt);
    auto& area = *old.first;
    std::optional<F> next = update(area.flags());
    if (!next) return {};
    SLAT_TRY(Calls::protect(area, *next, pt));
    bool const differs = differ(area.flags(), *next);
    area.protect(*std::move(next));
    if (differs) RangeEnds<AreaIndex<Area, Nodes>>::mend_around(areas_, old.first);
    return {};
  }

  /// Gives back the tables that blocks can take the place of again, area by area: no block reaches over the end of one.
  /// Translations stay the same. Needs no memory.
  Result<> coalesce(GuestPhys start, std::uint64_t size, PT& pt)
    requires CoalescingBackend<B, PT>
  {
    GuestRange const range{start, size};
    SLAT_TRY(check(range));
    if (range.empty()) return {};
    auto edit = Calls::begin(pt);
    SLAT_TRY(edit.ready());
    SLAT_TRY(Calls::check(range, edit));
    auto const touched = areas_.touching(range);
    auto const each_part = [&](auto body) -> Result<> {
      for (auto& area : touched) {
        auto const part = range.clamp_to(area.range());
        SLAT_TRY(body(area.backend(), part.begin, part.size));
      }
      return {};
    };
    SLAT_TRY(each_part([&](B& b, GuestPhys at, std::uint64_t bytes) { return b.plan_coalesce(at, bytes, edit); }));
    return each_part([&](B& b, GuestPhys at, std::uint64_t bytes) -> Result<> {
      b.commit_coalesce(at, bytes, edit);
      return {};
    });
  }

  /// What a stage-2 fault at `at` comes to, by the area that holds it: see Resolution.
  Result<Resolution> resolve(GuestPhys at, Prot access, PT& pt)
    requires requires(B& b, const F& flags, GuestRange area) {
      { b.resolve(at, access, flags, area, pt) } -> std::same_as<Result<Resolution>>;
    }
  {
    auto const area = areas_.find(at);
    if (area == nullptr) return Resolution::unknown;
    return area->backend().resolve(at, access, area->flags(), area->range(), pt);
  }

  /// Calls `sink(GuestRange)` for each run in the range that was written (or read, as `what` asks), and clears the
  /// marks.
  template <class Sink>
    requires requires(GuestRange range, Age what, Sink& sink, PT& pt) {
      { B::harvest(range, what, sink, pt) } -> std::same_as<Result<>>;
    }
  Result<> harvest(GuestRange range, Sink&& sink, PT& pt, Age what = {.accessed = false, .dirty = true}) {
    SLAT_TRY(check(range));
    if (range.empty()) return {};
    return B::harvest(range, what, sink, pt);
  }

  /// The lowest address at or above `hint` where `size` bytes, aligned, lie inside `limit` and touch no area; with
  /// Wrap::yes the lowest one below it when there is none above. Nothing when there is none: that is no error.
  Result<std::optional<GuestPhys>> find_free_area(GuestPhys hint, std::uint64_t size, GuestRange limit,
                                                  std::uint64_t align, Wrap wrap = Wrap::no) const {
    if (size == 0) return Error{.code = Errc::invalid_param, .argument = Argument::size};
    if (!is_power_of_two(align)) return Error{.code = Errc::invalid_param, .argument = Argument::align, .value = align};
    if (limit.wraps())
      return Error{.code = Errc::invalid_param, .argument = Argument::limit, .value = limit.size, .range = limit};
    auto found = areas_.next_gap(hint, size, limit, align);
    if (!found && wrap == Wrap::yes) found = areas_.next_gap(limit.begin, size, limit, align);
    return found;
  }

  /// Whether the areas are in order, and area, gaps and table agree as far as the backend can tell.
  Audit audit(PT& pt) const { return audit_areas<B, F>(iter(), pt); }

 private:
  using Calls = BackendCalls<F, PT, B>;
  using Position = typename AreaIndex<Area, Nodes>::Position;

  static Result<> check(GuestRange range) {
    if (!range.wraps()) return {};
    return Error{.code = Errc::invalid_param, .argument = Argument::size, .value = range.size, .range = range};
  }

  static Error no_nodes(std::size_t more, GuestRange range) {
    return {.code = Errc::no_memory, .argument = Argument::nodes, .value = more, .range = range};
  }

  static bool differ(const F& a, const F& b) {
    if constexpr (std::equality_comparable<F>) return !(a == b);
    return false;  // nor can they ever be found equal
  }

  /// Whether that is one area, and all of it.
  static bool is_one(AreaRun<Position> touched, GuestRange range) {
    return !touched.empty() && touched.first->range() == range;
  }

  // The general way, for what is more than one whole area: `old` is what the range touches.

  Result<> map_over(Area area, AreaRun<Position> old, PT& pt, bool unmap_overlap) {
    auto const range = area.range();
    auto edit = Calls::begin(pt);
    SLAT_TRY(edit.ready());
    if (!unmap_overlap) return Error{.code = Errc::already_exists, .range = range, .other = old.first->range()};
    RangeEnds ends{areas_, range, old};
    auto room = areas_.reserve(ends.cuts());
    if (!room) return no_nodes(ends.cuts(), range);
    SLAT_TRY(Calls::plan_replace(area, edit));
    areas_.adopt(*std::move(room));
    if (auto const done = replace(area, ends.cut(old), pt, edit); !done) {
      ends.mend();
      return done;
    }
    areas_.insert(std::move(area));
    areas_.trim();
    return {};
  }

  Result<> unmap_parts(GuestRange range, AreaRun<Position> old, PT& pt) {
    auto edit = Calls::begin(pt);
    SLAT_TRY(edit.ready());
    SLAT_TRY(Calls::check(range, edit));
    RangeEnds ends{areas_, range, old};
    auto room = areas_.reserve(ends.cuts());
    if (!room) return no_nodes(ends.cuts(), range);
    for (auto& area : old) SLAT_TRY(Calls::plan_unmap(area, range.clamp_to(area.range()), edit));
    areas_.adopt(*std::move(room));
    auto const done = remove(ends.cut(old), pt, edit);
    ends.mend();
    return done;
  }

  template <class Update>
  Result<> protect_parts(GuestRange range, AreaRun<Position> old, Update& update, PT& pt) {
    auto edit = Calls::begin(pt);
    SLAT_TRY(edit.ready());
    SLAT_TRY(Calls::check(range, edit));
    if (old.empty()) return {};
    // The areas at the ends are asked first: whether they are cut depends on the answer.
    auto const ask = [&](const Area& area) -> std::optional<F> { return update(area.flags()); };
    auto const first = ask(*old.first);
    auto const last = std::next(old.first) == old.last ? first : ask(*std::prev(old.last));
    auto const answer = [&](auto at) {
      if (at == old.first) return first;
      return std::next(at) == old.last ? last : ask(*at);
    };
    RangeEnds ends{areas_, range, old};
    if (!first) ends.begin = Seam::kept;
    if (!last) ends.end = Seam::kept;

    auto room = areas_.reserve(ends.cuts());
    if (!room) return no_nodes(ends.cuts(), range);
    if constexpr (Calls::plans)
      for (auto at = old.first; at != old.last; ++at)
        if (auto const next = answer(at)) SLAT_TRY(Calls::plan_protect(*at, range.clamp_to(at->range()), *next, edit));
    areas_.adopt(*std::move(room));
    old = ends.cut(old);

    Result<> done;
    for (auto at = old.first; at != old.last; ++at) {
      auto next = answer(at);
      if (!next) continue;
      done = Calls::protect(*at, *next, pt, edit);
      if (!done) break;
      if (at == old.first && (ends.begin == Seam::cut || differ(at->flags(), *next))) ends.begin = Seam::changed;
      if (std::next(at) == old.last && (ends.end == Seam::cut || differ(at->flags(), *next))) ends.end = Seam::changed;
      at->protect(*std::move(next));
    }
    ends.mend();
    return done;
  }

  /// Unmaps these areas, up to the first that fails, and forgets those that are gone.
  Result<> remove(AreaRun<Position> run, PT& pt, typename Calls::Edit& edit) {
    Result<> done;
    auto at = run.first;
    for (; at != run.last; ++at) {
      done = Calls::unmap(*at, pt, edit);
      if (!done) break;
    }
    areas_.erase(run.first, at);
    areas_.trim();
    return done;
  }

  /// Puts `area`, not yet in the index, where the areas `old` in its range are. After a failure these are mapped again,
  /// and the set keeps those for which that did not fail too.
  Result<> replace(Area& area, AreaRun<Position> old, PT& pt, typename Calls::Edit& edit) {
    Result<> done;
    auto at = old.first;
    std::size_t gone = 0;
    for (; at != old.last; ++at, ++gone) {
      done = Calls::give_way(*at, pt, edit);
      if (!done) break;
    }
    if (done) done = Calls::map_over(area, pt, edit);
    if (done) {
      areas_.erase(old.first, old.last);
    } else {
      for (; gone != 0; --gone)
        if (--at; !Calls::map(*at, pt)) at = areas_.erase(at, std::next(at));
    }
    return done;
  }

  AreaIndex<Area, Nodes> areas_;
};

}  // namespace slat
