#pragma once

// A guest with stage-1 tables of its own. Its walks go through stage 2 as its data does, and a CPU keeps those
// translations in another place than the combined ones: only here QEMU shows when IPAS2E1IS is missing or wrong.

#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// The guest's tables, 4K granule, 39-bit addresses: the gigabyte of its code as one block, and one 4K page at `window`
/// that is `target`, by way of a level-3 table that stands at `leaves`.
struct GuestTables {
  static constexpr GuestPhys root{0x4800'0000};
  static constexpr GuestPhys leaves{0x4a00'0000};
  static constexpr GuestPhys window{0x8000'0000};  // a virtual address

  static constexpr std::uint64_t block = 1 | 1u << 10 | 3u << 8;  // attribute 0, accessed, inner shareable
  static constexpr std::uint64_t table = 3;
  static constexpr std::uint64_t page = block | 2;
};

template <class Rig>
class WalkRig {
 public:
  explicit WalkRig(Rig& rig) : rig_{rig} {
    // Root at the start of one area, the level-2 table behind it; the leaf table in an area of two pages, so that a
    // range operation can name it.
    auto const tables = rig.host_memory(2 * Rig::page < 8192 ? 8192 : 2 * Rig::page);
    expect(rig.set.map({GuestTables::root, up(8192), rw, Linear{tables}}, rig.table));
    auto const level2 = GuestTables::root + 4096;
    rig.host_word(tables + 8 * 1) = 0x4000'0000 | GuestTables::block;
    rig.host_word(tables + 8 * 2) = level2.raw() | GuestTables::table;
    rig.host_word(tables + 4096) = GuestTables::leaves.raw() | GuestTables::table;

    asm volatile("msr mair_el1, %0" ::"r"(0xffull));
    asm volatile("msr tcr_el1, %0" ::"r"(25ull | 1ull << 8 | 1ull << 10 | 3ull << 12 | 1ull << 23 | 2ull << 32));
    asm volatile("msr ttbr0_el1, %0" ::"r"(GuestTables::root.raw()));
    rig.enter_stage2(0);
    asm volatile("msr sctlr_el1, %0; isb" ::"r"(0x30d0'0800ull | 1 | 1 << 2 | 1 << 12));
  }

  /// Two pages whose first word is the guest's level-3 descriptor for `target`.
  HostPhys leaf_table(GuestPhys target) {
    auto const host = rig_.host_memory(2 * Rig::page);
    rig_.host_word(host) = target.raw() | GuestTables::page;
    return host;
  }

 private:
  static std::uint64_t up(std::uint64_t size) { return (size + Rig::page - 1) & ~(Rig::page - 1); }

  Rig& rig_;
};

template <class Rig>
void walk(Rig& rig) {
  WalkRig<Rig> guest{rig};
  auto const other = data + Rig::page;
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{rig.host_memory(2 * Rig::page)}}, rig.table));
  expect(rig.store(data, 1).worked() && rig.store(other, 2).worked(), "the guest cannot use its data");

  auto const area = 2 * Rig::page;
  expect(rig.set.map({GuestTables::leaves, area, rw, Linear{guest.leaf_table(data)}}, rig.table));
  expect(rig.load(GuestTables::window).value == 1, "the guest's own table does not translate");
  expect(rig.set.map({GuestTables::leaves, area, rw, Linear{guest.leaf_table(other)}}, rig.table, true));
  expect(rig.load(GuestTables::window).value == 2, "the guest's walk still uses the old table page");

  expect(rig.set.unmap(GuestTables::leaves, area, rig.table));
  auto const seen = rig.load(GuestTables::window);
  expect(seen.faulted(Kind::translation) && seen.fault->stage1_walk, "the guest's walk still uses an unmapped page");
  expect(seen.at.down_to(Rig::page) == GuestTables::leaves, "the walk's fault names another address");
}

}  // namespace slat::test
