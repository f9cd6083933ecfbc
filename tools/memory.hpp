#pragma once

// The host's physical memory, read-only, wherever it comes from. What is not in a source is absent, and that is an
// answer and not an error: a table that points there is a finding.
//
//   HostMemory memory{FileMemory::core("guest.core")};
//   if (!memory.read(HostPhys{0x4000'0000}, bytes)) ...

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <slat/mm/address.hpp>

#include "tools/file_memory.hpp"
#include "tools/gdb_memory.hpp"

namespace slat::tool {

class HostMemory {
 public:
  explicit HostMemory(FileMemory files) : source_{std::move(files)} {}
  explicit HostMemory(GdbMemory gdb) : source_{std::move(gdb)} {}

  /// All of `to`, or nothing and false.
  bool read(HostPhys at, std::span<std::byte> to) {
    return std::visit([&](auto& source) { return source.read(at, to); }, source_);
  }
  /// Says that `bytes` from each of these on will be asked for: one journey instead of many, where there is a journey.
  void expect(std::span<const HostPhys> begins, std::uint64_t bytes) {
    if (auto* const gdb = std::get_if<GdbMemory>(&source_)) gdb->expect(begins, bytes);
  }
  /// What can be read, in ascending order.
  std::vector<Extent> extents() const {
    return std::visit([](auto& source) { return source.extents(); }, source_);
  }
  GdbMemory* gdb() { return std::get_if<GdbMemory>(&source_); }

 private:
  std::variant<FileMemory, GdbMemory> source_;
};

}  // namespace slat::tool
