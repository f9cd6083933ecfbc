#pragma once

// The hypervisor's own command line.

#include <array>
#include <cstdint>
#include <string_view>

#include <slat/arch/aarch64/features.hpp>

#include "hv/options.hpp"

namespace hv {

using slat::aarch64::Granule;

inline constexpr std::array granule_words{Named{"4k", Granule::k4}, Named{"16k", Granule::k16},
                                          Named{"64k", Granule::k64}};

struct Options {
  std::uint64_t guest_memory = 1_GiB;
  Granule granule = Granule::k4;
  Populate populate = Populate::blocks;
  bool report_on_uart = true;
  bool snapshot = false;  // of the tables, at the end

  bool set(std::string_view key, std::string_view value) {
    if (key == "guest-memory") {
      auto const size = parse_mebibytes(value);
      guest_memory = size.value_or(guest_memory);
      return size.has_value();
    }
    if (key == "granule") return choose(granule, value, granule_words);
    if (key == "populate") return choose(populate, value, populate_words);
    if (key == "report") {
      report_on_uart = value == "stdout";
      return report_on_uart || value == "stderr";
    }
    if (key == "snapshot") {
      snapshot = value == "yes";
      return snapshot || value == "no";
    }
    return false;
  }
};

}  // namespace hv
