#pragma once

// What a stage-2 abort was about: the syndrome registers, taken apart by pure functions. [arm/a-profile] ESR_EL2,
// "ISS encoding for an exception from a Data Abort", HPFAR_EL2

#include <cstdint>
#include <optional>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace hv {

/// ESR_EL2.EC of the exceptions that a guest may cause.
enum class Cause : std::uint8_t { hvc = 0x16, smc = 0x17, instruction_abort = 0x20, data_abort = 0x24 };
constexpr Cause cause(std::uint64_t esr) { return static_cast<Cause>(esr >> 26 & 0x3f); }

struct Abort {
  enum class Kind : std::uint8_t { translation, access_flag, permission, conflict, other };
  Kind kind;
  slat::Prot wanted;
  bool instruction;  // fetch, not data
  bool stage1_walk;  // the guest's own walk of its stage-1 tables faulted, or its update of them
};

/// `esr` is of an instruction or data abort; `pstate` is the guest's.
constexpr Abort decode_abort(std::uint64_t esr, std::uint64_t pstate) {
  auto const kind = [esr] {
    switch (esr & 0x3f) {
      case 0x04:
      case 0x05:
      case 0x06:
      case 0x07: return Abort::Kind::translation;
      case 0x08:
      case 0x09:
      case 0x0a:
      case 0x0b: return Abort::Kind::access_flag;
      case 0x0c:
      case 0x0d:
      case 0x0e:
      case 0x0f: return Abort::Kind::permission;
      case 0x30: return Abort::Kind::conflict;
      default: return Abort::Kind::other;
    }
  }();
  bool const instruction = cause(esr) == Cause::instruction_abort;
  bool const walk = (esr >> 7 & 1) != 0;
  // A walk may set an accessed or dirty bit in the guest's table: QEMU then says "read", so a walk that lacks a right
  // is taken to lack the right to write.
  bool const writes = ((esr >> 6 & 1) != 0 && !instruction) || (walk && kind == Abort::Kind::permission);
  bool const user = (pstate & 0xf) == 0;
  auto const wanted = writes                 ? slat::Prot::w
                      : walk || !instruction ? slat::Prot::r
                      : user                 ? slat::Prot::x_user
                                             : slat::Prot::x_supervisor;
  return {kind, wanted, instruction, walk};
}

/// Whether HPFAR_EL2 holds the address: after a lack of rights it does only for a walk.
constexpr bool has_fault_address(const Abort& abort) {
  return abort.kind != Abort::Kind::permission || abort.stage1_walk;
}

/// The guest address out of HPFAR_EL2 (its page) and FAR_EL2 (the offset, which for a walk is another address's).
constexpr slat::GuestPhys fault_address(std::uint64_t hpfar, std::uint64_t far, const Abort& abort) {
  auto const page = (hpfar & 0xfff'ffff'fff0) << 8;
  return slat::GuestPhys{page | (abort.stage1_walk ? 0 : far & 0xfff)};
}

/// The same out of PAR_EL1, after AT S1E1R of the faulting virtual address. Nothing when the guest's own tables do not
/// translate it any more: then it has to try again.
constexpr std::optional<slat::GuestPhys> translated(std::uint64_t par, std::uint64_t far) {
  if (par & 1) return std::nullopt;
  return slat::GuestPhys{(par & 0xf'ffff'ffff'f000) | (far & 0xfff)};
}

}  // namespace hv
