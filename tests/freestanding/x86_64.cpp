// The library as an x86_64 hypervisor instantiates it: both makers' formats. The hook is the user's.

#include <slat/arch/x86_64/asid.hpp>
#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

#include "every_call.hpp"

using namespace slat;

template <class Invalidate>
struct Hook {
  void operator()(HostPhys root, const Stale& stale) noexcept {
    if (!stale.empty()) invalidate(root);
  }
  void publish() noexcept {}
  Invalidate invalidate;
};

struct Invept {
  x86_64::Ept format;
  x86_64::InveptOperands operands;
  void operator()(HostPhys root) noexcept;
};
void Invept::operator()(HostPhys root) noexcept { operands.descriptor[0] = x86_64::eptp(format, root); }

Result<> every_call(const x86_64::VmxRegisters& raw, FramePool& pool, GuestRange range, HostPhys to) {
  auto const cpu = x86_64::ept_features(raw);
  auto const format = SLAT_TRY(x86_64::Ept::create(cpu, {}));
  auto const operands = SLAT_TRY(x86_64::invept_operands(cpu, x86_64::eptp(format, to)));
  return test::every_call(format, Hook<Invept>{{format, operands}}, pool, range, to);
}

struct FlushAsid {
  x86_64::Asid* asid;
  void operator()(HostPhys) noexcept { x86_64::AsidAllocator::flush(*asid); }
};

struct Vmcb {
  x86_64::Asid asid;
  x86_64::TlbControl tlb_control;
  std::uint64_t nested_control, nested_cr3;
};

Result<> every_call(const x86_64::SvmLeaves& raw, x86_64::AsidAllocator& asids, Vmcb& vmcb, FramePool& pool,
                    GuestRange range, HostPhys to) {
  auto const format = SLAT_TRY(x86_64::Npt::create(x86_64::npt_features(raw), {}));
  SLAT_TRY(test::every_call(format, Hook<FlushAsid>{{&vmcb.asid}}, pool, range, to));
  vmcb = {vmcb.asid, asids.enter(vmcb.asid), x86_64::np_enable, x86_64::nested_cr3(format, to)};
  return {};
}
