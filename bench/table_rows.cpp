// All rows of PageTable.

#include "fill_rows.hpp"
#include "parts.hpp"

namespace slat::bench {

std::vector<RowEntry> table_rows() {
  std::vector<RowEntry> all;
  for (auto const rows : {fill_rows, bulk_rows, page_rows, split_rows, query_rows})
    for (auto& row : rows()) all.push_back(std::move(row));
  return all;
}

}  // namespace slat::bench
