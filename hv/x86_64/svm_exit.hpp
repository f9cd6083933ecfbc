#pragma once

// Why a guest came back, out of its VMCB. [amd/vol2] Appendix "SVM intercept exit codes", "Nested page faults"

#include <cstdint>

#include "hv/x86_64/svm_vmcb.hpp"
#include "hv/x86_64/vcpu.hpp"

namespace hv::svm {

namespace exit_code {
inline constexpr std::uint64_t interrupt = 0x60;
inline constexpr std::uint64_t cpuid = 0x72;
inline constexpr std::uint64_t halt = 0x78;
inline constexpr std::uint64_t port = 0x7b;
inline constexpr std::uint64_t msr = 0x7c;
inline constexpr std::uint64_t shutdown = 0x7f;
inline constexpr std::uint64_t vmmcall = 0x81;
inline constexpr std::uint64_t xsetbv = 0x8d;
inline constexpr std::uint64_t nested_page_fault = 0x400;
inline constexpr std::uint32_t invalid = ~0u;  // the lower half: QEMU leaves the upper one 0
}  // namespace exit_code

/// EXITINFO1 of a nested page fault is a page fault's error code, and where in the guest's access it came.
constexpr void decode_fault(Exit& exit, const Vmcb& vmcb) {
  auto const has = [&](unsigned bit) { return (vmcb.exit_info_1 >> bit & 1) != 0; };
  // A walk of the guest's tables is a write to the nested walk, for the A and D bits that it may set.
  bool const write = has(1);
  exit.instruction = has(4);
  exit.guest_walk = has(33);
  exit.wanted = write ? slat::Prot::w : exit.instruction ? slat::Prot::x : slat::Prot::r;
  // Some emulated CPUs say "not present" of an entry with a reserved bit, too.
  bool const reserved = has(3);
  exit.why = reserved ? Why::misconfigured : Why::memory;
  exit.absent = !reserved && !has(0);
  exit.at = slat::GuestPhys{vmcb.exit_info_2};
}

/// EXITINFO1 of IN, OUT: the port in 31:16, the size in 6:4, string in 2, direction in 0; EXITINFO2 is the next RIP.
constexpr void decode_port(Exit& exit, const Vmcb& vmcb) {
  exit.why = Why::port;
  exit.port = static_cast<std::uint16_t>(vmcb.exit_info_1 >> 16);
  exit.bytes = static_cast<std::uint8_t>(vmcb.exit_info_1 >> 4 & 7);
  exit.in = (vmcb.exit_info_1 & 1) != 0;
  exit.string = (vmcb.exit_info_1 >> 2 & 1) != 0;
  exit.length = static_cast<std::uint8_t>(vmcb.exit_info_2 - vmcb.rip);
}

/// The lengths of instructions by what they are, because not every CPU saves the next RIP.
constexpr Exit decode(const Vmcb& vmcb) {
  Exit exit{.why = Why::other, .code = vmcb.exit_code, .details = vmcb.exit_info_1};
  exit.delivering = (vmcb.exit_event >> 31 & 1) != 0;
  auto const is = [&](Why why, std::uint8_t length) {
    exit.why = why;
    exit.length = length;
  };
  switch (vmcb.exit_code) {
    case exit_code::interrupt: exit.why = Why::interrupt; break;
    case exit_code::cpuid: is(Why::cpuid, 2); break;
    case exit_code::halt: is(Why::halt, 1); break;
    case exit_code::port: decode_port(exit, vmcb); break;
    case exit_code::msr: is((vmcb.exit_info_1 & 1) != 0 ? Why::write_msr : Why::read_msr, 2); break;
    case exit_code::shutdown: exit.why = Why::shutdown; break;
    case exit_code::vmmcall: is(Why::hypercall, 3); break;
    case exit_code::xsetbv: is(Why::xsetbv, 3); break;
    case exit_code::nested_page_fault: decode_fault(exit, vmcb); break;
    default: break;
  }
  return exit;
}

}  // namespace hv::svm
