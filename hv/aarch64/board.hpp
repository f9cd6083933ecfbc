#pragma once

// What the hypervisor takes for granted of its machine, QEMU's `virt` with
// GICv3; the guest's machine has the same devices at the same addresses. What
// varies (RAM, CPUs, files) comes from the device tree.

#include <cstdint>

#include <slat/mm/address.hpp>

namespace hv::board {

using namespace slat::literals;

inline constexpr std::uint64_t ram = 0x4000'0000;

inline constexpr std::uint64_t gic_distributor = 0x0800'0000;
inline constexpr std::uint64_t gic_distributor_size = 64_KiB;
inline constexpr std::uint64_t gic_redistributors = 0x080a'0000;
inline constexpr std::uint64_t gic_redistributor_stride = 128_KiB;  // one for each CPU

inline constexpr std::uint64_t uart = 0x0900'0000;
inline constexpr std::uint64_t uart_size = 4_KiB;
inline constexpr std::uint32_t uart_interrupt = 1;  // SPI
inline constexpr std::uint32_t uart_clock_hz = 24'000'000;

}  // namespace hv::board
