#pragma once

// What a rig needs of Intel's virtualisation.

#include <array>
#include <cstdint>

#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/invept.hpp>

#include "hv/x86_64/vmx.hpp"
#include "tests/machine/report.hpp"
#include "tests/machine/x86_64/options.hpp"

namespace slat::test {

struct VmxKind {
  using Format = x86_64::Ept;

  static bool available() { return hv::vmx::available(); }

  static Format format(const Options& options) {
    auto const made = Format::create(hv::vmx::features(), {.accessed_dirty = options.hardware_dirty});
    if (!made) fail(made.error());
    return *made;
  }

  /// A virtual CPU, and what of the hardware belongs to the CPU under it.
  class Cpu {
   public:
    Cpu(unsigned, const Format& format, HostPhys root, const hv::Traps& traps) : vcpu{memory_, root, format, traps} {}

    void load(const Format& format, HostPhys root) { vcpu.load(root, format); }
    /// Nothing of what this CPU knows by way of this root is used again in a guest.
    bool forget(const Format& format, HostPhys root) {
      auto const operands = x86_64::invept_operands(features_, x86_64::eptp(format, root));
      return operands && x86_64::forget_eptp(x86_64::Invept{}, (*operands).type, (*operands).descriptor);
    }

   private:
    /// VMX operation, while it lives.
    struct Operation {
      Operation() { hv::vmx::turn_on(region); }
      Operation(const Operation&) = delete;
      Operation& operator=(const Operation&) = delete;
      ~Operation() { hv::vmx::turn_off(); }

      hv::vmx::Region region;
    };

    Operation operation_;
    hv::Vmx::Memory memory_;
    x86_64::EptFeatures features_ = hv::vmx::features();

   public:
    hv::Vmx vcpu;
  };

  /// Another virtual CPU on the same CPU.
  class Beside {
   public:
    Beside(Cpu&, const Format& format, HostPhys root, const hv::Traps& traps, hv::vmx::PageLog* log = nullptr)
        : vcpu{memory_, root, format, traps, log} {}

   private:
    hv::Vmx::Memory memory_;

   public:
    hv::Vmx vcpu;
  };

  /// Nothing may be written and not read; a device is not executed.
  static constexpr std::array refused{Attr{Prot::w}, Attr{Prot::w | Prot::x}, rwx | Memory::device};

  /// Bits of a leaf that are reserved: addresses that no CPU here has.
  static constexpr std::array<std::uint64_t, 2> flaws{51, 50};
  static Entry spoilt(Entry leaf, std::uint64_t bit) { return leaf | 1ull << bit; }
};

}  // namespace slat::test
