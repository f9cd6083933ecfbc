#pragma once

// What a check is to driver.cpp: a name, and a run that counts its operations up to the first thing that is wrong.

#include <cstdint>
#include <string>

namespace slat::test {

struct Outcome {
  std::uint64_t operations = 0;
  std::string violation{};  // empty: all was well
};

/// Each source in checks/ defines these two.
extern const char* const check_name;
Outcome run_check();

}  // namespace slat::test
