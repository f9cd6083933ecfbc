#pragma once

#include "row.hpp"

namespace slat::bench {

/// What it costs to have a call judged by the hostile MMU, beside the same call unwatched. For information.
std::vector<RowEntry> judged_rows();

}  // namespace slat::bench
