// G9, G10: blocks that become pages, on every kind of format; beside a frame for each, 512 entries stored in it, and a
// store that swaps it in.

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/npt.hpp>

#include "limits.hpp"
#include "loops.hpp"
#include "parts.hpp"

namespace slat::bench {
namespace {

constexpr std::uint64_t blocks = 2048;
constexpr GuestRange all{guest_base, blocks * 2_MiB};

aarch64::Stage2<> arm(unsigned bbm) {
  return *aarch64::Stage2<>::create({.pa_bits = 48, .granule_4k = true, .bbm = bbm}, {});
}
x86_64::Npt npt() {
  return *x86_64::Npt::create({.pa_bits = 48, .nested_paging = true, .leaf_1g = true, .no_execute = true}, {});
}

template <class Format>
class Blocks : public GuestRow<Format> {
 public:
  explicit Blocks(const Format& format) : GuestRow<Format>{format, blocks + 32}, frames_{blocks + 32}, slots_{blocks} {}
  void prepare() override {
    must(guest_.table().unmap(all));
    must(guest_.map(all, 2_MiB));
    frames_.reset();
    this->begin();
  }
  void limit(unsigned) override {
    Entry block = 0x8000'00B7;
    for (auto& slot : slots_) {
      auto const frame = *frames_.pool().allocate(4_KiB);
      auto* const entries = frames_.pool().view(frame);
      store_each(entries, entries + 512, block - 0x80, 4_KiB);
      Shadow::store(&slot, frame.raw() | 7);
      block += 2_MiB;
    }
  }

 protected:
  using GuestRow<Format>::guest_;

 private:
  Frames frames_;
  Entries slots_;
};

// G9: a page of each block loses a right, by a call of its own.
template <class Format>
class SplitByProtect final : public Blocks<Format> {
 public:
  using Blocks<Format>::Blocks;
  void subject() override {
    auto& table = this->guest_.table();
    for (std::uint64_t i = 0; i != blocks; ++i) must(table.protect({guest_base + i * 2_MiB + 17 * 4_KiB, 4_KiB}, rx));
  }
};

// G10: all by one call.
template <class Format>
class SplitAll final : public Blocks<Format> {
 public:
  using Blocks<Format>::Blocks;
  void subject() override { must(this->guest_.table().split(all)); }
};

/// Both, on a format with so many tables above these blocks, which makes `pauses` in one call, each with so many
/// barriers: a slot that breaks wants one before the invalidation and one after it.
struct Variant {
  std::string name;
  std::uint64_t above, pauses, barriers;
  bool judged = false;
};
template <class Format>
void add(std::vector<RowEntry>& rows, const Format& format, const Variant& variant) {
  auto const& [name, above, pauses, barriers, judged] = variant;
  rows.push_back(
      entry<SplitByProtect<Format>>("G9 protect a page of a block, " + name, blocks, judged ? 1150 : 0, format) |
      Facts{.hook_calls = blocks, .tables = blocks + above, .barriers = blocks * barriers});
  rows.push_back(entry<SplitAll<Format>>("G10 split 4 GiB of blocks, " + name, blocks, judged ? 1120 : 0, format) |
                 Facts{.hook_calls = pauses, .tables = blocks + above, .barriers = pauses * barriers});
}

}  // namespace

std::vector<RowEntry> split_rows() {
  std::vector<RowEntry> rows;
  add(rows, plain_ept(), {"EPT", 6, 1, 1, true});
  add(rows, npt(), {"NPT", 6, 1, 1});
  add(rows, arm(0), {"Arm BBM 0", 5, blocks / 512, 2});
  add(rows, arm(1), {"Arm BBM 1", 5, blocks / 512, 2});
  add(rows, arm(2), {"Arm BBM 2", 5, 1, 1});
  return rows;
}

}  // namespace slat::bench
