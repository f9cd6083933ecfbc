// Addresses and ranges, up to both ends of the address space.

#include <gtest/gtest.h>

#include <concepts>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>

#include <slat/mm/address.hpp>
#include <slat/mm/text.hpp>

namespace slat::test {
namespace {

constexpr std::uint64_t top = std::numeric_limits<std::uint64_t>::max();

template <class A, class B>
concept Comparable = requires(A a, B b) { a == b; };
template <class A, class B>
concept Subtractable = requires(A a, B b) { a - b; };

static_assert(!std::convertible_to<GuestPhys, HostPhys> && !std::constructible_from<HostPhys, GuestPhys>);
static_assert(!std::convertible_to<std::uint64_t, GuestPhys> && !std::convertible_to<GuestPhys, std::uint64_t>);
static_assert(!Comparable<GuestPhys, HostPhys> && !Subtractable<GuestPhys, HostPhys>);
static_assert(sizeof(GuestPhys) == 8 && std::is_trivially_copyable_v<GuestPhys>);

static_assert(4_KiB == 4096 && 2_MiB == 0x20'0000 && 1_GiB == 0x4000'0000 && 1_TiB == 0x100'0000'0000);

TEST(Address, RoundsAndMeasuresByPowersOfTwo) {
  constexpr auto at = 0x1234'5678_gpa;
  EXPECT_EQ(at.down_to(4_KiB), 0x1234'5000_gpa);
  EXPECT_EQ(at.offset_in(4_KiB), 0x678u);
  EXPECT_FALSE(at.aligned_to(16));
  EXPECT_TRUE(at.aligned_to(8));
  EXPECT_EQ((at + 8) - at, 8u);
  EXPECT_EQ(at - 8, 0x1234'5670_gpa);
  EXPECT_LT(at, at + 1);
  EXPECT_FALSE(is_power_of_two(0));
  EXPECT_TRUE(is_power_of_two(1));
  EXPECT_FALSE(is_power_of_two(6));
  EXPECT_TRUE(is_power_of_two(std::uint64_t{1} << 63));
}

TEST(GuestRange, IsHalfOpen) {
  constexpr GuestRange range{0x1000_gpa, 0x1000};
  EXPECT_EQ(range, GuestRange::between(0x1000_gpa, 0x2000_gpa));
  EXPECT_TRUE(range.contains(0x1000_gpa));
  EXPECT_TRUE(range.contains(0x1fff_gpa));
  EXPECT_FALSE(range.contains(0x2000_gpa));
  EXPECT_FALSE(range.contains(0xfff_gpa));
  EXPECT_EQ(range.last(), 0x1fff_gpa);
  EXPECT_EQ(range.end(), 0x2000_gpa);
  EXPECT_TRUE(range.aligned_to(0x1000));
  EXPECT_FALSE(range.aligned_to(0x2000));
  EXPECT_FALSE((GuestRange{0x1000_gpa, 0x800}).aligned_to(0x1000));
}

TEST(GuestRange, AnEmptyOneContainsNothingAndIsContainedByAll) {
  constexpr GuestRange none{0x1000_gpa, 0};
  constexpr GuestRange range{0x800_gpa, 0x1000};
  EXPECT_TRUE(none.empty());
  EXPECT_FALSE(none.wraps());
  EXPECT_FALSE(none.contains(0x1000_gpa));
  EXPECT_TRUE(range.contains(none));
  EXPECT_FALSE(none.contains(range));
  EXPECT_FALSE(none.overlaps(range));
  EXPECT_FALSE(range.overlaps(none));
  EXPECT_TRUE(range.clamp_to(none).empty());
}

TEST(GuestRange, MayEndAtTwoToThe64AndNotPastIt) {
  constexpr GuestRange last_page{GuestPhys{top - 0xfff}, 0x1000};
  EXPECT_FALSE(last_page.wraps());
  EXPECT_EQ(last_page.last(), GuestPhys{top});
  EXPECT_EQ(last_page.end(), GuestPhys{0});
  EXPECT_TRUE(last_page.contains(GuestPhys{top}));
  EXPECT_FALSE(last_page.contains(0_gpa));
  EXPECT_EQ(GuestRange::between(GuestPhys{top - 0xfff}, 0_gpa), last_page);
  EXPECT_TRUE((GuestRange{GuestPhys{top - 0xfff}, 0x1001}).wraps());
  EXPECT_TRUE((GuestRange{GuestPhys{top}, top}).wraps());
  EXPECT_TRUE((GuestRange{1_gpa, top}).contains(last_page));
  EXPECT_FALSE((GuestRange{1_gpa, top}).wraps());
  EXPECT_FALSE((GuestRange{0_gpa, top}).contains(last_page));
}

TEST(GuestRange, OverlapsAndClampsToWhatBothHaveInCommon) {
  constexpr GuestRange range{0x1000_gpa, 0x1000};
  auto const clamp = [&](std::uint64_t begin, std::uint64_t size) {
    GuestRange const other{GuestPhys{begin}, size};
    EXPECT_EQ(range.overlaps(other), other.overlaps(range));
    EXPECT_EQ(range.overlaps(other), !range.clamp_to(other).empty());
    return range.clamp_to(other);
  };
  EXPECT_TRUE(clamp(0, 0x1000).empty());
  EXPECT_TRUE(clamp(0x2000, 0x1000).empty());
  EXPECT_EQ(clamp(0, 0x1001), (GuestRange{0x1000_gpa, 1}));
  EXPECT_EQ(clamp(0x1fff, 0x1000), (GuestRange{0x1fff_gpa, 1}));
  EXPECT_EQ(clamp(0x1400, 0x100), (GuestRange{0x1400_gpa, 0x100}));
  EXPECT_EQ(clamp(0, top), range);
  EXPECT_EQ((GuestRange{GuestPhys{top - 1}, 2}).clamp_to({GuestPhys{top}, 1}), (GuestRange{GuestPhys{top}, 1}));
}

// Text

template <class Print>
std::string text(Print print) {
  std::string all;
  auto sink = [&all](std::string_view piece) { all += piece; };
  print(sink);
  return all;
}

TEST(Text, NumbersAreHexOrDecimalOrASizeWithAUnit) {
  EXPECT_EQ(text([](auto& out) { print_hex(out, 0); }), "0x0");
  EXPECT_EQ(text([](auto& out) { print_hex(out, 0xdead'beef); }), "0xdeadbeef");
  EXPECT_EQ(text([](auto& out) { print_hex(out, top); }), "0xffffffffffffffff");
  EXPECT_EQ(text([](auto& out) { print_decimal(out, 0); }), "0");
  EXPECT_EQ(text([](auto& out) { print_decimal(out, top); }), "18446744073709551615");
  EXPECT_EQ(text([](auto& out) { print_size(out, 4_KiB); }), "4K");
  EXPECT_EQ(text([](auto& out) { print_size(out, 1536); }), "1536");
  EXPECT_EQ(text([](auto& out) { print_size(out, 2_MiB); }), "2M");
  EXPECT_EQ(text([](auto& out) { print_size(out, 3_TiB); }), "3T");
  EXPECT_EQ(text([](auto& out) { print_size(out, std::uint64_t{1} << 63); }), "8E");
  EXPECT_EQ(text([](auto& out) { print_size(out, 0); }), "0");
}

TEST(Text, ARangeShowsItsEndEvenAtTwoToThe64) {
  EXPECT_EQ(text([](auto& out) { print_range(out, {0x1000_gpa, 0x1000}); }), "[0x1000, 0x2000)");
  EXPECT_EQ(text([](auto& out) {
              print_range(out, {GuestPhys{top - 0xfff}, 0x1000});
            }),
            "[0xfffffffffffff000, 0x10000000000000000)");
  EXPECT_EQ(text([](auto& out) { print_range(out, {0x0_gpa, 0}); }), "[0x0, 0x0)") << "nothing does not reach 2^64";
}

TEST(Text, ABufferKeepsWhatFitsAndSaysWhatDoesNot) {
  TextBuffer<8> buffer;
  buffer("1234");
  buffer("5678");
  EXPECT_EQ(buffer.view(), "12345678");
  EXPECT_FALSE(buffer.truncated());
  buffer("");
  EXPECT_FALSE(buffer.truncated());
  buffer("9");
  EXPECT_EQ(buffer.view(), "12345678");
  EXPECT_TRUE(buffer.truncated());
}

}  // namespace
}  // namespace slat::test
