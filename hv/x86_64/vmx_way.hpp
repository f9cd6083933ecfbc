#pragma once

// What the hypervisor takes of Intel's virtualisation: VMX, EPT, INVEPT.

#include <cstdint>
#include <optional>
#include <string_view>

#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/invept.hpp>

#include "hv/beacon.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/vmx.hpp"
#include "hv/x86_64/vmx_cpu.hpp"
#include "hv/x86_64/vmx_exit.hpp"

namespace hv {

/// On the one CPU that makes it. Mode-based execution is left out: Linux asks for no such difference.
class VmxWay {
 public:
  using Format = slat::x86_64::Ept;
  static constexpr std::string_view name = "EPT";
  static constexpr std::string_view invalidations = "INVEPT instructions";

  class Vcpu : public Vmx {
   public:
    Vcpu(VmxWay&, const Format& format, slat::HostPhys root, const Traps& traps) : Vmx{memory_, root, format, traps} {}

   private:
    static inline constinit Memory memory_{};
  };

  VmxWay() { vmx::turn_on(region_); }

  slat::Result<Format> format() {
    auto const format = SLAT_TRY(Format::create(features_, {.mode_based_execute = false}));
    format_ = format;
    return format;
  }

  Beacon::Words beacon(const Format& format, slat::HostPhys root) const {
    return {.format = Beacon::Format::ept,
            .pa_bits = format.output_bits(),
            .root = root.raw(),
            .control = slat::x86_64::eptp(format, root),
            .host = slat::x86_64::secondary_controls(format),
            .flags = (format.geometry().top_leaf < 2 ? Beacon::no_1g : 0) |
                     (features_.execute_only ? 0 : Beacon::no_execute_only)};
  }

  /// This CPU forgets what it knows by way of `root`.
  bool invalidate(slat::HostPhys root) noexcept {
    auto const operands = slat::x86_64::invept_operands(features_, slat::x86_64::eptp(*format_, root));
    return operands && slat::x86_64::forget_eptp(slat::x86_64::Invept{}, (*operands).type, (*operands).descriptor);
  }

  /// An instruction of VMX, which the guest's CPUID does not have: INVEPT and INVVPID, and all from VMCLEAR on.
  static constexpr bool is_virtualisation(const Exit& exit) {
    auto const reason = vmx::basic(static_cast<std::uint32_t>(exit.code));
    return (reason >= 18 && reason <= 27) || reason == 50 || reason == 53 || reason == 59;
  }

 private:
  static slat::x86_64::EptFeatures features() {
    constexpr std::uint32_t arch_capabilities = 0x10a, ept_vpid_cap = 0x48c;
    auto const structured = cpuid(0).eax >= 7 ? cpuid(7).edx : 0;
    return slat::x86_64::ept_features(
        {.ept_vpid_cap = read_msr(ept_vpid_cap),
         .secondary_controls = read_msr(vmx::msr::procbased_controls2),
         .arch_capabilities = (structured >> 29 & 1) != 0 ? read_msr(arch_capabilities) : 0,
         .pa_bits = cpuid(0x8000'0008).eax & 0xff});
  }

  static inline constinit vmx::Region region_{};
  slat::x86_64::EptFeatures features_ = features();
  std::optional<Format> format_;
};

}  // namespace hv
