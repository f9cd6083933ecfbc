#pragma once

// The page by which an AMD CPU and its hypervisor talk about a guest. [amd/vol2] Appendix "Layout of VMCB"

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv::svm {

/// Attributes packed: type 3:0, S 4, DPL 6:5, P 7, AVL 8, L 9, D/B 10, G 11.
struct Segment {
  std::uint16_t selector = 0;
  std::uint16_t attributes = 0;
  std::uint32_t limit = 0;
  std::uint64_t base = 0;
};

struct alignas(4096) Vmcb {
  // What the hypervisor wants, and what happened.
  std::uint32_t cr_intercepts = 0;
  std::uint32_t dr_intercepts = 0;
  std::uint32_t exception_intercepts = 0;
  std::uint32_t intercepts = 0;  // see intercept
  std::uint32_t more_intercepts = 0;
  std::array<std::uint32_t, 11> reserved_1{};
  std::uint64_t port_map = 0;
  std::uint64_t msr_map = 0;
  std::uint64_t time_offset = 0;
  std::uint32_t asid = 0;
  std::uint8_t tlb_control = 0;
  std::array<std::uint8_t, 3> reserved_2{};
  std::uint64_t virtual_interrupts = 0;
  std::uint64_t interrupt_shadow = 0;
  std::uint64_t exit_code = 0;
  std::uint64_t exit_info_1 = 0;
  std::uint64_t exit_info_2 = 0;
  std::uint64_t exit_event = 0;  // EXITINTINFO
  std::uint64_t nested_paging = 0;
  std::array<std::uint64_t, 2> reserved_3{};
  std::uint64_t event = 0;  // EVENTINJ
  std::uint64_t nested_cr3 = 0;
  std::uint64_t branch_records = 0;
  std::uint32_t clean = 0;
  std::uint32_t reserved_4 = 0;
  std::uint64_t next_rip = 0;
  std::array<std::uint64_t, 102> reserved_5{};

  // The guest's state.
  Segment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
  std::array<std::uint8_t, 43> reserved_6{};
  std::uint8_t privilege = 0;
  std::uint32_t reserved_7 = 0;
  std::uint64_t efer = 0;
  std::array<std::uint64_t, 14> reserved_8{};
  std::uint64_t cr4 = 0, cr3 = 0, cr0 = 0, dr7 = 0, dr6 = 0, rflags = 0, rip = 0;
  std::array<std::uint64_t, 11> reserved_9{};
  std::uint64_t rsp = 0;
  std::array<std::uint64_t, 3> reserved_10{};
  std::uint64_t rax = 0, star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0;
  std::uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0, cr2 = 0;
  std::array<std::uint64_t, 4> reserved_11{};
  std::uint64_t pat = 0;
  std::array<std::uint8_t, 0x990> reserved_12{};
};

static_assert(sizeof(Vmcb) == 4096);
static_assert(offsetof(Vmcb, intercepts) == 0x0c && offsetof(Vmcb, port_map) == 0x40);
static_assert(offsetof(Vmcb, asid) == 0x58 && offsetof(Vmcb, tlb_control) == 0x5c);
static_assert(offsetof(Vmcb, virtual_interrupts) == 0x60 && offsetof(Vmcb, interrupt_shadow) == 0x68);
static_assert(offsetof(Vmcb, exit_code) == 0x70 && offsetof(Vmcb, exit_event) == 0x88);
static_assert(offsetof(Vmcb, nested_paging) == 0x90 && offsetof(Vmcb, event) == 0xa8);
static_assert(offsetof(Vmcb, nested_cr3) == 0xb0 && offsetof(Vmcb, clean) == 0xc0 && offsetof(Vmcb, next_rip) == 0xc8);
static_assert(offsetof(Vmcb, es) == 0x400 && offsetof(Vmcb, tr) == 0x490 && offsetof(Vmcb, privilege) == 0x4cb);
static_assert(offsetof(Vmcb, efer) == 0x4d0 && offsetof(Vmcb, cr4) == 0x548 && offsetof(Vmcb, rip) == 0x578);
static_assert(offsetof(Vmcb, rsp) == 0x5d8 && offsetof(Vmcb, rax) == 0x5f8 && offsetof(Vmcb, cr2) == 0x640);
static_assert(offsetof(Vmcb, pat) == 0x668);

/// At 0CH.
namespace intercept {
inline constexpr std::uint32_t interrupt = 1u << 0;
inline constexpr std::uint32_t cpuid = 1u << 18;
inline constexpr std::uint32_t halt = 1u << 24;
inline constexpr std::uint32_t invlpga = 1u << 26;
inline constexpr std::uint32_t ports = 1u << 27;
inline constexpr std::uint32_t msrs = 1u << 28;
inline constexpr std::uint32_t shutdown = 1u << 31;
}  // namespace intercept

/// At 10H.
namespace more_intercept {
/// VMRUN, without which no guest is entered, VMMCALL, VMLOAD, VMSAVE, STGI, CLGI, SKINIT: what they do, or load and
/// save, is the host's.
inline constexpr std::uint32_t svm_instructions = 0x7f;
inline constexpr std::uint32_t xsetbv = 1u << 13;
}  // namespace more_intercept

}  // namespace hv::svm
