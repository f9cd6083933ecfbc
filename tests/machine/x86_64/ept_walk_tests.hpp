#pragma once

// The guest's own walks, which EPT with A/D bits takes for writes: they need the right, and they make pages dirty. Not
// tested with A/D bits off, where only the setting of a guest's A or D bit is a write: Bochs 2.7 then sets it whatever
// EPT says.

#include <array>

#include "tests/machine/x86_64/small_guest.hpp"

namespace slat::test {

/// A root, a table and a table of 2 MiB pages, by which the guest's second gigabyte is itself.
struct SmallGuestTables {
  static constexpr GuestPhys begin{0x6100'0000};
  static constexpr std::uint64_t bytes = 3 * 4096;
  static constexpr std::uint64_t present_write = 3, large = 1u << 7;

  template <class Rig>
  static void put(Rig& rig) {
    auto const host = rig.host_memory(bytes);
    rig.host_word(host) = (begin + 4096).raw() | present_write;
    rig.host_word(host + 4096 + 8) = (begin + 8192).raw() | present_write;
    for (std::uint64_t i = 0; i != 512; ++i)
      rig.host_word(host + 8192 + 8 * i) = (0x4000'0000 + i * 2_MiB) | present_write | large;
    expect(rig.set.map({begin, bytes, rw, Linear{host}}, rig.table));
  }
};

template <class Rig>
void ept_walk(Rig& rig) {
  expect(rig.table.format().hardware_age().dirty, "the CPU lacks what the test is about");
  SmallGuest<Rig> guest{rig};
  SmallGuestTables::put(rig);
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page()}}, rig.table));
  auto const write = [&] {
    guest.start_paged(small_guest_write, SmallGuestTables::begin);
    guest.cpu.registers().rsi = data.raw();
    guest.cpu.registers().rcx = 1;
    return guest.run();
  };
  expect(write().why == hv::Why::halt, "the guest's own tables do not translate");

  for (std::uint64_t page = 0; page != SmallGuestTables::bytes; page += Rig::page) {
    GuestRange const table{SmallGuestTables::begin + page, Rig::page};
    expect(rig.set.protect(
        table.begin, table.size, [](Attr a) { return a - Prot::w; }, rig.table));
    auto const denied = write();
    expect(denied.why == hv::Why::memory && denied.guest_walk && !denied.absent && table.contains(denied.at),
           "a walk reads a table that it may not write");
    expect(denied.wanted == Prot::w, "a walk that counts as a write is said to lack another right");
    expect(rig.set.protect(
        table.begin, table.size, [](Attr a) { return a | Prot::w; }, rig.table));
    expect(guest.run().why == hv::Why::halt, "the guest does not go on");
  }

  std::array<bool, 3> dirty{};
  auto const harvest = [&] {
    dirty = {};
    expect(rig.set.harvest(
        {SmallGuestTables::begin, SmallGuestTables::bytes},
        [&](GuestRange range) {
          for (std::size_t i = 0; i != dirty.size(); ++i)
            dirty[i] = dirty[i] || range.contains(SmallGuestTables::begin + i * Rig::page);
        },
        rig.table));
  };
  harvest();
  expect(dirty == std::array{true, true, true}, "a table that was walked is not reported");
  harvest();
  expect(dirty == std::array{false, false, false}, "a clean table is reported");
  expect(write().why == hv::Why::halt, "the guest does not go on");
  harvest();
  expect(dirty == std::array{true, true, true}, "a table that was walked after the harvest is not reported");

  auto const last = SmallGuestTables::begin + 2 * Rig::page;
  expect(rig.set.unmap(last, Rig::page, rig.table));
  auto const absent = write();
  expect(absent.why == hv::Why::memory && absent.guest_walk && absent.absent, "the guest walks an unmapped table");
  expect(absent.at.down_to(Rig::page) == last, "the walk's fault names another address");
}

}  // namespace slat::test
