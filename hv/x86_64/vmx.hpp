#pragma once

// A virtual CPU under VMX.

#include <cstdint>
#include <optional>
#include <string_view>

#include <slat/arch/x86_64/eptp.hpp>

#include "hv/outcome.hpp"
#include "hv/print.hpp"
#include "hv/x86_64/console.hpp"
#include "hv/x86_64/layout.h"
#include "hv/x86_64/msr_bitmap.hpp"
#include "hv/x86_64/page_log.hpp"
#include "hv/x86_64/vcpu.hpp"
#include "hv/x86_64/vmx_cpu.hpp"
#include "hv/x86_64/vmx_event.hpp"
#include "hv/x86_64/vmx_exit.hpp"
#include "hv/x86_64/vmx_guest_state.hpp"
#include "hv/x86_64/vmx_host_state.hpp"
#include "hv/x86_64/vmx_instructions.hpp"

namespace hv {

static_assert(VMCS_HOST_RSP == static_cast<unsigned>(vmx::Field::host_rsp));

/// vmx_entry.S.
extern "C" unsigned hv_vmx_enter(Registers* registers, bool launched);

/// Stays on the CPU that made it, which is in VMX operation. What the hypervisor itself does not use is not kept apart
/// but is in the hardware as the guest left it: floating point, debug addresses, CR2, XCR0, the MSRs of SYSCALL. No
/// VPID: so every entry and exit drops what that CPU knows by the guest's linear addresses, and only guest-physical
/// translations are left for INVEPT.
class Vmx {
 public:
  /// What the hardware reads and writes beside the guest.
  struct Memory {
    vmx::Region vmcs;
    vmx::MsrBitmap msrs;
  };

  /// `log`, if any, becomes the page-modification log; the format must then have A/D bits on. What is given by
  /// reference outlives this.
  Vmx(Memory& memory, slat::HostPhys root, const slat::x86_64::Ept& format, const Traps& traps,
      vmx::PageLog* log = nullptr)
      : memory_{memory}, traps_{traps}, log_{log} {
    auto const for_ept =
        slat::x86_64::secondary_controls(format) | (log != nullptr ? vmx::secondary::page_modification_log : 0);
    auto const words = vmx::control_words(vmx::capabilities(), traps, for_ept);
    if (auto const lacking = words.lacking(); !lacking.empty()) {
      print(console, "hv: the ", lacking, " of this CPU lack ", Hex{words.missing()}, "\n");
      die("VMX cannot do what is asked of it");
    }
    entry_controls_ = words.entry.value;
    if (traps.only_msrs)
      memory_.msrs.pass_only(*traps.only_msrs);
    else
      memory_.msrs.trap_only(traps.msrs);
    memory_.vmcs.revision = vmx::revision();
    require(vmx::vmclear(memory_.vmcs.address()), "VMCLEAR");
    make_current();
    write_controls(words);
    for (auto const& [field, value] : vmx::host_state(vmx::host_registers())) write(field, value);
    load(root, format);
    start({});
  }
  Vmx(const Vmx&) = delete;
  Vmx& operator=(const Vmx&) = delete;
  /// The VMCS goes back to memory, so that the next one may have it.
  ~Vmx() { require(vmx::vmclear(memory_.vmcs.address()), "VMCLEAR"); }

  /// Other tables, of the same kind, from the next entry on.
  void load(slat::HostPhys root, const slat::x86_64::Ept& format) {
    make_current();
    write(vmx::Field::ept_pointer, slat::x86_64::eptp(format, root));
  }

  void start(const Start& start) {
    make_current();
    for (auto const& [field, value] : vmx::guest_state(start)) write(field, value);
    write(vmx::Field::entry_controls, entry_controls_ | (vmx::is_long(start) ? vmx::on_entry::guest_64_bit : 0));
    registers_ = {};
    next_ = {};
  }

  Registers& registers() { return registers_; }
  std::uint64_t rip() const {
    make_current();
    return read(vmx::Field::guest_rip);
  }

  std::uint64_t rflags() const {
    make_current();
    return read(vmx::Field::guest_rflags);
  }
  /// Of the bits that VMX fixes the guest sees what it wrote.
  std::uint64_t cr4() const {
    make_current();
    auto const mask = read(vmx::Field::cr4_mask);
    return (read(vmx::Field::guest_cr4) & ~mask) | (read(vmx::Field::cr4_shadow) & mask);
  }

  Exit run() {
    make_current();
    write(vmx::Field::entry_interruption_information, next_.information);
    write(vmx::Field::entry_exception_error_code, next_.error_code);
    write(vmx::Field::entry_instruction_length, next_.length);
    switch (hv_vmx_enter(&registers_, launched_)) {
      case 0: break;
      case 1: fail(launched_ ? "VMRESUME" : "VMLAUNCH"); break;
      default: die("VM entry without a VMCS");
    }
    auto const raw = read_exit();
    if ((raw.reason & vmx::reason::entry_failed) != 0) {
      print(console, "hv: VM entry failed, reason ", Hex{raw.reason}, ", qualification ", Hex{raw.qualification}, "\n");
      die("the guest cannot be entered");
    }
    launched_ = true;
    next_ = vmx::cut_short(raw);
    if (vmx::blocks_nmi_again(raw)) change(vmx::Field::guest_interruptibility, 0, nmi_blocking);
    // An interrupt is not acknowledged by the exit: it is still pending, and the host's IDT has it served.
    if (traps_.interrupts) asm volatile("sti; nop; cli" : : : "memory");
    auto exit = vmx::decode(raw);
    if (vmx::asks_for_vmx(raw)) {
      constexpr std::uint8_t general_protection = 13;
      inject_exception(general_protection, 0);
      exit.why = Why::interrupt;  // nothing else is to be done
    }
    return exit;
  }

  void skip(const Exit& exit) {
    make_current();
    auto const next = read(vmx::Field::guest_rip) + exit.length;
    bool const is_64_bit = (read(vmx::Field::guest_cs_access) & vmx::access::long_code) != 0;
    write(vmx::Field::guest_rip, is_64_bit ? next : next & 0xffff'ffff);
    change(vmx::Field::guest_interruptibility, sti_blocking | mov_ss_blocking, 0);
  }

  void sleep(const Exit& exit) {
    constexpr std::uint64_t halted = 1;
    skip(exit);
    write(vmx::Field::guest_activity, halted);
  }

  void inject_exception(std::uint8_t vector, std::optional<std::uint32_t> error_code) {
    next_ = vmx::exception(vector, error_code);
  }

  /// What the CPU logged since the last call, to `sink(GuestPhys page)`. To be called after every exit, and on every
  /// CPU before a set of dirty pages counts as whole.
  template <class Sink>
  void drain_log(Sink sink) {
    make_current();
    log_->drain(static_cast<std::uint16_t>(read(vmx::Field::page_log_index)), sink);
    write(vmx::Field::page_log_index, vmx::PageLog::empty);
  }

 private:
  static constexpr std::uint64_t sti_blocking = 1u << 0, mov_ss_blocking = 1u << 1, nmi_blocking = 1u << 3;

  static void require(vmx::Verdict verdict, std::string_view instruction) {
    if (verdict == vmx::Verdict::failed_valid) fail(instruction);
    if (verdict == vmx::Verdict::succeeded) return;
    print(console, "hv: ", instruction, " without a VMCS\n");
    die("a VMX instruction failed");
  }
  [[noreturn]] static void fail(std::string_view instruction) {
    std::uint64_t number = 0;
    if (vmx::vmread(vmx::Field::instruction_error, number) != vmx::Verdict::succeeded) number = ~0ull;
    print(console, "hv: ", instruction, " failed, VM-instruction error ", number, "\n");
    die("a VMX instruction failed");
  }
  static std::uint64_t read(vmx::Field field) {
    std::uint64_t value = 0;
    require(vmx::vmread(field, value), "VMREAD");
    return value;
  }
  static void write(vmx::Field field, std::uint64_t value) { require(vmx::vmwrite(field, value), "VMWRITE"); }
  static void change(vmx::Field field, std::uint64_t clear, std::uint64_t set) {
    auto const old = read(field);
    auto const next = (old & ~clear) | set;
    if (next != old) write(field, next);
  }

  /// Several of these may take turns on one CPU.
  void make_current() const { require(vmx::vmptrld(memory_.vmcs.address()), "VMPTRLD"); }

  void write_controls(const vmx::ControlWords& words) {
    using vmx::Field;
    write(Field::pin_controls, words.pin.value);
    write(Field::primary_controls, words.primary.value);
    write(Field::secondary_controls, words.secondary.value);
    write(Field::exit_controls, words.exit.value);
    for (auto const none :
         {Field::exception_bitmap, Field::page_fault_mask, Field::page_fault_match, Field::cr3_target_count,
          Field::exit_msr_store_count, Field::exit_msr_load_count, Field::entry_msr_load_count})
      write(none, 0);
    write(Field::msr_bitmap, reinterpret_cast<std::uint64_t>(memory_.msrs.bytes().data()));
    // This one exists only where the control does.
    if ((words.secondary.value & vmx::secondary::xsaves) != 0) write(Field::xss_exiting_bitmap, 0);
    if (traps_.ports != nullptr) {
      write(Field::port_bitmap_low, traps_.ports->address().raw());
      write(Field::port_bitmap_high, traps_.ports->address().raw() + 4096);
    }
    if (log_ != nullptr) {
      write(Field::page_log_address, log_->address().raw());
      write(Field::page_log_index, vmx::PageLog::empty);
    }
  }

  static vmx::RawExit read_exit() {
    using vmx::Field;
    return {.reason = static_cast<std::uint32_t>(read(Field::exit_reason)),
            .qualification = read(Field::exit_qualification),
            .guest_physical = read(Field::guest_physical_address),
            .length = static_cast<std::uint32_t>(read(Field::exit_instruction_length)),
            .vectoring = static_cast<std::uint32_t>(read(Field::vectoring_information)),
            .vectoring_error = static_cast<std::uint32_t>(read(Field::vectoring_error_code)),
            .user = vmx::privilege(static_cast<std::uint32_t>(read(Field::guest_ss_access))) == 3};
  }

  Memory& memory_;
  Traps traps_;
  vmx::PageLog* log_;
  std::uint32_t entry_controls_ = 0;
  bool launched_ = false;
  vmx::Event next_;
  Registers registers_;
};

static_assert(Vcpu<Vmx>);

}  // namespace hv
