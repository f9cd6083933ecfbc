#pragma once

// Addresses that cannot be mixed up, and half-open ranges of guest addresses.
//
//   GuestPhys at{0x4000'0000};               HostPhys to = 0x8000'0000_hpa;
//   GuestRange ram{0x4000'0000_gpa, 1_GiB};  ram.contains(at + 4_KiB)

#include <compare>
#include <cstdint>

namespace slat {

/// True of 1, 2, 4 and so on; not of 0.
constexpr bool is_power_of_two(std::uint64_t n) { return n != 0 && (n & (n - 1)) == 0; }

/// A physical address in one address space. Addresses of different spaces do not mix: a guest address becomes a host
/// address only through a page table.
template <class Space>
class Address {
 public:
  constexpr Address() = default;
  /// The address that is `raw` as a number of bytes from 0.
  constexpr explicit Address(std::uint64_t raw) : raw_{raw} {}

  /// As a number, for registers and entries.
  constexpr std::uint64_t raw() const { return raw_; }
  /// `size` is a power of two of bytes, here and below.
  constexpr bool aligned_to(std::uint64_t size) const { return (raw_ & (size - 1)) == 0; }
  /// The highest multiple of `size` at or below it.
  constexpr Address down_to(std::uint64_t size) const { return Address{raw_ & ~(size - 1)}; }
  /// How far above that it is.
  constexpr std::uint64_t offset_in(std::uint64_t size) const { return raw_ & (size - 1); }

  /// By number, within one space.
  friend constexpr auto operator<=>(Address, Address) = default;
  /// `n` bytes on or back, modulo 2^64; and the distance of two addresses, in bytes.
  /// @{
  friend constexpr Address operator+(Address a, std::uint64_t n) { return Address{a.raw_ + n}; }
  friend constexpr Address operator-(Address a, std::uint64_t n) { return Address{a.raw_ - n}; }
  friend constexpr std::uint64_t operator-(Address a, Address b) { return a.raw_ - b.raw_; }
  /// @}

 private:
  std::uint64_t raw_ = 0;
};

/// What the guest calls a physical address: an IPA on Arm, a guest-physical address on x86.
using GuestPhys = Address<struct GuestSpace>;
/// What the machine calls a physical address.
using HostPhys = Address<struct HostSpace>;

/// The addresses from `begin` on, `size` bytes of them. A range may end at 2^64 exactly, which no 64-bit address can
/// say: hence a size and not a pair of ends. It must not wrap (`wraps`); all else here assumes that it does not.
struct GuestRange {
  GuestPhys begin;         // the first address
  std::uint64_t size = 0;  // in bytes

  /// From `begin` up to, and without, `end`.
  static constexpr GuestRange between(GuestPhys begin, GuestPhys end) { return {begin, end - begin}; }

  /// Whether no address is inside.
  constexpr bool empty() const { return size == 0; }
  /// True when the range passes 2^64.
  constexpr bool wraps() const { return size != 0 && begin.raw() + (size - 1) < begin.raw(); }
  /// The last address inside. The range must not be empty.
  constexpr GuestPhys last() const { return begin + (size - 1); }
  /// The first address after it: 0 when the range ends at 2^64.
  constexpr GuestPhys end() const { return begin + size; }
  /// Whether both ends are multiples of `bytes`, a power of two.
  constexpr bool aligned_to(std::uint64_t bytes) const { return begin.aligned_to(bytes) && (size & (bytes - 1)) == 0; }
  /// Whether the address is inside.
  constexpr bool contains(GuestPhys at) const { return at - begin < size && at >= begin; }
  /// Every range contains the empty ones.
  constexpr bool contains(GuestRange r) const { return r.empty() || (contains(r.begin) && contains(r.last())); }
  /// Whether any address is inside both.
  constexpr bool overlaps(GuestRange r) const {
    return !empty() && !r.empty() && begin <= r.last() && r.begin <= last();
  }
  /// What both have in common; empty when they do not overlap.
  constexpr GuestRange clamp_to(GuestRange r) const {
    if (!overlaps(r)) return {begin, 0};
    auto const from = begin < r.begin ? r.begin : begin;
    auto const to = last() < r.last() ? last() : r.last();
    return {from, to - from + 1};
  }
  friend constexpr bool operator==(GuestRange, GuestRange) = default;
};

inline namespace literals {
/// 2^10, 2^20, 2^30, 2^40 bytes.
/// @{
consteval std::uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
consteval std::uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
consteval std::uint64_t operator""_GiB(unsigned long long n) { return n << 30; }
consteval std::uint64_t operator""_TiB(unsigned long long n) { return n << 40; }
/// @}
/// A guest-physical address.
consteval GuestPhys operator""_gpa(unsigned long long n) { return GuestPhys{n}; }
/// A host-physical address.
consteval HostPhys operator""_hpa(unsigned long long n) { return HostPhys{n}; }
}  // namespace literals

}  // namespace slat
