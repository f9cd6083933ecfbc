// The library as an x86_64 hypervisor instantiates it. It has no invalidation of its own yet: the hook is the user's.

#include <slat/arch/x86_64/ept.hpp>

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

Result<> every_call(const x86_64::VmxRegisters& cpu, FramePool& pool, GuestRange range, HostPhys to) {
  auto const format = SLAT_TRY(x86_64::Ept::create(x86_64::ept_features(cpu), {}));
  return test::every_call(format, Hook{}, pool, range, to);
}
