#pragma once

// What ends the program with exit status 2: a sentence that names what is wrong and what to do. The library knows no
// exceptions; this tool is a hosted program, and throws at its edge.

#include <stdexcept>
#include <string>

namespace slat::tool {

class Failure : public std::runtime_error {
 public:
  explicit Failure(const std::string& sentence) : std::runtime_error{sentence} {}
};

}  // namespace slat::tool
