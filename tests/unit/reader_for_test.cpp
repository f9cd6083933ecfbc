// Which features the reader of a format starts from.

#include <gtest/gtest.h>

#include <string>

#include <slat/testing/readers.hpp>
#include <slat/testing/violation.hpp>
#include "unit/formats.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

template <class Variant>
class ReaderForTest : public ::testing::Test {};
TYPED_TEST_SUITE(ReaderForTest, Formats, FormatName);

// The one feature that a reader has to guess is in the variant's name.
TYPED_TEST(ReaderForTest, StartsFromTheFeaturesOfTheFormat) {
  auto const format = TypeParam::make();
  auto const reader = reader_for(format);
  auto const name = std::string{TypeParam::name};
  auto const has = [&](const char* word) { return name.find(word) != std::string::npos; };
  EXPECT_EQ(reader.size_breaks(), has("Arm") && !has("Bbm2"));
  EXPECT_EQ(reader.can_break(), has("Arm") || has("Erratum"));
  EXPECT_EQ(reader.pointers_conflict(), has("Arm"));
  EXPECT_EQ(reader.shape().input_size(), format.geometry().input_size());
  EXPECT_EQ(reader.shape().span(reader.shape().root), format.geometry().span(format.geometry().root));
  EXPECT_EQ(reader.shape().root_entries(), format.geometry().entries(format.geometry().root));
}

TYPED_TEST(ReaderForTest, HoldsSlatsOwnRulesToo) {
  auto const format = TypeParam::make();
  auto const reader = reader_for(format);
  auto const table = format.table(1, HostPhys{0});
  auto const leaf = format.leaf(0, HostPhys{0}, rwx);
  auto const house = [&](Level level, Entry entry) {
    auto const* const wrong = reader.decode(level, entry).wrong;
    return wrong != nullptr && *wrong == 'H';
  };
  EXPECT_EQ(reader.decode(1, table).wrong, nullptr);
  EXPECT_EQ(reader.decode(0, leaf).wrong, nullptr);
  // Arm: not shareable; EPT: a table without W, an absent entry that may be a #VE; AMD: a table without W.
  auto const is_arm = std::string{TypeParam::name}.find("Arm") != std::string::npos;
  EXPECT_TRUE(is_arm ? house(0, leaf & ~Entry{0b11 << 8}) : house(1, table & ~Entry{2}));
  auto const is_ept = std::string{TypeParam::name}.find("Ept") != std::string::npos;
  if (is_ept) {
    auto const* const wrong = reader.decode(0, 0x8000'0000'4000'0000).wrong;
    EXPECT_EQ(std::string{wrong == nullptr ? "" : wrong}.substr(0, 4), "B2.6");
  }
}

}  // namespace
}  // namespace slat::test
