#pragma once

// The values that make an Intel CPU walk what an Ept format writes, and forget what it has walked. Pure: who writes the
// VMCS and executes INVEPT is no matter here.

#include <array>
#include <cstdint>

#include <slat/arch/x86_64/ept.hpp>
#include <slat/mm/result.hpp>

namespace slat::x86_64 {

/// EPTP: where to walk, how deep, through the caches where the CPU can, and whether A and D are set. INVEPT wants the
/// same word. [intel/vol3] "Extended-page-table pointer (EPTP)".
constexpr std::uint64_t eptp(const Ept& format, HostPhys root) {
  constexpr std::uint64_t write_back = 6;
  return root.raw() | (format.hardware_age().dirty ? 1ull << 6 : 0) | std::uint64_t{format.geometry().root} << 3 |
         (format.write_back_tables() ? write_back : 0);
}

/// The bits of the secondary processor-based controls that the format counts on: EPT, and mode-based execution. A
/// format without it wants that bit clear. [intel/vol3] "Processor-based VM-execution controls".
constexpr std::uint32_t secondary_controls(const Ept& format) {
  return 1u << 1 | (format.mode_based_execute() ? 1u << 22 : 0);
}
/// The bits of the controls that secondary_controls() decides.
inline constexpr std::uint32_t secondary_controls_mask = 1u << 1 | 1u << 22;

/// One INVEPT: the type in a register, and what it reads, an EPTP and 64 bits of 0.
struct InveptOperands {
  std::uint64_t type;                       // 1: one EPTP, 2: all
  std::array<std::uint64_t, 2> descriptor;  // the EPTP or 0, and 0
  friend constexpr bool operator==(const InveptOperands&, const InveptOperands&) = default;
};

/// What makes the executing CPU, and no other, forget every translation that came by way of `eptp`: combined ones and
/// table pointers too, and no more than that where the CPU can do with less than everything. Refused where it has no
/// INVEPT: nothing else would do. [intel/vol3] "INVEPT", "Operations that invalidate cached mappings".
constexpr Result<InveptOperands> invept_operands(const EptFeatures& cpu, std::uint64_t eptp) {
  constexpr std::uint64_t single_context = 1, all_contexts = 2;
  if (cpu.invept_single) return InveptOperands{single_context, {eptp, 0}};
  if (cpu.invept_all) return InveptOperands{all_contexts, {0, 0}};
  return Error{Errc::unsupported};
}

// Four levels (3 << 3), uncached and without A/D; then write-back (6) and A/D (40).
static_assert(eptp(detail::plain_ept, HostPhys{0x8000'1000}) == 0x0000'0000'8000'1018);
static_assert(eptp(*Ept::create({.accessed_dirty = true, .write_back_tables = true}, {}), HostPhys{0x8000'1000}) ==
              0x0000'0000'8000'105E);
static_assert(secondary_controls(detail::full_ept) == 0x0040'0002);

}  // namespace slat::x86_64
