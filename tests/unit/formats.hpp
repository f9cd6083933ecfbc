#pragma once

// The one list of formats that typed suites run on: every granule, depth and feature that changes what an edit must do.
// A new architecture adds a few structs here and its tests are written.
//
// format_suite.hpp says how a suite runs on it.

#include <gtest/gtest.h>

#include <string>

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>

namespace slat::test {

namespace detail {

/// An Arm CPU with every granule and 48-bit physical addresses, and nothing that came later.
inline constexpr aarch64::Features old_arm{.pa_bits = 48, .granule_4k = true, .granule_16k = true, .granule_64k = true};

inline constexpr aarch64::Features new_arm = [] {
  auto cpu = old_arm;
  cpu.vmid_bits = 16;
  cpu.hardware_accessed = cpu.hardware_dirty = cpu.xnx = cpu.fwb = cpu.small_tables = cpu.ttl = cpu.tlbi_range = true;
  return cpu;
}();

constexpr aarch64::Features with_bbm2(aarch64::Features cpu) {
  cpu.bbm = 2;
  return cpu;
}

/// An Intel CPU with all that EPT has.
inline constexpr x86_64::EptFeatures new_intel{.pa_bits = 46,
                                               .four_levels = true,
                                               .five_levels = true,
                                               .leaf_2m = true,
                                               .leaf_1g = true,
                                               .execute_only = true,
                                               .accessed_dirty = true,
                                               .mode_based_execute = true,
                                               .pschange_mc_no = true};

constexpr x86_64::EptFeatures with_page_size_erratum(x86_64::EptFeatures cpu) {
  cpu.pschange_mc_no = false;
  return cpu;
}

/// An AMD CPU with all that nested paging has.
inline constexpr x86_64::NptFeatures new_amd{.pa_bits = 48,
                                             .nested_paging = true,
                                             .five_levels = true,
                                             .leaf_1g = true,
                                             .no_execute = true,
                                             .flush_by_asid = true,
                                             .asids = 32768};
inline constexpr x86_64::NptFeatures small_amd{
    .pa_bits = 40, .nested_paging = true, .five_levels = true, .no_execute = true, .asids = 16};

template <aarch64::Granule G>
constexpr aarch64::Stage2<G> stage2(const aarch64::Features& cpu, const aarch64::Stage2Options& options) {
  return *aarch64::Stage2<G>::create(cpu, options);
}
constexpr x86_64::Ept ept(const x86_64::EptFeatures& cpu, const x86_64::EptOptions& options) {
  return *x86_64::Ept::create(cpu, options);
}
constexpr x86_64::Npt npt(const x86_64::NptFeatures& cpu, const x86_64::NptOptions& options) {
  return *x86_64::Npt::create(cpu, options);
}

}  // namespace detail

using aarch64::Granule;

// An old CPU: blocks break, hardware tracks nothing, one execute bit. Two concatenated root tables.
struct Arm4k {
  static constexpr const char* name = "Arm4k";
  using Format = aarch64::Stage2<Granule::k4>;
  static constexpr Format make() { return detail::stage2<Granule::k4>(detail::old_arm, {.ipa_bits = 40}); }
};
// Hardware sets the accessed flag, not the dirty state.
struct Arm4kAccessed {
  static constexpr const char* name = "Arm4kAccessed";
  using Format = aarch64::Stage2<Granule::k4>;
  static constexpr Format make() {
    return detail::stage2<Granule::k4>(detail::new_arm, {.ipa_bits = 39, .hardware_dirty = false});
  }
};
// Hardware sets both. Four levels: the root holds no leaf.
struct Arm4kDirty {
  static constexpr const char* name = "Arm4kDirty";
  using Format = aarch64::Stage2<Granule::k4>;
  static constexpr Format make() { return detail::stage2<Granule::k4>(detail::new_arm, {.ipa_bits = 48}); }
};
// Blocks change size in place, and dirty tracking is by write protection.
struct Arm4kBbm2 {
  static constexpr const char* name = "Arm4kBbm2";
  using Format = aarch64::Stage2<Granule::k4>;
  static constexpr Format make() {
    return detail::stage2<Granule::k4>(detail::with_bbm2(detail::old_arm), {.ipa_bits = 40});
  }
};
struct Arm4kBbm2Dirty {
  static constexpr const char* name = "Arm4kBbm2Dirty";
  using Format = aarch64::Stage2<Granule::k4>;
  static constexpr Format make() {
    return detail::stage2<Granule::k4>(detail::with_bbm2(detail::new_arm), {.ipa_bits = 40});
  }
};
// One root table, three levels.
struct Arm16k {
  static constexpr const char* name = "Arm16k";
  using Format = aarch64::Stage2<Granule::k16>;
  static constexpr Format make() { return detail::stage2<Granule::k16>(detail::old_arm, {.ipa_bits = 47}); }
};
// Sixteen concatenated root tables, two levels.
struct Arm16kBbm2Dirty {
  static constexpr const char* name = "Arm16kBbm2Dirty";
  using Format = aarch64::Stage2<Granule::k16>;
  static constexpr Format make() {
    return detail::stage2<Granule::k16>(detail::with_bbm2(detail::new_arm), {.ipa_bits = 40});
  }
};
// A root of 64 entries, three levels.
struct Arm64k {
  static constexpr const char* name = "Arm64k";
  using Format = aarch64::Stage2<Granule::k64>;
  static constexpr Format make() { return detail::stage2<Granule::k64>(detail::old_arm, {.ipa_bits = 48}); }
};
struct Arm64kBbm2Dirty {
  static constexpr const char* name = "Arm64kBbm2Dirty";
  using Format = aarch64::Stage2<Granule::k64>;
  static constexpr Format make() {
    return detail::stage2<Granule::k64>(detail::with_bbm2(detail::new_arm), {.ipa_bits = 42});
  }
};

struct Ept4 {
  static constexpr const char* name = "Ept4";
  using Format = x86_64::Ept;
  static constexpr Format make() { return detail::ept(detail::new_intel, {}); }
};
// Dirty tracking by write protection, one execute bit.
struct Ept4NoAge {
  static constexpr const char* name = "Ept4NoAge";
  using Format = x86_64::Ept;
  static constexpr Format make() {
    return detail::ept(detail::new_intel, {.accessed_dirty = false, .mode_based_execute = false});
  }
};
struct Ept5 {
  static constexpr const char* name = "Ept5";
  using Format = x86_64::Ept;
  static constexpr Format make() { return detail::ept(detail::new_intel, {.levels = 5}); }
};
// CPUs on which a change of size together with address or type must break.
struct Ept4Erratum {
  static constexpr const char* name = "Ept4Erratum";
  using Format = x86_64::Ept;
  static constexpr Format make() { return detail::ept(detail::with_page_size_erratum(detail::new_intel), {}); }
};
// What is broken for a moment, or write-protected to see the next write, is never a #VE for the guest.
struct Ept4ErratumNoAge {
  static constexpr const char* name = "Ept4ErratumNoAge";
  using Format = x86_64::Ept;
  static constexpr Format make() {
    return detail::ept(detail::with_page_size_erratum(detail::new_intel),
                       {.suppress_ve = true, .accessed_dirty = false});
  }
};

// Write-combining is the fifth type of the PAT, so that its third index bit must move when a leaf changes its size.
struct Npt4 {
  static constexpr const char* name = "Npt4";
  using Format = x86_64::Npt;
  static constexpr Format make() { return detail::npt(detail::new_amd, {.pat = x86_64::pat_with_write_combining}); }
};
// No leaf of 1 GiB, and the PAT that Linux chooses: write-combining second, write-through last.
struct Npt5 {
  static constexpr const char* name = "Npt5";
  using Format = x86_64::Npt;
  static constexpr Format make() { return detail::npt(detail::small_amd, {.levels = 5, .pat = 0x0407'0506'0007'0106}); }
};

// A linter sees the same lines again for each: one of a kind is enough for it.
#ifdef SLAT_FEW_FORMATS
using Formats = ::testing::Types<Arm4kBbm2Dirty, Ept4, Npt4>;
#else
using Formats =
    ::testing::Types<Arm4k, Arm4kAccessed, Arm4kDirty, Arm4kBbm2, Arm4kBbm2Dirty, Arm16k, Arm16kBbm2Dirty, Arm64k,
                     Arm64kBbm2Dirty, Ept4, Ept4NoAge, Ept5, Ept4Erratum, Ept4ErratumNoAge, Npt4, Npt5>;
#endif

/// Puts the variant's name into the test's.
struct FormatName {
  template <class Variant>
  static std::string GetName(int) {
    return Variant::name;
  }
};

}  // namespace slat::test
