#pragma once

// The values that make hardware walk what a Stage2 format writes. Pure: who writes the registers is no matter here.

#include <cstdint>

#include <slat/arch/aarch64/stage2.hpp>

namespace slat::aarch64 {

/// VTCR_EL2: size and depth of the walk, A/D updates, and walks that are inner shareable, write-back cacheable. With
/// `vmid_bits` 16 (and a CPU that has them) VTTBR_EL2 holds 16 bits of VMID. [arm/a-profile] VTCR_EL2.
template <Granule G>
constexpr std::uint64_t vtcr_el2(const Stage2<G>& format, unsigned vmid_bits = 8) {
  constexpr std::uint64_t reserved_one = 1ull << 31;
  constexpr std::uint64_t write_back_inner_shareable = 1ull << 8 | 1ull << 10 | 3ull << 12;  // IRGN0, ORGN0, SH0
  constexpr std::uint64_t tg0 = G == Granule::k4 ? 0 : G == Granule::k64 ? 1 : 2;
  auto const shape = format.geometry();
  auto const age = format.hardware_age();
  // SL0 counts from the lowest start level, but for 4K its lowest came last, with FEAT_TTST, and took the free number.
  std::uint64_t const sl0 = G == Granule::k4 ? (shape.root + 3) % 4 : shape.root;
  // PS repeats PARange, but 52 bits want descriptors of another shape unless the granule is 64K, whose shape is the
  // same.
  auto const pa_bits = G != Granule::k64 && format.pa_bits() > 48 ? 48 : format.pa_bits();
  std::uint64_t const ps = pa_bits >= 52   ? 6
                           : pa_bits >= 48 ? 5
                           : pa_bits >= 44 ? 4
                           : pa_bits >= 42 ? 3
                           : pa_bits >= 40 ? 2
                           : pa_bits >= 36 ? 1
                                           : 0;
  return (64 - shape.input_bits()) | sl0 << 6 | write_back_inner_shareable | tg0 << 14 | ps << 16 |
         (vmid_bits == 16 ? 1ull << 19 : 0) | (age.accessed ? 1ull << 21 : 0) | (age.dirty ? 1ull << 22 : 0) |
         reserved_one;
}

/// The bits of HCR_EL2 that the format counts on: stage 2 on, and FWB. [arm/a-profile] HCR_EL2.
template <Granule G>
constexpr std::uint64_t hcr_el2(const Stage2<G>& format) {
  return 1ull << 0 | (format.forces_write_back() ? 1ull << 46 : 0);
}

/// VTTBR_EL2. A root is aligned to its size and has at most 48 address bits, so no bit of it is lost.
constexpr std::uint64_t vttbr_el2(HostPhys root, std::uint16_t vmid) { return std::uint64_t{vmid} << 48 | root.raw(); }

// T0SZ 24, start at Arm's level 1 (SL0 1), 48-bit PS, 8-bit VMIDs; then with HA and HD.
static_assert(vtcr_el2(detail::plain_stage2) == 0x8005'3558 && vtcr_el2(detail::full_stage2) == 0x8065'3558);
static_assert(hcr_el2(detail::full_stage2) == 0x0000'4000'0000'0001);
static_assert(vttbr_el2(HostPhys{0x8000'2000}, 7) == 0x0007'0000'8000'2000);

}  // namespace slat::aarch64
