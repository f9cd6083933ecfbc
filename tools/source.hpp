#pragma once

// From the words of the command line to a memory and the tables in it.

#include <optional>
#include <string>
#include <vector>

#include "tools/memory.hpp"
#include "tools/scheme.hpp"

namespace slat::tool {

/// Where the memory is.
struct SourceOptions {
  std::vector<std::string> images, bases;
  std::optional<std::string> core, gdb;
  unsigned cpu = 1;
  bool leave_paused = false;
};

/// Where the tables are in it. Numbers are as they were typed.
struct TableOptions {
  std::optional<std::string> format, root, vtcr, hcr, granule, ipa_bits, start_level, eptp, ncr3, levels, pa_bits, pat,
      bbm, beacon_at, scan;
  bool beacon = false, xnx = false, xs = false, mbec = false, no_exec_only = false, no_1g = false, no_nx = false,
       house_rules = false;
};

/// All throw Failure.
HostMemory open_source(const SourceOptions& options);
/// A side of a diff: core:FILE, image:FILE@HPA or gdb:HOST:PORT.
SourceOptions source_of(const std::string& word);
Scheme find_scheme(HostMemory& memory, const TableOptions& options);

}  // namespace slat::tool
