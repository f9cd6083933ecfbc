#pragma once

// One guest on this machine: its memory, its CPU, what its CPU may not do alone, its power switch. The same for both
// kinds of hardware; what differs is a `Way` (vmx_way.hpp, svm_way.hpp).

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <slat/arch/x86_64/shootdown.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/page_source.hpp>
#include <slat/mm/page_table.hpp>

#include "hv/counted_hook.hpp"
#include "hv/guest_memory.hpp"
#include "hv/outcome.hpp"
#include "hv/recorder.hpp"
#include "hv/snapshot.hpp"
#include "hv/summary.hpp"
#include "hv/x86_64/console.hpp"
#include "hv/x86_64/counted_machine.hpp"
#include "hv/x86_64/cpuid_policy.hpp"
#include "hv/x86_64/guest_files.hpp"
#include "hv/x86_64/msr_policy.hpp"
#include "hv/x86_64/port_policy.hpp"
#include "hv/x86_64/ports.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/serial_port.hpp"
#include "hv/x86_64/vcpu.hpp"

namespace hv {

/// The ports that are an exit.
inline void trap_ports(PortBitmap& bitmap) {
  for (unsigned port = 0; port != 0x10000; ++port)
    if (!passes_port(static_cast<std::uint16_t>(port))) bitmap.add(static_cast<std::uint16_t>(port));
}

/// What the CPU itself says.
inline CpuidLeaf own_cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  auto const [eax, ebx, ecx, edx] = cpuid(leaf, subleaf);
  return {eax, ebx, ecx, edx};
}

template <class Way>
class Hypervisor {
 public:
  /// The one CPU, as a shootdown sees it: it asks itself.
  struct Machine {
    Way* way;

    std::size_t this_cpu() noexcept { return 0; }
    bool invalidate(slat::HostPhys root) noexcept { return way->invalidate(root); }
    void kick(std::size_t) noexcept {}
    void relax() noexcept { hv::relax(); }
  };
  using Shootdown = slat::x86_64::Shootdown<slat::x86_64::Presence::entered, CountedMachine<Machine>, 1>;
  using Format = typename Way::Format;
  using Hook = RecordedHook<CountedHook<typename Shootdown::Hook>>;
  using Table = slat::PageTable<Format, slat::FramePool, Hook>;
  using Source = slat::PageSource<slat::FramePool>;
  using Memory = GuestMemory<Table, Source>;
  using EndSnapshot = Snapshot<ThirdSerialPort>;

  /// All that is given outlives this.
  Hypervisor(Way& way, Shootdown& shootdown, Table table, slat::FramePool& frames, Source& pages,
             const InvalidationCounts& counts, EndSnapshot& snapshot)
      : way_{way},
        shootdown_{shootdown},
        memory_{std::move(table), frames, pages},
        counts_{counts},
        snapshot_{snapshot} {}

  Memory& memory() { return memory_; }

  /// Runs the guest, whose pieces have been copied and whose are the interrupts, so that here they are off, until its
  /// end, which is the end of the program.
  [[noreturn]] void run_guest(const LoadedGuest& guest, const Traps& traps) {
    auto const& table = memory_.table();
    typename Way::Vcpu vcpu{way_, table.format(), table.root(), traps};
    vcpu.start(guest.start);
    vcpu.registers() = guest.registers;
    shootdown_.load(0, table.root());
    for (;;) {
      if (!shootdown_.enter(0)) die("an invalidation failed");
      auto const exit = vcpu.run();
      shootdown_.leave(0);
      handle(vcpu, exit);
    }
  }

 private:
  static constexpr std::uint64_t success = 0;
  static constexpr std::uint64_t failed = 1;
  static constexpr std::uint8_t undefined_opcode = 6;
  static constexpr std::uint8_t general_protection = 13;

  void handle(auto& vcpu, const Exit& exit) {
    auto& registers = vcpu.registers();
    switch (exit.why) {
      case Why::interrupt: return;
      case Why::memory: return handle_fault(vcpu, exit);
      case Why::cpuid: return answer_cpuid(vcpu, exit);
      case Why::port: return handle_port(vcpu, exit);
      case Why::read_msr: return answer_read_msr(vcpu, exit);
      case Why::write_msr: return answer_write_msr(vcpu, exit);
      case Why::xsetbv: {
        auto const index = static_cast<std::uint32_t>(registers.rcx);
        auto const supported = cpuid(0xd);
        if (!valid_xcr(index, pair(registers), std::uint64_t{supported.edx} << 32 | supported.eax)) return refuse(vcpu);
        // The hypervisor uses none of what this turns on: the register stays the guest's.
        write_xcr(index, pair(registers));
        return vcpu.skip(exit);
      }
      case Why::hypercall: return vcpu.inject_exception(undefined_opcode, {});
      case Why::halt:
        // Asleep with its interrupts off, the only CPU never wakes: this is how a kernel turns off a PC without ACPI.
        if ((vcpu.rflags() >> 9 & 1) == 0) power_off();
        return vcpu.sleep(exit);
      case Why::shutdown: end(vcpu, "shut its CPU down by a triple fault", exit);
      case Why::misconfigured: die("a nested table is malformed");
      case Why::log_full:
      case Why::other: break;
    }
    if (Way::is_virtualisation(exit)) return vcpu.inject_exception(undefined_opcode, {});
    end(vcpu, "did what the hypervisor does not know", exit);
  }

  void handle_fault(auto& vcpu, const Exit& exit) {
    auto const resolution = memory_.fault(exit.at, exit.wanted);
    if (!resolution) {
      print(console, "hv: cannot resolve a fault at ", Hex{exit.at.raw()}, ": ", resolution.error(), "\n");
      finish(failed);
    }
    switch (*resolution) {
      case slat::Resolution::mapped:
      case slat::Resolution::busy: return;
      case slat::Resolution::spurious:
        // Intel's manual says that the fault has dropped what caused it. AMD's is asked for no such promise.
        if (!way_.invalidate(memory_.table().root())) die("an invalidation failed");
        return;
      case slat::Resolution::emulate:
      case slat::Resolution::denied:
      case slat::Resolution::unknown: break;
    }
    // A PC would answer with ones. To do so takes an interpreter of instructions: this machine says #GP instead. Where
    // an event was being delivered no exception can be, either.
    if (exit.delivering) end(vcpu, "has no memory where an interrupt or exception takes it", exit);
    refuse(vcpu);
  }

  void answer_cpuid(auto& vcpu, const Exit& exit) {
    auto& registers = vcpu.registers();
    auto const leaf = static_cast<std::uint32_t>(registers.rax);
    auto const subleaf = static_cast<std::uint32_t>(registers.rcx);
    auto const answer = guest_cpuid(leaf, subleaf, own_cpuid(leaf, subleaf), vcpu.cr4());
    registers.rax = answer.eax;
    registers.rbx = answer.ebx;
    registers.rcx = answer.ecx;
    registers.rdx = answer.edx;
    vcpu.skip(exit);
  }

  // EFER comes here where the hardware does not keep the host's part of it from the guest.
  void answer_read_msr(auto& vcpu, const Exit& exit) {
    auto& registers = vcpu.registers();
    auto const index = static_cast<std::uint32_t>(registers.rcx);
    auto value = read_msr_as(index);
    if constexpr (requires { vcpu.efer(); })
      if (index == msr::efer) value = vcpu.efer();
    if (!value) return refuse(vcpu);
    registers.rax = static_cast<std::uint32_t>(*value);
    registers.rdx = *value >> 32;
    vcpu.skip(exit);
  }
  void answer_write_msr(auto& vcpu, const Exit& exit) {
    auto const& registers = vcpu.registers();
    auto const index = static_cast<std::uint32_t>(registers.rcx);
    auto const current = passes_msr(index, Direction::read) ? read_msr(index) : 0;
    auto taken = written_msr(index, pair(registers), current) == MsrAnswer::ignore;
    if constexpr (requires { vcpu.efer(); })
      if (index == msr::efer) taken = vcpu.write_efer(pair(registers));
    if (!taken) return refuse(vcpu);
    vcpu.skip(exit);
  }

  void handle_port(auto& vcpu, const Exit& exit) {
    // INS and OUTS would have to reach guest memory, by the guest's own translation.
    if (exit.string) return refuse(vcpu);
    auto& rax = vcpu.registers().rax;
    auto const mask = ~std::uint32_t{0} >> (32 - 8 * exit.bytes);
    auto const value = static_cast<std::uint32_t>(rax) & mask;
    auto read = mask;
    switch (ports_.serve({exit.port, exit.bytes, exit.in, value})) {
      case PortAnswer::power_off: power_off();
      case PortAnswer::reset: end(vcpu, "asked for a reset", exit);
      case PortAnswer::absent: break;
      case PortAnswer::forward:
        if (exit.in)
          read = port_in(exit.port, exit.bytes);
        else
          port_out(exit.port, exit.bytes, value);
        break;
    }
    // As with any instruction, 32 bits clear the upper half, and fewer leave the rest.
    if (exit.in) rax = exit.bytes == 4 ? read : (rax & ~std::uint64_t{mask}) | read;
    vcpu.skip(exit);
  }

  static std::uint32_t port_in(std::uint16_t port, std::uint8_t bytes) {
    return bytes == 1 ? in8(port) : bytes == 2 ? in16(port) : in32(port);
  }
  static void port_out(std::uint16_t port, std::uint8_t bytes, std::uint32_t value) {
    if (bytes == 1)
      out8(port, static_cast<std::uint8_t>(value));
    else if (bytes == 2)
      out16(port, static_cast<std::uint16_t>(value));
    else
      out32(port, value);
  }

  static std::uint64_t pair(const Registers& registers) {
    return registers.rdx << 32 | static_cast<std::uint32_t>(registers.rax);
  }
  void refuse(auto& vcpu) { vcpu.inject_exception(general_protection, 0); }

  [[noreturn]] void power_off() {
    finish(print_end(console, memory_, counts_, Way::invalidations, snapshot_) ? success : failed);
  }
  [[noreturn]] void end(auto& vcpu, std::string_view what, const Exit& exit) {
    print(console, "slat: the guest ", what, " (exit ", Hex{exit.code}, ", ", Hex{exit.details}, " at ",
          Hex{vcpu.rip()}, ", address ", Hex{exit.at.raw()}, ")\n");
    finish(failed);
  }

  Way& way_;
  Shootdown& shootdown_;
  Memory memory_;
  const InvalidationCounts& counts_;
  EndSnapshot& snapshot_;
  PortPolicy ports_;
};

}  // namespace hv
