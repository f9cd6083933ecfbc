#pragma once

// Events on their way into a guest: what EVENTINJ says, and what to make of one whose delivery an exit cut short.
// [amd/vol2] "Event injection", "EXITINTINFO"

#include <cstdint>
#include <optional>

namespace hv::svm {

namespace event {
inline constexpr std::uint64_t valid = 1u << 31;
inline constexpr std::uint64_t has_error_code = 1u << 11;
inline constexpr std::uint64_t type_mask = 7u << 8;
inline constexpr std::uint64_t external_interrupt = 0u << 8;
inline constexpr std::uint64_t nmi = 2u << 8;
inline constexpr std::uint64_t exception = 3u << 8;
inline constexpr std::uint64_t software_interrupt = 4u << 8;
}  // namespace event

constexpr std::uint64_t exception(std::uint8_t vector, std::optional<std::uint32_t> error) {
  return event::valid | event::exception | vector |
         (error ? event::has_error_code | std::uint64_t{*error} << 32 : std::uint64_t{0});
}

/// What to inject at the next entry after an exit with this EXITINTINFO: the same once more, or the guest loses it.
/// Nothing for what an instruction raises by its own execution (INT n, INT3, INTO): RIP still points to it.
///
/// QEMU 7.2 calls an external interrupt an exception here, and takes none for one that has such a vector.
constexpr std::uint64_t again(std::uint64_t exit_event) {
  constexpr std::uint64_t breakpoint = 3, overflow = 4, first_interrupt = 32;
  if ((exit_event & event::valid) == 0) return 0;
  auto const type = exit_event & event::type_mask;
  auto const vector = exit_event & 0xff;
  if (type == event::software_interrupt) return 0;
  if (type == event::exception && (vector == breakpoint || vector == overflow)) return 0;
  if (type == event::exception && vector >= first_interrupt) return event::valid | event::external_interrupt | vector;
  constexpr std::uint64_t meant = event::valid | event::has_error_code | event::type_mask | 0xff;
  return exit_event & (meant | ((exit_event & event::has_error_code) != 0 ? 0xffff'ffffull << 32 : 0));
}

}  // namespace hv::svm
