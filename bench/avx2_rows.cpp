// The rows of fill_rows.hpp once more, by vectors: the library under another name, so that no function of this file can
// take the place of one that was compiled with general registers only.

#include "avx2_rows.hpp"
#include "loops.hpp"

namespace slat_avx2::bench {
using slat::bench::Facts;
using slat::bench::Row;
using slat::bench::RowEntry;
using slat::bench::store_each;
}  // namespace slat_avx2::bench

#define slat slat_avx2
#include "fill_rows.hpp"
#undef slat

std::vector<slat::bench::RowEntry> slat::bench::avx2_rows() { return slat_avx2::bench::fill_rows(); }
