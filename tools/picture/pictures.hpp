#pragma once

// Pictures of second-stage tables: the guest's memory map, the tree of tables, and which pages are in use. Each is an
// SVG that stands alone; a page of HTML has all of them, with the numbers.
//
// They are as large as what they show deserves and no larger: neighbours that would be too small are drawn as one, and
// what is left out is counted in words. Time and size are bounded whatever the tables are full of.

#include <optional>
#include <string>

#include "tools/gather.hpp"
#include "tools/record.hpp"

namespace slat::tool {

/// What a hypervisor says of itself; and where it says nothing, why not, as the end of a sentence.
struct Told {
  std::optional<Areas> areas;
  std::optional<Events> events;
  std::string no_areas = "the hypervisor leaves none", no_events = "the hypervisor leaves none";
};
/// Never throws Failure: what cannot be read is missing, and that is said.
Told told_by(HostMemory& memory, const Scheme& scheme);

/// Areas beside what the tables really map, and where both disagree.
std::string draw_map(const Gathered& gathered, const Told& told);
/// The tables as an icicle, the root on top.
std::string draw_tree(const Gathered& gathered);
/// Pages that are mapped, accessed, dirty; and when they faulted in.
std::string draw_heat(const Gathered& gathered, const Told& told);

/// "map", "tree" or "heat". Throws Failure for another word.
using Draw = std::string (*)(const Gathered&, const Told&);
Draw picture_called(const std::string& name);

/// All pictures, the numbers of `stats`, the findings that are in `gathered`, and runs of a dump.
std::string write_page(const Gathered& gathered, const Told& told);

/// The file has all of the text or is as it was before. Throws Failure.
void replace_file(const std::string& path, const std::string& text);

}  // namespace slat::tool
