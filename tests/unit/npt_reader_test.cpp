// The reader of AMD's nested entries against tables written by hand: [amd/vol2] "Long-mode page translation", the
// figures of each entry's format, "Page-attribute table mechanism" and "Nested paging".

#include <gtest/gtest.h>

#include <slat/testing/npt_reader.hpp>
#include "unit/reader_fields.hpp"

namespace slat::test {
namespace {

using namespace slat::literals;

// The PAT holds, from the first: WB WT UC- UC WC WT UC- UC.
constexpr NptFeatures plain{
    .levels = 4, .output_bits = 48, .top_leaf = 2, .no_execute = true, .pat = 0x0007'0401'0007'0406};

constexpr NptFeatures everything{
    .levels = 5, .output_bits = 52, .top_leaf = 2, .no_execute = true, .pat = 0x0007'0401'0007'0406};

// No 1G leaves, no NXE, and a PAT that no processor takes: the fourth type is 2, the last 3.
constexpr NptFeatures bare{
    .levels = 4, .output_bits = 40, .top_leaf = 1, .no_execute = false, .pat = 0x0307'0401'0207'0406};

TEST(NptReader, KnowsEachBitOfAPage) {
  // P, W and U.
  expect_fields(NptReader{plain}, 0, 0x4000'0007,
                {{63, 63, rights},
                 {62, 52, ignored},  // 62:59 would be a protection key
                 {51, 48, misconfigured, "C1: address bits above"},
                 {47, 12, address},
                 {11, 8, ignored},  // 8 would be G
                 {7, 7, type},      // PAT
                 {6, 6, marks_dirty},
                 {5, 5, marks_accessed},
                 {4, 3, type},  // PCD, PWT
                 {2, 1, rights},
                 {0, 0, no_translation}});
  expect_fields(NptReader{bare}, 0, 0x4000'000f,
                {{63, 63, misconfigured, "C1: bit 63"},
                 {62, 52, ignored},
                 {51, 40, misconfigured, "C1: address bits above"},
                 {39, 12, address},
                 {11, 8, ignored},
                 {7, 7, ignored},  // the sixth type of this PAT is the second's
                 {6, 6, marks_dirty},
                 {5, 5, marks_accessed},
                 {4, 4, reserved, "C1: the PAT"},
                 {3, 3, type},
                 {2, 1, rights},
                 {0, 0, no_translation}});
}

TEST(NptReader, KnowsEachBitOfALargePage) {
  for (Level const level : {1u, 2u}) {
    auto const low = 12 + 9 * level;
    expect_fields(NptReader{everything}, level, 0x8000'0000'4000'0087,
                  {{63, 63, rights},
                   {62, 52, ignored},
                   {51, low, address},
                   {low - 1, 13, misconfigured, "C1: address bits below"},
                   {12, 12, type},  // PAT
                   {11, 8, ignored},
                   {7, 7, kind},
                   {6, 6, marks_dirty},
                   {5, 5, marks_accessed},
                   {4, 3, type},
                   {2, 1, rights},
                   {0, 0, no_translation}});
  }
  expect_fields(NptReader{bare}, 1, 0x4000'0087,
                {{63, 63, misconfigured, "C1: bit 63"},
                 {62, 52, ignored},
                 {51, 40, misconfigured, "C1: address bits above"},
                 {39, 21, address},
                 {20, 13, misconfigured, "C1: address bits below"},
                 {12, 12, type},
                 {11, 8, ignored},
                 {7, 7, kind},
                 {6, 6, marks_dirty},
                 {5, 5, marks_accessed},
                 {4, 3, type},
                 {2, 1, rights},
                 {0, 0, no_translation}});
}

TEST(NptReader, KnowsEachBitOfATable) {
  for (Level const level : {1u, 2u})
    expect_fields(NptReader{plain}, level, 0x4000'0007,
                  {{63, 63, rights},
                   {62, 52, ignored},
                   {51, 48, misconfigured, "C1: address bits above"},
                   {47, 12, address},
                   {11, 8, ignored},
                   {7, 7, kind},
                   {6, 3, ignored},  // PCD and PWT say how the table itself is read
                   {2, 1, rights},
                   {0, 0, no_translation}});
  for (Level const level : {3u, 4u})
    expect_fields(NptReader{everything}, level, 0x4000'0007,
                  {{63, 63, rights},
                   {62, 52, ignored},
                   {51, 12, address},
                   {11, 9, ignored},
                   {8, 7, misconfigured, "C1: bits 8:7"},
                   {6, 3, ignored},
                   {2, 1, rights},
                   {0, 0, no_translation}});
  expect_fields(NptReader{bare}, 2, 0x4000'0007,
                {{63, 63, misconfigured, "C1: bit 63"},
                 {62, 52, ignored},
                 {51, 40, misconfigured, "C1: address bits above"},
                 {39, 12, address},
                 {11, 8, ignored},
                 {7, 7, misconfigured, "C1: no leaf"},
                 {6, 3, ignored},
                 {2, 1, rights},
                 {0, 0, no_translation}});
}

TEST(NptReader, GivesNoRightToWhatIsTheSupervisors) {
  NptReader const reader{plain};
  EXPECT_EQ(reader.decode(0, 0x4000'0007).rights, Prot::rwx);
  EXPECT_EQ(reader.decode(0, 0x4000'0005).rights, Prot::rx);
  EXPECT_EQ(reader.decode(0, 0x8000'0000'4000'0007).rights, Prot::rw);
  EXPECT_EQ(reader.decode(0, 0x4000'0003).rights, Prot::none);
  EXPECT_EQ(reader.decode(2, 0x4000'0003).rights, Prot::none);
}

TEST(NptReader, SeesNothingInWhatIsNotPresent) {
  for (Level level = 0; level != 5; ++level) {
    EXPECT_EQ(NptReader{bare}.decode(level, 0), Decoded{});
    for (auto n = 1u; n != 64; ++n) {
      auto const decoded = NptReader{bare}.decode(level, Entry{1} << n);
      EXPECT_EQ(decoded.kind, Decoded::Kind::broken) << n;
      EXPECT_EQ(decoded.fault, Fault::translation) << n;
      EXPECT_EQ(decoded.wrong, nullptr) << n;
    }
  }
}

TEST(NptReader, MarksWhatHardwareMarks) {
  NptReader const reader{plain};
  EXPECT_EQ(reader.accessed(0, 0x4000'0007), 0x4000'0027u);
  EXPECT_EQ(reader.accessed(3, 0x4000'0007), 0x4000'0027u);
  EXPECT_EQ(reader.accessed(0, 0x4000'0006), 0x4000'0006u);
  EXPECT_EQ(reader.accessed(3, 0x4000'0087), 0x4000'0087u) << "a reserved bit ends the walk";
  EXPECT_EQ(reader.written(0, 0x4000'0007), 0x4000'0047u);
  EXPECT_EQ(reader.written(1, 0x4000'0007), 0x4000'0007u) << "a table has no dirty bit";
}

TEST(NptReader, ReadsTheMemoryTypeOutOfThePat) {
  constexpr std::uint8_t types[] = {6, 4, 7, 0, 1, 4, 7, 0};
  for (Entry i = 0; i != 8; ++i) {
    auto const low = (i & 3) << 3;
    EXPECT_EQ(NptReader{plain}.decode(0, 0x4000'0007 | low | (i >> 2) << 7).type, types[i]) << i;
    EXPECT_EQ(NptReader{plain}.decode(1, 0x4000'0087 | low | (i >> 2) << 12).type, types[i]) << i;
    EXPECT_EQ(NptReader{plain}.decode(2, 0x4000'0087 | low | (i >> 2) << 12).type, types[i]) << i;
    auto const known = i != 3 && i != 7;
    auto const in_bare = NptReader{bare}.decode(0, 0x4000'0007 | low | (i >> 2) << 7);
    EXPECT_EQ(in_bare.wrong == nullptr, known) << i;
    EXPECT_EQ(in_bare.fault, Fault::none) << i;
  }
}

TEST(NptReader, HoldsHouseRulesOnlyWhereAsked) {
  auto house = plain;
  house.house_rules = true;
  for (auto const& [level, entry, rule] : {Sample{0, 0x4000'0003, "H9"},
                                           {1, 0x4000'0003, "H9"},
                                           {1, 0x4000'0083, "H9"},
                                           {1, 0x4000'0005, "H3"},
                                           {1, 0x8000'0000'4000'0007, "H3"},
                                           {1, 0x4000'000f, "H5"},
                                           {0, 0x4000'001f, "H1"},
                                           {0, 0x4000'0017, "H1"},
                                           {1, 0x4000'0097, "H1"},
                                           {0, 0x8000'0000'4000'001f, ""},
                                           {0, 0x4000'000f, ""},
                                           {3, 0x4000'0007, ""}}) {
    expect_rules(NptReader{house}, {{level, entry, rule}});
    expect_rules(NptReader{plain}, {{level, entry, ""}});
    EXPECT_EQ(NptReader{house}.decode(level, entry).fault, Fault::none);
  }
}

TEST(NptReader, HasNoConflicts) {
  Decoded const here{.type = 6, .address = 0x20'0000_hpa};
  Decoded const elsewhere{.type = 0, .address = 0x40'0000_hpa};
  EXPECT_FALSE(NptReader{plain}.conflict(here, 0, elsewhere, 1));
}

// ---- walks: address 0x80'4060'5678 has the indices 1, 1, 3, 5 from the root
// down.

constexpr GuestPhys at{0x80'4060'5678};

Words four_levels() {
  Words words;
  words.put(0x1000, 1, 0x2007);
  words.put(0x2000, 1, 0x3007);
  words.put(0x3000, 3, 0x4007);
  words.put(0x4000, 5, 0x9'8765'400f);
  return words;
}

TEST(NptReaderWalk, GoesDownToThePageOrTheLargeLeaf) {
  auto words = four_levels();
  auto walk = NptReader{plain}.walk(words, 0x1000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(walk.level, 0u);
  EXPECT_EQ(walk.address, 0x9'8765'4678_hpa);
  EXPECT_EQ(walk.rights, Prot::rwx);
  EXPECT_EQ(walk.leaf.type, 4);
  EXPECT_EQ(places(walk), (std::vector<std::uint64_t>{0x1008, 0x2008, 0x3018, 0x4028}));
  words.put(0x7000, 2, 0x1007);
  walk = NptReader{everything}.walk(words, 0x7000_hpa, GuestPhys{2ull << 48} + at.raw());
  EXPECT_EQ(walk.address, 0x9'8765'4678_hpa);
  EXPECT_EQ(walk.count, 5u);
  words.put(0x3000, 3, 0x9'8760'1087);
  walk = NptReader{plain}.walk(words, 0x1000_hpa, at);
  EXPECT_EQ(walk.address, 0x9'8760'5678_hpa);
  EXPECT_EQ(walk.leaf.type, 1);
  EXPECT_EQ(walk.level, 1u);
  words.put(0x2000, 1, 0x9'8000'0087);
  EXPECT_EQ(NptReader{plain}.walk(words, 0x1000_hpa, at).address, 0x9'8060'5678_hpa);
}

TEST(NptReaderWalk, AllowsWhatEveryEntryOnTheWayAllows) {
  auto words = four_levels();
  words.put(0x1000, 1, 0x8000'0000'0000'2007);
  EXPECT_EQ(NptReader{plain}.walk(words, 0x1000_hpa, at).rights, Prot::rw);
  words.put(0x3000, 3, 0x4005);
  EXPECT_EQ(NptReader{plain}.walk(words, 0x1000_hpa, at).rights, Prot::r);
  words.put(0x2000, 1, 0x3003);
  EXPECT_EQ(NptReader{plain}.walk(words, 0x1000_hpa, at).rights, Prot::none) << "U is clear";
  EXPECT_EQ(NptReader{plain}.walk(words, 0x1000_hpa, at).fault, Fault::none);
}

TEST(NptReaderWalk, EndsWhereAnEntryFaults) {
  constexpr std::uint64_t tables[] = {0x4000, 0x3000, 0x2000, 0x1000};
  constexpr std::uint64_t indices[] = {5, 3, 1, 1};
  for (Level level = 0; level != 4; ++level) {
    auto words = four_levels();
    words.put(tables[level], indices[level], 0x5006);
    auto walk = NptReader{plain}.walk(words, 0x1000_hpa, at);
    EXPECT_EQ(walk.fault, Fault::translation);
    EXPECT_EQ(walk.level, level);
    words.put(tables[level], indices[level], 0x1'0000'0000'5007);
    walk = NptReader{plain}.walk(words, 0x1000_hpa, at);
    EXPECT_EQ(walk.fault, Fault::misconfigured);
    EXPECT_EQ(walk.level, level);
    EXPECT_EQ(walk.count, 4 - level);
    EXPECT_EQ(text_of(walk.wrong).substr(0, 2), "C1");
  }
}

TEST(NptReaderWalk, RefusesWhatIsBeyondTheInputOrAWrongRoot) {
  auto const words = four_levels();
  NptReader const reader{plain};
  auto walk = reader.walk(words, 0x1000_hpa, GuestPhys{1ull << 48} + at.raw());
  EXPECT_EQ(walk.fault, Fault::translation);
  EXPECT_EQ(walk.count, 0u);
  for (auto const root : {0x1008_hpa, HostPhys{1ull << 48}}) {
    walk = reader.walk(words, root, at);
    EXPECT_EQ(walk.fault, Fault::misconfigured);
    EXPECT_EQ(text_of(walk.wrong).substr(0, 2), "C3");
    EXPECT_EQ(walk.count, 0u);
  }
}

}  // namespace
}  // namespace slat::test
