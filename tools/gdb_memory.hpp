#pragma once

// The physical memory and registers of a live QEMU, by its gdbstub. The machine stands still from the first packet to
// the last, so what is read is of one moment; then it runs on, unless it had not been started yet (-S).
//
// QEMU's stub answers a read of no memory with zeros, and a read of a device disturbs the device: only what its own
// memory map ("info mtree") calls RAM is read. ["QEMU documentation, GDB usage", Qqemu.PhyMemMode]

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include <slat/mm/address.hpp>

#include "tools/file_memory.hpp"
#include "tools/gdb_link.hpp"

namespace slat::tool {

/// What of the output of "info mtree -f" is RAM for the CPUs, in ascending order.
std::vector<Extent> ram_in(std::string_view mtree);

class GdbMemory {
 public:
  /// `where` is HOST:PORT; `cpu` counts from 1, as GDB counts threads. Throws Failure.
  GdbMemory(const std::string& where, unsigned cpu, bool leave_paused);

  bool read(HostPhys at, std::span<std::byte> to);
  void expect(std::span<const HostPhys> begins, std::uint64_t bytes);
  std::vector<Extent> extents() const { return extents_; }
  /// The value of a register by its name in the target description, if it has such a one.
  std::optional<std::uint64_t> reg(const std::string& name);

 private:
  static constexpr std::uint64_t page_size = 4096;
  using Page = std::array<std::byte, page_size>;

  bool has(std::uint64_t page) const;
  void learn_registers(const std::string& document, unsigned depth);

  std::unique_ptr<GdbLink> link_;
  std::vector<Extent> extents_;
  std::unordered_map<std::uint64_t, Page> pages_;
  std::map<std::string, unsigned> registers_;
  unsigned next_register_ = 0;
  unsigned documents_ = 0;   // that were asked for
  std::uint64_t chunk_ = 0;  // what one packet asks for
};

}  // namespace slat::tool
