// The oracle's own reading of raw table bytes, against literals.

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>

#include <slat/testing/readers.hpp>
#include "unit/by_hand.hpp"
#include "unit/formats.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

using namespace slat::literals;

struct Sample {
  Level level;
  Entry entry;
  const char* rule;  // how the complaint begins; empty: none
};

template <class Reader>
void check(const Reader& reader, std::initializer_list<Sample> samples) {
  for (auto const& [level, entry, rule] : samples) {
    auto const* const wrong = reader.decode(level, entry).wrong;
    auto const text = std::string{wrong == nullptr ? "" : wrong};
    EXPECT_EQ(text.substr(0, std::string{rule}.size()), rule) << "level " << level << ", entry " << hex(entry);
    if (*rule == '\0') {
      EXPECT_EQ(text, "") << "level " << level << ", entry " << hex(entry);
    }
  }
}

TEST(ArmReader, RefusesWhatTheManualDoes) {
  auto features = ArmMachine::features;
  features.output_bits = 40;
  check(ArmReader{features}, {
                                 {0, 0x4000'077f, ""},
                                 {1, 0x4000'077d, ""},
                                 {2, 0x4000'077d, ""},
                                 {1, 0x7'0000'0003, ""},
                                 {0, 0x4000'077d, "A4.1"},
                                 {0, 0x0001'0000'4000'077f, "A4.1"},
                                 {0, 0x0000'0100'4000'077f, "A4.10"},
                                 {2, 0x0000'0100'4000'0003, "A4.10"},
                                 {1, 0x4000'177d, "A4.7"},
                                 {1, 0x4001'077d, "A4.7"},  // nT
                                 {2, 0x4020'077d, "A4.7"},
                                 {3, 0x077d, "A4.7"},
                                 {0, 0x4000'057f, "A4.1"},
                                 {0, 0x4000'0753, "A4.3"},
                                 {0, 0x4000'047f, "A4.4"},
                                 {0, 0x0020'0000'4000'077f, "A4.2"},
                                 {0, 0x0010'0000'4000'077f, "A4.5"},
                                 {0, 0x4000'0747, "device"},
                             });
  features.ha = features.hd = false;
  features.fwb = features.xnx = true;
  check(ArmReader{features}, {
                                 {0, 0x0020'0000'4000'075b, ""},
                                 {0, 0x4000'035b, "A4.6"},
                                 {0, 0x4000'077f, "A4.3"},
                                 {0, 0x4000'0753, "A4.3"},
                             });
  features.granule_bits = 16;
  features.root = 1;
  check(ArmReader{features},
        {{1, 0x7'0001'0003, ""}, {1, 0x7'0000'1003, "A4.7"}, {1, 0x2000'075d, ""}, {1, 0x2000'077d, "A4.3"}});
}

TEST(ArmReader, SeesWhatHardwareAllows) {
  auto features = ArmMachine::features;
  features.xnx = true;
  ArmReader const tracking{features};
  EXPECT_EQ(tracking.decode(0, 0x4000'077f).rights, Prot::rx);
  EXPECT_EQ(tracking.decode(0, 0x0008'0000'4000'077f).rights, Prot::rwx);
  EXPECT_EQ(tracking.decode(0, 0x0020'0000'4000'07ff).rights, Prot::rw | Prot::x_user);
  EXPECT_EQ(tracking.decode(0, 0x0060'0000'4000'073f).rights, Prot::x_supervisor);
  EXPECT_EQ(tracking.decode(0, 0x0040'0000'4000'07bf).rights, Prot::w);
  EXPECT_EQ(tracking.written(0, 0x0008'0000'4000'077f), 0x0008'0000'4000'07ffu);
  EXPECT_EQ(tracking.accessed(1, 0x4000'037d), 0x4000'077du);
  features.hd = false;
  EXPECT_EQ(ArmReader{features}.decode(0, 0x0008'0000'4000'077f).rights, Prot::rx);
  EXPECT_EQ(ArmReader{features}.written(0, 0x0008'0000'4000'077f), 0x0008'0000'4000'077fu);
}

TEST(EptReader, RefusesWhatTheManualDoes) {
  auto features = EptMachine::features;
  check(EptReader{features}, {
                                 {0, 0x4000'0037, ""},
                                 {1, 0x4000'00b7, ""},
                                 {2, 0x4000'00b7, ""},
                                 {3, 0x4000'0007, ""},
                                 {0, 0x4000'0034, ""},
                                 {0, 0x4000'0032, "B1.2"},
                                 {0, 0x4000'0036, "B1.2"},
                                 {0, 0x4000'0017, "B1.2"},
                                 {0, 0x4000'001f, "B1.2"},
                                 {0, 0x4000'003f, "B1.2"},
                                 {0, 0x0000'4000'4000'0037, "B1.2"},
                                 {1, 0x4000'10b7, "B1.2"},
                                 {2, 0x4020'00b7, "B1.2"},
                                 {3, 0x4000'0087, "B1.2"},
                                 {3, 0x4000'000f, "B1.2"},
                                 {1, 0x4000'000f, "B1.2"},
                                 {1, 0x4000'0003, "a table entry"},
                                 {0, 0x4000'0007, "device"},
                                 {0, 0x8000'0000'4000'0030, "B2.6"},
                                 {0, 0x0008'0000'4000'0030, "B1.1"},
                                 {0, 0x8008'0000'4000'0030, ""},
                             });
  features.execute_only = false;
  features.top_leaf = 1;
  check(EptReader{features}, {{0, 0x4000'0034, "B1.2"}, {2, 0x4000'00b7, "B1.2"}});
}

TEST(EptReader, SeesWhatHardwareAllows) {
  auto features = EptMachine::features;
  EXPECT_EQ(EptReader{features}.decode(0, 0x4000'0435).rights, Prot::rx);
  EXPECT_EQ(EptReader{features}.written(0, 0x4000'0037), 0x4000'0237u);
  EXPECT_EQ(EptReader{features}.accessed(3, 0x4000'0007), 0x4000'0107u);
  EXPECT_EQ(EptReader{features}.decode(0, 0x400).kind, Decoded::Kind::broken);
  features.mode_based_execute = true;
  EXPECT_EQ(EptReader{features}.decode(0, 0x4000'0435).rights, Prot::rx);
  EXPECT_EQ(EptReader{features}.decode(0, 0x4000'0431).rights, Prot::r | Prot::x_user);
  EXPECT_EQ(EptReader{features}.decode(0, 0x4000'0035).rights, Prot::r | Prot::x_supervisor);
  EXPECT_EQ(EptReader{features}.decode(0, 0x4000'0430).kind, Decoded::Kind::leaf);
}

TEST(NptReader, RefusesWhatTheManualDoes) {
  auto features = NptMachine::features;
  check(NptReader{features}, {
                                 {0, 0x4000'0007, ""},
                                 {1, 0x4000'0087, ""},
                                 {2, 0x4000'0087, ""},
                                 {3, 0x4000'0007, ""},
                                 {0, 0x8000'0000'4000'0005, ""},
                                 {0, 0x8000'0000'4000'0087, ""},  // the PAT bit of a page
                                 {1, 0x4000'1087, ""},            // and of a large leaf
                                 {0, 0x4000'0003, "C1: a guest's access"},
                                 {1, 0x4000'0003, "C1: a guest's access"},
                                 {1, 0x4000'0083, "C1: a guest's access"},
                                 {3, 0x4000'0087, "C1: bits 8:7"},
                                 {3, 0x4000'0107, "C1: bits 8:7"},
                                 {4, 0x4000'0087, "C1: bits 8:7"},
                                 {0, 0x0001'0000'4000'0007, "C1: address bits above"},
                                 {1, 0x0001'0000'4000'0007, "C1: address bits above"},
                                 {1, 0x4000'2087, "C1: address bits below"},
                                 {2, 0x4020'0087, "C1: address bits below"},
                                 {1, 0x4000'0005, "a table entry"},
                                 {1, 0x8000'0000'4000'0007, "a table entry"},
                                 {1, 0x4000'000f, "a table is read"},
                                 {0, 0x4000'001f, "device"},
                                 {0, 0x4000'0017, "device"},
                                 {0, 0x4000'0000, ""},
                             });
  features.no_execute = false;
  features.top_leaf = 1;
  features.pat = 0x0302'0000'0000'0006;
  check(NptReader{features}, {{0, 0x8000'0000'4000'0005, "C1: bit 63"},
                              {1, 0x8000'0000'4000'0007, "C1: bit 63"},
                              {2, 0x4000'0087, "C1: no leaf"},
                              {0, 0x4000'0097, "C1: the PAT"},
                              {0, 0x4000'009f, "C1: the PAT"}});
}

TEST(NptReader, SeesWhatHardwareAllows) {
  NptReader const reader{NptMachine::features};
  EXPECT_EQ(reader.decode(0, 0x4000'0005).rights, Prot::rx);
  EXPECT_EQ(reader.decode(0, 0x4000'0007).rights, Prot::rwx);
  EXPECT_EQ(reader.decode(0, 0x8000'0000'4000'0007).rights, Prot::rw);
  EXPECT_EQ(reader.written(0, 0x4000'0007), 0x4000'0047u);
  EXPECT_EQ(reader.written(1, 0x4000'0007), 0x4000'0007u) << "a table has no dirty bit";
  EXPECT_EQ(reader.accessed(3, 0x4000'0007), 0x4000'0027u);
  EXPECT_EQ(reader.accessed(0, 0x4000'0006), 0x4000'0006u);
  EXPECT_EQ(reader.decode(0, 0x4000'0006).kind, Decoded::Kind::broken);
  EXPECT_EQ(reader.decode(2, 0x4000'1087).address, 0x4000'0000_hpa);
}

TEST(NptReader, ReadsTheMemoryTypeOutOfThePat) {
  NptReader const reader{NptMachine::features};  // WB WT UC- UC WC WT UC- UC
  EXPECT_EQ(reader.decode(0, 0x4000'0007).type, 6);
  EXPECT_EQ(reader.decode(0, 0x4000'000f).type, 4);
  EXPECT_EQ(reader.decode(0, 0x4000'0017).type, 7);
  EXPECT_EQ(reader.decode(0, 0x4000'001f).type, 0);
  EXPECT_EQ(reader.decode(0, 0x4000'0087).type, 1);
  EXPECT_EQ(reader.decode(1, 0x4000'0087).type, 6) << "bit 7 says that it is large";
  EXPECT_EQ(reader.decode(1, 0x4000'1087).type, 1);
  EXPECT_EQ(reader.decode(2, 0x4000'109f).type, 0);
}

// The one feature that a reader has to guess is in the variant's name.
template <class Variant>
class ReaderForTest : public ::testing::Test {};
TYPED_TEST_SUITE(ReaderForTest, Formats, FormatName);

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

}  // namespace
}  // namespace slat::test
