#pragma once

// The machine as its device tree describes it: RAM, CPUs, and the files that were loaded for the guest.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <slat/mm/address.hpp>

#include "hv/aarch64/board.hpp"
#include "hv/device_tree.hpp"
#include "hv/host_range.hpp"

namespace hv {

struct Machine {
  static constexpr std::size_t most_cpus = 8;

  HostRange ram;
  std::array<std::uint64_t, most_cpus> mpidr{};  // affinity fields, as PSCI takes them
  std::size_t cpus = 0;
  std::string_view command_line;  // the hypervisor's own
  std::optional<HostRange> kernel;
  std::string_view kernel_command_line;
  std::optional<HostRange> initrd;
};

/// The device tree that the boot loader passed in x0: QEMU passes 0 to an ELF and puts the tree at the start of RAM.
inline std::optional<DeviceTree> boot_tree(std::uint64_t x0) {
  auto const* const blob = reinterpret_cast<const std::byte*>(x0 != 0 ? x0 : board::ram);
  return DeviceTree::at({blob, DeviceTree::size_at(blob)});
}

/// `reg` of a node below the root: one address and size of two cells each.
inline HostRange reg(DeviceTree::Node node) {
  auto const cells = node.property("reg");
  slat::HostPhys const begin{cells.cells(0, 2)};
  return {begin, begin + cells.cells(2, 2)};
}

inline Machine describe(const DeviceTree& tree) {
  Machine machine;
  auto const root = tree.root();
  machine.ram = reg(root.child("memory"));

  auto const cpus = root.child("cpus");
  auto const cells = cpus.property("#address-cells").cells(0, 1);
  for (auto cpu = cpus.first_child(); cpu && machine.cpus < Machine::most_cpus; cpu = cpu.next_sibling())
    if (cpu.is("cpu")) machine.mpidr[machine.cpus++] = cpu.property("reg").cells(0, cells);

  auto const chosen = root.child("chosen");
  machine.command_line = chosen.property("bootargs").text();
  for (auto file = chosen.first_child(); file; file = file.next_sibling()) {
    auto const kind = file.property("compatible");
    if (kind.lists("multiboot,kernel")) {
      machine.kernel = reg(file);
      machine.kernel_command_line = file.property("bootargs").text();
    } else if (kind.lists("multiboot,ramdisk")) {
      machine.initrd = reg(file);
    }
  }
  return machine;
}

}  // namespace hv
