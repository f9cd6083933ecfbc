#pragma once

// The oracle of the model tests: what every page is meant to be, in a flat array that knows nothing of levels, blocks
// or tables.
//
// Its elements are strips: runs of pages that no operation of a test divides, since operations begin and end only where
// strips do. Around the places where edges matter a strip is one page; elsewhere it is many, all of them with the same
// meaning. All pages of a strip are mapped, or none is, and their host addresses go up with the guest's.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace slat::test {

/// What kind of area a page belongs to.
enum class Sort : std::uint8_t { none, linear, lazy, device };

struct Strip {
  GuestRange range{};
  Sort sort = Sort::none;
  unsigned source = 0;   // of a lazy area
  bool begins = false;   // an area begins here
  Attr attr{};           // the area's
  HostPhys base{};       // of a linear area, here
  bool mapped = false;   // the tables translate it
  HostPhys host{};       // to this
  bool tracked = false;  // since it was mapped its dirty marks were harvested: a write right that tracks may be missing
  bool written = false;  // the guest wrote it, and no harvest has told of it

  friend bool operator==(const Strip&, const Strip&) = default;
};

/// Half-open, by index.
struct Strips {
  std::size_t first, last;
  friend bool operator==(Strips, Strips) = default;
};

class FlatMap {
 public:
  /// `bounds` are sorted, without repetition; nothing outside the first and the last is ever mapped.
  explicit FlatMap(const std::vector<GuestPhys>& bounds) {
    for (std::size_t i = 0; i + 1 < bounds.size(); ++i) {
      Strip strip;
      strip.range = GuestRange::between(bounds[i], bounds[i + 1]);
      strips_.push_back(strip);
    }
  }

  GuestRange universe() const {
    return GuestRange::between(strips_.front().range.begin, strips_.back().range.begin + strips_.back().range.size);
  }
  std::size_t size() const { return strips_.size(); }
  Strip& operator[](std::size_t i) { return strips_[i]; }
  const Strip& operator[](std::size_t i) const { return strips_[i]; }

  /// The strip that holds `at`, which lies in the universe.
  std::size_t index(GuestPhys at) const {
    if (strips_[last_found_].range.contains(at)) return last_found_;
    if (last_found_ + 1 != size() && strips_[last_found_ + 1].range.contains(at)) return ++last_found_;
    auto const after = std::upper_bound(strips_.begin(), strips_.end(), at,
                                        [](GuestPhys a, const Strip& strip) { return a < strip.range.begin; });
    return last_found_ = static_cast<std::size_t>(after - strips_.begin()) - 1;
  }
  Strips within(GuestRange range) const { return {index(range.begin), index(range.begin + (range.size - 1)) + 1}; }
  GuestRange range(Strips strips) const {
    return GuestRange::between(strips_[strips.first].range.begin, strips_[strips.last - 1].range.end());
  }
  /// Calls body(strip) for each strip in `range`, which does not divide any.
  template <class Body>
  void each(GuestRange range, Body body) {
    auto const strips = within(range);
    for (auto i = strips.first; i != strips.last; ++i) body(strips_[i]);
  }
  template <class Test>
  bool any(GuestRange range, Test test) const {
    auto const strips = within(range);
    return std::any_of(strips_.begin() + static_cast<std::ptrdiff_t>(strips.first),
                       strips_.begin() + static_cast<std::ptrdiff_t>(strips.last), test);
  }

  // ---- what operations do

  void map_linear(GuestRange range, HostPhys host, Attr attr) {
    put(range, Sort::linear, attr, [&](Strip& strip) {
      strip.base = strip.host = host + (strip.range.begin - range.begin);
      strip.mapped = true;
    });
  }
  void map_lazy(GuestRange range, unsigned source, Attr attr) {
    put(range, Sort::lazy, attr, [&](Strip& strip) { strip.source = source; });
  }
  void map_device(GuestRange range, Attr attr) {
    put(range, Sort::device, attr, [](Strip&) {});
  }
  void unmap(GuestRange range) {
    each(range, [](Strip& strip) { strip = Strip{.range = strip.range}; });
    begin_after(range);
  }
  /// A fault has populated a part of a lazy area.
  void populate(GuestRange range, HostPhys host) {
    each(range, [&](Strip& strip) {
      strip.mapped = true;
      strip.host = host + (strip.range.begin - range.begin);
    });
  }
  /// As MemorySet::protect(): parts of areas that are the same again at the range's ends become one.
  template <class Update>
  void protect(GuestRange range, Update update) {
    auto const strips = within(range);
    auto const changed_begin =
        answers(strips.first, update) &&
        (!strips_[strips.first].begins || *update(strips_[strips.first].attr) != strips_[strips.first].attr);
    auto const inner_end = strips.last - 1;
    auto const cut_end = strips.last != size() && continues(strips.last);
    auto const changed_end =
        answers(inner_end, update) && (cut_end || *update(strips_[inner_end].attr) != strips_[inner_end].attr);
    for (auto i = strips.first; i != strips.last; ++i)
      if (answers(i, update)) strips_[i].attr = *update(strips_[i].attr);
    if (changed_begin) strips_[strips.first].begins = !same_again(strips.first);
    if (changed_end && strips.last != size() && strips_[strips.last].sort != Sort::none)
      strips_[strips.last].begins = !same_again(strips.last);
  }

 private:
  template <class Put>
  void put(GuestRange range, Sort sort, Attr attr, Put put) {
    each(range, [&](Strip& strip) {
      strip = Strip{.range = strip.range, .sort = sort, .attr = attr};
      put(strip);
    });
    strips_[index(range.begin)].begins = true;
    begin_after(range);
  }
  /// What is left of an area after `range` begins there.
  void begin_after(GuestRange range) {
    auto const after = within(range).last;
    if (after != size()) strips_[after].begins = strips_[after].sort != Sort::none;
  }

  template <class Update>
  bool answers(std::size_t i, Update update) const {
    return strips_[i].sort != Sort::none && update(strips_[i].attr).has_value();
  }
  /// Strip `i` belongs to the area of the one before it.
  bool continues(std::size_t i) const { return strips_[i].sort != Sort::none && !strips_[i].begins; }
  /// Strip `i` is, for all an area knows, more of the one before it.
  bool same_again(std::size_t i) const {
    if (i == 0) return false;
    auto const& before = strips_[i - 1];
    auto const& after = strips_[i];
    if (before.sort != after.sort || before.attr != after.attr) return false;
    if (after.sort == Sort::linear) return before.base + before.range.size == after.base;
    return after.sort != Sort::lazy || before.source == after.source;
  }

  std::vector<Strip> strips_;
  mutable std::size_t last_found_ = 0;  // neighbours are mostly looked for one after the other
};

}  // namespace slat::test
