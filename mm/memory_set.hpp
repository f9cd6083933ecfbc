#pragma once

// What a guest may see and how: a sorted set of disjoint areas that drives a page table through the backend that each
// area carries.
//
//   MemorySet<Attr, Table, Backend> set;
//   SLAT_TRY(set.map({0x4000'0000_gpa, 1_GiB, rwx, Linear{0x1'0000'0000_hpa}}, table));
//   SLAT_TRY(set.protect(0x4020'0000_gpa, 2_MiB, [](Attr a) { return a - Prot::w; }, table));
//
// An edit of one whole area is one operation of its backend. How it goes where a call is about more, and what is left
// of it after a failure, is in set_edit.hpp.

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
#include <slat/mm/set_edit.hpp>

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
    if (!old.empty()) return Edit{areas_, range, old, pt}.map(std::move(area), unmap_overlap);
    auto room = areas_.reserve(1);
    if (!room) return Edit::no_nodes(1, range);
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
    if (!is_one(old, range)) return Edit{areas_, range, old, pt}.unmap();
    SLAT_TRY(Calls::unmap(*old.first, pt));
    areas_.erase(old.first, old.last);
    areas_.trim();
    return {};
  }

  /// Unmaps everything. Needs no memory.
  Result<> clear(PT& pt) { return Edit{areas_, {}, {areas_.begin(), areas_.end()}, pt}.clear(); }

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
    if (!is_one(old, range)) return Edit{areas_, range, old, pt}.protect(update);
    auto& area = *old.first;
    std::optional<F> next = update(area.flags());
    if (!next) return {};
    SLAT_TRY(Calls::protect(area, *next, pt));
    bool const differs = Edit::differ(area.flags(), *next);
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
  using Edit = SetEdit<F, PT, B, Nodes>;

  static Result<> check(GuestRange range) {
    if (!range.wraps()) return {};
    return Error{.code = Errc::invalid_param, .argument = Argument::size, .value = range.size, .range = range};
  }

  /// Whether that is one area, and all of it.
  static bool is_one(AreaRun<Position> touched, GuestRange range) {
    return !touched.empty() && touched.first->range() == range;
  }

  AreaIndex<Area, Nodes> areas_;
};

}  // namespace slat
