// G11: translating, where each query waits for the answer before it; beside four loads that wait for each other.

#include "limits.hpp"
#include "parts.hpp"
#include "shuffle.hpp"

namespace slat::bench {
namespace {

using x86_64::Ept;

constexpr std::uint32_t count = 1 << 18;

class Translate final : public GuestRow<> {
 public:
  explicit Translate(std::uint64_t gib)
      : GuestRow{plain_ept(), gib * 514 + 8},
        numbers_{shuffled(count, static_cast<std::uint32_t>(gib * pages_per_gib))},
        shadow_{gib * 514 + 8} {
    must(guest_.map({guest_base, gib * 1_GiB}, 4_KiB));
    for (std::uint64_t number = 0; number != gib * pages_per_gib; ++number)
      *shadow_.grown_slot(Guest<Ept>::page(number).begin) = number;
  }
  void prepare() override { begin(); }
  void limit(unsigned) override {
    auto const none = opaque(0);
    Entry answer = 0;
    for (auto const number : numbers_)
      answer = Shadow::load(shadow_.slot(Guest<Ept>::page(number).begin + (answer & none)));
    opaque(answer);
  }
  void subject() override {
    auto const none = opaque(0);
    std::uint64_t answer = 0;
    for (auto const number : numbers_) {
      auto const at = Guest<Ept>::page(number).begin + (answer & none);
      auto const leaf = guest_.table().query(at);
      if (leaf.kind != Kind::leaf) std::abort();
      answer = leaf.host_of(at).raw();
    }
    opaque(answer);
  }

 private:
  static constexpr std::uint64_t pages_per_gib = 1_GiB / 4_KiB;
  std::vector<std::uint32_t> numbers_;
  Shadow shadow_;
};

}  // namespace

std::vector<RowEntry> query_rows() {
  std::vector<RowEntry> rows{
      entry<Translate>("G11 translate in 1 GiB of pages", count, 1050, std::uint64_t{1}) | Facts{.tables = 515},
      entry<Translate>("G11 translate in 16 GiB of pages", count, 1150, std::uint64_t{16}) | Facts{.tables = 8210},
  };
  rows[0].instructions = rows[1].instructions = 64;
  return rows;
}

}  // namespace slat::bench
