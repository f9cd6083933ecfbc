#pragma once

// A second opinion: slat's own formats and its own walker over the tables that were read, beside the readers of
// testing/, which share no code with them.
//
// slat's formats decode what slat writes. Where a leaf leads is a matter of the architecture, and is compared for each
// one. Rights and memory are compared where slat could have written the leaf; what another hypervisor writes is
// counted.

#include <cstdint>
#include <optional>
#include <string>

namespace slat::tool {

struct Scheme;
struct Gathered;
struct Explanation;

/// Of all leaves that the reader finds usable.
struct SecondOpinion {
  std::string not_asked{};    // why; then the rest is 0
  std::uint64_t leaves = 0;   // walked to
  std::uint64_t foreign = 0;  // of them, not of slat's encoding: rights and memory were not compared
  std::uint64_t differ = 0;   // of them, findings with the rule "second-opinion"
};

/// Of one address.
struct SecondWalk {
  std::optional<bool> agrees{};  // nothing where it was not asked
  std::string text{};            // one line: what it found, or why it was not asked
};

/// Walks to each usable leaf with slat's format for what `scheme` says, which is the one of `gathered` unless somebody
/// is in doubt, and adds a finding for each where the two differ. Tables that are missing, shared, or left out for
/// another reason are no ground to walk on: then it is not asked.
SecondOpinion second_opinion(Gathered& gathered, const Scheme& scheme);
/// Walks to the address with no other words than the reader saw on its own way.
SecondWalk second_walk(const Explanation& explanation, const Scheme& scheme);

/// One line: what came of it.
std::string text_of(const SecondOpinion& opinion);

}  // namespace slat::tool
