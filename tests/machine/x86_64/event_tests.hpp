#pragma once

// An exit that falls into the delivery of an event: the event is delivered again, once, or the guest never hears of it.

#include <atomic>

#include "hv/x86_64/interrupts.hpp"
#include "hv/x86_64/local_apic.hpp"
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
    if (cut.why != hv::Why::memory) fail("the event does not fault on its way: ", hv::Hex{cut.code});
    expect(cut.absent && cut.at.down_to(Rig::page) == missing, "the event faults somewhere else");
    entry = there;
    auto const on = guest.run();
    if (on.why != hv::Why::halt) fail("the guest does not go on: ", hv::Hex{on.code}, " ", hv::Hex{on.details});
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
    expect(ready.why == hv::Why::halt, "the guest cannot load its descriptors");
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

/// The guest's CPU has no VMX: to set CR4.VMXE is a #GP, and the bit that the hardware needs does not show.
template <class Rig>
void event_no_vmx(Rig& rig) {
  SmallGuest<Rig> guest{rig};
  guest.give_descriptors();
  guest.start(small_guest_turn_on_vmx);
  guest.cpu.registers().rbp = 3;  // the length of MOV to CR4
  expect(guest.run().why == hv::Why::interrupt, "something is to be done about a guest that wants VMX");
  expect(guest.run().why == hv::Why::halt, "the guest does not go on");
  expect(guest.cpu.registers().rbx == 1, "the guest's wish for VMX is no exception");
  expect(guest.cpu.registers().rax == 0, "the guest sees a CR4 that it did not write", guest.cpu.registers().rax);
}

/// An interrupt of the host's that is pending at the entry ends the guest's turn, and is served when run() returns. Not
/// tested while the guest masks its own, because Bochs 2.7 then waits until it does not any more.
template <class Rig>
void event_host_interrupt(Rig& rig) {
  static constinit std::atomic<unsigned> served{0};
  constexpr std::uint8_t vector = 0x41;
  constexpr std::uint64_t interrupts_on = 1u << 9;
  hv::handle_interrupt(vector, [] { served.fetch_add(1); });
  SmallGuest<Rig> guest{rig};
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page()}}, rig.table));
  guest.start(small_guest_write, interrupts_on);
  guest.cpu.registers().rsi = data.raw();
  guest.cpu.registers().rcx = 1;
  hv::interrupts_off();
  hv::LocalApic::send(hv::LocalApic::id(), vector);
  auto const exit = guest.cpu.run();
  expect(exit.why == hv::Why::interrupt, "the guest runs while the host is interrupted");
  expect(served.load() == 1, "an interrupt was not served when the guest had come back");
  expect(guest.cpu.registers().rcx == 1, "the guest ran before it came back");
  expect(guest.cpu.run().why == hv::Why::halt, "the guest does not go on");
  hv::interrupts_on();
}

}  // namespace slat::test
