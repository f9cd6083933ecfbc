#pragma once

// The values that make an AMD CPU walk what an Npt format writes, and forget what it has walked. Pure: who writes the
// VMCB is no matter here.

#include <cstdint>

#include <slat/arch/x86_64/npt.hpp>

namespace slat::x86_64 {

/// TLB_CONTROL, at 5CH: what the next VMRUN of this VMCB flushes first, on this CPU. [amd/vol2] "TLB control".
enum class TlbControl : std::uint8_t {
  nothing = 0,
  everything = 1,           // all ASIDs, the host's among them: every CPU can
  this_asid = 3,            // with NptFeatures::flush_by_asid
  this_asid_non_global = 7  // the same. Not enough after a change of nested tables: a guest's global pages stay
};

/// At 90H. [amd/vol2] "Enabling nested paging".
inline constexpr std::uint64_t np_enable = 1ull << 0;

/// N_CR3, at B0H. The root is read through the caches, as its tables are.
constexpr std::uint64_t nested_cr3(const Npt& format, HostPhys root) {
  constexpr std::uint64_t cacheability = 0b11ull << 3;  // PCD, PWT
  return root.raw() | (format.table(format.geometry().root, HostPhys{0}) & cacheability);
}

/// VMCB clean bits, at C0H, which promise the CPU that fields are as they were at the last VMRUN: the one for the ASID
/// is cleared when that changes; the one for nested paging when NP_ENABLE, N_CR3 or G_PAT does. TLB_CONTROL has none,
/// it is always read. [amd/vol2] "VMCB state caching".
/// @{
inline constexpr std::uint32_t clean_asid = 1u << 2;
inline constexpr std::uint32_t clean_nested_paging = 1u << 4;
/// @}

/// The bits of the host's own EFER and CR4 that the format counts on at VMRUN: NXE, and LA57 exactly as told, since the
/// nested walk is as deep as the host's own. [amd/vol2] "Nested paging and VMRUN/#VMEXIT".
/// @{
constexpr std::uint64_t host_efer(const Npt& format) { return format.uses_no_execute() ? 1ull << 11 : 0; }
constexpr std::uint64_t host_cr4(const Npt& format) { return format.geometry().root == 4 ? 1ull << 12 : 0; }
/// @}

static_assert(nested_cr3(detail::plain_npt, HostPhys{0x8000'1000}) == 0x8000'1000);
static_assert(host_efer(detail::plain_npt) == 0x800 && host_cr4(detail::plain_npt) == 0);

}  // namespace slat::x86_64
