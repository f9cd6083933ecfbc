#pragma once

// What a virtual CPU is to the code above it, under VMX and under SVM: its registers, why it came back, how it goes on.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

#include "hv/x86_64/layout.h"

namespace hv {

/// The general registers, as the entry code keeps them. RSP, RIP and RFLAGS live in the VMCS or VMCB; RAX too under
/// SVM, where run() copies it.
struct Registers {
  std::uint64_t rax = 0, rcx = 0, rdx = 0, rbx = 0, rbp = 0, rsi = 0, rdi = 0;
  std::uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
};
static_assert(offsetof(Registers, rax) == REGISTERS_RAX && offsetof(Registers, rbp) == REGISTERS_RBP);
static_assert(offsetof(Registers, r8) == REGISTERS_R8 && offsetof(Registers, r15) == REGISTERS_R15);

/// Why the guest came back.
enum class Why : std::uint8_t {
  interrupt,      // the host's; it has been served
  memory,         // EPT violation, #NPF
  misconfigured,  // EPT misconfiguration, #NPF for a reserved bit
  log_full,       // the page-modification log
  halt,
  cpuid,
  read_msr,
  write_msr,
  port,
  xsetbv,
  hypercall,  // VMCALL, VMMCALL
  shutdown,   // triple fault
  other,
};

struct Exit {
  Why why = Why::other;
  std::uint64_t code = 0;     // as the hardware says it: exit reason, EXITCODE
  std::uint64_t details = 0;  // exit qualification, EXITINFO1

  // memory, misconfigured:
  slat::GuestPhys at{};
  slat::Prot wanted = slat::Prot::none;  // the right that the access needs
  bool absent = false;                   // nothing is mapped there; else a right lacks
  bool instruction = false;              // a fetch
  bool guest_walk = false;               // the guest's own walk of its tables, or its update of them
  bool delivering = false;               // an interrupt or exception, which the next entry delivers again

  // port:
  std::uint16_t port = 0;
  std::uint8_t bytes = 0;
  bool in = false;
  bool string = false;  // INS, OUTS: by way of memory and not of RAX

  std::uint8_t length = 0;  // of the instruction, for skip()
};

/// How a guest begins: at privilege level 0, with flat segments, interrupts as `rflags` says, all other state as after
/// a reset.
struct Start {
  enum class Mode : std::uint8_t { flat32 /* protected, no paging */, long64 /* `cr3` translates */ };
  Mode mode = Mode::long64;
  std::uint64_t rip = 0;
  std::uint64_t rsp = 0;
  std::uint64_t cr3 = 0;
  std::uint64_t rflags = 2;
};

/// A bit for each port whose use is an exit: what both kinds of hardware read, VMX the first 8 KiB, SVM also the ports
/// that an access of several bytes reaches behind the last one.
class PortBitmap {
 public:
  void add(std::uint16_t port) { bytes_[port / 8] = static_cast<std::uint8_t>(bytes_[port / 8] | 1u << port % 8); }
  void fill() { bytes_.fill(0xff); }
  slat::HostPhys address() const { return slat::HostPhys{reinterpret_cast<std::uint64_t>(bytes_.data())}; }

 private:
  alignas(4096) std::array<std::uint8_t, 3 * 4096> bytes_{};
};

/// MSRs, `first` to `last`, that the guest reads by itself and may also write.
struct PassedMsrs {
  std::uint32_t first;
  std::uint32_t last;
  bool write = true;
};

/// What the guest does not get to itself. CPUID, XSETBV, hypercalls and triple faults are exits in any case, and so are
/// the virtualisation instructions, as `other`.
struct Traps {
  bool interrupts = true;                 // the host's end the guest's turn, even where it masks its own
  bool halt = true;                       // HLT
  const PortBitmap* ports = nullptr;      // nothing: every port
  std::span<const std::uint32_t> msrs{};  // these, and every one above those that exist
  std::optional<std::span<const PassedMsrs>> only_msrs{};  // where given: all but these instead
};

/// One virtual CPU on the CPU that made it. What translates its memory is given to the constructor, after the manner of
/// the hardware.
template <class V>
concept Vcpu = requires(V& v, const V& reader, const Start& start, const Exit& exit, std::uint8_t vector,
                        std::optional<std::uint32_t> error) {
  /// Resets everything.
  { v.start(start) } -> std::same_as<void>;
  { v.registers() } -> std::same_as<Registers&>;
  { reader.rip() } -> std::same_as<std::uint64_t>;
  { reader.rflags() } -> std::same_as<std::uint64_t>;
  /// As the guest sees it.
  { reader.cr4() } -> std::same_as<std::uint64_t>;
  /// Enters the guest once, until something is to be done. Called with the host's interrupts off, and returns so: one
  /// that was pending at the entry, or came since, is an exit and is served before run() returns. Hence what was
  /// checked with interrupts off before run() holds at the entry. An event whose delivery was cut short by the exit is
  /// delivered at the next entry.
  { v.run() } -> std::same_as<Exit>;
  /// Past the instruction that exited, `exit.length` bytes long.
  { v.skip(exit) } -> std::same_as<void>;
  /// Past the HLT that exited, and asleep in the guest, from the next entry on, until an interrupt comes that is the
  /// guest's.
  { v.sleep(exit) } -> std::same_as<void>;
  /// At the next entry, in place of whatever else was to be delivered then.
  { v.inject_exception(vector, error) } -> std::same_as<void>;
};

}  // namespace hv
