#pragma once

// One address, walked as hardware walks it: each entry on the way, where the address goes, and why an access would
// fault.

#include <optional>
#include <string>
#include <vector>

#include "tools/describe.hpp"
#include "tools/memory.hpp"
#include "tools/own_walk.hpp"
#include "tools/scheme.hpp"

namespace slat::tool {

struct Step {
  Level level;
  std::uint64_t index, entries;
  HostPhys table, where;
  bool missing;  // the source has no memory there
  Entry entry;
  testing::Decoded decoded;
};

/// What comes of a read, a write, a fetch.
struct Verdict {
  std::string access;
  bool allowed;
  std::string why;      // of a fault: which, and which bits make it so
  std::string section;  // of the manual
  bool known = true;    // not where the source lacks what the walk reads
};

struct Explanation {
  GuestPhys address;
  std::vector<Step> steps;
  std::optional<HostPhys> host;  // where the address goes
  std::string wrong;             // the first rule broken on the way
  std::vector<Verdict> verdicts;
  SecondWalk second{};
};

Explanation explain(HostMemory& memory, const Scheme& scheme, GuestPhys address);

/// The manual's section behind a rule of docs/rules.md, or behind a complaint that begins with its number.
std::string section_of(std::string_view rule);

}  // namespace slat::tool
