#pragma once

// The guest's own page tables: every address below 4 GiB is itself, in pages of 1 GiB.

#include <array>
#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>
#include <slat/mm/backends.hpp>

#include "tests/machine/report.hpp"

namespace slat::test {

using namespace slat::literals;

namespace guest_entry {
inline constexpr std::uint64_t table = 0x7;  // present, writable, user
inline constexpr std::uint64_t page = 0x7;
inline constexpr std::uint64_t large = 0x87;
}  // namespace guest_entry

/// Fills in two pages of host memory that the guest will find at `at`: its root and the table of gigabytes.
inline void write_guest_tables(std::uint64_t* two_pages, GuestPhys at) {
  two_pages[0] = (at + 4096).raw() | guest_entry::table;
  for (std::uint64_t i = 0; i != 4; ++i) two_pages[512 + i] = i << 30 | guest_entry::large;
}

/// For walk_tests.hpp: instead of its third gigabyte the guest has one page at `window`, by way of tables at `root` and
/// at `leaves`.
template <class Rig>
class GuestWindow {
 public:
  static constexpr GuestPhys root{0x4800'0000};
  static constexpr GuestPhys leaves{0x4a00'0000};
  static constexpr GuestPhys window{0x8000'0000};  // a linear address

  explicit GuestWindow(Rig& rig) : rig_{rig} {
    auto const host = rig.host_page();
    expect(rig.set.map({root, Rig::page, rw, Linear{host}}, rig.table));
    rig.host_word(host) = leaves.raw() | guest_entry::table;
    rig.host_word(rig.gigabytes() + 8 * 2) = root.raw() | guest_entry::table;
  }

  /// Two pages whose first word is the guest's entry for `target`.
  HostPhys leaf_table(GuestPhys target) {
    auto const host = rig_.host_memory(2 * Rig::page);
    rig_.host_word(host) = target.raw() | guest_entry::page;
    return host;
  }

 private:
  Rig& rig_;
};

}  // namespace slat::test
