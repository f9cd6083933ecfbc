#pragma once

// Model-specific and control registers, CPUID, the flag that lets interrupts in: one instruction each.

#include <cstdint>

namespace hv {

namespace msr {
inline constexpr std::uint32_t apic_base = 0x1b;
inline constexpr std::uint32_t efer = 0xc000'0080;
}  // namespace msr

inline std::uint64_t read_msr(std::uint32_t number) {
  std::uint32_t low;
  std::uint32_t high;
  asm volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(number));
  return std::uint64_t{high} << 32 | low;
}
inline void write_msr(std::uint32_t number, std::uint64_t value) {
  asm volatile("wrmsr"
               :
               : "c"(number), "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32))
               : "memory");
}

struct CpuidAnswer {
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};
inline CpuidAnswer cpuid(std::uint32_t leaf, std::uint32_t subleaf = 0) {
  CpuidAnswer r;
  asm volatile("cpuid" : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx) : "a"(leaf), "c"(subleaf));
  return r;
}

inline std::uint64_t read_cr0() {
  std::uint64_t value;
  asm volatile("mov %%cr0, %0" : "=r"(value));
  return value;
}
inline std::uint64_t read_cr2() {
  std::uint64_t value;
  asm volatile("mov %%cr2, %0" : "=r"(value));
  return value;
}
inline std::uint64_t read_cr3() {
  std::uint64_t value;
  asm volatile("mov %%cr3, %0" : "=r"(value));
  return value;
}
inline std::uint64_t read_cr4() {
  std::uint64_t value;
  asm volatile("mov %%cr4, %0" : "=r"(value));
  return value;
}
inline void write_cr0(std::uint64_t value) { asm volatile("mov %0, %%cr0" : : "r"(value) : "memory"); }
inline void write_cr4(std::uint64_t value) { asm volatile("mov %0, %%cr4" : : "r"(value) : "memory"); }

/// An extended control register, while CR4.OSXSAVE is set.
inline void write_xcr(std::uint32_t number, std::uint64_t value) {
  asm volatile("xsetbv"
               :
               : "c"(number), "a"(static_cast<std::uint32_t>(value)), "d"(static_cast<std::uint32_t>(value >> 32))
               : "memory");
}

inline std::uint64_t time_stamp() {
  std::uint32_t low;
  std::uint32_t high;
  asm volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
  return std::uint64_t{high} << 32 | low;
}

inline void interrupts_on() { asm volatile("sti" : : : "memory"); }
inline void interrupts_off() { asm volatile("cli" : : : "memory"); }
inline bool interrupts_are_on() {
  std::uint64_t flags;
  asm volatile("pushfq; popq %0" : "=r"(flags) : : "memory");
  return (flags >> 9 & 1) != 0;
}
inline void relax() { asm volatile("pause" : : : "memory"); }

}  // namespace hv
