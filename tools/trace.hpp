#pragma once

// What a hypervisor did, over time, as a picture that one can move about in: Chrome's trace events, which Perfetto and
// chrome://tracing open. A row for each CPU; faults, edits and shootdowns, each within what it was a part of.

#include <ostream>

#include "tools/record.hpp"
#include "tools/scheme.hpp"

namespace slat::tool {

/// "fault", "map", ...
const char* kind_name(hv::Event::Kind kind);
/// "mapped", "spurious", ... of a fault; "done" or "failed" of others.
const char* outcome_name(const hv::Event& event);

void write_trace(std::ostream& out, const Scheme& scheme, const Events& events);

}  // namespace slat::tool
