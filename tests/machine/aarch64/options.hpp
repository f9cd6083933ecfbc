#pragma once

// What the command line of a machine test can say.

#include <array>
#include <string_view>

#include <slat/arch/aarch64/features.hpp>

#include "hv/aarch64/options.hpp"
#include "tests/machine/aarch64/flawed_instructions.hpp"

namespace slat::test {

struct Options {
  std::string_view test;
  aarch64::Granule granule = aarch64::Granule::k4;
  aarch64::Bbm bbm = aarch64::Bbm::never;
  bool hardware_dirty = false;
  bool vhe_host = false;
  Flaw omit = Flaw::none;

  bool set(std::string_view key, std::string_view value) {
    if (key == "test") {
      test = value;
      return true;
    }
    if (key == "granule") return hv::choose(granule, value, hv::granule_words);
    if (key == "bbm") return hv::choose(bbm, value, bbm_words);
    if (key == "dirty") return hv::choose(hardware_dirty, value, dirty_words);
    if (key == "host") return hv::choose(vhe_host, value, host_words);
    if (key == "omit") return hv::choose(omit, value, flaw_words);
    return false;
  }

 private:
  static constexpr std::array bbm_words{hv::Named{"never", aarch64::Bbm::never},
                                        hv::Named{"reported", aarch64::Bbm::reported}};
  static constexpr std::array dirty_words{hv::Named{"protect", false}, hv::Named{"hardware", true}};
  static constexpr std::array host_words{hv::Named{"plain", false}, hv::Named{"vhe", true}};
};

}  // namespace slat::test
