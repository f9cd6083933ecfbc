// A million random operations for each family of formats, on sets of areas and on tables, with everything compared
// after each of them (world.hpp says what, and how). Every thousand operations draw a new format: geometry, features
// and options of the CPU. Some runs have few frames, so that calls fail.
//
// SLAT_OPERATIONS in the environment says how many operations for each family, SLAT_SEED where to begin: run number n
// of a seed is run number 0 of seed + n.

#include <gtest/gtest.h>

#include <cstdint>
#include <ctime>
#include <string>

#include "model/families.hpp"
#include "model/random.hpp"
#include "model/run.hpp"

namespace slat::test {
namespace {

constexpr std::size_t operations_per_run = 1000;
constexpr std::uint64_t operations_in_all = 1'000'000 / SLAT_MODEL_PART;

template <class Family>
class Model : public ::testing::Test {};

TYPED_TEST_SUITE(Model, Families, FamilyName);

TYPED_TEST(Model, AreasTablesFramesAndBytesAreWhatTheFlatMapSaysAfterEveryOperation) {
  auto const count = from_environment("SLAT_OPERATIONS", operations_in_all);
  auto const seed = from_environment("SLAT_SEED", 1);
  auto const begin = std::clock();
  Census census;
  std::uint64_t operations = 0;
  for (std::uint64_t number = 0; operations < count; ++number) {
    Run<TypeParam> run{seed + number, census};
    for (std::size_t i = 0; i != operations_per_run && operations < count; ++i, ++operations) {
      run.step();
      ASSERT_TRUE(run.sound()) << "SLAT_SEED=" << seed + number << ", operation " << i << ": " << run.why();
    }
    run.finish();
    ASSERT_TRUE(run.sound()) << "SLAT_SEED=" << seed + number << ", at the end: " << run.why();
  }
  auto const seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  Census::print_head();
  census.print(TypeParam::name, count, seconds);

  EXPECT_GE(census[Effect::change] * 10, count * 6) << "too few operations change anything";
  // Of fewer there may be none by chance.
  if (count < 100'000) return;
  for (auto const effect :
       {Effect::split, Effect::both_edges, Effect::unlink, Effect::coalesce, Effect::replace, Effect::wider_edit})
    EXPECT_GE(census[effect] * 100, count) << effect_names[static_cast<std::size_t>(effect)];
  for (auto const effect : {Effect::populate, Effect::harvest, Effect::tell, Effect::failed_call})
    EXPECT_GE(census[effect] * 1000, count) << effect_names[static_cast<std::size_t>(effect)];
}

}  // namespace
}  // namespace slat::test
