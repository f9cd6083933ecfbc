#pragma once

// The device tree of the guest's machine: RAM, CPUs, GICv3, timer, one UART. Nothing that does DMA: a device that is
// passed through would take the guest's addresses for the machine's.

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <slat/mm/address.hpp>

#include "hv/aarch64/board.hpp"
#include "hv/device_tree_writer.hpp"

namespace hv {

struct GuestDescription {
  slat::GuestRange ram;
  std::span<const std::uint64_t> cpus;  // MPIDR affinities
  slat::GuestRange initrd;              // empty: none
  std::string_view command_line;
};

namespace guest_tree {

inline constexpr std::uint32_t gic = 1;  // phandles
inline constexpr std::uint32_t clock = 2;
inline constexpr std::uint32_t spi = 0;  // kinds of interrupt
inline constexpr std::uint32_t ppi = 1;
inline constexpr std::uint32_t level_high = 4;

/// "name@1f", as a node is named after its first address.
class NodeName {
 public:
  NodeName(std::string_view name, std::uint64_t unit) {
    auto* const at = text_.data() + name.copy(text_.data(), 24);
    *at = '@';
    length_ = static_cast<std::size_t>(std::to_chars(at + 1, text_.data() + text_.size(), unit, 16).ptr - text_.data());
  }
  operator std::string_view() const { return {text_.data(), length_}; }

 private:
  std::array<char, 40> text_{};
  std::size_t length_;
};

inline void cpus(DeviceTreeWriter& tree, std::span<const std::uint64_t> affinities) {
  tree.begin("cpus");
  tree.cells("#address-cells", {2});
  tree.cells("#size-cells", {0});
  for (auto const affinity : affinities) {
    tree.begin(NodeName{"cpu", affinity});
    tree.text("device_type", "cpu");
    tree.text("compatible", "arm,armv8");
    tree.pairs("reg", {affinity});
    tree.text("enable-method", "psci");
    tree.end();
  }
  tree.end();

  tree.begin("psci");
  tree.texts("compatible", {"arm,psci-1.0", "arm,psci-0.2"});
  tree.text("method", "hvc");
  tree.end();
}

inline void interrupts(DeviceTreeWriter& tree, std::size_t cpus) {
  tree.begin(NodeName{"interrupt-controller", board::gic_distributor});
  tree.text("compatible", "arm,gic-v3");
  tree.flag("interrupt-controller");
  tree.cells("#interrupt-cells", {3});
  tree.cells("#address-cells", {0});
  tree.pairs("reg", {board::gic_distributor, board::gic_distributor_size, board::gic_redistributors,
                     board::gic_redistributor_stride * cpus});
  tree.cells("phandle", {gic});
  tree.end();

  // The architecture's timers: secure, non-secure, virtual, hypervisor.
  tree.begin("timer");
  tree.text("compatible", "arm,armv8-timer");
  tree.cells("interrupts", {ppi, 13, level_high, ppi, 14, level_high, ppi, 11, level_high, ppi, 10, level_high});
  tree.flag("always-on");
  tree.end();
}

inline void uart(DeviceTreeWriter& tree) {
  tree.begin("clock");
  tree.text("compatible", "fixed-clock");
  tree.cells("#clock-cells", {0});
  tree.cells("clock-frequency", {board::uart_clock_hz});
  tree.cells("phandle", {clock});
  tree.end();

  tree.begin(NodeName{"serial", board::uart});
  tree.texts("compatible", {"arm,pl011", "arm,primecell"});
  tree.pairs("reg", {board::uart, board::uart_size});
  tree.cells("interrupts", {spi, board::uart_interrupt, level_high});
  tree.cells("clocks", {clock, clock});
  tree.texts("clock-names", {"uartclk", "apb_pclk"});
  tree.end();
}

/// Writes the tree and answers its size, or nothing when it does not fit.
inline std::optional<std::size_t> write(std::span<std::byte> into, const GuestDescription& guest) {
  DeviceTreeWriter tree{into};
  tree.begin("");
  tree.cells("#address-cells", {2});
  tree.cells("#size-cells", {2});
  tree.text("compatible", "linux,dummy-virt");
  tree.text("model", "slat toy hypervisor guest");
  tree.cells("interrupt-parent", {gic});

  tree.begin("chosen");
  tree.text("bootargs", guest.command_line);
  tree.text("stdout-path", NodeName{"/serial", board::uart});
  if (!guest.initrd.empty()) {
    tree.pairs("linux,initrd-start", {guest.initrd.begin.raw()});
    tree.pairs("linux,initrd-end", {guest.initrd.end().raw()});
  }
  tree.end();

  tree.begin(NodeName{"memory", guest.ram.begin.raw()});
  tree.text("device_type", "memory");
  tree.pairs("reg", {guest.ram.begin.raw(), guest.ram.size});
  tree.end();

  cpus(tree, guest.cpus);
  interrupts(tree, guest.cpus.size());
  uart(tree);
  tree.end();
  return tree.finish();
}

}  // namespace guest_tree
}  // namespace hv
