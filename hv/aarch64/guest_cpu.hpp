#pragma once

// Makes this CPU ready to run a guest at EL1: what traps, what does not, and the state in which firmware would hand
// over a CPU. The guest has the interrupt controller, the timers, the UART and floating point to itself.

#include <cstdint>

#include <slat/arch/aarch64/features.hpp>

namespace hv {

/// The identification registers of this CPU. The later ones by number: an assembler for Armv8.0 does not know their
/// names.
inline slat::aarch64::IdRegisters id_registers() {
  slat::aarch64::IdRegisters id;
  asm("mrs %0, midr_el1" : "=r"(id.midr));
  asm("mrs %0, id_aa64mmfr0_el1" : "=r"(id.mmfr0));
  asm("mrs %0, id_aa64mmfr1_el1" : "=r"(id.mmfr1));
  asm("mrs %0, s3_0_c0_c7_2" : "=r"(id.mmfr2));  // ID_AA64MMFR2_EL1
  asm("mrs %0, id_aa64isar0_el1" : "=r"(id.isar0));
  return id;
}

namespace hcr {
inline constexpr std::uint64_t swio = 1ull << 1;  // invalidating a cache by set and way cleans too
inline constexpr std::uint64_t dc = 1ull << 12;   // guest without MMU: its memory is write-back all the same
inline constexpr std::uint64_t tsc = 1ull << 19;  // SMC comes here: the guest must not call the real firmware
inline constexpr std::uint64_t rw = 1ull << 31;   // EL1 is AArch64
inline constexpr std::uint64_t apk = 1ull << 40;  // pointer authentication, where there is any, does not trap
inline constexpr std::uint64_t api = 1ull << 41;
}  // namespace hcr

struct Stage2Registers {
  std::uint64_t vtcr;
  std::uint64_t vttbr;
  std::uint64_t hcr;  // what the tables' format wants in HCR_EL2
};

/// Floating point, SVE and SME go to the guest at their full lengths. [arm/a-profile] CPTR_EL2
inline void give_vectors_to_guest() {
  std::uint64_t pfr0;
  std::uint64_t pfr1;
  asm("mrs %0, id_aa64pfr0_el1; mrs %1, id_aa64pfr1_el1" : "=r"(pfr0), "=r"(pfr1));
  bool const sve = (pfr0 >> 32 & 0xf) != 0;
  bool const sme = (pfr1 >> 24 & 0xf) != 0;
  // Bits 8 and 12 trap SVE and SME where these exist and are RES1 elsewhere.
  std::uint64_t const cptr = 0x22ff | (sve ? 0u : 1u << 8) | (sme ? 0u : 1u << 12);
  asm volatile("msr cptr_el2, %0; isb" : : "r"(cptr));
  if (sve) asm volatile("msr s3_4_c1_c2_0, %0" : : "r"(0xfull));          // ZCR_EL2.LEN
  if (sme) asm volatile("msr s3_4_c1_c2_6, %0" : : "r"(0x8000'000full));  // SMCR_EL2.FA64, LEN
}

/// Performance counters, timers and the GIC's CPU interface without traps; the machine's own identity.
inline void give_devices_to_guest() {
  std::uint64_t dfr0;
  asm("mrs %0, id_aa64dfr0_el1" : "=r"(dfr0));
  auto const pmu = dfr0 >> 8 & 0xf;
  std::uint64_t counters = 0;
  if (pmu != 0 && pmu != 0xf) asm volatile("mrs %0, pmcr_el0" : "=r"(counters));
  asm volatile("msr mdcr_el2, %0" : : "r"(counters >> 11 & 0x1f));  // HPMN: all of them
  asm volatile("msr hstr_el2, xzr");
  asm volatile("msr cnthctl_el2, %0; msr cntvoff_el2, xzr" : : "r"(3ull));
  asm volatile("msr s3_4_c12_c9_5, %0; isb" : : "r"(0xfull));  // ICC_SRE_EL2: system registers, here and at EL1
  asm volatile("msr s3_4_c12_c11_0, xzr");                     // ICH_HCR_EL2: no virtual interface
  std::uint64_t identity;
  asm volatile("mrs %0, midr_el1; msr vpidr_el2, %0; mrs %0, mpidr_el1; msr vmpidr_el2, %0" : "=&r"(identity));
}

/// `extra` is or-ed into HCR_EL2.
inline void prepare_guest_cpu(const Stage2Registers& stage2, std::uint64_t extra = 0) {
  give_vectors_to_guest();
  give_devices_to_guest();
  constexpr std::uint64_t sctlr_el1_off = 0x30d0'0800;  // MMU and caches off, the rest RES1
  std::uint64_t const controls = stage2.hcr | hcr::swio | hcr::rw | hcr::tsc | hcr::apk | hcr::api | extra;
  asm volatile("msr sctlr_el1, %0" : : "r"(sctlr_el1_off));
  asm volatile("msr vtcr_el2, %0; msr vttbr_el2, %1" : : "r"(stage2.vtcr), "r"(stage2.vttbr));
  asm volatile("msr hcr_el2, %0; isb" : : "r"(controls));
}

}  // namespace hv
