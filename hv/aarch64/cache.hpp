#pragma once

// Cache maintenance by address, to the point of coherency. A guest starts with its MMU off, and then reads memory past
// the caches; unless stage 2 forces write-back (FEAT_S2FWB), what the hypervisor wrote must be cleaned out to where
// such reads see it, and lines that may hold older contents must go. Instruction caches do not look into data caches:
// after code was written they are invalidated too. No emulator at hand shows the lack of any of this.

#include <cstddef>
#include <cstdint>

namespace hv::cache {

/// Bytes in the smallest data cache line of the machine.
inline std::uint64_t line_size() {
  std::uint64_t type;
  asm("mrs %0, ctr_el0" : "=r"(type));
  return std::uint64_t{4} << (type >> 16 & 15);
}

template <class Instruction>
void each_line(const void* begin, std::size_t size, Instruction instruction) {
  auto const line = line_size();
  auto const first = reinterpret_cast<std::uint64_t>(begin);
  for (auto at = first & ~(line - 1); at < first + size; at += line) instruction(at);
  asm volatile("dsb sy" ::: "memory");
}

/// Dirty lines are written out, and no line stays.
inline void clean_and_invalidate(const void* begin, std::size_t size) {
  asm volatile("dsb sy" ::: "memory");
  each_line(begin, size, [](std::uint64_t at) { asm volatile("dc civac, %0" ::"r"(at) : "memory"); });
}

/// Lines are thrown away unwritten: only for memory written past the caches.
inline void invalidate(const void* begin, std::size_t size) {
  asm volatile("dsb sy" ::: "memory");
  each_line(begin, size, [](std::uint64_t at) { asm volatile("dc ivac, %0" ::"r"(at) : "memory"); });
}

/// All instruction caches of all CPUs. The data must have been cleaned before.
inline void invalidate_instructions() { asm volatile("ic ialluis; dsb ish; isb" ::: "memory"); }

}  // namespace hv::cache
