#pragma once

// The two ends of the range that a call of a MemorySet edits: areas that reach over them are cut there before anything
// acts on them, and parts that are equal and contiguous afterwards are joined again.

#include <cstddef>
#include <cstdint>
#include <iterator>

#include <slat/mm/address.hpp>
#include <slat/mm/area_position.hpp>

namespace slat {

/// What a call has done at one end of its range.
enum class Seam : std::uint8_t {
  kept,     // nothing
  cut,      // one area was made two, which differ in nothing
  changed,  // the part inside the range has other flags than before, or was cut off and has had flags given to it
};

/// For one call, which holds the set's index.
template <class Areas>
class RangeEnds {
  using Position = typename Areas::Position;

 public:
  /// `touched` are the areas that `range` touches: those that reach over an end are to be cut there.
  RangeEnds(Areas& areas, GuestRange range, AreaRun<Position> touched) : areas_{areas}, range_{range} {
    if (touched.empty()) return;
    if (touched.first->start() < range.begin) begin = Seam::cut;
    if (std::prev(touched.last)->range().last() > range.last()) end = Seam::cut;
  }

  Seam begin = Seam::kept;
  Seam end = Seam::kept;

  std::size_t cuts() const { return std::size_t{begin == Seam::cut} + std::size_t{end == Seam::cut}; }

  /// Cuts, and returns the areas in the range: `touched` when nothing is cut. There must be room.
  AreaRun<Position> cut(AreaRun<Position> touched) {
    if (cuts() == 0) return touched;
    if (begin == Seam::cut) areas_.cut(range_.begin);
    if (end == Seam::cut) areas_.cut(range_.end());
    return areas_.touching(range_);
  }
  /// Undoes a cut that came to nothing, and joins what a change has made one again.
  void mend() {
    mend(range_.begin, begin);
    mend(range_.end(), end);
  }
  /// The same for one area whose flags have changed, and nothing else.
  static void mend_around(Areas& areas, Position area) {
    auto const is_one = [](const auto& both) { return both && both->first->continued_by(*both->last); };
    if (!is_one(areas.seam(area)) && !is_one(areas.seam(std::next(area)))) [[likely]]
      return;
    RangeEnds ends{areas, area->range()};
    ends.begin = ends.end = Seam::changed;
    ends.mend();
  }

 private:
  RangeEnds(Areas& areas, GuestRange range) : areas_{areas}, range_{range} {}

  void mend(GuestPhys at, Seam seam) {
    if (seam == Seam::kept) return;
    auto const both = areas_.seam(at);
    if (both && (seam == Seam::cut || both->first->continued_by(*both->last))) areas_.join(*both);
  }

  Areas& areas_;
  GuestRange range_;
};

}  // namespace slat
