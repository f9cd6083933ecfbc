// The reader of EPT entries against tables written by hand: [intel/vol3] "EPT translation mechanism", the tables of
// each entry's format, and "EPT misconfigurations".

#include <gtest/gtest.h>

#include "unit/reader_cpus.hpp"
#include "unit/reader_fields.hpp"

namespace slat::test {
namespace {

using namespace slat::literals;
using namespace ept_cpus;

constexpr EptFeatures bare{.levels = 4,
                           .output_bits = 36,
                           .top_leaf = 0,
                           .execute_only = false,
                           .mode_based_execute = false,
                           .accessed_dirty = false,
                           .page_size_erratum = true};

TEST(EptReader, KnowsEachBitOfAPage) {
  // Write-back (6) in 5:3, R and W and X.
  expect_fields(EptReader{plain}, 0, 0x4000'0037,
                {{63, 52, ignored},
                 {51, 46, misconfigured, "B1.2: address bits above"},
                 {45, 12, address},
                 {11, 10, ignored},
                 {9, 9, marks_dirty},
                 {8, 8, marks_accessed},
                 {7, 7, ignored},
                 {6, 6, type},                             // IPAT
                 {5, 5, misconfigured, "B1.2: reserved"},  // 2
                 {4, 4, type},                             // 4
                 {3, 3, misconfigured, "B1.2: reserved"},  // 7
                 {2, 1, rights},
                 {0, 0, misconfigured, "B1.2: writable"}});
  expect_fields(EptReader{everything}, 0, 0x4000'0437,
                {{63, 63, special},
                 {62, 62, ignored},
                 {61, 60, special},
                 {59, 59, ignored},
                 {58, 57, special},
                 {56, 52, ignored},
                 {51, 12, address},
                 {11, 11, ignored},
                 {10, 10, rights},
                 {9, 9, marks_dirty},
                 {8, 8, marks_accessed},
                 {7, 7, ignored},
                 {6, 6, type},
                 {5, 5, misconfigured, "B1.2: reserved"},
                 {4, 4, type},
                 {3, 3, misconfigured, "B1.2: reserved"},
                 {2, 1, rights},
                 {0, 0, misconfigured, "B1.2: writable"}});
  // Readable and executable, write-protected (5). Without A/D bits the write right stands for the mark.
  expect_fields(EptReader{bare}, 0, 0x4000'002d,
                {{63, 52, ignored},
                 {51, 36, misconfigured, "B1.2: address bits above"},
                 {35, 12, address},
                 {11, 7, ignored},
                 {6, 6, type},
                 {5, 5, type},                             // 1
                 {4, 4, misconfigured, "B1.2: reserved"},  // 7
                 {3, 3, type},                             // 4
                 {2, 2, rights},
                 {1, 1, rights | marks_dirty},
                 {0, 0, misconfigured, "B1.2: execute-only"}});
}

TEST(EptReader, KnowsEachBitOfALargePage) {
  for (Level const level : {1u, 2u}) {
    auto const low = 12 + 9 * level;
    expect_fields(EptReader{plain}, level, 0x4000'00b7,
                  {{63, 52, ignored},
                   {51, 46, misconfigured, "B1.2: address bits above"},
                   {45, low, address},
                   {low - 1, 12, misconfigured, "B1.2: address bits below"},
                   {11, 10, ignored},
                   {9, 9, marks_dirty},
                   {8, 8, marks_accessed},
                   {7, 7, misconfigured, "B1.2: bits 6:3"},  // a table with a memory type
                   {6, 6, type},
                   {5, 5, misconfigured, "B1.2: reserved"},
                   {4, 4, type},
                   {3, 3, misconfigured, "B1.2: reserved"},
                   {2, 1, rights},
                   {0, 0, misconfigured, "B1.2: writable"}});
    // Uncacheable (0), so that without bit 7 it is a table; sub-page rights are of 4K pages alone.
    expect_fields(EptReader{everything}, level, 0x4000'0485,
                  {{63, 63, special},
                   {62, 61, ignored},
                   {60, 60, special},
                   {59, 59, ignored},
                   {58, 57, special},
                   {56, 52, ignored},
                   {51, low, address},
                   {low - 1, 12, misconfigured, "B1.2: address bits below"},
                   {11, 11, ignored},
                   {10, 10, rights},
                   {9, 9, marks_dirty},
                   {8, 8, marks_accessed},
                   {7, 7, kind},
                   {6, 6, type},
                   {5, 5, type},                             // 4
                   {4, 4, misconfigured, "B1.2: reserved"},  // 2
                   {3, 3, type},                             // 1
                   {2, 0, rights}});
  }
}

TEST(EptReader, KnowsEachBitOfATable) {
  for (Level const level : {1u, 2u}) {
    expect_fields(EptReader{plain}, level, 0x4000'0007,
                  {{63, 52, ignored},
                   {51, 46, misconfigured, "B1.2: address bits above"},
                   {45, 12, address},
                   {11, 8, ignored},
                   {7, 7, kind},
                   {6, 3, misconfigured, "B1.2: bits 6:3"},
                   {2, 1, rights},
                   {0, 0, misconfigured, "B1.2: writable"}});
    expect_fields(EptReader{bare}, level, 0x4000'0005,
                  {{63, 52, ignored},
                   {51, 36, misconfigured, "B1.2: address bits above"},
                   {35, 12, address},
                   {11, 8, ignored},
                   {7, 7, misconfigured, "B1.2: no leaf"},
                   {6, 3, misconfigured, "B1.2: bits 6:3"},
                   {2, 1, rights},
                   {0, 0, misconfigured, "B1.2: execute-only"}});
  }
  for (Level const level : {3u, 4u})
    expect_fields(EptReader{everything}, level, 0x4000'0405,
                  {{63, 52, ignored},
                   {51, 12, address},
                   {11, 11, ignored},
                   {10, 10, rights},
                   {9, 8, ignored},
                   {7, 3, misconfigured, "B1.2: bits 7:3"},
                   {2, 0, rights}});
}

TEST(EptReader, KnowsEveryMemoryTypeAndEveryCombinationOfRights) {
  for (Entry code = 0; code != 8; ++code) {
    auto const decoded = EptReader{plain}.decode(0, 0x4000'0007 | code << 3);
    auto const exists = code == 0 || code == 1 || (code >= 4 && code <= 6);
    EXPECT_EQ(decoded.fault, exists ? Fault::none : Fault::misconfigured) << code;
    EXPECT_EQ(decoded.type, code);
  }
  auto no_execute_only = everything;
  no_execute_only.execute_only = false;
  for (Level level = 0; level != 5; ++level)
    for (Entry rwx = 0; rwx != 16; ++rwx) {
      // Bit 3 of the number is bit 10 of the entry.
      Entry const entry = 0x4000'0000 | (rwx & 7) | (rwx & 8) << 7;
      auto const writes_unread = (rwx & 3) == 2;
      auto const executes_alone = (rwx & 3) == 0;
      auto const expected = [&](bool present, bool execute_only) {
        return !present                                             ? Fault::translation
               : writes_unread || (executes_alone && !execute_only) ? Fault::misconfigured
                                                                    : Fault::none;
      };
      EXPECT_EQ(EptReader{plain}.decode(level, entry).fault, expected((rwx & 7) != 0, true)) << rwx;
      EXPECT_EQ(EptReader{bare}.decode(level, entry).fault, expected((rwx & 7) != 0, false)) << rwx;
      EXPECT_EQ(EptReader{everything}.decode(level, entry).fault, expected(rwx != 0, true)) << rwx;
      EXPECT_EQ(EptReader{no_execute_only}.decode(level, entry).fault, expected(rwx != 0, false)) << rwx;
    }
}

TEST(EptReader, SplitsExecutionOnlyUnderItsControl) {
  EXPECT_EQ(EptReader{plain}.decode(0, 0x4000'0435).rights, Prot::rx);
  EXPECT_EQ(EptReader{plain}.decode(0, 0x4000'0431).rights, Prot::r);
  EXPECT_EQ(EptReader{plain}.decode(0, 0x4000'0034).rights, Prot::x);
  EXPECT_EQ(EptReader{everything}.decode(0, 0x4000'0435).rights, Prot::rx);
  EXPECT_EQ(EptReader{everything}.decode(0, 0x4000'0431).rights, Prot::r | Prot::x_user);
  EXPECT_EQ(EptReader{everything}.decode(0, 0x4000'0035).rights, Prot::r | Prot::x_supervisor);
  EXPECT_EQ(EptReader{everything}.decode(3, 0x4000'0403).rights, Prot::rw | Prot::x_user);
}

TEST(EptReader, SeesNothingInWhatIsNotPresent) {
  for (Level level = 0; level != 5; ++level) {
    EXPECT_EQ(EptReader{plain}.decode(level, 0), Decoded{});
    for (auto n = 3u; n != 64; ++n) {
      auto const decoded = EptReader{plain}.decode(level, Entry{1} << n);
      EXPECT_EQ(decoded.kind, Decoded::Kind::broken) << n;
      EXPECT_EQ(decoded.fault, Fault::translation) << n;
      EXPECT_EQ(decoded.wrong, nullptr) << n;
    }
  }
  EXPECT_EQ(EptReader{everything}.decode(0, 0x400).kind, Decoded::Kind::leaf);
}

TEST(EptReader, MarksWhatHardwareMarks) {
  EptReader const reader{plain};
  EXPECT_EQ(reader.accessed(0, 0x4000'0037), 0x4000'0137u);
  EXPECT_EQ(reader.accessed(3, 0x4000'0007), 0x4000'0107u);
  EXPECT_EQ(reader.written(0, 0x4000'0037), 0x4000'0237u);
  EXPECT_EQ(reader.written(1, 0x4000'0007), 0x4000'0007u) << "a table has no dirty bit";
  EXPECT_EQ(reader.accessed(0, 0x4000'0036), 0x4000'0036u) << "a misconfigured entry is not used";
  EXPECT_EQ(reader.accessed(0, 0x4000'0030), 0x4000'0030u);
  EXPECT_EQ(EptReader{bare}.accessed(0, 0x4000'0037), 0x4000'0037u);
  EXPECT_EQ(EptReader{bare}.written(0, 0x4000'0037), 0x4000'0037u);
}

TEST(EptReader, HoldsHouseRulesOnlyWhereAsked) {
  auto house = plain;
  house.house_rules = true;
  expect_rules(EptReader{plain}, {{1, 0x4000'0003, ""}, {0, 0x4000'0007, ""}, {0, 0x0000'0000'4000'0030, ""}});
  expect_rules(EptReader{house}, {{1, 0x4000'0003, "H3"},
                                  {3, 0x4000'0005, "H3"},
                                  {1, 0x4000'0007, ""},
                                  {0, 0x4000'0007, "H1"},
                                  {0, 0x4000'0003, ""},
                                  {0, 0x4000'000f, ""},
                                  {0, 0x0000'0000'4000'0030, "H4"},
                                  {0, 0x8000'0000'4000'0030, ""},
                                  {0, 0, ""}});
  EXPECT_EQ(EptReader{house}.decode(1, 0x4000'0003).fault, Fault::none);
}

TEST(EptReader, WantsAbsentEntriesAboveMemoryForL1tf) {
  auto l1tf = plain;
  l1tf.l1tf = true;
  expect_rules(EptReader{l1tf}, {{0, 0x4000'0030, "B2.6"},
                                 {0, 0x8000'2000'4000'0030, "B2.6"},
                                 {0, 0x0000'4000'4000'0030, ""},
                                 {1, 0x0008'0000'4000'0030, ""},
                                 {0, 0, ""}});
}

TEST(EptReader, HasOneConflictOnAnErratum) {
  Decoded const here{.type = 6, .address = 0x20'0000_hpa};
  Decoded const elsewhere{.type = 6, .address = 0x40'0000_hpa};
  Decoded const uncached{.type = 0, .address = 0x20'0000_hpa};
  EptReader const flawed{bare};
  EXPECT_TRUE(flawed.conflict(here, 0, elsewhere, 1));
  EXPECT_TRUE(flawed.conflict(here, 0, uncached, 1));
  EXPECT_FALSE(flawed.conflict(here, 0, here, 1));
  EXPECT_FALSE(flawed.conflict(here, 1, elsewhere, 1));
  EXPECT_FALSE(EptReader{plain}.conflict(here, 0, elsewhere, 1));
}

}  // namespace
}  // namespace slat::test
