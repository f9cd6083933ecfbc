#pragma once

// What the stage-2 code must know of a CPU, computed from its identification registers by a pure function: so one
// binary runs on every CPU, and the laptop can test what the machine will decide.

#include <cstdint>

namespace slat::aarch64 {

/// Raw values, as MRS gave them. A CPU older than a register reads it as zero, which means "no" everywhere but where
/// said.
struct IdRegisters {
  std::uint64_t midr = 0;   // MIDR_EL1
  std::uint64_t mmfr0 = 0;  // ID_AA64MMFR0_EL1
  std::uint64_t mmfr1 = 0;  // ID_AA64MMFR1_EL1
  std::uint64_t mmfr2 = 0;  // ID_AA64MMFR2_EL1
  std::uint64_t isar0 = 0;  // ID_AA64ISAR0_EL1
};

/// The size of a page, of a table and of the unit that TLBI counts in.
enum class Granule : std::uint8_t { k4, k16, k64 };
/// log2 of its bytes.
constexpr unsigned page_bits(Granule granule) {
  return granule == Granule::k4 ? 12 : granule == Granule::k16 ? 14 : 16;
}

/// When to believe a CPU that says FEAT_BBM level 2 (block sizes may change without a break). The architecture lets
/// such a CPU answer with a TLB conflict abort; `listed` believes only those whose maker says that they never do.
enum class Bbm : std::uint8_t { never, listed, reported };

/// A CPU's features, or, with common(), what all of a machine's CPUs can do.
struct Features {
  unsigned pa_bits = 32;           // PARange
  bool granule_4k = false;         // at stage 2
  bool granule_16k = false;        // the same
  bool granule_64k = false;        // the same
  unsigned vmid_bits = 8;          // 8 or 16
  unsigned bbm = 0;                // FEAT_BBM: 0 or 2. Level 1, a step through nT, would cost a second shootdown
  bool hardware_accessed = false;  // FEAT_HAFDBS
  bool hardware_dirty = false;     // FEAT_HAFDBS, with the dirty state
  bool xnx = false;                // FEAT_XNX: user and supervisor execution apart
  bool fwb = false;                // FEAT_S2FWB: stage 2 can force write-back
  bool small_tables = false;       // FEAT_TTST: input sizes below 25 bits
  bool ttl = false;                // FEAT_TTL: TLBI takes a level hint
  bool tlbi_range = false;         // FEAT_TLBIRANGE

  /// Whether stage 2 has this granule.
  constexpr bool supports(Granule granule) const {
    return granule == Granule::k4 ? granule_4k : granule == Granule::k16 ? granule_16k : granule_64k;
  }
  friend constexpr bool operator==(const Features&, const Features&) = default;
};

namespace detail {

constexpr unsigned field(std::uint64_t reg, unsigned low) { return static_cast<unsigned>(reg >> low & 0xF); }

// TGran*_2 speak of stage 2: 0 says "as at stage 1", 1 "no", 2 and 3 "yes".
constexpr bool stage2_granule(unsigned stage2, bool stage1) { return stage2 == 0 ? stage1 : stage2 >= 2; }

// Makers who say that level 2 never aborts: Arm's Cortex-X4 from r0p3 on, as far as r0 goes. Neoverse V3 said so too
// until erratum 3053180.
constexpr bool never_conflicts(std::uint64_t midr) {
  constexpr std::uint64_t implementer_and_part = 0xFF00'FFF0;
  auto const revision = (midr >> 16 & 0xF0) | (midr & 0xF);
  return (midr & implementer_and_part) == 0x4100'D820 && revision >= 0x03 && revision <= 0x0F;
}

}  // namespace detail

/// [arm/a-profile] ID_AA64MMFR0_EL1, ID_AA64MMFR1_EL1, ID_AA64MMFR2_EL1, ID_AA64ISAR0_EL1.
constexpr Features features(const IdRegisters& id, Bbm trust = Bbm::listed) {
  using detail::field;
  constexpr unsigned pa_bits[] = {32, 36, 40, 42, 44, 48, 52, 56};
  auto const pa_range = field(id.mmfr0, 0);
  auto const hafdbs = field(id.mmfr1, 0);
  auto const trusted = trust == Bbm::reported || (trust == Bbm::listed && detail::never_conflicts(id.midr));
  return {
      .pa_bits = pa_bits[pa_range < 7 ? pa_range : 7],
      // Stage 1 spells "yes" as 0 or 1 for 4K, as 1 or 2 for 16K and as 0 for 64K.
      .granule_4k = detail::stage2_granule(field(id.mmfr0, 40), field(id.mmfr0, 28) < 8),
      .granule_16k = detail::stage2_granule(field(id.mmfr0, 32), field(id.mmfr0, 20) != 0),
      .granule_64k = detail::stage2_granule(field(id.mmfr0, 36), field(id.mmfr0, 24) < 8),
      .vmid_bits = field(id.mmfr1, 4) == 2 ? 16u : 8u,
      .bbm = trusted && field(id.mmfr2, 52) >= 2 ? 2u : 0u,
      .hardware_accessed = hafdbs >= 1,
      .hardware_dirty = hafdbs >= 2,
      .xnx = field(id.mmfr1, 28) != 0,
      .fwb = field(id.mmfr2, 40) != 0,
      .small_tables = field(id.mmfr2, 28) != 0,
      .ttl = field(id.mmfr2, 48) != 0,
      .tlbi_range = field(id.isar0, 56) >= 2,
  };
}

/// What both have: guests move between the CPUs of a machine, and its tables with them.
constexpr Features common(const Features& a, const Features& b) {
  return {
      .pa_bits = a.pa_bits < b.pa_bits ? a.pa_bits : b.pa_bits,
      .granule_4k = a.granule_4k && b.granule_4k,
      .granule_16k = a.granule_16k && b.granule_16k,
      .granule_64k = a.granule_64k && b.granule_64k,
      .vmid_bits = a.vmid_bits < b.vmid_bits ? a.vmid_bits : b.vmid_bits,
      .bbm = a.bbm < b.bbm ? a.bbm : b.bbm,
      .hardware_accessed = a.hardware_accessed && b.hardware_accessed,
      .hardware_dirty = a.hardware_dirty && b.hardware_dirty,
      .xnx = a.xnx && b.xnx,
      .fwb = a.fwb && b.fwb,
      .small_tables = a.small_tables && b.small_tables,
      .ttl = a.ttl && b.ttl,
      .tlbi_range = a.tlbi_range && b.tlbi_range,
  };
}

}  // namespace slat::aarch64
