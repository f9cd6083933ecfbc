#pragma once

#include "row.hpp"

namespace slat::bench {

/// Rows of the same titles as some of table_rows(). Only for a CPU that has AVX2.
std::vector<RowEntry> avx2_rows();

}  // namespace slat::bench
