// Walks of whole Arm stage-2 tables by their reader: [arm/a-profile] D8, "Translation table walks".

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "unit/reader_cpus.hpp"
#include "unit/reader_fields.hpp"

namespace slat::test {
namespace {

using namespace slat::literals;
using namespace arm_cpus;

// Address 0x40'4060'5678 has the indices 257 (concatenated roots), 3, 5; with a level more, 0 before.

constexpr GuestPhys at{0x40'4060'5678};

constexpr ArmFeatures two_roots = [] {
  auto cpu = plain;
  cpu.input_bits = 40;
  return cpu;
}();

Words three_levels() {
  Words words;
  words.put(0x2000, 257, 0x4003);
  words.put(0x4000, 3, 0x5003);
  words.put(0x5000, 5, 0x98'7654'377f);
  return words;
}

TEST(ArmReaderWalk, GoesDownToThePageOrTheBlock) {
  auto words = three_levels();
  auto walk = ArmReader{two_roots}.walk(words, 0x2000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(walk.level, 0u);
  EXPECT_EQ(walk.address, 0x98'7654'3678_hpa);
  EXPECT_EQ(walk.rights, Prot::rx);
  EXPECT_EQ(walk.leaf.type, 0x3f);
  EXPECT_EQ(walk.wrong, nullptr);
  EXPECT_EQ(places(walk), (std::vector<std::uint64_t>{0x2000 + 8 * 257, 0x4018, 0x5028}));
  words.put(0x4000, 3, 0x98'7640'07bd);
  walk = ArmReader{two_roots}.walk(words, 0x2000_hpa, at);
  EXPECT_EQ(walk.address, 0x98'7640'5678_hpa);
  EXPECT_EQ(walk.rights, Prot::w | Prot::x);
  EXPECT_EQ(walk.level, 1u);
  words.put(0x2000, 257, 0x98'4000'07fd);
  EXPECT_EQ(ArmReader{two_roots}.walk(words, 0x2000_hpa, at).address, 0x98'4060'5678_hpa);
}

TEST(ArmReaderWalk, GoesOnIntoTheSecondRootTable) {
  auto words = three_levels();
  words.put(0x2000, 513, 0x98'4000'07fd);
  auto const walk = ArmReader{two_roots}.walk(words, 0x2000_hpa, GuestPhys{0x80'4060'5678});
  EXPECT_EQ(walk.address, 0x98'4060'5678_hpa);
  EXPECT_EQ(places(walk), (std::vector<std::uint64_t>{0x2000 + 8 * 513}));
}

TEST(ArmReaderWalk, IndexesEveryGranule) {
  Words words;
  // 64K: 512M under each entry of level 1, 11 bits in 40; 0x40'4060'5678 is 514, 96.
  words.put(0x4000, 514, 0x2'0003);
  words.put(0x2'0000, 96, 0x98'7653'077f);
  auto walk = ArmReader{with_granule(16)}.walk(words, 0x4000_hpa, at);
  EXPECT_EQ(walk.address, 0x98'7653'5678_hpa);
  // 16K: 64G under each entry of level 2, 32M of level 1; 4, 32, 385.
  words.put(0x4'0000, 4, 0x4'4003);
  words.put(0x4'4000, 32, 0x4'8003);
  words.put(0x4'8000, 385, 0x98'7654'077f);
  walk = ArmReader{with_granule(14)}.walk(words, 0x4'0000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(walk.address, 0x98'7654'1678_hpa);
  EXPECT_EQ(walk.count, 3u);
  // 4K, four levels; without hardware's access flag.
  words.put(0x8'0000, 0, 0x8'1003);
  words.put(0x8'1000, 257, 0x8'2003);
  words.put(0x8'2000, 3, 0x98'7640'07d9);
  EXPECT_EQ(ArmReader{other}.walk(words, 0x8'0000_hpa, at).address, 0x98'7640'5678_hpa);
}

TEST(ArmReaderWalk, EndsWhereAnEntryFaults) {
  constexpr std::uint64_t tables[] = {0x5000, 0x4000, 0x2000};
  constexpr std::uint64_t indices[] = {5, 3, 257};
  for (Level level = 0; level != 3; ++level) {
    auto words = three_levels();
    words.put(tables[level], indices[level], 0x777e);
    auto walk = ArmReader{two_roots}.walk(words, 0x2000_hpa, at);
    EXPECT_EQ(walk.fault, Fault::translation);
    EXPECT_EQ(walk.level, level);
    EXPECT_EQ(walk.count, 3 - level);
    words.put(tables[level], indices[level], 0x0100'0000'077f);
    walk = ArmReader{two_roots}.walk(words, 0x2000_hpa, at);
    EXPECT_EQ(walk.fault, Fault::address_size);
    EXPECT_EQ(walk.level, level);
    EXPECT_EQ(text_of(walk.wrong).substr(0, 5), "A4.10");
  }
  auto no_access = two_roots;
  no_access.ha = no_access.hd = false;
  auto words = three_levels();
  words.put(0x5000, 5, 0x98'7654'337f);
  EXPECT_EQ(ArmReader{no_access}.walk(words, 0x2000_hpa, at).fault, Fault::access_flag);
  EXPECT_EQ(ArmReader{two_roots}.walk(words, 0x2000_hpa, at).fault, Fault::none);
}

TEST(ArmReaderWalk, GoesOnWhereHardwareMay) {
  auto words = three_levels();
  words.put(0x4000, 3, 0x8000'0000'0000'5003);
  auto const walk = ArmReader{two_roots}.walk(words, 0x2000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(walk.address, 0x98'7654'3678_hpa);
  EXPECT_EQ(text_of(walk.wrong).substr(0, 4), "A4.1");
}

TEST(ArmReaderWalk, RefusesWhatIsBeyondTheInputOrAWrongRoot) {
  auto words = three_levels();
  ArmReader const reader{two_roots};
  auto walk = reader.walk(words, 0x2000_hpa, GuestPhys{1ull << 40} + at.raw());
  EXPECT_EQ(walk.fault, Fault::translation);
  EXPECT_EQ(walk.count, 0u);
  walk = reader.walk(words, HostPhys{1ull << 40}, at);
  EXPECT_EQ(walk.fault, Fault::address_size);
  EXPECT_EQ(text_of(walk.wrong).substr(0, 5), "A4.10");
  EXPECT_EQ(walk.count, 0u);
  // A root that is not aligned is named, and the walk goes on.
  words.put(0x1000, 257, 0x98'4000'07fd);
  walk = reader.walk(words, 0x1000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(text_of(walk.wrong).substr(0, 4), "A4.9");
  EXPECT_EQ(walk.address, 0x98'4060'5678_hpa);
  // Two tables, 8K: an address that is aligned to one of them has reserved bits set.
  EXPECT_EQ(text_of(reader.root_flaw(0x1000_hpa).rule).substr(0, 4), "A4.9");
  EXPECT_EQ(reader.root_flaw(0x1000_hpa).fault, Fault::none);
  EXPECT_FALSE(reader.root_flaw(0x2000_hpa).found());
}

}  // namespace
}  // namespace slat::test
