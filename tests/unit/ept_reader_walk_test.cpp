// Walks of whole EPT tables by their reader: [intel/vol3] "EPT translation mechanism".

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "unit/reader_cpus.hpp"
#include "unit/reader_fields.hpp"

namespace slat::test {
namespace {

using namespace slat::literals;
using namespace ept_cpus;

// Address 0x80'4060'5678 has the indices 1, 1, 3, 5 from the root down.

constexpr GuestPhys at{0x80'4060'5678};

Words four_levels() {
  Words words;
  words.put(0x1000, 1, 0x2007);
  words.put(0x2000, 1, 0x3007);
  words.put(0x3000, 3, 0x4007);
  words.put(0x4000, 5, 0x9'8765'4037);
  return words;
}

TEST(EptReaderWalk, GoesDownToThePage) {
  auto const walk = EptReader{plain}.walk(four_levels(), 0x1000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(walk.level, 0u);
  EXPECT_EQ(walk.address, 0x9'8765'4678_hpa);
  EXPECT_EQ(walk.rights, Prot::rwx);
  EXPECT_EQ(walk.leaf.type, 6);
  EXPECT_EQ(walk.wrong, nullptr);
  EXPECT_EQ(places(walk), (std::vector<std::uint64_t>{0x1008, 0x2008, 0x3018, 0x4028}));
  EXPECT_EQ(walk.used()[2], (Walk::Step{1, 0x3018_hpa, 0x4007}));
}

TEST(EptReaderWalk, GoesDownFiveLevels) {
  auto words = four_levels();
  words.put(0x7000, 2, 0x1407);
  words.put(0x1000, 1, 0x2407);
  words.put(0x2000, 1, 0x3407);
  words.put(0x3000, 3, 0x4407);
  words.put(0x4000, 5, 0x9'8765'4437);
  auto const walk = EptReader{everything}.walk(words, 0x7000_hpa, GuestPhys{2ull << 48} + at.raw());
  EXPECT_EQ(walk.address, 0x9'8765'4678_hpa);
  EXPECT_EQ(walk.rights, Prot::rwx);
  EXPECT_EQ(walk.count, 5u);
}

TEST(EptReaderWalk, StopsAtALargeLeaf) {
  auto words = four_levels();
  words.put(0x3000, 3, 0x9'8760'00b7);
  auto walk = EptReader{plain}.walk(words, 0x1000_hpa, at);
  EXPECT_EQ(walk.address, 0x9'8760'5678_hpa);
  EXPECT_EQ(walk.level, 1u);
  words.put(0x2000, 1, 0x9'8000'00b5);
  walk = EptReader{plain}.walk(words, 0x1000_hpa, at);
  EXPECT_EQ(walk.address, 0x9'8060'5678_hpa);
  EXPECT_EQ(walk.level, 2u);
  EXPECT_EQ(walk.rights, Prot::rx);
}

TEST(EptReaderWalk, AllowsWhatEveryEntryOnTheWayAllows) {
  auto words = four_levels();
  words.put(0x1000, 1, 0x2003);
  EXPECT_EQ(EptReader{plain}.walk(words, 0x1000_hpa, at).rights, Prot::rw);
  words.put(0x3000, 3, 0x4005);
  EXPECT_EQ(EptReader{plain}.walk(words, 0x1000_hpa, at).rights, Prot::r);
  words.put(0x4000, 5, 0x9'8765'4034);
  EXPECT_EQ(EptReader{plain}.walk(words, 0x1000_hpa, at).rights, Prot::none);
  EXPECT_EQ(EptReader{plain}.walk(words, 0x1000_hpa, at).fault, Fault::none);
}

TEST(EptReaderWalk, EndsWhereAnEntryFaults) {
  constexpr std::uint64_t tables[] = {0x4000, 0x3000, 0x2000, 0x1000};
  constexpr std::uint64_t indices[] = {5, 3, 1, 1};
  for (Level level = 0; level != 4; ++level) {
    auto words = four_levels();
    words.put(tables[level], indices[level], 0xff0);
    auto walk = EptReader{plain}.walk(words, 0x1000_hpa, at);
    EXPECT_EQ(walk.fault, Fault::translation);
    EXPECT_EQ(walk.level, level);
    EXPECT_EQ(walk.count, 4 - level);
    EXPECT_EQ(walk.wrong, nullptr);
    words.put(tables[level], indices[level], 0x5032);
    walk = EptReader{plain}.walk(words, 0x1000_hpa, at);
    EXPECT_EQ(walk.fault, Fault::misconfigured);
    EXPECT_EQ(walk.level, level);
    EXPECT_EQ(text_of(walk.wrong).substr(0, 4), "B1.2");
  }
}

TEST(EptReaderWalk, RefusesWhatIsBeyondTheInputOrAWrongRoot) {
  auto const words = four_levels();
  EptReader const reader{plain};
  auto walk = reader.walk(words, 0x1000_hpa, GuestPhys{1ull << 48} + at.raw());
  EXPECT_EQ(walk.fault, Fault::translation);
  EXPECT_EQ(walk.count, 0u);
  for (auto const root : {0x1008_hpa, HostPhys{1ull << 46}}) {
    walk = reader.walk(words, root, at);
    EXPECT_EQ(walk.fault, Fault::misconfigured);
    EXPECT_EQ(text_of(walk.wrong).substr(0, 4), "B1.4");
    EXPECT_EQ(walk.count, 0u);
  }
}

TEST(EptReaderWalk, NamesTheFirstRuleThatIsBrokenOnTheWay) {
  auto house = plain;
  house.house_rules = true;
  auto words = four_levels();
  words.put(0x3000, 3, 0x4003);
  words.put(0x4000, 5, 0x9'8765'4007);
  auto const walk = EptReader{house}.walk(words, 0x1000_hpa, at);
  EXPECT_EQ(walk.fault, Fault::none);
  EXPECT_EQ(text_of(walk.wrong).substr(0, 2), "H3");
  EXPECT_EQ(walk.address, 0x9'8765'4678_hpa);
}

}  // namespace
}  // namespace slat::test
