#pragma once

// small_guest.S in a guest's memory, on a virtual CPU of its own.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "hv/x86_64/local_apic.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/vcpu.hpp"
#include "tests/machine/mapping_tests.hpp"

extern "C" const std::byte small_guest_begin[], small_guest_end[], small_guest_write[], small_guest_write_on[],
    small_guest_except[], small_guest_turn_on_vmx[], small_guest_interrupt[], small_guest_excepted[],
    small_guest_interrupted[];

namespace slat::test {

/// The entry of level `level` on the way to `at`, where the CPU finds it.
template <class Table>
volatile Entry& entry_at(const Table& table, GuestPhys at, Level level) {
  auto const geometry = table.geometry();
  auto here = table.root();
  for (Level l = geometry.root;; --l) {
    auto& entry = reinterpret_cast<volatile Entry*>(here.raw())[geometry.index(at, l)];
    if (l == level) return entry;
    here = HostPhys{entry & 0xf'ffff'ffff'f000};
  }
}

/// Beside the rig's own virtual CPU, on the same CPU and the same tables. One at a time: it
/// maps its code.
template <class Rig>
class SmallGuest {
 public:
  static constexpr GuestPhys code{0x6000'0000};
  static constexpr GuestPhys descriptors{0x6010'0000};  // GDTR, IDTR and the GDT; the IDT is on the page behind
  static constexpr GuestPhys stack{0x6020'0000};        // one page
  static constexpr std::uint8_t exception = 13, interrupt = 0x50;

  template <class... More>
  explicit SmallGuest(Rig& rig, const hv::Traps& traps = {}, More... more)
      : rig_{rig},
        beside_{rig.actor_here().cpu, rig.table.format(), rig.table.root(), traps, more...},
        cpu{beside_.vcpu} {
    auto const page = rig.host_page();
    rig.write(page, {small_guest_begin, small_guest_end});
    expect(rig.set.map({code, Rig::page, rx, Linear{page}}, rig.table));
  }

  /// A GDT, an IDT with both handlers, a stack.
  void give_descriptors() {
    auto const host = rig_.host_memory(2 * Rig::page);
    constexpr std::uint64_t flat_code = 0x00cf'9b00'0000'ffff, flat_data = 0x00cf'9300'0000'ffff;
    auto const word = [&](std::uint64_t offset) -> auto& { return rig_.host_word(host + offset); };
    word(0) = 0x17 | (descriptors.raw() + 16) << 16;
    word(8) = 0xfff | (descriptors.raw() + Rig::page) << 16;
    word(16 + code_selector) = flat_code;
    word(16 + data_selector) = flat_data;
    word(Rig::page + 8 * exception) = gate(small_guest_excepted);
    word(Rig::page + 8 * interrupt) = gate(small_guest_interrupted);
    expect(rig_.set.map({descriptors, 2 * Rig::page, rw, Linear{host}}, rig_.table));
    expect(rig_.set.map({stack, Rig::page, rw, Linear{rig_.host_page()}}, rig_.table));
  }

  void start(const std::byte* what, std::uint64_t rflags = 0) {
    cpu.start({.mode = hv::Start::Mode::flat32,
               .rip = address(what).raw(),
               .rsp = (stack + Rig::page).raw(),
               .rflags = rflags});
    cpu.registers().rsi = descriptors.raw();
  }
  /// With tables of its own. Not all that it can do means the same as 64-bit code: small_guest_write does.
  void start_paged(const std::byte* what, GuestPhys cr3) {
    cpu.start({.mode = hv::Start::Mode::long64, .rip = address(what).raw(), .cr3 = cr3.raw()});
  }

  hv::Exit run() {
    auto const number = hv::LocalApic::id();
    hv::interrupts_off();
    expect(rig_.shootdown.enter(number), "an invalidation failed");
    auto const exit = cpu.run();
    rig_.shootdown.leave(number);
    hv::interrupts_on();
    return exit;
  }

 private:
  static GuestPhys address(const std::byte* label) {
    return code + static_cast<std::uint64_t>(label - small_guest_begin);
  }
  /// A 32-bit interrupt gate. [intel/vol3] "IDT Descriptors"
  static std::uint64_t gate(const std::byte* handler) {
    auto const at = address(handler).raw();
    return (at & 0xffff) | std::uint64_t{code_selector} << 16 | 0x8e00ull << 32 | (at >> 16 & 0xffff) << 48;
  }

  // A virtual CPU begins with these.
  static constexpr std::uint16_t code_selector = 0x08, data_selector = 0x10;

  Rig& rig_;
  typename Rig::Kind::Beside beside_;

 public:
  decltype(beside_.vcpu)& cpu;
};

}  // namespace slat::test
