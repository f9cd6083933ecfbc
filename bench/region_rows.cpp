// The rows of MemorySet and of the index under it: none yet.

#include "row.hpp"

namespace slat::bench {

std::vector<RowEntry> region_rows() { return {}; }

}  // namespace slat::bench
