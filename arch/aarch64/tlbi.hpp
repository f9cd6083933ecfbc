#pragma once

// Which invalidations a Stale asks for, and in which order with which barriers: all of it values, made by pure
// functions. tlb.hpp turns them into instructions.

#include <cstdint>

#include <slat/arch/aarch64/features.hpp>
#include <slat/arch/aarch64/registers.hpp>
#include <slat/mm/stale.hpp>

namespace slat::aarch64 {

/// One instruction of an invalidation, or a change of the VMID that the others speak of.
struct Step {
  /// Which instruction, or which change.
  enum class What : std::uint8_t {
    select,        // load VTTBR_EL2 with the operand and leave the host's regime: TLBI ...E1 acts on that VMID
    restore,       // undo it; not seen by this CPU before the next isb
    dsb_ish,       // earlier stores are visible to, earlier TLBIs complete on, the inner shareable CPUs
    dsb_ishst,     // the same for stores alone
    dsb_nsh,       // the same for this CPU
    isb,           // what follows sees all that
    ipas2e1is,     // drop stage-2 entries of one address, on all CPUs; operand
    ipas2e1,       // on this one
    ripas2e1is,    // drop stage-2 entries of a range, on all CPUs; operand
    vmalle1is,     // drop combined entries, which are known by virtual address only, of the VMID, on all CPUs
    vmalle1,       // on this one
    vmalls12e1is,  // drop all that the VMID has, on all CPUs
    vmalls12e1,    // on this one
    alle1is,       // drop all that every VMID has, on all CPUs
  };
  What what;                  // which
  std::uint64_t operand = 0;  // of a TLBI, or the VTTBR_EL2 to select

  friend constexpr bool operator==(const Step&, const Step&) = default;
};

/// How an invalidation is made.
struct TlbiOptions {
  std::uint64_t most = 512;     // more TLBIs than that become one for the whole VMID
  bool tables_by_vmid = false;  // unlinked tables too. By address is as good, if slower: no level hint, the whole span
  bool repeat_last = false;     // CVE-2025-10263: on some CPUs TLBI; DSB completes too early the first time
};

/// The operand of IPAS2E1(IS). `level` is a leaf's, or unknown_level for no hint: a wrong hint invalidates nothing.
/// [arm/a-profile] TLBI IPAS2E1IS.
constexpr std::uint64_t ipas2e1_operand(Granule granule, GuestPhys at, Level level) {
  std::uint64_t const size = granule == Granule::k4 ? 1 : granule == Granule::k16 ? 2 : 3;
  return (at.raw() >> 12 & ((1ull << 40) - 1)) | (level == Stale::unknown_level ? 0 : (size << 2 | (3 - level)) << 44);
}

/// Pages that RIPAS2E1IS covers with SCALE `scale` and NUM `num`.
constexpr std::uint64_t ripas2e1_pages(unsigned scale, unsigned num) {
  return std::uint64_t{num + 1} << (5 * scale + 1);
}

/// The operand of RIPAS2E1IS. BaseADDR counts in granules (but in 64K with VTCR_EL2.DS, which slat never sets).
/// [arm/a-profile] TLBI RIPAS2E1IS.
constexpr std::uint64_t ripas2e1_operand(Granule granule, GuestPhys at, Level level, unsigned scale, unsigned num) {
  std::uint64_t const size = granule == Granule::k4 ? 1 : granule == Granule::k16 ? 2 : 3;
  std::uint64_t const hint = level == Stale::unknown_level ? 0 : 3 - level;
  return at.raw() >> page_bits(granule) | hint << 37 | std::uint64_t{num} << 39 | std::uint64_t{scale} << 44 |
         size << 46;
}

// The whole TLBI range encoding in two words: 512 pages of 4K as one 2M leaf, and the most that one operation can
// cover.
static_assert(ipas2e1_operand(Granule::k4, GuestPhys{0x4020'0000}, 1) == 0x0000'6000'0004'0200);
static_assert(ripas2e1_operand(Granule::k4, GuestPhys{0x4020'0000}, 1, 1, 7) == 0x0000'53C0'0004'0200);
static_assert(ripas2e1_operand(Granule::k64, GuestPhys{0x2'0000'0000}, Stale::unknown_level, 3, 31) ==
              0x0000'FF80'0002'0000);
static_assert(ripas2e1_pages(1, 7) == 512 && ripas2e1_pages(3, 31) == 2'097'152);

/// What lowering an invalidation needs to know of the table and the machine.
struct TlbiTarget {
  Granule granule;  // the table's
  Features cpu;     // FEAT_TTL and FEAT_TLBIRANGE count
};

namespace detail {

constexpr Level hint(const TlbiTarget& target, const Stale::Range& stale) {
  return target.cpu.ttl && !stale.tables ? stale.level : Stale::unknown_level;
}

// Without FEAT_TLBIRANGE one TLBI for each leaf, or for each page where leaves of several sizes were.
constexpr std::uint64_t stride(Granule granule, const Stale::Range& stale) {
  auto const bits = page_bits(granule);
  auto const whole_leaves = !stale.tables && stale.level != Stale::unknown_level;
  return std::uint64_t{1} << (whole_leaves ? bits + stale.level * (bits - 3) : bits);
}

}  // namespace detail

/// Emits the TLBIs for one range, which begins and ends at a page, or at a leaf where the level is known. They cover it
/// exactly: range operations come in even numbers of pages, and an odd last page gets its own.
template <class Emit>
constexpr void lower_range(const TlbiTarget& target, const Stale::Range& stale, Emit&& emit) {
  auto const level = detail::hint(target, stale);
  auto at = stale.range.begin;
  if (!target.cpu.tlbi_range) {
    auto const stride = detail::stride(target.granule, stale);
    for (std::uint64_t left = stale.range.size; left != 0; left -= stride, at = at + stride)
      emit({Step::What::ipas2e1is, ipas2e1_operand(target.granule, at, level)});
    return;
  }
  auto pages = stale.range.size >> page_bits(target.granule);
  // From the largest unit down, so that with a level hint each operation begins and ends at a leaf, as hints demand.
  for (unsigned scale = 4; scale-- != 0;) {
    while (pages >= ripas2e1_pages(scale, 0)) {
      auto const units = pages / ripas2e1_pages(scale, 0);
      auto const num = static_cast<unsigned>(units < 32 ? units : 32) - 1;
      emit({Step::What::ripas2e1is, ripas2e1_operand(target.granule, at, level, scale, num)});
      pages -= ripas2e1_pages(scale, num);
      at = at + (ripas2e1_pages(scale, num) << page_bits(target.granule));
    }
  }
  if (pages != 0) emit({Step::What::ipas2e1is, ipas2e1_operand(target.granule, at, level)});
}

/// How many TLBIs lower_range() emits, or a few more.
constexpr std::uint64_t lowered_count(const TlbiTarget& target, const Stale::Range& stale) {
  if (!target.cpu.tlbi_range) return stale.range.size / detail::stride(target.granule, stale);
  return (stale.range.size >> page_bits(target.granule)) / ripas2e1_pages(3, 31) + 5;
}

/// Whether one TLBI for the whole VMID is the better answer, or the only one.
constexpr bool by_vmid(const TlbiTarget& target, const TlbiOptions& options, const Stale& stale) {
  if (stale.everything() || (options.tables_by_vmid && stale.tables())) return true;
  std::uint64_t count = 0;
  for (auto const& range : stale.ranges()) count += lowered_count(target, range);
  return count > options.most;
}

/// All CPUs forget what `stale` names. The stores that made it stale come first: DSB ISH, for a load before it may
/// otherwise be ordered after the TLBI. The barrier between the two kinds of TLBI keeps a walk from filling a combined
/// entry from a stage-2 entry that is about to go. [arm/a-profile] D8, "TLB maintenance instructions".
template <class Emit>
constexpr void shootdown(const TlbiTarget& target, const TlbiOptions& options, std::uint64_t vttbr, const Stale& stale,
                         Emit emit) {
  using enum Step::What;
  emit({dsb_ish});
  emit({select, vttbr});
  auto last = vmalls12e1is;
  if (!by_vmid(target, options, stale)) {
    for (auto const& range : stale.ranges()) lower_range(target, range, emit);
    emit({dsb_ish});
    last = vmalle1is;
  }
  for (auto times = options.repeat_last ? 2 : 1; times != 0; --times) {
    emit({last});
    emit({dsb_ish});
  }
  emit({restore});
  emit({isb});
}

/// This CPU forgets what it knows of one page: a right was gained, and Arm does not drop an entry because it faulted.
template <class Emit>
constexpr void forget_here(const TlbiTarget& target, std::uint64_t vttbr, GuestPhys at, Emit emit) {
  using enum Step::What;
  emit({dsb_nsh});
  emit({select, vttbr});
  emit({ipas2e1, ipas2e1_operand(target.granule, at, Stale::unknown_level)});
  emit({dsb_nsh});
  emit({vmalle1});
  emit({dsb_nsh});
  emit({restore});
  emit({isb});
}

/// This CPU forgets the VMID: two entries for one address met in its TLB (fault status 0x30), as FEAT_BBM level 2
/// allows.
template <class Emit>
constexpr void resolve_conflict(std::uint64_t vttbr, Emit emit) {
  using enum Step::What;
  emit({dsb_nsh});
  emit({select, vttbr});
  emit({vmalls12e1});
  emit({dsb_nsh});
  emit({restore});
  emit({isb});
}

/// All CPUs forget all guests: what VmidAllocator demands of a new generation.
template <class Emit>
constexpr void forget_all_guests(const TlbiOptions& options, Emit emit) {
  using enum Step::What;
  emit({dsb_ish});
  for (auto times = options.repeat_last ? 2 : 1; times != 0; --times) {
    emit({alle1is});
    emit({dsb_ish});
  }
  emit({isb});
}

}  // namespace slat::aarch64
