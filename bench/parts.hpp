#pragma once

// table_rows() is put together from these.

#include "row.hpp"

namespace slat::bench {

std::vector<RowEntry> bulk_rows();
std::vector<RowEntry> page_rows();
std::vector<RowEntry> query_rows();
std::vector<RowEntry> split_rows();

}  // namespace slat::bench
