// Errors and flaws as one sentence, and Result.

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include <slat/mm/audit.hpp>
#include <slat/mm/error.hpp>
#include <slat/mm/result.hpp>

namespace slat::test {
namespace {

template <class Value>
std::string text(const Value& value) {
  std::string all;
  auto sink = [&all](std::string_view piece) { all += piece; };
  print(sink, value);
  return all;
}

TEST(ErrorText, NamesTheRuleTheArgumentAndBothRanges) {
  EXPECT_EQ(text(Error{.code = Errc::already_exists, .range = {0x4000_gpa, 0x4000}, .other = {0x4000_gpa, 0x1000}}),
            "an area already exists there, in the way is [0x4000, 0x5000) (asked for [0x4000, 0x8000))");
  EXPECT_EQ(text(Error{
                .code = Errc::misaligned, .argument = Argument::start, .value = 0x1001, .range = {0x1001_gpa, 0x1000}}),
            "misaligned: start 0x1001 (asked for [0x1001, 0x2001))");
  EXPECT_EQ(text(Error{.code = Errc::invalid_param, .argument = Argument::align, .value = 3}),
            "invalid parameter: alignment 0x3");
  EXPECT_EQ(text(Error{.code = Errc::invalid_param, .argument = Argument::size}), "invalid parameter: size 0x0");
}

TEST(ErrorText, CountsAreDecimal) {
  EXPECT_EQ(text(Error{.code = Errc::no_memory, .argument = Argument::frames, .value = 12}),
            "out of memory: table frames needed 12");
  EXPECT_EQ(text(Error{.code = Errc::no_memory, .argument = Argument::nodes, .value = 10}),
            "out of memory: index nodes needed 10");
  EXPECT_EQ(text(Error{.code = Errc::out_of_range, .argument = Argument::input_bits, .value = 49}),
            "out of range: guest address bits 49");
  EXPECT_EQ(text(Error{.code = Errc::unsupported, .argument = Argument::levels, .value = 5}),
            "not supported by this format on this CPU: levels 5");
}

TEST(ErrorText, EveryCodeHasASentenceOfItsOwn) {
  std::set<std::string_view> names;
  for (auto code = Errc::already_exists; code <= Errc::busy; code = Errc(int(code) + 1)) {
    EXPECT_NE(name(code), "unknown error");
    EXPECT_TRUE(names.insert(name(code)).second) << name(code);
    EXPECT_EQ(text(Error{.code = code}), name(code));
  }
  EXPECT_EQ(name(Errc(int(Errc::busy) + 1)), "unknown error");
}

TEST(ErrorText, EveryArgumentHasAName) {
  std::set<std::string_view> names;
  for (auto argument = Argument::none; !name(argument).empty() || argument == Argument::none;
       argument = Argument(int(argument) + 1))
    EXPECT_TRUE(names.insert(name(argument)).second);
  EXPECT_TRUE(names.contains("size") && names.contains("alignment") && names.contains("limit"));
  EXPECT_GE(names.size(), 10u);
}

TEST(ErrorText, AnErrorIsComparedByItsCodeOrWhole) {
  Error const error{.code = Errc::misaligned, .argument = Argument::start, .value = 1};
  EXPECT_TRUE(error == Errc::misaligned);
  EXPECT_FALSE(error == Errc::busy);
  EXPECT_TRUE(error == error);
  EXPECT_FALSE((error == Error{.code = Errc::misaligned, .argument = Argument::size, .value = 1}));
  static_assert(std::is_trivially_copyable_v<Error>);
}

TEST(FlawText, SaysWhatAndWhere) {
  EXPECT_EQ(text(Audit{}), "areas and tables agree");
  EXPECT_EQ(text(Audit{Flaw::leaf_outside, {0x1000_gpa, 0x1000}, 0x443}),
            "a leaf lies in no area at [0x1000, 0x2000): 0x443");
}

TEST(FlawText, EveryFlawHasASentenceOfItsOwn) {
  std::set<std::string_view> names;
  for (auto flaw = Flaw::none; name(flaw) != "unknown flaw"; flaw = Flaw(int(flaw) + 1))
    EXPECT_TRUE(names.insert(name(flaw)).second) << name(flaw);
  EXPECT_EQ(names.size(), 15u);
}

// Result

Result<std::unique_ptr<int>> made(bool works) {
  if (!works) return Error{.code = Errc::no_memory};
  return std::make_unique<int>(7);
}
Result<int> passed_on(bool works) {
  auto const value = SLAT_TRY(made(works));
  return *value + 1;
}
Result<> done(bool works) {
  SLAT_TRY(passed_on(works));
  return {};
}

TEST(Result, IsAValueOrTheReasonForItsAbsence) {
  EXPECT_EQ(**made(true), 7);
  EXPECT_EQ(*passed_on(true), 8);
  EXPECT_TRUE(done(true));
  EXPECT_EQ(made(false).error(), Errc::no_memory);
  EXPECT_EQ(passed_on(false).error(), Errc::no_memory);
  EXPECT_EQ(done(false).error(), Errc::no_memory);
  auto moved = made(true);
  auto const into = std::move(moved);
  EXPECT_EQ(**into, 7);
}

TEST(Result, AReasonMovesAsAValueDoes) {
  auto refused = made(false);
  auto const into = std::move(refused);
  ASSERT_FALSE(into);
  EXPECT_EQ(into.error(), Errc::no_memory);
}

}  // namespace
}  // namespace slat::test
