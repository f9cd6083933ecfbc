#pragma once

// What only EPT has: pages that can be executed and not read, and more ways to be wrong.

#include <array>
#include <string_view>

#include <slat/arch/x86_64/ept.hpp>

#include "tests/machine/x86_64/small_guest.hpp"

namespace slat::test {

template <class Rig>
void execute_only(Rig& rig) {
  auto const host = rig.host_page();
  rig.write_function(host, 7);
  constexpr Attr x{Prot::x};
  expect(rig.table.format().supports(x), "the CPU lacks what the test is about");
  expect(rig.set.map({data, Rig::page, x, Linear{host}}, rig.table));
  expect(rig.call(data).value == 7, "the guest cannot execute");
  auto const read = rig.load(data);
  expect(read.faulted(Fault::denied) && read.wanted == Prot::r, "the guest reads a page that it may only execute");
  auto const write = rig.store(data, 1);
  expect(write.faulted(Fault::denied) && write.wanted == Prot::w, "the guest writes a page that it may only execute");
  auto const denied = rig.set.resolve(data, Prot::r, rig.table);
  expect(denied && *denied == Resolution::denied, "a missing right is not called denied");
  expect(rig.set.protect(
      data, Rig::page, [](Attr a) { return a | Prot::r; }, rig.table));
  expect(rig.load(data).worked() && rig.call(data).value == 7, "the guest cannot use the right that it got");
}

/// One way to make an entry that no CPU accepts.
struct Misconfiguration {
  std::string_view what;
  Level level;
  Entry clear, set;
};

/// The library refuses to make them. Put there by hand, each is an exit of its own kind, and gone when the entry is
/// right again. Not among them, because Bochs 2.7 does not look at it: bit 12 of a large leaf's address.
template <class Rig>
void ept_misconfigured(Rig& rig) {
  auto const physical_bits = rig.table.format().output_bits();
  constexpr Entry rights = 0b111, type = 0b111 << 3;
  std::array const wrong{
      Misconfiguration{"a page that can be written and not read", 0, rights, 0b010},
      Misconfiguration{"a page that can be written and executed, and not read", 0, rights, 0b110},
      Misconfiguration{"memory type 2", 0, type, 2 << 3},
      Misconfiguration{"memory type 3", 0, type, 3 << 3},
      Misconfiguration{"memory type 7", 0, type, 7 << 3},
      Misconfiguration{"an address too wide for the CPU", 0, 0, Entry{1} << physical_bits},
      Misconfiguration{"a memory type in an entry that is no leaf", 1, 0, 6 << 3},
      Misconfiguration{"a leaf at the root", 3, 0, 1 << 7},
      Misconfiguration{"a large leaf that is not aligned", 2, ~0ull, 0x20'00b7},
  };
  auto const host = rig.host_page(11);
  for (auto const prot : {Prot::w, Prot::w | Prot::x}) {
    auto const refused = rig.set.map({data, Rig::page, Attr{prot}, Linear{host}}, rig.table);
    expect(!refused && refused.error() == Errc::unsupported, "the library makes what the CPU refuses");
  }
  expect(rig.set.map({data, Rig::page, rw, Linear{host}}, rig.table));
  for (auto const& one : wrong) {
    expect(rig.load(data).value == 11, "the guest cannot read");
    auto& entry = entry_at(rig.table, data, one.level);
    Entry const right = entry;
    entry = (right & ~one.clear) | one.set;
    expect(!rig.table.format().well_formed(one.level, entry), one.what);
    rig.shoot();
    auto const seen = rig.load(data);
    // Where the guest's code goes by the same entry, it does not come as far as its data.
    bool const is_at_data = &entry != &entry_at(rig.table, Rig::code, one.level);
    expect(seen.faulted(Fault::misconfigured) && (!is_at_data || seen.at == data), one.what);
    entry = right;
    rig.shoot();
    expect(rig.go_on().value == 11, "the guest cannot read with the entry right again");
  }
}

}  // namespace slat::test
