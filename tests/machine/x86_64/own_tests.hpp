#pragma once

// What only x86 has, under both makers' virtualisation.

#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// The library refuses what the hardware would; and where an entry is spoilt behind its back, the hardware does.
template <class Rig>
void misconfigured(Rig& rig) {
  for (auto const& attr : Rig::Kind::refused) {
    auto const refused = rig.set.map({data, Rig::page, attr, Linear{rig.host_page()}}, rig.table);
    expect(!refused && refused.error().code == Errc::unsupported, "the library maps what the hardware refuses");
  }
  auto const host = rig.host_page(4);
  expect(rig.set.map({data, Rig::page, rw, Linear{host}}, rig.table));
  expect(rig.load(data).value == 4, "the guest cannot read");
  auto& entry = rig.entry_of(data);
  for (auto const flaw : Rig::Kind::flaws) {
    auto const good = entry;
    entry = Rig::Kind::spoilt(good, flaw);
    rig.shoot();
    auto const seen = rig.load(data);
    expect(seen.faulted(Fault::misconfigured), "the hardware takes a misconfigured entry", flaw);
    expect(seen.at.down_to(Rig::page) == data, "the misconfiguration is somewhere else");
    entry = good;
    rig.shoot();
    expect(rig.load(data).value == 4, "the guest cannot read any more");
  }
}

}  // namespace slat::test
