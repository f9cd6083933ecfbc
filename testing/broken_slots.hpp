#pragma once

// The live slots that are broken, invalid for a while and to be made again: by which call, and what they broke.

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include <slat/testing/live_tree.hpp>

namespace slat::testing {

class BrokenSlots {
 public:
  /// The live slot at `place` goes from `was` to `is`, by a store of call number `call`. True when a leaf was broken
  /// and made again, by one call, although its rights alone have changed.
  bool changes(Place place, const Decoded& was, const Decoded& is, std::size_t call) {
    auto const known = slots_.extract(place.span.begin.raw());
    auto const broken = known ? known.mapped() : Broken{place.level, call, was};
    if (is.kind == Decoded::Kind::broken)
      slots_[place.span.begin.raw()] = broken.call == call ? broken : Broken{place.level, call, {}};
    return is.leaf() && was.kind == Decoded::Kind::broken && broken.was.leaf() && broken.was.address == is.address &&
           broken.was.type == is.type && broken.was.contiguous == is.contiguous;
  }
  /// It is broken, whatever it was: in a table that was linked so.
  void appears(Place place, std::size_t call) {
    slots_.try_emplace(place.span.begin.raw(), Broken{place.level, call, {}});
  }
  /// What lies in `span` is in the tree no longer.
  void forget(GuestRange span) {
    slots_.erase(slots_.lower_bound(span.begin.raw()), slots_.lower_bound(span.end().raw()));
  }
  /// One that is left: its level, and where it begins.
  std::optional<std::pair<Level, GuestPhys>> any() const {
    if (slots_.empty()) return std::nullopt;
    auto const& [begin, broken] = *slots_.begin();
    return std::pair{broken.level, GuestPhys{begin}};
  }

 private:
  struct Broken {
    Level level = 0;
    std::size_t call = 0;
    Decoded was;
  };
  std::map<std::uint64_t, Broken> slots_;  // by their first address
};

}  // namespace slat::testing
