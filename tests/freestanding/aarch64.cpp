// The library as an AArch64 hypervisor instantiates it: every granule.

#include <slat/arch/aarch64/stage2.hpp>

#include "every_call.hpp"

using namespace slat;

struct Hook {
  void operator()(HostPhys root, const Stale& stale) noexcept;
  void publish() noexcept {}
  HostPhys last;
};
void Hook::operator()(HostPhys root, const Stale& stale) noexcept {
  if (!stale.empty()) last = root;
}

template <aarch64::Granule G>
Result<> every_call(const aarch64::IdRegisters& cpu, FramePool& pool, GuestRange range, HostPhys to) {
  auto const format = SLAT_TRY(aarch64::Stage2<G>::create(aarch64::features(cpu), {}));
  return test::every_call(format, Hook{}, pool, range, to);
}
template Result<> every_call<aarch64::Granule::k4>(const aarch64::IdRegisters&, FramePool&, GuestRange, HostPhys);
template Result<> every_call<aarch64::Granule::k16>(const aarch64::IdRegisters&, FramePool&, GuestRange, HostPhys);
template Result<> every_call<aarch64::Granule::k64>(const aarch64::IdRegisters&, FramePool&, GuestRange, HostPhys);
