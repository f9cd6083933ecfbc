#include "tools/scheme.hpp"

#include <algorithm>
#include <array>

#include "tools/failure.hpp"
#include "tools/words.hpp"

namespace slat::tool {

using testing::bit;
using testing::Family;
using testing::field;
using testing::Shape;

std::string Scheme::name() const {
  switch (family()) {
    case Family::arm: return "Arm stage 2";
    case Family::intel: return "Intel EPT";
    case Family::amd: return "AMD NPT";
  }
  return "unknown";
}

std::string Scheme::level_name(Level level) const {
  if (family() == Family::arm) return "level " + std::to_string(3 - static_cast<int>(level));
  constexpr std::array names{"PT", "PD", "PDPT", "PML4", "PML5"};
  return names[std::min<std::size_t>(level, names.size() - 1)];
}

namespace {

/// The level that VTCR_EL2.SL0 starts at, from the page up. For 4K the lowest came last, with FEAT_TTST.
Level start_level(unsigned granule_bits, std::uint64_t sl0) {
  return static_cast<Level>(granule_bits == 12 ? (sl0 + 1) % 4 : sl0);
}

/// Whether a root at that level has at least an entry more than one and at most 16 tables. [arm/a-profile] D8,
/// "Concatenated translation tables"
bool fits(const Shape& shape) {
  return shape.input_bits > shape.shift(shape.root) && shape.root_entries() <= 16 * shape.table_entries();
}

}  // namespace

Scheme arm_scheme(HostPhys root, std::uint64_t vtcr, std::uint64_t hcr, const Extras& extras) {
  auto const name = "VTCR_EL2 " + hex(vtcr);
  if (bit(vtcr, 32)) throw Failure{name + " has DS set: FEAT_LPA2's descriptors are not read here"};
  // FEAT_D128, FEAT_S2PIE and FEAT_S2POE: what the bits of a descriptor mean is in other registers.
  if (bit(vtcr, 38)) throw Failure{name + " has D128 set: descriptors of 128 bits are not read here"};
  if (bit(vtcr, 36) || bit(vtcr, 37))
    throw Failure{name + " has " + (bit(vtcr, 36) ? "S2PIE" : "S2POE") +
                  " set: permissions that other registers hold are not read here"};
  constexpr std::array<unsigned, 4> granules{12, 16, 14, 0};
  auto const granule_bits = granules[field(vtcr, 15, 14)];
  if (granule_bits == 0) throw Failure{name + ": TG0 (15:14) is 3, which is reserved"};
  auto const t0sz = static_cast<unsigned>(field(vtcr, 5, 0));
  if (t0sz < 16 || t0sz > 48)
    throw Failure{name + ": T0SZ (5:0) is " + std::to_string(t0sz) + ", and addresses of " + std::to_string(64 - t0sz) +
                  " bits are not read here: 16 to 48 are"};
  auto const level = start_level(granule_bits, field(vtcr, 7, 6));
  Shape const shape{granule_bits, 64 - t0sz, level};
  if (level > (granule_bits == 12 ? 3u : 2u) || !fits(shape))
    throw Failure{name + ": SL0 (7:6) is " + std::to_string(field(vtcr, 7, 6)) + ", which does not go with " +
                  std::to_string(64 - t0sz) + " address bits (T0SZ) and pages of " + size(shape.granule()) +
                  ": each access would fault"};
  constexpr std::array<unsigned, 8> sizes{32, 36, 40, 42, 44, 48, 48, 48};
  auto const output_bits = std::min(48u, extras.pa_bits.value_or(sizes[field(vtcr, 18, 16)]));
  return {ArmReader{{.granule_bits = granule_bits,
                     .input_bits = shape.input_bits,
                     .root = level,
                     .output_bits = output_bits,
                     .fwb = bit(hcr, 46),
                     .xnx = extras.xnx,
                     .ha = bit(vtcr, 21),
                     .hd = bit(vtcr, 21) && bit(vtcr, 22),
                     .bbm = extras.bbm,
                     .xs = extras.xs,
                     .house_rules = extras.house_rules}},
          root};
}

Scheme ept_scheme(std::uint64_t eptp, const Extras& extras) {
  auto const name = "EPTP " + hex(eptp);
  auto const levels = static_cast<unsigned>(field(eptp, 5, 3)) + 1;
  if (levels != 4 && levels != 5)
    throw Failure{name + ": bits 5:3 say " + std::to_string(levels) + " levels; there are 4 (3) and 5 (4)"};
  if (auto const type = field(eptp, 2, 0); type != 0 && type != 6)
    throw Failure{name + ": the memory type in bits 2:0 is " + std::to_string(type) + "; it can be 0 or 6"};
  if (field(eptp, 11, 8) != 0) throw Failure{name + ": bits 11:8 are reserved"};
  return {EptReader{{.levels = levels,
                     .output_bits = extras.pa_bits.value_or(52),
                     .top_leaf = extras.no_1g ? 1u : 2u,
                     .execute_only = !extras.no_exec_only,
                     .mode_based_execute = extras.mbec,
                     .accessed_dirty = bit(eptp, 6),
                     .page_size_erratum = false,
                     .shadow_stack = bit(eptp, 7),
                     .house_rules = extras.house_rules}},
          HostPhys{eptp & ~std::uint64_t{0xfff}}};
}

Scheme npt_scheme(std::uint64_t ncr3, unsigned levels, const Extras& extras) {
  if (levels != 4 && levels != 5)
    throw Failure{"--levels: nested tables have 4 or 5 (with the host's CR4.LA57), not " + std::to_string(levels)};
  return {NptReader{{.levels = levels,
                     .output_bits = extras.pa_bits.value_or(52),
                     .top_leaf = extras.no_1g ? 1u : 2u,
                     .no_execute = !extras.no_nx,
                     .pat = extras.pat,
                     .house_rules = extras.house_rules}},
          HostPhys{ncr3 & ~std::uint64_t{0xfff}}};
}

std::uint64_t vtcr_for(std::uint64_t granule, unsigned ipa_bits, std::optional<unsigned> start) {
  if (granule != 4096 && granule != 16384 && granule != 65536)
    throw Failure{"--granule is 4K, 16K or 64K, not " + size(granule)};
  if (ipa_bits < 16 || ipa_bits > 48) throw Failure{"--ipa-bits is 16 to 48, not " + std::to_string(ipa_bits)};
  auto const bits = granule == 4096 ? 12u : granule == 16384 ? 14u : 16u;
  std::optional<Level> root;
  for (Level level = 0; level <= (bits == 12 ? 3u : 2u); ++level)
    if (fits({bits, ipa_bits, level}) && (!start || *start == 3 - level) && !root) root = level;
  if (!root)
    throw Failure{start ? "--start-level " + std::to_string(*start) + " does not go with --ipa-bits " +
                              std::to_string(ipa_bits) + " and pages of " + size(granule)
                        : "--ipa-bits " + std::to_string(ipa_bits) + " does not go with pages of " + size(granule)};
  auto const sl0 = bits == 12 ? (*root + 3) % 4 : *root;
  auto const tg0 = bits == 12 ? 0u : bits == 16 ? 1u : 2u;
  constexpr std::uint64_t ps_48 = 5;
  return 1ull << 31 | ps_48 << 16 | std::uint64_t{tg0} << 14 | std::uint64_t{sl0} << 6 | (64 - ipa_bits);
}

}  // namespace slat::tool
