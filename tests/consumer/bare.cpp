// The README's guest without a C library: frames, a hook that invalidates, and all that a linker asks for.

#include <cstddef>
#include <cstdint>

#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>
using namespace slat;

#if defined(__aarch64__)
#include <slat/arch/aarch64/tlb.hpp>
using Format = aarch64::Stage2<>;
using Hook = aarch64::Tlb<>;
constexpr aarch64::Features cpu{.pa_bits = 40, .granule_4k = true};
static Hook hook() { return Hook{{aarch64::Granule::k4, cpu}, 1}; }
#else
#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/invept.hpp>
using Format = x86_64::Ept;
constexpr x86_64::EptFeatures cpu{.pa_bits = 40, .leaf_2m = true, .invept_all = true};
struct Hook {  // the only CPU invalidates for itself
  void operator()(HostPhys, const Stale&) noexcept {
    if (!x86_64::forget_eptp(x86_64::Invept{}, x86_64::invept_all, {}))
      for (;;) asm volatile("hlt");
  }
  void publish() noexcept {}
};
static Hook hook() { return {}; }
#endif

using Table = PageTable<Format, FramePool, Hook>;
using Guest = MemorySet<Attr, Table, Backends<Table, PageSource<FramePool>>, FrameNodes<FramePool>>;

static Result<> run(FramePool& frames) {
  auto const format = SLAT_TRY(Format::create(cpu, {}));
  auto table = SLAT_TRY(Table::create(format, frames, hook()));
  PageSource<FramePool> pages{frames, 4_KiB, 4_KiB};
  Guest guest{FrameNodes{frames}};
  SLAT_TRY(guest.map({0x4000'0000_gpa, 1_GiB, rwx, Linear{0x1'0000'0000_hpa}}, table));
  SLAT_TRY(guest.map({0x0900'0000_gpa, 4_KiB, rw | Memory::device, Device{}}, table));
  SLAT_TRY(guest.map({0x8000'0000_gpa, 1_MiB, rwx, Lazy{pages}}, table));
  SLAT_TRY(guest.protect(
      0x4020'0000_gpa, 64_MiB, [](Attr a) { return a - Prot::w; }, table));
  SLAT_TRY(guest.resolve(0x8000'1000_gpa, Prot::w, table));
  return guest.clear(table);
}

extern "C" {
// No loop becomes a call of itself: see CMakeLists.txt.
void* memset(void* to, int value, std::size_t size) {
  for (auto* at = static_cast<unsigned char*>(to); size != 0; --size) *at++ = static_cast<unsigned char>(value);
  return to;
}
void* memcpy(void* to, const void* from, std::size_t size) {
  auto const* source = static_cast<const unsigned char*>(from);
  for (auto* at = static_cast<unsigned char*>(to); size != 0; --size) *at++ = *source++;
  return to;
}

alignas(4096) static std::byte memory[1 << 20];
[[noreturn]] void _start() {
  FramePool frames{memory, HostPhys{reinterpret_cast<std::uintptr_t>(memory)}};
  auto const done = run(frames);
  // A debugger sees the answer here.
  for (;;) asm volatile("" ::"r"(static_cast<bool>(done)));
}
}
