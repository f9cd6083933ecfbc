// The library as an x86_64 hypervisor instantiates it.

#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/invept.hpp>
#include <slat/arch/x86_64/shootdown.hpp>

#include "every_call.hpp"

using namespace slat;

// What slat leaves to the hypervisor: which CPU this is, and how to interrupt another.
std::size_t number_of_this_cpu() noexcept;
void send_interrupt(std::size_t cpu) noexcept;
std::size_t number_of_this_cpu() noexcept { return 0; }
void send_interrupt(std::size_t cpu) noexcept { asm volatile("" ::"r"(cpu)); }

struct Machine {
  std::size_t this_cpu() noexcept { return number_of_this_cpu(); }
  bool invalidate(HostPhys root) noexcept {
    return x86_64::forget_eptp(x86_64::Invept{}, 1, x86_64::InveptDescriptor{root.raw() | 0x1E, 0});
  }
  void kick(std::size_t cpu) noexcept { send_interrupt(cpu); }
  void relax() noexcept { asm volatile("pause"); }
};

template <x86_64::Presence When>
Result<> every_call_with(x86_64::Shootdown<When, Machine, 2>& shootdown, const x86_64::Ept& format, FramePool& pool,
                         GuestRange range, HostPhys to) {
  shootdown.load(0, to);
  if (shootdown.enter(0)) shootdown.leave(0);
  shootdown.answer(0);
  shootdown.unload(0);
  return test::every_call(format, shootdown.hook(), pool, range, to);
}

Result<> every_call(const x86_64::VmxRegisters& cpu, FramePool& pool, GuestRange range, HostPhys to) {
  auto const format = SLAT_TRY(x86_64::Ept::create(x86_64::ept_features(cpu), {}));
  x86_64::Shootdown<x86_64::Presence::loaded, Machine, 2> loaded{Machine{}};
  SLAT_TRY(every_call_with(loaded, format, pool, range, to));
  x86_64::Shootdown<x86_64::Presence::entered, Machine, 2> entered{Machine{}};
  return every_call_with(entered, format, pool, range, to);
}
