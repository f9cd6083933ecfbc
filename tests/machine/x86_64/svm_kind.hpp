#pragma once

// What a rig needs of AMD's virtualisation.

#include <array>
#include <cstdint>

#include <slat/arch/x86_64/npt.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

#include "hv/x86_64/svm.hpp"
#include "tests/machine/report.hpp"
#include "tests/machine/x86_64/options.hpp"

namespace slat::test {

struct SvmKind {
  using Format = x86_64::Npt;

  static bool available() { return hv::svm::available(); }

  static Format format(const Options& options) {
    if (!options.hardware_dirty) fail("the CPU lacks what the test is about: nested tables without dirty bits");
    auto const made = Format::create(hv::svm::features(), {});
    if (!made) fail(made.error());
    return *made;
  }

  /// A virtual CPU, and what of the hardware belongs to the CPU under it.
  class Cpu {
   public:
    Cpu(unsigned number, const Format& format, HostPhys root, const hv::Traps& traps)
        : host{number, hv::svm::features()}, vcpu{memory_, host, x86_64::nested_cr3(format, root), traps} {}

    void load(const Format& format, HostPhys root) { vcpu.load(x86_64::nested_cr3(format, root)); }
    /// Nothing of what this CPU knows of any root is used again in a guest.
    bool forget(const Format&, HostPhys) {
      host.asids.start_over();
      return true;
    }

   private:
    hv::Svm::Memory memory_;

   public:
    hv::svm::HostCpu host;
    hv::Svm vcpu;
  };

  /// Another virtual CPU on the same CPU.
  class Beside {
   public:
    Beside(Cpu& cpu, const Format& format, HostPhys root, const hv::Traps& traps)
        : vcpu{memory_, cpu.host, x86_64::nested_cr3(format, root), traps} {}

   private:
    hv::Svm::Memory memory_;

   public:
    hv::Svm vcpu;
  };

  /// A guest's read cannot be forbidden, nor its level told.
  static constexpr std::array refused{Attr{Prot::w}, Attr{Prot::x}, Attr{Prot::r | Prot::x_user}, rwx | Memory::device};

  /// Bits of a leaf that are reserved: addresses that no CPU here has.
  static constexpr std::array<std::uint64_t, 2> flaws{51, 50};
  static Entry spoilt(Entry leaf, std::uint64_t bit) { return leaf | 1ull << bit; }
};

}  // namespace slat::test
