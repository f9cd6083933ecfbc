#pragma once

// G1, G2, G3: one call that fills empty tables, beside a loop of stores to as many entries. Compiled twice: with
// general registers only, and as vectors let it be.

#include "guest.hpp"
#include "loops.hpp"

namespace slat::bench {

class Fill final : public GuestRow<> {
 public:
  Fill(std::uint64_t bytes, std::uint64_t leaf)
      : GuestRow{plain_ept(), bytes / leaf / 512 + bytes / 512_GiB + bytes / 1_GiB + 8},
        range_{guest_base, bytes},
        leaf_{leaf},
        stored_{bytes / leaf} {}

  void prepare() override {
    must(guest_.table().unmap(range_));
    begin();
  }
  void limit(unsigned) override { store_each(stored_.begin(), stored_.end(), 0x8000'0037, leaf_); }
  void subject() override { must(guest_.map(range_, leaf_)); }

 private:
  GuestRange range_;
  std::uint64_t leaf_;
  Entries stored_;
};

inline std::vector<RowEntry> fill_rows() {
  std::vector<RowEntry> rows{
      entry<Fill>("G1 map 1 GiB as pages", 1_GiB / 4_KiB, 1180, 1_GiB, 4_KiB) | Facts{.tables = 515, .barriers = 1},
      entry<Fill>("G2 map 16 GiB as pages", 16_GiB / 4_KiB, 1180, 16_GiB, 4_KiB) | Facts{.tables = 8210, .barriers = 1},
      entry<Fill>("G3 map 256 GiB as blocks", 256_GiB / 2_MiB, 1500, 256_GiB, 2_MiB) |
          Facts{.tables = 258, .barriers = 1},
  };
  rows[0].instructions = rows[1].instructions = 6;
  return rows;
}

}  // namespace slat::bench
