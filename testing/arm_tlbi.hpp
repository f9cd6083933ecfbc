#pragma once

// What a TLBI instruction reaches, read from its operand: [arm/a-profile] C5.5, "TLB maintenance instructions".

#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/geometry.hpp>
#include <slat/testing/event.hpp>
#include <slat/testing/reader.hpp>

namespace slat::testing {

struct TlbiReach {
  static constexpr Level any_level = ~Level{0};

  bool stage2 = false;      // drops entries of stage 2 alone, known by guest-physical address
  bool combined = false;    // drops entries that combine both stages
  bool broadcast = false;   // on all CPUs of the inner shareable domain
  bool every_tag = false;   // of every VMID
  bool by_address = false;  // of `range` alone
  bool leaf_only = false;   // table pointers stay
  GuestRange range{};
  Level level = any_level;    // leaves of other levels may stay, and table pointers
  unsigned granule_bits = 0;  // tables of another granule are not reached at all; 0: any
};

namespace detail {

/// TG and the high half of TTL: 1 is 4K, 2 is 16K, 3 is 64K.
constexpr unsigned granule_bits(std::uint64_t code) { return code == 0 ? 0 : 10 + 2 * static_cast<unsigned>(code); }
/// Arm's level 3 is level 0 here; its level 0 is no hint, but with FEAT_LPA2.
constexpr Level level_hint(std::uint64_t arm) { return arm == 0 ? TlbiReach::any_level : 3 - static_cast<Level>(arm); }

/// IPA[51:12] in 39:0; TTL in 47:44.
constexpr TlbiReach one_address(Entry operand, unsigned page_bits) {
  GuestPhys const at{field(operand, 39, 0) << 12};
  auto const page = std::uint64_t{1} << page_bits;
  return {.stage2 = true,
          .by_address = true,
          .range = {at.down_to(page), page},
          .level = field(operand, 47, 46) == 0 ? TlbiReach::any_level : level_hint(field(operand, 45, 44)),
          .granule_bits = granule_bits(field(operand, 47, 46))};
}

/// BaseADDR in 36:0, TTL in 38:37, NUM in 43:39, SCALE in 45:44, TG in 47:46. The range is
/// (NUM + 1) * 2^(5 * SCALE + 1) granules. TG 0 is reserved: nothing can be counted on.
constexpr TlbiReach address_range(Entry operand) {
  auto const bits = granule_bits(field(operand, 47, 46));
  auto const granules = (field(operand, 43, 39) + 1) << (5 * field(operand, 45, 44) + 1);
  return {.stage2 = true,
          .by_address = true,
          .range = {GuestPhys{field(operand, 36, 0) << bits}, granules << bits},
          .level = level_hint(field(operand, 38, 37)),
          .granule_bits = bits == 0 ? ~0u : bits};
}

}  // namespace detail

/// `page_bits` is the granule of the tables: an address operation drops what translates any address of that page.
constexpr TlbiReach tlbi_reach(What what, Entry operand, unsigned page_bits) {
  TlbiReach reach;
  switch (what) {
    case What::tlbi_ipas2e1is:
    case What::tlbi_ipas2e1:
    case What::tlbi_ipas2le1is: reach = detail::one_address(operand, page_bits); break;
    case What::tlbi_ripas2e1is:
    case What::tlbi_ripas2le1is: reach = detail::address_range(operand); break;
    case What::tlbi_vmalle1is:
    case What::tlbi_vmalle1: reach.combined = true; break;
    case What::tlbi_vmalls12e1is:
    case What::tlbi_vmalls12e1: reach.stage2 = reach.combined = true; break;
    case What::tlbi_alle1is: reach.stage2 = reach.combined = reach.every_tag = true; break;
    default: break;
  }
  reach.leaf_only = what == What::tlbi_ipas2le1is || what == What::tlbi_ripas2le1is;
  reach.broadcast = what != What::tlbi_ipas2e1 && what != What::tlbi_vmalle1 && what != What::tlbi_vmalls12e1;
  return reach;
}

// One page without and with a hint (Arm's level 2 of 4K); eight GiB; 64K.
static_assert(tlbi_reach(What::tlbi_ipas2e1is, 0x4'0200, 12).range == GuestRange{GuestPhys{0x4020'0000}, 0x1000});
static_assert(tlbi_reach(What::tlbi_ipas2e1is, 0x6000'0004'0200, 12).level == 1);
static_assert(tlbi_reach(What::tlbi_ripas2e1is, 0x7F80'0000'0000, 12).range == GuestRange{GuestPhys{0}, 0x2'0000'0000});
static_assert(tlbi_reach(What::tlbi_ripas2e1is, 0xC000'0000'0001, 16).range ==
              GuestRange{GuestPhys{0x1'0000}, 0x2'0000});

}  // namespace slat::testing
