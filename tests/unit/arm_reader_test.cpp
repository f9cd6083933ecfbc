// The reader of Arm's stage-2 descriptors against tables written by hand: [arm/a-profile] D8, "VMSAv8-64 translation
// table format descriptors".

#include <gtest/gtest.h>

#include "unit/reader_cpus.hpp"
#include "unit/reader_fields.hpp"

namespace slat::test {
namespace {

using namespace slat::literals;
using namespace arm_cpus;

TEST(ArmReader, KnowsEachBitOfAPage) {
  // Write-back (1111), readable, inner shareable, accessed.
  expect_fields(ArmReader{plain}, 0, 0x4000'077f,
                {{63, 55, ignored},
                 {54, 54, rights},
                 {53, 53, reserved, "A4.2"},
                 {52, 52, joins},
                 {51, 51, rights},  // DBM: hardware will set S2AP[1]
                 {50, 50, reserved, "A4.1"},
                 {49, 48, reserved, "A4.8"},
                 {47, 40, address_size, "A4.10"},
                 {39, 12, address},
                 {11, 11, reserved, "A4.1"},
                 {10, 10, marks_accessed},
                 {9, 9, reserved, "A4.1: SH"},
                 {8, 8, type},
                 {7, 7, rights | marks_dirty},
                 {6, 6, rights},
                 {5, 2, type},
                 {1, 1, no_translation, "A4.1: 0b01"},
                 {0, 0, no_translation}});
  // Forced write-back (0110), readable and writable.
  expect_fields(ArmReader{other}, 0, 0x4000'07db,
                {{63, 55, ignored},
                 {54, 53, rights},
                 {52, 52, joins},
                 {51, 51, ignored},  // DBM without VTCR_EL2.HD
                 {50, 50, reserved, "A4.1"},
                 {49, 48, reserved, "A4.8"},
                 {47, 12, address},
                 {11, 11, special},  // FnXS
                 {10, 10, access_flag},
                 {9, 9, reserved, "A4.1: SH"},
                 {8, 8, type},
                 {7, 7, rights | marks_dirty},
                 {6, 6, rights},
                 {5, 5, reserved, "A4.3"},  // 1110
                 {4, 4, type},              // 0010
                 {3, 3, reserved, "A4.3"},  // 0100
                 {2, 2, type},              // 0111
                 {1, 1, no_translation, "A4.1: 0b01"},
                 {0, 0, no_translation}});
}

TEST(ArmReader, KnowsEachBitOfAPageOfALargerGranule) {
  expect_fields(ArmReader{with_granule(14)}, 0, 0x4000'077f,
                {{63, 55, ignored},
                 {54, 54, rights},
                 {53, 53, reserved, "A4.2"},
                 {52, 52, joins},
                 {51, 51, rights},
                 {50, 50, reserved, "A4.1"},
                 {49, 48, reserved, "A4.8"},
                 {47, 40, address_size, "A4.10"},
                 {39, 14, address},
                 {13, 12, reserved, "A4.7"},
                 {11, 11, reserved, "A4.1"},
                 {10, 10, marks_accessed},
                 {9, 9, reserved, "A4.1: SH"},
                 {8, 8, type},
                 {7, 7, rights | marks_dirty},
                 {6, 6, rights},
                 {5, 2, type},
                 {1, 1, no_translation, "A4.1: 0b01"},
                 {0, 0, no_translation}});
  // Non-cacheable (0101).
  expect_fields(ArmReader{with_granule(16)}, 0, 0x4000'0757,
                {{63, 55, ignored},
                 {54, 54, rights},
                 {53, 53, reserved, "A4.2"},
                 {52, 52, joins},
                 {51, 51, rights},
                 {50, 48, reserved, "A4.1"},
                 {47, 40, address_size, "A4.10"},
                 {39, 16, address},
                 {15, 12, reserved, "A4.8"},
                 {11, 11, reserved, "A4.1"},
                 {10, 10, marks_accessed},
                 {9, 9, reserved, "A4.1: SH"},
                 {8, 8, type},
                 {7, 7, rights | marks_dirty},
                 {6, 6, rights},
                 {5, 3, type},              // 1101, 0001, 0111
                 {2, 2, reserved, "A4.3"},  // 0100
                 {1, 1, no_translation, "A4.1: 0b01"},
                 {0, 0, no_translation}});
}

TEST(ArmReader, KnowsEachBitOfABlock) {
  struct Block {
    unsigned granule_bits;
    Level level;
    unsigned shift;
  };
  for (auto const& [granule_bits, level, shift] :
       {Block{12, 1, 21}, Block{12, 2, 30}, Block{14, 1, 25}, Block{16, 1, 29}}) {
    auto const is_64k = granule_bits == 16;
    expect_fields(ArmReader{granule_bits == 12 ? plain : with_granule(granule_bits)}, level, 0x4000'077d,
                  {{63, 55, ignored},
                   {54, 54, rights},
                   {53, 53, reserved, "A4.2"},
                   {52, 52, joins},
                   {51, 51, rights},
                   {50, 50, reserved, "A4.1"},
                   {49, 48, reserved, is_64k ? "A4.1" : "A4.8"},
                   {47, 40, address_size, "A4.10"},
                   {39, shift, address},
                   {shift - 1, 17, reserved, "A4.7: address bits"},
                   {16, 16, reserved, "A4.7: nT"},
                   {15, 12, reserved, is_64k ? "A4.8" : "A4.7: address bits"},
                   {11, 11, reserved, "A4.1"},
                   {10, 10, marks_accessed},
                   {9, 9, reserved, "A4.1: SH"},
                   {8, 8, type},
                   {7, 7, rights | marks_dirty},
                   {6, 6, rights},
                   {5, 2, type},
                   {1, 1, kind},
                   {0, 0, no_translation}});
  }
  // Strongly ordered device memory (0000): with FWB, the codes above 0111 are reserved.
  expect_fields(ArmReader{other}, 1, 0x4000'0741,
                {{63, 55, ignored},
                 {54, 53, rights},
                 {52, 52, joins},
                 {51, 51, ignored},
                 {50, 50, reserved, "A4.1"},
                 {49, 48, reserved, "A4.8"},
                 {47, 21, address},
                 {20, 17, reserved, "A4.7: address bits"},
                 {16, 16, ignored},  // nT
                 {15, 12, reserved, "A4.7: address bits"},
                 {11, 11, special},
                 {10, 10, access_flag},
                 {9, 9, reserved, "A4.1: SH"},
                 {8, 8, type},
                 {7, 7, rights | marks_dirty},
                 {6, 6, rights},
                 {5, 4, reserved, "A4.3"},  // 1000, 0100
                 {3, 2, type},
                 {1, 1, kind},
                 {0, 0, no_translation}});
}

TEST(ArmReader, KnowsEachBitOfATable) {
  struct Table {
    unsigned granule_bits;
    Level level;
    Does without_bit_1;
    const char* rule;
  };
  // A block where there can be one; else nothing.
  for (auto const& [granule_bits, level, without_bit_1, rule] : {Table{12, 1, kind, ""},
                                                                 {12, 2, kind, ""},
                                                                 {12, 3, no_translation, "A4.7: no block"},
                                                                 {14, 1, kind, ""},
                                                                 {14, 2, no_translation, "A4.7: no block"},
                                                                 {14, 3, no_translation, "A4.7: no block"},
                                                                 {16, 1, kind, ""},
                                                                 {16, 2, no_translation, "A4.7: no block"}}) {
    auto const is_64k = granule_bits == 16;
    auto const upper = [&](unsigned low, std::initializer_list<Field> below) {
      std::vector<Field> rows{{63, 59, reserved, "A4.1: bits 63:59"},
                              {58, 51, ignored},
                              {50, 50, reserved, "A4.1"},
                              {49, 48, reserved, is_64k ? "A4.1" : "A4.8"},
                              {47, 40, address_size, "A4.10"},
                              {39, low, address}};
      rows.insert(rows.end(), below);
      rows.insert(rows.end(), {{11, 2, ignored}, {1, 1, without_bit_1, rule}, {0, 0, no_translation}});
      return rows;
    };
    ArmReader const reader{granule_bits == 12 ? plain : with_granule(granule_bits)};
    if (granule_bits == 12) expect_fields(reader, level, 0x4000'0003, upper(12, {}));
    if (granule_bits == 14) expect_fields(reader, level, 0x4000'0003, upper(14, {{13, 12, reserved, "A4.7"}}));
    if (granule_bits == 16) expect_fields(reader, level, 0x4000'0003, upper(16, {{15, 12, reserved, "A4.8"}}));
  }
}

TEST(ArmReader, KnowsEveryMemoryAttributeAndShareability) {
  for (Entry code = 0; code != 16; ++code) {
    auto const entry = 0x4000'0743 | code << 2;
    auto const plain_code = code < 4 || (code & 3) != 0;
    auto const fwb_code = code < 8 && code != 4;
    EXPECT_EQ(text_of(ArmReader{plain}.decode(0, entry).wrong).substr(0, 4), plain_code ? "" : "A4.3") << code;
    EXPECT_EQ(text_of(ArmReader{other}.decode(0, entry).wrong).substr(0, 4), fwb_code ? "" : "A4.3") << code;
    EXPECT_EQ(ArmReader{plain}.decode(0, entry).type, 0x30 | code);
  }
  for (Entry code = 0; code != 4; ++code) {
    auto const decoded = ArmReader{plain}.decode(0, 0x4000'047f | code << 8);
    EXPECT_EQ(decoded.wrong == nullptr, code != 1) << code;
    EXPECT_EQ(decoded.type, code << 4 | 0xf);
  }
  EXPECT_TRUE(ArmReader{plain}.is(Memory::normal, 0x3f));
  EXPECT_TRUE(ArmReader{plain}.is(Memory::normal, 0x0f)) << "shareability is the mapper's choice";
  EXPECT_FALSE(ArmReader{plain}.is(Memory::normal, 0x36));
  EXPECT_TRUE(ArmReader{other}.is(Memory::normal, 0x36));
  EXPECT_FALSE(ArmReader{other}.is(Memory::normal, 0x37));
  EXPECT_TRUE(ArmReader{other}.is(Memory::uncached, 0x35));
  EXPECT_TRUE(ArmReader{other}.is(Memory::device, 0x31));
  EXPECT_TRUE(ArmReader{other}.is(Memory::device_strict, 0x30));
  EXPECT_FALSE(ArmReader{other}.is(Memory::write_through, 0x3a));
}

TEST(ArmReader, KnowsEveryCombinationOfRights) {
  constexpr Prot one_bit[] = {Prot::x, Prot::x, Prot::none, Prot::none};
  constexpr Prot two_bits[] = {Prot::x, Prot::x_user, Prot::none, Prot::x_supervisor};
  for (Entry never = 0; never != 4; ++never)
    for (Entry access = 0; access != 4; ++access)
      for (Entry modifier = 0; modifier != 2; ++modifier) {
        auto const entry = 0x4000'0703 | never << 53 | access << 6 | modifier << 51;
        auto const read = (access & 1) != 0 ? Prot::r : Prot::none;
        auto const write = (access & 2) != 0 ? Prot::w : Prot::none;
        auto const will_write = modifier != 0 ? Prot::w : write;
        EXPECT_EQ(ArmReader{plain}.decode(0, entry).rights, read | will_write | one_bit[never]) << hex(entry);
        EXPECT_EQ(ArmReader{other}.decode(0, entry).rights, read | write | two_bits[never]) << hex(entry);
      }
}

TEST(ArmReader, SeesNothingInWhatIsNotValid) {
  for (Level level = 0; level != 4; ++level) {
    EXPECT_EQ(ArmReader{plain}.decode(level, 0), Decoded{});
    for (auto n = 1u; n != 64; ++n) {
      auto const decoded = ArmReader{plain}.decode(level, Entry{1} << n);
      EXPECT_EQ(decoded.kind, Decoded::Kind::broken) << n;
      EXPECT_EQ(decoded.fault, Fault::translation) << n;
      EXPECT_EQ(decoded.wrong, nullptr) << n;
    }
  }
}

TEST(ArmReader, MarksWhatHardwareMarks) {
  ArmReader const tracking{plain};
  EXPECT_EQ(tracking.accessed(0, 0x4000'037f), 0x4000'077fu);
  EXPECT_EQ(tracking.accessed(1, 0x4000'037d), 0x4000'077du);
  EXPECT_EQ(tracking.accessed(1, 0x4000'0003), 0x4000'0003u) << "a table has no access flag";
  EXPECT_EQ(tracking.accessed(0, 0x0100'4000'037f), 0x0100'4000'037fu) << "out of range: not used";
  EXPECT_EQ(tracking.written(0, 0x0008'0000'4000'077f), 0x0008'0000'4000'07ffu);
  EXPECT_EQ(tracking.written(0, 0x4000'077f), 0x4000'077fu);
  auto no_dirty = plain;
  no_dirty.hd = false;
  EXPECT_EQ(ArmReader{no_dirty}.written(0, 0x0008'0000'4000'077f), 0x0008'0000'4000'077fu);
  EXPECT_EQ(ArmReader{other}.accessed(0, 0x4000'03db), 0x4000'03dbu);
}

TEST(ArmReader, HoldsHouseRulesOnlyWhereAsked) {
  auto house = plain;
  house.house_rules = true;
  for (auto const& [level, entry, rule] : {Sample{0, 0x4000'047f, "H2"},
                                           {0, 0x4000'067f, "H2"},
                                           {0, 0x4000'0747, "H1"},
                                           {0, 0x0010'0000'4000'077f, "H6"},
                                           {0, 0x0040'0000'4000'0447, ""},
                                           {0, 0x4000'077f, ""}}) {
    expect_rules(ArmReader{house}, {{level, entry, rule}});
    expect_rules(ArmReader{plain}, {{level, entry, ""}});
    EXPECT_EQ(ArmReader{house}.decode(level, entry).fault, Fault::none);
  }
  auto house_of_other = other;
  house_of_other.house_rules = true;
  expect_rules(ArmReader{house_of_other}, {{0, 0x4000'03db, "H8"}, {1, 0x4001'07d9, "H7"}, {1, 0x4000'07d9, ""}});
  EXPECT_FALSE(ArmReader{house}.is(Memory::normal, 0x0f));
  EXPECT_TRUE(ArmReader{house}.is(Memory::normal, 0x3f));
}

TEST(ArmReader, KnowsWhatMustNotBeCachedTogether) {
  Decoded const here{.type = 0x3f, .address = 0x4000'0000_hpa};
  Decoded const elsewhere{.type = 0x3f, .address = 0x8000'0000_hpa};
  Decoded const shared_otherwise{.type = 0x2f, .address = 0x4000'0000_hpa};
  Decoded const joined{.type = 0x3f, .contiguous = true, .address = 0x4000'0000_hpa};
  ArmReader const breaking{plain};
  ArmReader const resizing{other};
  for (auto const* reader : {&breaking, &resizing}) {
    EXPECT_TRUE(reader->conflict(here, 0, elsewhere, 0));
    EXPECT_TRUE(reader->conflict(here, 0, shared_otherwise, 0));
    EXPECT_FALSE(reader->conflict(here, 0, here, 0));
  }
  EXPECT_TRUE(breaking.conflict(here, 0, here, 1));
  EXPECT_TRUE(breaking.conflict(here, 0, joined, 0));
  EXPECT_FALSE(resizing.conflict(here, 0, here, 1));
  EXPECT_FALSE(resizing.conflict(here, 0, joined, 0));
}

}  // namespace
}  // namespace slat::test
