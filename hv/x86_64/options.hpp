#pragma once

// The hypervisor's own command line.

#include <cstdint>
#include <string_view>

#include "hv/options.hpp"

namespace hv {

struct Options {
  std::uint64_t guest_memory = 256_MiB;
  Populate populate = Populate::blocks;
  bool report_on_serial = true;
  bool snapshot = false;  // of the tables, at the end

  bool set(std::string_view key, std::string_view value) {
    if (key == "guest-memory") {
      auto const size = parse_mebibytes(value);
      guest_memory = size.value_or(guest_memory);
      return size.has_value();
    }
    if (key == "populate") return choose(populate, value, populate_words);
    if (key == "report") {
      report_on_serial = value == "stdout";
      return report_on_serial || value == "stderr";
    }
    if (key == "snapshot") {
      snapshot = value == "yes";
      return snapshot || value == "no";
    }
    return false;
  }
};

}  // namespace hv
