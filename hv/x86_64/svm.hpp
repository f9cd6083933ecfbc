#pragma once

// A virtual CPU under SVM.

#include <cstdint>
#include <optional>

#include <slat/arch/x86_64/asid.hpp>

#include "hv/outcome.hpp"
#include "hv/x86_64/svm_cpu.hpp"
#include "hv/x86_64/svm_event.hpp"
#include "hv/x86_64/svm_exit.hpp"
#include "hv/x86_64/svm_guest_state.hpp"
#include "hv/x86_64/svm_msr_map.hpp"
#include "hv/x86_64/svm_vmcb.hpp"
#include "hv/x86_64/vcpu.hpp"

namespace hv {

/// svm_entry.S.
extern "C" void hv_svm_enter(Registers* registers, std::uint64_t vmcb, std::uint64_t host_segments, bool interrupts);

/// Stays on the CPU that made it.
class Svm {
 public:
  /// What the hardware reads and writes beside the guest.
  struct Memory {
    svm::Vmcb vmcb;
    svm::MsrMap msrs;
    PortBitmap every_port;
  };

  /// `nested_cr3` as arch/x86_64 makes it of a root and its format. All that is given outlives this.
  Svm(Memory& memory, svm::HostCpu& host, std::uint64_t nested_cr3, const Traps& traps)
      : memory_{memory}, host_{host}, traps_{traps}, nested_cr3_{nested_cr3} {
    if (traps.only_msrs)
      memory_.msrs.pass_only(*traps.only_msrs);
    else
      memory_.msrs.trap_only(traps.msrs);
    memory_.every_port.fill();
    start({});
  }
  Svm(const Svm&) = delete;
  Svm& operator=(const Svm&) = delete;

  /// Other tables, from the next entry on.
  void load(std::uint64_t nested_cr3) {
    nested_cr3_ = memory_.vmcb.nested_cr3 = nested_cr3;
    flush();
  }
  /// What this CPU knows of the guest's memory is not used again, from the next entry on. Also for interrupt handlers.
  void flush() { slat::x86_64::AsidAllocator::flush(asid_); }

  void start(const Start& start) {
    auto const& ports = traps_.ports != nullptr ? *traps_.ports : memory_.every_port;
    memory_.vmcb = svm::controls(
        traps_, {.nested_cr3 = nested_cr3_,
                 .port_map = ports.address(),
                 .msr_map = slat::HostPhys{reinterpret_cast<std::uint64_t>(memory_.msrs.bytes().data())}});
    svm::begin(memory_.vmcb, start);
    registers_ = {};
    asleep_ = false;
  }

  Registers& registers() { return registers_; }
  std::uint64_t rip() const { return memory_.vmcb.rip; }
  std::uint64_t rflags() const { return memory_.vmcb.rflags; }
  std::uint64_t cr4() const { return memory_.vmcb.cr4; }

  /// As the guest sees it, and writes it: where MSRs are passed through, this one is not. False: #GP.
  std::uint64_t efer() const { return memory_.vmcb.efer & ~svm::efer_svme; }
  bool write_efer(std::uint64_t value) {
    auto const next = svm::written_efer(value, memory_.vmcb.efer, memory_.vmcb.cr0);
    memory_.vmcb.efer = next.value_or(memory_.vmcb.efer);
    return next.has_value();
  }

  /// With interrupts off since before the shootdown's enter().
  Exit run() {
    auto& vmcb = memory_.vmcb;
    vmcb.tlb_control = static_cast<std::uint8_t>(host_.asids.enter(asid_, nested_cr3_));
    vmcb.asid = asid_.value;
    vmcb.clean = 0;
    vmcb.rax = registers_.rax;
    auto const intercepts = vmcb.intercepts;
    if (asleep_) vmcb.intercepts = (intercepts & ~svm::intercept::halt) | svm::intercept::interrupt;
    hv_svm_enter(&registers_, reinterpret_cast<std::uint64_t>(&vmcb), host_.segments(), traps_.interrupts);
    registers_.rax = vmcb.rax;
    vmcb.intercepts = intercepts;
    asleep_ = false;
    if (static_cast<std::uint32_t>(vmcb.exit_code) == svm::exit_code::invalid)
      die("the guest cannot be entered: its VMCB is not valid");
    vmcb.event = svm::again(vmcb.exit_event);
    return svm::decode(vmcb);
  }

  void skip(const Exit& exit) {
    memory_.vmcb.rip += exit.length;
    memory_.vmcb.interrupt_shadow = 0;
  }

  /// At the next entry the guest executes its HLT itself, and an interrupt, instead of being delivered, makes it exit:
  /// behind the HLT, and as pending as it was.
  void sleep(const Exit&) { asleep_ = true; }

  void inject_exception(std::uint8_t vector, std::optional<std::uint32_t> error) {
    memory_.vmcb.event = svm::exception(vector, error);
  }

 private:
  Memory& memory_;
  svm::HostCpu& host_;
  Traps traps_;
  std::uint64_t nested_cr3_;
  slat::x86_64::Asid asid_;
  Registers registers_;
  bool asleep_ = false;
};
static_assert(Vcpu<Svm>);

}  // namespace hv
