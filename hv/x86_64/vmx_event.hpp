#pragma once

// Events that a VM entry delivers to the guest: those whose delivery an exit cut short, and exceptions that the
// hypervisor gives it.
//
// [intel/vol3] "Information for VM Exits That Occur During Event Delivery", "VM-Entry Controls for Event Injection".

#include <cstdint>
#include <optional>

#include "hv/x86_64/vmx_exit.hpp"

namespace hv::vmx {

/// The three entry fields. All 0: nothing is delivered.
struct Event {
  std::uint32_t information = 0;
  std::uint32_t error_code = 0;
  std::uint32_t length = 0;

  constexpr bool valid() const { return (information & valid_bit) != 0; }
  constexpr std::uint8_t vector() const { return static_cast<std::uint8_t>(information); }
  constexpr std::uint32_t type() const { return information >> 8 & 0b111; }
  constexpr bool has_error_code() const { return (information & error_code_bit) != 0; }
  friend constexpr bool operator==(const Event&, const Event&) = default;

  static constexpr std::uint32_t valid_bit = 1u << 31;
  static constexpr std::uint32_t error_code_bit = 1u << 11;
  static constexpr std::uint32_t hardware_exception = 3;
  static constexpr std::uint32_t software_interrupt = 4;  // this and the next two come from an instruction
  static constexpr std::uint32_t privileged_software_exception = 5;
  static constexpr std::uint32_t software_exception = 6;
};

/// What the next entry has to deliver again, because this exit came before it was done: an interrupt that the guest
/// has acknowledged comes only once. Bit 12 of the exit's field is undefined and must be 0 on entry.
constexpr Event cut_short(const RawExit& raw) {
  Event event{raw.vectoring & (Event::valid_bit | 0xfff)};
  if (!event.valid()) return {};
  if (event.has_error_code()) event.error_code = raw.vectoring_error;
  if (event.type() >= Event::software_interrupt && event.type() <= Event::software_exception) event.length = raw.length;
  return event;
}

constexpr Event exception(std::uint8_t vector, std::optional<std::uint32_t> error_code) {
  return {Event::valid_bit | Event::hardware_exception << 8 | (error_code ? Event::error_code_bit : 0) | vector,
          error_code.value_or(0), 0};
}

/// Whether an IRET had lifted the blocking of NMIs when the exit undid it, so that it has to be set again. The bit says
/// so only outside of event delivery. [intel/vol3] "Information About NMI Unblocking Due to IRET"
constexpr bool blocks_nmi_again(const RawExit& raw) {
  if ((raw.vectoring & Event::valid_bit) != 0) return false;
  auto const why = basic(raw.reason);
  return (why == reason::ept_violation || why == reason::page_log_full) && (raw.qualification >> 12 & 1) != 0;
}

}  // namespace hv::vmx
