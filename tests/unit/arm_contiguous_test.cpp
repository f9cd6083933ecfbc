// The contiguous bit, as the reader of Arm's stage-2 descriptors judges whole sets: [arm/a-profile] D8, "The Contiguous
// bit".

#include <gtest/gtest.h>

#include <functional>
#include <span>
#include <vector>

#include <slat/testing/arm_reader.hpp>
#include "unit/reader_fields.hpp"

namespace slat::test {
namespace {

using namespace slat::literals;

constexpr Entry contiguous = 1ull << 52;
constexpr Entry modifier = 1ull << 51;

ArmReader reader_of(unsigned granule_bits, bool hardware_marks = true, unsigned input_bits = 40) {
  return ArmReader{{.granule_bits = granule_bits,
                    .input_bits = input_bits,
                    .root = granule_bits == 16 ? 1u : 2u,
                    .output_bits = 44,
                    .fwb = false,
                    .xnx = false,
                    .ha = hardware_marks,
                    .hd = hardware_marks,
                    .bbm = 0}};
}

/// The sets that the manual has.
struct Kind {
  unsigned granule_bits;
  Level level;
  unsigned entries;
  std::uint64_t span;  // of one entry
};
constexpr Kind kinds[] = {{12, 0, 16, 4_KiB},  {12, 1, 16, 2_MiB},  {12, 2, 16, 1_GiB},  {14, 0, 128, 16_KiB},
                          {14, 1, 32, 32_MiB}, {16, 0, 32, 64_KiB}, {16, 1, 32, 512_MiB}};

/// A right one, writable: write-back, accessed, all going to 256G and after.
std::vector<Entry> good(const Kind& kind) {
  std::vector<Entry> set(kind.entries);
  for (std::size_t i = 0; i != set.size(); ++i)
    set[i] = (0x40'0000'0000 + i * kind.span) | (kind.level == 0 ? 0x7ff : 0x7fd) | contiguous;
  return set;
}
std::string judged(const Kind& kind, std::span<const Entry> set, GuestPhys first = 0_gpa) {
  return text_of(reader_of(kind.granule_bits).contiguous_fault(kind.level, set, first));
}

TEST(ArmContiguous, HasTheManualsSizes) {
  for (auto const& kind : kinds)
    EXPECT_EQ(reader_of(kind.granule_bits).contiguous_entries(kind.level), kind.entries)
        << kind.granule_bits << ", level " << kind.level;
  EXPECT_EQ(reader_of(12).contiguous_entries(3), 1u);
  EXPECT_EQ(reader_of(14).contiguous_entries(2), 1u);
  EXPECT_EQ(reader_of(16).contiguous_entries(2), 1u);
}

TEST(ArmContiguous, PassesARightSetAndOneWithoutTheBit) {
  for (auto const& kind : kinds) {
    auto set = good(kind);
    EXPECT_EQ(judged(kind, set), "");
    EXPECT_EQ(judged(kind, set, GuestPhys{3 * kind.entries * kind.span}), "");
    for (auto& entry : set) entry &= ~contiguous;
    set[1] = 0;
    EXPECT_EQ(judged(kind, set), "");
  }
}

TEST(ArmContiguous, NamesEachEntryThatIsNotLikeTheOthers) {
  struct Mistake {
    const char* what;
    std::function<Entry(Entry, std::uint64_t)> make;
    const char* complaint;
  };
  Mistake const mistakes[] = {
      {"absent", [](Entry, std::uint64_t) { return Entry{0}; }, incomplete_set},
      {"invalid", [](Entry e, std::uint64_t) { return e & ~Entry{1}; }, incomplete_set},
      {"without the bit", [](Entry e, std::uint64_t) { return e & ~contiguous; },
       "A4.5: not all entries of the set have"},
      {"elsewhere", [](Entry e, std::uint64_t span) { return e ^ span << 7; },
       "A4.5: the set's output addresses are not contiguous"},
      {"one further", [](Entry e, std::uint64_t span) { return e ^ span; }, "A4.5: an output address is out of place"},
      {"read-only", [](Entry e, std::uint64_t) { return e & ~Entry{0x80}; }, "A4.5: the set's attributes"},
      {"not executable", [](Entry e, std::uint64_t) { return e | 1ull << 54; }, "A4.5: the set's attributes"},
      {"of another type", [](Entry e, std::uint64_t) { return e ^ 0x8; }, "A4.5: the set's attributes"},
      {"not shareable", [](Entry e, std::uint64_t) { return e & ~Entry{0x300}; }, "A4.5: the set's attributes"},
      {"dirty by itself", [](Entry e, std::uint64_t) { return e | modifier; }, "A4.5: the set's attributes"},
      {"of another class", [](Entry e, std::uint64_t) { return e | 1ull << 60; }, "A4.5: the set's attributes"},
  };
  for (auto const& kind : kinds)
    for (auto const& mistake : mistakes)
      for (auto const i : {0u, 1u, kind.entries - 1}) {
        auto set = good(kind);
        set[i] = mistake.make(set[i], kind.span);
        EXPECT_EQ(judged(kind, set).substr(0, std::string{mistake.complaint}.size()), mistake.complaint)
            << mistake.what << " at " << i << ", granule " << kind.granule_bits << ", level " << kind.level;
      }
}

TEST(ArmContiguous, LooksPastWhatIsNotValid) {
  for (auto const& kind : kinds) {
    auto set = good(kind);
    set[0] = set[2] = 0;
    EXPECT_EQ(judged(kind, set), incomplete_set);
    set[3] ^= 0x8;
    EXPECT_EQ(judged(kind, set).substr(0, 26), "A4.5: the set's attributes");
    if (kind.level == 0) continue;
    set = good(kind);
    set[0] = 0x4000'0003;  // a table
    EXPECT_EQ(judged(kind, set).substr(0, 37), "A4.5: not all entries of the set have");
  }
}

TEST(ArmContiguous, LetsHardwareAndSoftwareMarkOneAlone) {
  for (auto const& kind : kinds)
    for (auto const i : {0u, kind.entries - 1}) {
      auto set = good(kind);
      for (auto& entry : set) entry = (entry | modifier) & ~Entry{0x480};
      set[i] |= 0x480;            // accessed and dirty
      set[i] |= 0b1011ull << 55;  // for software
      EXPECT_EQ(judged(kind, set), "");
      // What hardware does not set by itself is the same for all.
      auto const unaided = reader_of(kind.granule_bits, false);
      for (auto const mark : {Entry{0x400}, Entry{0x80}}) {
        auto marked = good(kind);
        marked[i] ^= mark;
        EXPECT_EQ(text_of(unaided.contiguous_fault(kind.level, marked, 0_gpa)).substr(0, 26),
                  "A4.5: the set's attributes");
      }
    }
}

TEST(ArmContiguous, WantsAlignmentAtBothEnds) {
  for (auto const& kind : kinds) {
    auto set = good(kind);
    EXPECT_EQ(judged(kind, set, GuestPhys{kind.span}).substr(0, 15), "A4.5: not an al");
    EXPECT_EQ(judged(kind, std::span{set}.first(kind.entries / 2)).substr(0, 15), "A4.5: not an al");
    for (auto& entry : set) entry += kind.span;
    EXPECT_EQ(judged(kind, set).substr(0, 39), "A4.5: an output address is out of place");
  }
}

TEST(ArmContiguous, StaysInsideTheInput) {
  // 34 bits are 16 entries of 1G, 33 are 8; with 64K, 34 bits are 32 entries of 512M.
  auto const set = good(kinds[2]);
  EXPECT_EQ(reader_of(12, true, 34).contiguous_fault(2, set, 0_gpa), nullptr);
  EXPECT_EQ(text_of(reader_of(12, true, 33).contiguous_fault(2, set, 0_gpa)).substr(0, 20), "A4.5: the set reache");
  auto const large = good(kinds[6]);
  EXPECT_EQ(reader_of(16, true, 34).contiguous_fault(1, large, 0_gpa), nullptr);
  EXPECT_EQ(text_of(reader_of(16, true, 33).contiguous_fault(1, large, 0_gpa)).substr(0, 20), "A4.5: the set reache");
}

}  // namespace
}  // namespace slat::test
