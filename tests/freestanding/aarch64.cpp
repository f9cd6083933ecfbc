// The library as an AArch64 hypervisor instantiates it: every granule, and the instructions.

#include <slat/arch/aarch64/registers.hpp>
#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/aarch64/tlb.hpp>
#include <slat/arch/aarch64/vmid.hpp>

#include "every_call.hpp"

using namespace slat;

template <aarch64::Granule G>
Result<> every_call(const aarch64::IdRegisters& id, aarch64::VmidAllocator<4>& vmids, FramePool& pool, GuestRange range,
                    HostPhys to) {
  auto const cpu = aarch64::features(id);
  auto const format = SLAT_TRY(aarch64::Stage2<G>::create(cpu, {}));
  aarch64::Vmid vmid;
  aarch64::Tlb<> tlb{{G, cpu}, 1};
  if (vmids.enter(0, vmid)) tlb.forget_all_guests();
  tlb.assign(vmid.value);
  tlb.forget_here(to, range.begin);
  tlb.resolve_conflict(to);
  return test::every_call(format, tlb, pool, range, to);
}
template Result<> every_call<aarch64::Granule::k4>(const aarch64::IdRegisters&, aarch64::VmidAllocator<4>&, FramePool&,
                                                   GuestRange, HostPhys);
template Result<> every_call<aarch64::Granule::k16>(const aarch64::IdRegisters&, aarch64::VmidAllocator<4>&, FramePool&,
                                                    GuestRange, HostPhys);
template Result<> every_call<aarch64::Granule::k64>(const aarch64::IdRegisters&, aarch64::VmidAllocator<4>&, FramePool&,
                                                    GuestRange, HostPhys);
