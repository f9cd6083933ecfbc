// The library as an x86_64 hypervisor instantiates it: both makers' formats, and shootdowns of both forms.

#include <slat/arch/x86_64/asid.hpp>
#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/invept.hpp>
#include <slat/arch/x86_64/shootdown.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

#include "every_call.hpp"

using namespace slat;

// What slat leaves to the hypervisor: which CPU this is, and how to interrupt another.
std::size_t number_of_this_cpu() noexcept;
void send_interrupt(std::size_t cpu) noexcept;
std::size_t number_of_this_cpu() noexcept { return 0; }
void send_interrupt(std::size_t cpu) noexcept { asm volatile("" ::"r"(cpu)); }

template <class Invalidate>
struct Machine {
  std::size_t this_cpu() noexcept { return number_of_this_cpu(); }
  bool invalidate(HostPhys) noexcept { return forget(); }
  void kick(std::size_t cpu) noexcept { send_interrupt(cpu); }
  void relax() noexcept { asm volatile("pause"); }
  Invalidate forget;
};

template <x86_64::Presence When, class Invalidate, class Format>
Result<> every_call(const Format& format, const Invalidate& invalidate, FramePool& pool, GuestRange range,
                    HostPhys to) {
  x86_64::Shootdown<When, Machine<Invalidate>, 2> shootdown{{invalidate}};
  shootdown.load(0, to);
  if (shootdown.enter(0)) shootdown.leave(0);
  shootdown.answer(0);
  shootdown.unload(0);
  return test::every_call(format, shootdown.hook(), pool, range, to);
}

struct ForgetEptp {
  x86_64::InveptOperands operands;
  bool operator()() const noexcept { return x86_64::forget_eptp(x86_64::Invept{}, operands.type, operands.descriptor); }
};

Result<> every_call(const x86_64::VmxRegisters& raw, FramePool& pool, GuestRange range, HostPhys to) {
  auto const cpu = x86_64::ept_features(raw);
  auto const format = SLAT_TRY(x86_64::Ept::create(cpu, {}));
  auto const operands = SLAT_TRY(x86_64::invept_operands(cpu, x86_64::eptp(format, to)));
  SLAT_TRY(every_call<x86_64::Presence::loaded>(format, ForgetEptp{operands}, pool, range, to));
  return every_call<x86_64::Presence::entered>(format, ForgetEptp{operands}, pool, range, to);
}

/// Of every virtual CPU that has run on this one.
struct ForgetAsids {
  x86_64::AsidAllocator* asids;
  bool operator()() const noexcept {
    asids->start_over();
    return true;
  }
};

struct Vmcb {
  x86_64::Asid asid;
  x86_64::TlbControl tlb_control;
  std::uint64_t nested_control, nested_cr3;
};

Result<> every_call(const x86_64::SvmLeaves& raw, x86_64::AsidAllocator& asids, Vmcb& vmcb, FramePool& pool,
                    GuestRange range, HostPhys to) {
  auto const format = SLAT_TRY(x86_64::Npt::create(x86_64::npt_features(raw), {}));
  SLAT_TRY(every_call<x86_64::Presence::loaded>(format, ForgetAsids{&asids}, pool, range, to));
  SLAT_TRY(every_call<x86_64::Presence::entered>(format, ForgetAsids{&asids}, pool, range, to));
  auto const nested_cr3 = x86_64::nested_cr3(format, to);
  auto const tlb_control = asids.enter(vmcb.asid, nested_cr3);
  vmcb = {vmcb.asid, tlb_control, x86_64::np_enable, nested_cr3};
  return {};
}
