#pragma once

// CPUs whose entries the readers are asked to read.

#include <slat/testing/arm_reader.hpp>
#include <slat/testing/ept_reader.hpp>

namespace slat::test {
using namespace slat::testing;

namespace arm_cpus {

// Hardware sets AF and the dirty state; nothing else that is new.
inline constexpr ArmFeatures plain{.granule_bits = 12,
                                   .input_bits = 39,
                                   .root = 2,
                                   .output_bits = 40,
                                   .fwb = false,
                                   .xnx = false,
                                   .ha = true,
                                   .hd = true,
                                   .bbm = 0};

// FWB, XNX, XS and BBM, and no hardware marks.
inline constexpr ArmFeatures other{.granule_bits = 12,
                                   .input_bits = 48,
                                   .root = 3,
                                   .output_bits = 48,
                                   .fwb = true,
                                   .xnx = true,
                                   .ha = false,
                                   .hd = false,
                                   .bbm = 2,
                                   .xs = true};

constexpr ArmFeatures with_granule(unsigned bits) {
  auto cpu = plain;
  cpu.granule_bits = bits;
  cpu.input_bits = 40;
  cpu.root = bits == 14 ? 2 : 1;
  return cpu;
}

}  // namespace arm_cpus

namespace ept_cpus {

// MAXPHYADDR 46, everything old, execute-only, 1G leaves, A/D bits.
inline constexpr EptFeatures plain{.levels = 4,
                                   .output_bits = 46,
                                   .top_leaf = 2,
                                   .execute_only = true,
                                   .mode_based_execute = false,
                                   .accessed_dirty = true,
                                   .page_size_erratum = false};

inline constexpr EptFeatures everything = [] {
  auto cpu = plain;
  cpu.levels = 5;
  cpu.output_bits = 52;
  cpu.mode_based_execute = cpu.verify_paging = cpu.paging_write = cpu.shadow_stack = cpu.sub_page = cpu.ve = true;
  return cpu;
}();

}  // namespace ept_cpus

}  // namespace slat::test
