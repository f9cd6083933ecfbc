#pragma once

// Families of formats that share a tree's shape. draw() makes one of the family's formats, with random geometry,
// features and options: all that a CPU may have or lack, within what create() accepts.

#include <gtest/gtest.h>

#include <cstdint>
#include <string>

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>

#include "model/random.hpp"

namespace slat::test {

/// Host addresses have at least so many bits: the frames of the tests lie below that.
inline constexpr unsigned host_bits = 36;

template <aarch64::Granule G>
struct ArmFamily {
  static constexpr const char* name = G == aarch64::Granule::k4    ? "Arm 4K"
                                      : G == aarch64::Granule::k16 ? "Arm 16K"
                                                                   : "Arm 64K";
  using Format = aarch64::Stage2<G>;

  static Format draw(Random& random) {
    for (;;) {
      auto const made = Format::create(cpu(random), options(random));
      // Sixteen root tables of 64 KiB each take a long time to look at.
      if (made && (made->geometry().root_bytes() <= 128_KiB || random.once_in(16))) return *made;
    }
  }

 private:
  static aarch64::Features cpu(Random& random) {
    aarch64::Features cpu{.granule_4k = true, .granule_16k = true, .granule_64k = true};
    cpu.pa_bits = random.one_of({host_bits, 40u, 42u, 44u, 48u, 48u, 52u});
    cpu.bbm = random.coin() ? 2 : 0;
    cpu.hardware_accessed = !random.once_in(3);
    cpu.hardware_dirty = cpu.hardware_accessed && !random.once_in(3);
    cpu.xnx = random.coin();
    cpu.fwb = random.coin();
    cpu.small_tables = random.coin();
    return cpu;
  }
  static aarch64::Stage2Options options(Random& random) {
    // Below 32 bits there is not much room.
    auto const shortest = random.once_in(16) ? 16u : 32u;
    return {.ipa_bits = static_cast<unsigned>(shortest + random.below(49 - shortest)),
            .concatenate = !random.once_in(4),
            .hardware_accessed = !random.once_in(6),
            .hardware_dirty = !random.once_in(6),
            .force_write_back = !random.once_in(4)};
  }
};

struct EptFamily {
  static constexpr const char* name = "EPT";
  using Format = x86_64::Ept;

  static Format draw(Random& random) {
    x86_64::EptFeatures cpu{.four_levels = true, .five_levels = true};
    cpu.leaf_2m = !random.once_in(24);
    cpu.leaf_1g = cpu.leaf_2m && random.coin();
    cpu.execute_only = random.coin();
    cpu.accessed_dirty = !random.once_in(3);
    cpu.mode_based_execute = random.coin();
    cpu.pschange_mc_no = random.coin();
    // Where something breaks, there must be addresses above all memory: a CPU with L1TF has some.
    cpu.pa_bits = cpu.pschange_mc_no && random.once_in(4) ? 52u : random.one_of({host_bits, 39u, 46u});
    return *Format::create(cpu, {.levels = random.once_in(3) ? 5u : 4u,
                                 .small_executable = random.once_in(4),
                                 .suppress_ve = random.coin(),
                                 .accessed_dirty = !random.once_in(6),
                                 .mode_based_execute = !random.once_in(4)});
  }
};

struct NptFamily {
  static constexpr const char* name = "NPT";
  using Format = x86_64::Npt;

  static Format draw(Random& random) {
    x86_64::NptFeatures cpu{.pa_bits = random.one_of({host_bits, 40u, 48u, 52u}), .nested_paging = true};
    cpu.five_levels = true;
    cpu.leaf_1g = random.coin();
    cpu.no_execute = !random.once_in(4);
    // As after a reset, with write-combining fifth, and as Linux has it.
    auto const pat =
        random.one_of({x86_64::pat_at_reset, x86_64::pat_with_write_combining, std::uint64_t{0x0407'0506'0007'0106}});
    return *Format::create(cpu, {.levels = random.once_in(3) ? 5u : 4u, .pat = pat, .no_execute = !random.once_in(6)});
  }
};

/// Puts the family's name into the test's.
struct FamilyName {
  template <class Family>
  static std::string GetName(int) {
    std::string name{Family::name};
    std::erase(name, ' ');
    return name;
  }
};
using Families = ::testing::Types<ArmFamily<aarch64::Granule::k4>, ArmFamily<aarch64::Granule::k16>,
                                  ArmFamily<aarch64::Granule::k64>, EptFamily, NptFamily>;
}  // namespace slat::test
