#pragma once

// The half of a call that may fail. It reads, counts the table frames that the change will take, and finds what stands
// in the way; nothing is written. The count is exact: committing takes that many frames, no more and no fewer.

#include <span>

#include <slat/mm/changes.hpp>
#include <slat/mm/result.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

template <class Tree>
class Planner {
  using Count = std::uint64_t;

 public:
  explicit Planner(const Tree& tree) : tree_{tree} {}

  /// Frames needed, or why the change is refused.
  Result<Count> operator()(const Map& change) const {
    SLAT_TRY(check_mapping(change));
    if (auto const present = first_present(tree_.lowest(change.range), change.range); !present.empty())
      return Error{Errc::already_mapped, Argument::start, change.range.begin.raw(), change.range, present};
    return edges(tree_.lowest(change.range), change.range, fits(change));
  }
  Result<Count> operator()(const Replace& change) const {
    SLAT_TRY(check_mapping(change));
    return edges(tree_.lowest(change.range), change.range, fits(change));
  }
  Result<Count> operator()(const Unmap& change) const {
    SLAT_TRY(check_range(change.range));
    if (change.range.empty()) return Count{0};
    auto const fits = [](Level) { return true; };
    return leaves(tree_.lowest(change.range), change.range, fits, [](Level, Entry) { return false; });
  }
  Result<Count> operator()(const Protect& change) const {
    SLAT_TRY(check_range(change.range));
    SLAT_TRY(check_attr(change.range, change.attr));
    if (change.range.empty()) return Count{0};
    auto const top = tree_.format.top_leaf(change.attr);
    auto const unchanged = [&](Level level, Entry e) { return tree_.format.recast(level, e, change.attr) == e; };
    auto const fits = [top](Level level) { return level <= top; };
    return leaves(tree_.lowest(change.range), change.range, fits, unchanged);
  }
  Result<Count> operator()(const Split& change) const {
    SLAT_TRY(check_range(change.range));
    if (change.range.empty()) return Count{0};
    auto const fits = [](Level level) { return level == 0; };
    return leaves(tree_.lowest(change.range), change.range, fits, [](Level, Entry) { return false; });
  }
  Result<Count> operator()(const Coalesce& change) const {
    SLAT_TRY(check_range(change.range));
    return Count{0};
  }

  /// For mappings that ascend, as if each was made in turn: a table that two of them lie in is needed once. Those that
  /// `simple(rest)` counts, from the first of the rest on, ascend, are right, and need nothing.
  template <class Simple>
  Result<Count> in_turn(std::span<const Map> rest, Simple simple) const {
    Count sum = 0;
    for (GuestRange before{}; !rest.empty();) {
      auto const& change = rest.front();
      if (!before.empty() && change.range.begin < before.end())
        return Error{Errc::invalid_param, Argument::start, change.range.begin.raw(), change.range, before};
      std::size_t done = simple(rest);
      if (done == 0) {
        sum += SLAT_TRY((*this)(change));
        if (!before.empty()) sum -= shared(before.last(), change.range.begin);
        done = 1;
      }
      before = rest[done - 1].range;
      rest = rest.subspan(done);
    }
    return sum;
  }

  /// Aligned to the granule and inside the input size. Size 0 is fine here.
  Result<> check_range(GuestRange range) const {
    auto const granule = geometry().page_size();
    if (!range.begin.aligned_to(granule)) return Error{Errc::misaligned, Argument::start, range.begin.raw(), range};
    if ((range.size & (granule - 1)) != 0) return Error{Errc::misaligned, Argument::size, range.size, range};
    if (range.wraps()) return Error{Errc::invalid_param, Argument::size, range.size, range};
    if (range.begin.raw() > geometry().input_size() || range.size > geometry().input_size() - range.begin.raw())
      return Error{Errc::out_of_range, Argument::range, geometry().input_size(), range};
    return {};
  }

 private:
  Geometry geometry() const { return tree_.geometry(); }

  Result<> check_attr(GuestRange range, const Attr& attr) const {
    if (tree_.format.supports(attr)) return {};
    auto const bits = std::uint64_t(attr.prot) | std::uint64_t(attr.memory) << 8 | std::uint64_t{attr.software} << 16;
    return Error{Errc::unsupported, Argument::attributes, bits, range};
  }
  template <class Mapping>
  Result<> check_mapping(const Mapping& change) const {
    if (change.range.empty()) return Error{Errc::invalid_param, Argument::size, 0, change.range};
    SLAT_TRY(check_range(change.range));
    SLAT_TRY(check_attr(change.range, change.attr));
    auto const host = change.host.raw();
    if (!change.host.aligned_to(geometry().page_size()))
      return Error{Errc::misaligned, Argument::host, host, change.range};
    auto const output = std::uint64_t{1} << tree_.format.output_bits();
    if (host > output || change.range.size > output - host)
      return Error{Errc::out_of_range, Argument::host, host, change.range};
    return {};
  }

  // A leaf fits at a level when its attributes may have one there and guest and host are aligned alike.
  template <class Mapping>
  auto fits(const Mapping& change) const {
    auto const skew = change.host.raw() - change.range.begin.raw();
    auto const top = tree_.format.top_leaf(change.attr);
    return [this, skew, top](Level level) { return level <= top && (skew & (geometry().span(level) - 1)) == 0; };
  }

  // ---- tables that will be built where there is none ----

  /// Below one slot that is wholly covered.
  template <class Fits>
  Count whole(Level level, Fits fits) const {
    return fits(level) ? 0 : 1 + geometry().entries(level - 1) * whole(level - 1, fits);
  }
  /// One table at `level` and what is below it, when only `part` of it is asked for.
  template <class Fits>
  Count table(Level level, GuestRange part, Fits fits) const {
    return 1 + over(level, part, fits, [&](const GuestRange& edge) { return table(level - 1, edge, fits); });
  }
  /// The sum over the slots of `part` at `level`: arithmetic for those wholly covered, `edge` for at most two others.
  template <class Fits, class Edge>
  Count over(Level level, GuestRange part, Fits fits, Edge edge) const {
    auto const span = geometry().span(level);
    auto const head = geometry().slot(part.begin, level);
    if (part == head) return whole(level, fits);
    if (head.contains(part)) return edge(part);
    Count sum = 0;
    if (part.begin != head.begin) {
      auto const piece = GuestRange::between(part.begin, head.end());
      sum += edge(piece);
      part = GuestRange::between(head.end(), part.end());
    }
    if (auto const rest = part.end().offset_in(span); rest != 0) {
      part.size -= rest;
      sum += edge(GuestRange{part.end(), rest});
    }
    if (part.size == 0) return sum;
    return sum + (part.size >> geometry().shift(level)) * whole(level, fits);
  }

  /// Of the tables that a mapping from `begin` on will need, those that one up to `last`, before it, needs too.
  Count shared(GuestPhys last, GuestPhys begin) const {
    auto place = tree_.top();
    for (;;) {
      auto const slot = tree_.slot(place, begin);
      Entry const e = tree_.load(slot);
      if (tree_.meaning(slot.level, e) != Kind::table) break;
      place = tree_.below(slot, e);
    }
    Count tables = 0;
    while (place.level > tables && geometry().slot(begin, place.level - static_cast<Level>(tables)).contains(last))
      ++tables;
    return tables;
  }

  // ---- over what is there ----

  /// For a mapping: every wholly covered slot is written as it stands, so that only the edges have to be looked at.
  template <class Fits>
  Count edges(Place place, GuestRange range, Fits fits) const {
    auto const level = place.level;
    return over(level, range, fits, [&](const GuestRange& edge) {
      auto const slot = tree_.slot(place, edge.begin);
      Entry const e = tree_.load(slot);
      bool const descends = tree_.meaning(level, e) == Kind::table;
      return descends ? edges(tree_.below(slot, e), edge, fits) : table(level - 1, edge, fits);
    });
  }

  /// For a change of what is there: leaves that straddle an edge of the range, or are too large afterwards, are cut.
  template <class Fits, class Unchanged>
  Count leaves(Place place, GuestRange range, Fits fits, Unchanged unchanged) const {
    auto const level = place.level;
    auto const cut = [&](const Slot& slot, Entry e, GuestRange part) -> Count {
      switch (tree_.meaning(level, e)) {
        case Kind::table: return leaves(tree_.below(slot, e), part, fits, unchanged);
        case Kind::leaf:
          if (unchanged(level, tree_.mended(level, e))) return 0;
          return part == slot.span ? whole(level, fits) : table(level - 1, part, fits);
        default: return 0;
      }
    };
    // What fits here fits below: then nothing that is wholly covered has to be cut.
    if (fits(level))
      return over(level, range, fits, [&](const GuestRange& edge) {
        auto const slot = tree_.slot(place, edge.begin);
        return cut(slot, tree_.load(slot), edge);
      });
    Count sum = 0;
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      sum += cut(slot, e, part);
      return true;
    });
    return sum;
  }

  /// The first leaf that `range` touches, clipped to nothing; empty when there is none.
  GuestRange first_present(Place place, GuestRange range) const {
    GuestRange found{range.begin, 0};
    tree_.each(place, range, [&](const Slot& slot, Entry e, GuestRange part) {
      if (e == 0) return true;
      found = tree_.meaning(slot.level, e) == Kind::leaf ? slot.span : first_present(tree_.below(slot, e), part);
      return found.empty();
    });
    return found;
  }

  const Tree& tree_;
};

}  // namespace slat::detail
