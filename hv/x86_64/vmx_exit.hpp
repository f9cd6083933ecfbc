#pragma once

// Why a guest under VMX came back: the VMCS's exit fields, taken apart by pure functions.
//
// [intel/vol3] "Basic VM-Exit Information", "Exit Qualification".

#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

#include "hv/x86_64/vcpu.hpp"

namespace hv::vmx {

/// Basic exit reasons that mean something here. [intel/vol3] "VMX Basic Exit Reasons"
namespace reason {
inline constexpr std::uint32_t exception = 0;
inline constexpr std::uint32_t external_interrupt = 1;
inline constexpr std::uint32_t triple_fault = 2;
inline constexpr std::uint32_t cpuid = 10;
inline constexpr std::uint32_t hlt = 12;
inline constexpr std::uint32_t vmcall = 18;
inline constexpr std::uint32_t control_register = 28;
inline constexpr std::uint32_t port = 30;
inline constexpr std::uint32_t rdmsr = 31;
inline constexpr std::uint32_t wrmsr = 32;
inline constexpr std::uint32_t ept_violation = 48;
inline constexpr std::uint32_t ept_misconfiguration = 49;
inline constexpr std::uint32_t xsetbv = 55;
inline constexpr std::uint32_t page_log_full = 62;
/// Bit 31 of the reason: the guest was never entered.
inline constexpr std::uint32_t entry_failed = 1u << 31;
}  // namespace reason

/// The exit fields as the hardware left them.
struct RawExit {
  std::uint32_t reason = 0;
  std::uint64_t qualification = 0;
  std::uint64_t guest_physical = 0;
  std::uint32_t length = 0;     // of the instruction, where one caused it
  std::uint32_t vectoring = 0;  // the event in whose delivery the exit fell
  std::uint32_t vectoring_error = 0;
  bool user = false;  // the guest was at privilege level 3
};

constexpr std::uint32_t basic(std::uint32_t raw_reason) { return raw_reason & 0xffff; }

/// Whether an instruction is what made the guest exit, so that its length is known.
/// [intel/vol3] "Information for VM Exits Due to Instruction Execution"
constexpr bool is_by_instruction(std::uint32_t raw_reason) {
  switch (basic(raw_reason)) {
    case reason::cpuid:
    case reason::hlt:
    case reason::vmcall:
    case reason::control_register:
    case reason::port:
    case reason::rdmsr:
    case reason::wrmsr:
    case reason::xsetbv: return true;
    default: return false;
  }
}

/// Qualification of an EPT violation. [intel/vol3] "Exit Qualification for EPT Violations"
struct Violation {
  bool read, write, fetch;
  bool readable, writable, executable;  // what all entries of the walk together allowed
  bool linear;                          // the access had a linear address
  bool final;                           // the access itself, not the guest's walk towards it; known only if linear

  constexpr explicit Violation(std::uint64_t q)
      : read{(q & 1) != 0},
        write{(q >> 1 & 1) != 0},
        fetch{(q >> 2 & 1) != 0},
        readable{(q >> 3 & 1) != 0},
        writable{(q >> 4 & 1) != 0},
        executable{(q >> 5 & 0b11) != 0},  // bit 6: by the user level, where the two differ
        linear{(q >> 7 & 1) != 0},
        final{(q >> 8 & 1) != 0} {}

  /// With A/D bits the guest's walks count as writes, and hardware says so: as "read and write", or as "write".
  constexpr slat::Prot wanted(bool user) const {
    if (write) return slat::Prot::w;
    if (fetch) return user ? slat::Prot::x_user : slat::Prot::x_supervisor;
    return slat::Prot::r;
  }
};

/// Qualification of a port access. [intel/vol3] "Exit Qualification for I/O Instructions"
struct PortAccess {
  std::uint8_t bytes;
  bool in;
  bool string;  // INS, OUTS: memory is the other end, not RAX
  std::uint16_t port;

  constexpr explicit PortAccess(std::uint64_t q)
      : bytes{static_cast<std::uint8_t>((q & 0b111) + 1)},
        in{(q >> 3 & 1) != 0},
        string{(q >> 4 & 1) != 0},
        port{static_cast<std::uint16_t>(q >> 16)} {}
};

/// Qualification of an access to a control register.
/// [intel/vol3] "Exit Qualification for Control-Register Accesses"
struct ControlRegisterAccess {
  enum class Kind : std::uint8_t { write, read, clear_task_switched, load_machine_status };

  std::uint8_t number;
  Kind kind;
  std::uint8_t general;  // the general register at the other end, as instructions number them: 4 is RSP

  constexpr explicit ControlRegisterAccess(std::uint64_t q)
      : number{static_cast<std::uint8_t>(q & 0xf)},
        kind{static_cast<Kind>(q >> 4 & 0b11)},
        general{static_cast<std::uint8_t>(q >> 8 & 0xf)} {}
};

/// Whether the guest set CR4.VMXE, the only bit of a control register that is not its own: a #GP on a CPU without VMX,
/// which is what the guest has.
constexpr bool asks_for_vmx(const RawExit& raw) {
  if (basic(raw.reason) != reason::control_register) return false;
  ControlRegisterAccess const access{raw.qualification};
  return access.number == 4 && access.kind == ControlRegisterAccess::Kind::write;
}

constexpr Exit decode(const RawExit& raw) {
  Exit exit{};
  exit.why = Why::other;
  exit.code = raw.reason;
  exit.details = raw.qualification;
  exit.delivering = (raw.vectoring >> 31 & 1) != 0;
  if (is_by_instruction(raw.reason)) exit.length = static_cast<std::uint8_t>(raw.length);
  switch (basic(raw.reason)) {
    case reason::external_interrupt: exit.why = Why::interrupt; break;
    case reason::triple_fault: exit.why = Why::shutdown; break;
    case reason::cpuid: exit.why = Why::cpuid; break;
    case reason::hlt: exit.why = Why::halt; break;
    case reason::vmcall: exit.why = Why::hypercall; break;
    case reason::rdmsr: exit.why = Why::read_msr; break;
    case reason::wrmsr: exit.why = Why::write_msr; break;
    case reason::xsetbv: exit.why = Why::xsetbv; break;
    case reason::page_log_full: exit.why = Why::log_full; break;
    case reason::port: {
      PortAccess const access{raw.qualification};
      exit.why = Why::port;
      exit.string = access.string;
      exit.port = access.port;
      exit.bytes = access.bytes;
      exit.in = access.in;
      break;
    }
    case reason::ept_violation: {
      Violation const violation{raw.qualification};
      exit.why = Why::memory;
      exit.at = slat::GuestPhys{raw.guest_physical};
      exit.wanted = violation.wanted(raw.user);
      exit.absent = !violation.readable && !violation.writable && !violation.executable;
      exit.instruction = violation.fetch;
      exit.guest_walk = violation.linear && !violation.final;
      break;
    }
    case reason::ept_misconfiguration:
      exit.why = Why::misconfigured;
      exit.at = slat::GuestPhys{raw.guest_physical};
      break;
    default: break;
  }
  return exit;
}

}  // namespace hv::vmx
