#pragma once

// What the command line of a machine test can say.

#include <array>
#include <cstdint>
#include <string_view>

#include <slat/arch/x86_64/shootdown.hpp>

#include "hv/options.hpp"

namespace slat::test {

/// What a shootdown leaves out on purpose.
enum class Flaw : std::uint8_t {
  none,
  hook,    // all of it
  others,  // the other CPUs
};

struct Options {
  std::string_view test;
  x86_64::Presence shootdown = x86_64::Presence::loaded;
  bool hardware_dirty = true;
  Flaw omit = Flaw::none;

  bool set(std::string_view key, std::string_view value) {
    if (key == "test") {
      test = value;
      return true;
    }
    if (key == "shootdown") return hv::choose(shootdown, value, shootdown_words);
    if (key == "dirty") return hv::choose(hardware_dirty, value, dirty_words);
    if (key == "omit") return hv::choose(omit, value, flaw_words);
    return false;
  }

 private:
  static constexpr std::array shootdown_words{hv::Named{"loaded", x86_64::Presence::loaded},
                                              hv::Named{"entered", x86_64::Presence::entered}};
  static constexpr std::array dirty_words{hv::Named{"protect", false}, hv::Named{"hardware", true}};
  static constexpr std::array flaw_words{hv::Named{"none", Flaw::none}, hv::Named{"hook", Flaw::hook},
                                         hv::Named{"others", Flaw::others}};
};

}  // namespace slat::test
