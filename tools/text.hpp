#pragma once

// What the verbs print for people.

#include <ostream>

#include "tools/explain.hpp"
#include "tools/gather.hpp"
#include "tools/judge.hpp"
#include "tools/runs.hpp"

namespace slat::tool {

/// "AMD NPT, 4 levels, 48-bit guest addresses, root 0x1000".
std::string headline(const Scheme& scheme);

void print_dump(std::ostream& out, const Gathered& gathered);
/// Tables down to `depth` levels below the root.
void print_tree(std::ostream& out, const Gathered& gathered, unsigned depth);
void print_stats(std::ostream& out, const Gathered& gathered);
/// Findings, wrong ones first; then a line that counts them.
void print_check(std::ostream& out, const Gathered& gathered);
void print_explanation(std::ostream& out, const Scheme& scheme, const Explanation& explanation);

/// One line of a dump, without its end.
std::string run_text(const Scheme& scheme, const Run& run);

}  // namespace slat::tool
