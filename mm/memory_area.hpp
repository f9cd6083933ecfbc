#pragma once

// One guest region and what is meant by it, whatever the tables hold at the moment.
//
//   MemoryArea<Attr, Backend> ram{0x4000'0000_gpa, 1_GiB, rwx, Linear{0x1'0000'0000_hpa}};

#include <concepts>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <slat/mm/address.hpp>
#include <slat/mm/mapping_backend.hpp>

namespace slat {

/// A half-open range with its flags and its backend. A value: an area in a MemorySet changes only through the set, and
/// any number of threads may read one as long as nobody changes that set.
template <std::copyable F, std::copyable B>
class MemoryArea {
 public:
  /// [start, start + size). Any size may be said here; MemorySet::map() refuses what is empty or passes 2^64.
  constexpr MemoryArea(GuestPhys start, std::uint64_t size, F flags, B backend = B{})
      : range_{start, size}, flags_{std::move(flags)}, backend_{std::move(backend)} {}

  /// Where it is, what it allows, and who maps it.
  /// @{
  constexpr GuestRange range() const { return range_; }
  constexpr GuestPhys start() const { return range_.begin; }
  constexpr std::uint64_t size() const { return range_.size; }
  constexpr const F& flags() const { return flags_; }
  constexpr const B& backend() const { return backend_; }
  constexpr B& backend() { return backend_; }
  /// @}

  /// Whether the address is inside.
  constexpr bool contains(GuestPhys at) const { return range_.contains(at); }
  /// Whether any address is inside both.
  constexpr bool overlaps(GuestRange range) const { return range_.overlaps(range); }

  /// The backend that the part of this area from `at` on has.
  constexpr B backend_at(GuestPhys at) const {
    if constexpr (MovingBackend<B>) return backend_.advanced(at - start());
    return backend_;
  }

  /// Keeps what lies before `at`, which is inside and not the start, and returns the rest.
  constexpr MemoryArea cut(GuestPhys at) {
    auto const kept = at - start();
    MemoryArea rest{at, size() - kept, flags_, backend_at(at)};
    range_.size = kept;
    return rest;
  }
  /// Takes in the area that begins where this one ends.
  constexpr void append(const MemoryArea& next) { range_.size += next.size(); }
  /// Other flags; nothing is told to the backend.
  constexpr void protect(F flags) { flags_ = std::move(flags); }

  /// Whether `next` begins where this one ends and is, but for that, more of the same. What cannot be compared is not:
  /// only a backend without any state needs no operator==.
  constexpr bool continued_by(const MemoryArea& next) const {
    if constexpr (!std::equality_comparable<F>)
      return false;
    else if constexpr (std::is_empty_v<B>)
      return meets(next) && flags_ == next.flags_;
    else if constexpr (std::equality_comparable<B>)
      return meets(next) && flags_ == next.flags_ && backend_at(next.start()) == next.backend_;
    else
      return false;
  }

 private:
  constexpr bool meets(const MemoryArea& next) const {
    return range_.end() == next.start() && next.start() != GuestPhys{0};
  }

  GuestRange range_;
  [[no_unique_address]] F flags_;
  [[no_unique_address]] B backend_;
};

}  // namespace slat
