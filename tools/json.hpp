#pragma once

// The same as text.hpp for programs. Addresses, sizes and entries are strings with hex digits: a JSON number has 53
// bits for most who read it. Counts are numbers.

#include <ostream>
#include <string>
#include <vector>

#include "tools/diff.hpp"
#include "tools/explain.hpp"
#include "tools/gather.hpp"

namespace slat::tool {

void write_dump(std::ostream& out, const Gathered& gathered);
void write_tree(std::ostream& out, const Gathered& gathered, unsigned depth);
void write_stats(std::ostream& out, const Gathered& gathered);
void write_check(std::ostream& out, const Gathered& gathered);
void write_explanation(std::ostream& out, const Scheme& scheme, const Explanation& explanation);
void write_diff(std::ostream& out, const std::vector<Change>& changes);

/// The mappings of a dump that was written as JSON. Throws Failure for anything else.
std::vector<Mapping> read_dump(const std::string& path);

}  // namespace slat::tool
