#pragma once

// What the hypervisor takes of AMD's virtualisation: SVM, nested page tables, ASIDs.

#include <cstdint>
#include <string_view>

#include <slat/arch/x86_64/features.hpp>
#include <slat/arch/x86_64/npt.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

#include "hv/beacon.hpp"
#include "hv/x86_64/registers.hpp"
#include "hv/x86_64/svm.hpp"
#include "hv/x86_64/svm_cpu.hpp"

namespace hv {

/// On the one CPU that makes it.
class SvmWay {
 public:
  using Format = slat::x86_64::Npt;
  static constexpr std::string_view name = "NPT";
  static constexpr std::string_view invalidations = "ASID flushes";

  class Vcpu : public Svm {
   public:
    Vcpu(SvmWay& way, const Format& format, slat::HostPhys root, const Traps& traps)
        : Svm{memory_, way.host_, slat::x86_64::nested_cr3(format, root), traps} {
      way.vcpu_ = this;
    }

   private:
    static inline constinit Memory memory_{};
  };

  slat::Result<Format> format() { return Format::create(features_, {.pat = read_msr(pat)}); }

  Beacon::Words beacon(const Format& format, slat::HostPhys root) const {
    auto const geometry = format.geometry();
    return {.format = Beacon::Format::npt,
            .pa_bits = format.output_bits(),
            .root = root.raw(),
            .control = slat::x86_64::nested_cr3(format, root),
            .host = format.pat(),
            .flags = (geometry.top_leaf < 2 ? Beacon::no_1g : 0) | (geometry.root == 4 ? Beacon::five_levels : 0) |
                     (format.uses_no_execute() ? 0 : Beacon::no_nx)};
  }

  /// What the virtual CPU, the only one, knows by way of its tables it does not use again. A new one knows nothing.
  bool invalidate(slat::HostPhys) noexcept {
    if (vcpu_ != nullptr) vcpu_->flush();
    return true;
  }

  /// An instruction of SVM, which the guest's CPUID does not have: INVLPGA, and VMRUN to SKINIT without VMMCALL.
  static constexpr bool is_virtualisation(const Exit& exit) {
    return exit.code == 0x7a || exit.code == 0x80 || (exit.code >= 0x82 && exit.code <= 0x86);
  }

 private:
  static constexpr std::uint32_t pat = 0x277;

  static slat::x86_64::NptFeatures features() {
    auto const svm = cpuid(0x8000'000a);
    return slat::x86_64::npt_features({.structured_ecx = cpuid(0).eax >= 7 ? cpuid(7).ecx : 0,
                                       .extended_ecx = cpuid(0x8000'0001).ecx,
                                       .extended_edx = cpuid(0x8000'0001).edx,
                                       .address_eax = cpuid(0x8000'0008).eax,
                                       .svm_ebx = svm.ebx,
                                       .svm_edx = svm.edx});
  }

  slat::x86_64::NptFeatures features_ = features();
  svm::HostCpu host_{0, features_};
  Svm* vcpu_ = nullptr;
};

}  // namespace hv
