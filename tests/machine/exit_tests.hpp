#pragma once

// Accesses that no memory answers.

#include "hv/aarch64/injection.hpp"
#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// Device areas are never mapped: every access comes to EL2, which answers for the device.
template <class Rig>
void emulate(Rig& rig) {
  expect(rig.set.map({data, Rig::page, rw | Memory::device, Device{}}, rig.table));
  auto const seen = rig.load(data + 0x10);
  expect(seen.faulted(Kind::translation) && seen.at == data + 0x10, "an access to a device did not come to EL2");
  auto const resolution = rig.set.resolve(seen.at, seen.fault->wanted, rig.table);
  expect(resolution && *resolution == Resolution::emulate, "an access to a device is not to be emulated");
  rig.vcpu.x[0] = 42;
  rig.vcpu.pc += 4;
  auto const after = rig.go_on();
  expect(after.worked() && after.value == 42, "the guest does not go on with the device's answer");
}

/// A hole is a synchronous external abort to the guest, as a bus without an answer would make it.
template <class Rig>
void inject(Rig& rig) {
  auto const vectors = in_stub(Rig::code, stub_vectors).raw();
  asm volatile("msr vbar_el1, %0; isb" ::"r"(vectors));
  for (bool const fetch : {false, true}) {
    auto const seen = fetch ? rig.call(data) : rig.load(data);
    expect(seen.faulted(Kind::translation), "a hole answered");
    auto const pc = rig.vcpu.pc;
    auto const resolution = rig.set.resolve(seen.at, seen.fault->wanted, rig.table);
    expect(resolution && *resolution == Resolution::unknown, "a hole is not unknown");
    hv::inject_external_abort(rig.vcpu, *seen.fault, seen.far);
    auto const taken = rig.go_on();
    expect(taken.worked(), "the guest did not take the abort");
    auto const ec = fetch ? 0x21u : 0x25u;  // from the same exception level
    expect(rig.vcpu.x[0] == (ec << 26 | 1u << 25 | 0x10), "the guest's syndrome is no external abort");
    expect(rig.vcpu.x[1] == data.raw(), "the guest's fault address is wrong");
    expect(rig.vcpu.x[2] == pc, "the guest's return address is wrong");
  }
}

}  // namespace slat::test
