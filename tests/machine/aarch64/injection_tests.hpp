#pragma once

// Accesses that no memory answers.

#include "hv/aarch64/injection.hpp"
#include "tests/machine/mapping_tests.hpp"
#include "tests/machine/stub.hpp"

namespace slat::test {

/// A hole is a synchronous external abort to the guest, as a bus without an answer would make it.
template <class Rig>
void inject(Rig& rig) {
  auto const vectors = in_stub(Rig::code, stub_vectors).raw();
  asm volatile("msr vbar_el1, %0; isb" ::"r"(vectors));
  for (bool const fetch : {false, true}) {
    auto const seen = fetch ? rig.call(data) : rig.load(data);
    expect(seen.faulted(Fault::absent), "a hole answered");
    auto const pc = rig.actor.vcpu.pc;
    auto const resolution = rig.set.resolve(seen.at, seen.wanted, rig.table);
    expect(resolution && *resolution == Resolution::unknown, "a hole is not unknown");
    auto const& why = rig.actor.why;
    hv::inject_external_abort(rig.actor.vcpu, hv::decode_abort(why.esr, rig.actor.vcpu.pstate), why.far);
    auto const taken = rig.go_on();
    expect(taken.worked(), "the guest did not take the abort");
    auto const ec = fetch ? 0x21u : 0x25u;  // from the same exception level
    expect(rig.actor.vcpu.x[0] == (ec << 26 | 1u << 25 | 0x10), "the guest's syndrome is no external abort");
    expect(rig.actor.vcpu.x[1] == data.raw(), "the guest's fault address is wrong");
    expect(rig.actor.vcpu.x[2] == pc, "the guest's return address is wrong");
  }
}

}  // namespace slat::test
