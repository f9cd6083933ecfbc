#pragma once

// An exit that falls into the delivery of an event: the event is delivered again, once, or the guest never hears of it.

#include "tests/machine/x86_64/small_guest.hpp"

namespace slat::test {

/// The guest's IDT, then its stack, is not there when the event comes.
template <class Rig, class Provoke>
void cut_delivery_short(Rig& rig, SmallGuest<Rig>& guest, Provoke provoke) {
  using Guest = SmallGuest<Rig>;
  for (auto const missing : {Guest::descriptors + Rig::page, Guest::stack}) {
    provoke();
    auto& entry = entry_at(rig.table, missing, 0);
    Entry const there = entry;
    entry = 0;
    rig.shoot();
    auto const cut = guest.run();
    expect(cut.why == hv::Why::memory && cut.absent && cut.at.down_to(Rig::page) == missing,
           "the event does not fault on its way");
    entry = there;
    expect(guest.run().why == hv::Why::hypercall, "the guest does not go on");
    expect(guest.cpu.registers().rbx != 0, "an event whose delivery faulted was lost");
    expect(guest.cpu.registers().rbx == 1, "an event was delivered twice");
  }
}

template <class Rig>
void event_exception(Rig& rig) {
  SmallGuest<Rig> guest{rig};
  guest.give_descriptors();
  cut_delivery_short(rig, guest, [&] {
    guest.start(small_guest_except);
    auto const ready = guest.run();
    expect(ready.why == hv::Why::hypercall, "the guest cannot load its descriptors");
    guest.cpu.skip(ready);
    guest.cpu.inject_exception(guest.exception, 0);
  });
}

/// The guest has this CPU's interrupts to itself. One that it has acknowledged does not come again by itself.
template <class Rig>
void event_interrupt(Rig& rig) {
  constexpr GuestPhys apic{0xfee0'0000};
  SmallGuest<Rig> guest{rig, {.interrupts = false}};
  guest.give_descriptors();
  expect(rig.set.map({apic, Rig::page, rw | Memory::device, Linear{HostPhys{apic.raw()}}}, rig.table));
  cut_delivery_short(rig, guest, [&] {
    guest.start(small_guest_interrupt);
    guest.cpu.registers().rdi = apic.raw();
  });
}

}  // namespace slat::test
