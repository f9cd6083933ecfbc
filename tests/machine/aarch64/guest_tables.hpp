#pragma once

// The guest's own stage 1, for walk_tests.hpp.

#include <cstdint>

#include "hv/aarch64/guest_cpu.hpp"
#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// 4K granule, 39-bit addresses: the gigabyte of the guest's code as one block, and one 4K page at `window` that is
/// `target`, by way of a level-3 table that stands at `leaves`.
template <class Rig>
class GuestTables {
 public:
  static constexpr GuestPhys root{0x4800'0000};
  static constexpr GuestPhys leaves{0x4a00'0000};
  static constexpr GuestPhys window{0x8000'0000};  // a virtual address

  static constexpr std::uint64_t block = 1 | 1u << 10 | 3u << 8;  // attribute 0, accessed, inner shareable
  static constexpr std::uint64_t table = 3;
  static constexpr std::uint64_t page = block | 2;

  explicit GuestTables(Rig& rig) : rig_{rig} {
    // Root at the start of one area, the level-2 table behind it; the leaf table in an area of two pages, so that a
    // range operation can name it.
    auto const tables = rig.host_memory(2 * Rig::page < 8192 ? 8192 : 2 * Rig::page);
    expect(rig.set.map({root, up(8192), rw, Linear{tables}}, rig.table));
    auto const level2 = root + 4096;
    rig.host_word(tables + 8 * 1) = 0x4000'0000 | block;
    rig.host_word(tables + 8 * 2) = level2.raw() | table;
    rig.host_word(tables + 4096) = leaves.raw() | table;

    asm volatile("msr mair_el1, %0" ::"r"(0xffull));
    asm volatile("msr tcr_el1, %0" ::"r"(25ull | 1ull << 8 | 1ull << 10 | 3ull << 12 | 1ull << 23 | 2ull << 32));
    asm volatile("msr ttbr0_el1, %0" ::"r"(root.raw()));
    rig.enter_stage2(0);
    asm volatile("msr sctlr_el1, %0; isb" ::"r"(0x30d0'0800ull | 1 | 1 << 2 | 1 << 12));
  }

  /// Two pages whose first word is the guest's level-3 descriptor for `target`.
  HostPhys leaf_table(GuestPhys target) {
    auto const host = rig_.host_memory(2 * Rig::page);
    rig_.host_word(host) = target.raw() | page;
    return host;
  }

 private:
  static std::uint64_t up(std::uint64_t size) { return (size + Rig::page - 1) & ~(Rig::page - 1); }

  Rig& rig_;
};

}  // namespace slat::test
