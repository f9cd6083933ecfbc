#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include <slat/mm/address.hpp>

namespace hv {

/// Bytes of host memory, `begin` up to and without `end`.
struct HostRange {
  slat::HostPhys begin;
  slat::HostPhys end;

  constexpr std::uint64_t size() const { return end - begin; }
  /// The hypervisor has memory at its own address.
  std::span<std::byte> bytes() const { return {reinterpret_cast<std::byte*>(begin.raw()), size()}; }
};

}  // namespace hv
