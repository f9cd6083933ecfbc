// EPT entries bit by bit, worked out by hand from the manual's tables; what is misconfigured; what create() refuses.

#include <gtest/gtest.h>

#include "unit/formats.hpp"

namespace slat::x86_64 {
namespace {

using test::detail::new_intel;

constexpr Ept make(const EptFeatures& cpu, const EptOptions& options = {}) { return *Ept::create(cpu, options); }

constexpr auto modern = make(new_intel);
constexpr auto one_execute_bit = make(new_intel, {.mode_based_execute = false});
constexpr auto no_age = make(new_intel, {.accessed_dirty = false, .mode_based_execute = false});

TEST(EptWords, OfLeaves) {
  // R 1, W 2, X 4, write-back 30, large 80.
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0x8000'0000}, rwx), 0x0000'0000'8000'0037u);
  EXPECT_EQ(one_execute_bit.leaf(1, HostPhys{0x8020'0000}, ro), 0x0000'0000'8020'00B1u);
  EXPECT_EQ(one_execute_bit.leaf(2, HostPhys{0x20'4000'0000}, rw), 0x0000'0020'4000'00B3u);
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0}, {Prot::x}), 0x0000'0000'0000'0034u);
  // WC 08, WT 20; UC 00 with IPAT 40, so that the guest cannot make a device cacheable.
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0x8000'0000}, rw | Memory::uncached), 0x0000'0000'8000'000Bu);
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0x8000'0000}, rw | Memory::write_through), 0x0000'0000'8000'0023u);
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device), 0x0000'0000'0900'0043u);
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device_strict), 0x0100'0000'0900'0043u);
  // The user's two bits are 52 and 53.
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0}, {Prot::r, Memory::normal, 1}), 0x0010'0000'0000'0031u);
  EXPECT_EQ(one_execute_bit.leaf(0, HostPhys{0}, {Prot::r, Memory::normal, 2}), 0x0020'0000'0000'0031u);
}

TEST(EptWords, OfModeBasedExecution) {
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, rwx), 0x0000'0000'8000'0437u);
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, {Prot::r | Prot::x_supervisor}), 0x0000'0000'8000'0035u);
  EXPECT_EQ(modern.leaf(0, HostPhys{0x8000'0000}, {Prot::r | Prot::x_user}), 0x0000'0000'8000'0431u);
  for (auto const half : {Prot::x_user, Prot::x_supervisor}) {
    EXPECT_TRUE(modern.supports({Prot::r | half}));
    EXPECT_FALSE(one_execute_bit.supports({Prot::r | half}));
  }
}

TEST(EptWords, OfTables) {
  EXPECT_EQ(modern.table(3, HostPhys{0x8000'1000}), 0x0000'0000'8000'1407u);
  EXPECT_EQ(one_execute_bit.table(3, HostPhys{0x8000'1000}), 0x0000'0000'8000'1007u);
  EXPECT_TRUE(modern.well_formed(3, 0x0000'0000'8000'1507)) << "hardware marks tables accessed";
  EXPECT_FALSE(no_age.well_formed(3, 0x0000'0000'8000'1107));
  for (auto const reserved : {1ull << 3, 1ull << 4, 1ull << 5, 1ull << 6})
    EXPECT_FALSE(modern.well_formed(3, 0x0000'0000'8000'1407 | reserved));
  EXPECT_FALSE(modern.well_formed(3, 0x0000'0000'8000'1487)) << "a leaf above 1 GiB";
  EXPECT_FALSE(modern.well_formed(3, 0x0000'0000'8000'1607)) << "a table has no dirty bit";
}

TEST(EptWords, AMarkIsTheHardwaresBit) {
  auto const born = modern.leaf(0, HostPhys{0x8000'0000}, rw);
  EXPECT_EQ(modern.aged(0, born, {.accessed = true}), born | 0x100);
  EXPECT_EQ(modern.aged(0, born, {.dirty = true}), born | 0x200);
  EXPECT_EQ(modern.swap(0, born, born | 0x300), Swap::free);
  EXPECT_EQ(modern.swap(0, born | 0x300, born | 0x100), Swap::flush);
  EXPECT_EQ(modern.swap(0, born | 0x300, born | 0x200), Swap::flush);
  EXPECT_EQ(modern.recast(0, born | 0x300, ro), modern.leaf(0, HostPhys{0x8000'0000}, ro) | 0x300);
}

TEST(EptWords, DirtyTrackingByWriteProtection) {
  auto const born = no_age.leaf(0, HostPhys{0x8000'0000}, rw);
  EXPECT_EQ(born, 0x0040'0000'8000'0033u) << "the intent is bit 54";
  auto const clean = no_age.cleared(0, born, {.dirty = true});
  EXPECT_EQ(clean, 0x0040'0000'8000'0031u);
  EXPECT_EQ(no_age.swap(0, born, clean), Swap::flush);
  EXPECT_EQ(no_age.swap(0, clean, born), Swap::free);
  EXPECT_EQ(no_age.recast(0, born, ro), 0x0080'0000'8000'0031u) << "the mark is bit 55";
  EXPECT_EQ(no_age.recast(0, clean, ro), 0x0000'0000'8000'0031u);
}

TEST(EptWords, ABrokenEntryIsNotPresentAndPointsNowhere) {
  // Rights parked from bit 57 on, the user's execution at 60; address inverted; bit 63, so that it is no #VE.
  EXPECT_EQ(one_execute_bit.broken(0x0000'0000'8000'0037), 0x8E0F'FFFF'7FFF'F030u);
  EXPECT_EQ(modern.broken(0x0000'0000'8000'0437), 0x9E0F'FFFF'7FFF'F030u);
  EXPECT_EQ(modern.broken(0x0000'0000'8000'1407), 0x9E0F'FFFF'7FFF'E000u);
  for (auto const e : {modern.leaf(1, HostPhys{0x8020'0000}, rwx), modern.table(1, HostPhys{0x1000})}) {
    EXPECT_EQ(modern.broken(e) & 0x407, 0u);
    EXPECT_EQ(modern.mended(modern.broken(e)), e);
  }
}

TEST(EptMisconfiguration, IsNeitherSupportedNorWellFormed) {
  for (auto const prot : {Prot::none, Prot::w, Prot::w | Prot::x}) EXPECT_FALSE(modern.supports({prot}));
  auto const plain = make({.leaf_2m = true});
  EXPECT_TRUE(modern.supports({Prot::x}));
  EXPECT_FALSE(plain.supports({Prot::x})) << "execute-only is a capability";
  auto const halves = make({.mode_based_execute = true});
  for (auto const prot : {Prot::x_user, Prot::x_supervisor, Prot::x}) {
    EXPECT_TRUE(modern.supports({prot}));
    EXPECT_FALSE(halves.supports({prot})) << "for either execution";
    EXPECT_FALSE(modern.supports({Prot::w | prot}));
  }
  auto const page = modern.leaf(0, HostPhys{0x8000'0000}, rw);
  EXPECT_FALSE(modern.well_formed(0, page & ~Ept::read)) << "W without R";
  for (auto const type : {2ull, 3ull, 5ull, 7ull})
    EXPECT_FALSE(modern.well_formed(0, (page & ~0x38ull) | type << 3)) << "memory type " << type;
  EXPECT_FALSE(modern.well_formed(0, page | 1ull << 46)) << "past MAXPHYADDR";
  auto const large = modern.leaf(1, HostPhys{0x8020'0000}, rw);
  EXPECT_FALSE(modern.well_formed(1, large | 1ull << 12)) << "low address bits of a large leaf";
  EXPECT_FALSE(plain.well_formed(2, plain.leaf(2, HostPhys{0}, rw))) << "1 GiB is a capability";
}

TEST(EptSwap, RightsThatGrowAreFreeAndAllElseIsFlushed) {
  auto const read = modern.leaf(0, HostPhys{0x8000'0000}, ro);
  auto const all = modern.leaf(0, HostPhys{0x8000'0000}, rwx);
  EXPECT_EQ(modern.swap(0, read, all), Swap::free);
  EXPECT_EQ(modern.swap(0, all, read), Swap::flush);
  EXPECT_EQ(modern.swap(0, all, modern.leaf(0, HostPhys{0x8000'1000}, rwx)), Swap::flush);
  EXPECT_EQ(modern.swap(0, all, modern.recast(0, all, rw | Memory::uncached)), Swap::flush);
  EXPECT_EQ(modern.swap(0, read, read | Ept::ignore_pat), Swap::flush);
}

TEST(EptSwap, OnlyThePageSizeErratumBreaks) {
  auto const sick = make(test::detail::with_page_size_erratum(new_intel));
  EXPECT_FALSE(modern.can_break());
  EXPECT_TRUE(sick.can_break());
  auto const leaf = modern.leaf(1, HostPhys{0x8020'0000}, rwx);
  auto const table = modern.table(1, HostPhys{0x1000}), other = modern.table(1, HostPhys{0x2000});
  EXPECT_EQ(sick.swap(1, leaf, table), Swap::flush) << "size alone";
  EXPECT_EQ(sick.swap(1, table, leaf), Swap::flush);
  EXPECT_EQ(sick.swap(1, table, other), Swap::break_);
  EXPECT_EQ(modern.swap(1, table, other), Swap::flush);
  EXPECT_EQ(sick.swap(1, leaf, modern.leaf(1, HostPhys{0x8040'0000}, rwx)), Swap::flush) << "one size";
}

TEST(EptOptions, ExecutableLeavesCanBeKeptSmall) {
  auto const small = make(new_intel, {.small_executable = true});
  EXPECT_EQ(small.top_leaf(rwx), 0u);
  EXPECT_EQ(small.top_leaf({Prot::r | Prot::x_user}), 0u);
  EXPECT_EQ(small.top_leaf(rw), 2u);
  EXPECT_EQ(modern.top_leaf(rwx), 2u);
  EXPECT_FALSE(small.well_formed(1, small.leaf(1, HostPhys{0}, rwx)));
}

TEST(EptCreate, ShapesFollowDepthAndLeafSizes) {
  EXPECT_EQ(modern.geometry(), (Geometry{12, 9, 9, 3, 2}));
  EXPECT_EQ(make(new_intel, {.levels = 5}).geometry(), (Geometry{12, 9, 9, 4, 2}));
  EXPECT_EQ(make({.leaf_2m = true}).geometry().top_leaf, 1u);
  EXPECT_EQ(make({}).geometry().top_leaf, 0u);
  EXPECT_EQ(modern.geometry().input_bits(), 48u);
}

TEST(EptCreate, RefusesADepthThatTheCpuLacks) {
  for (unsigned const levels : {0u, 3u, 5u, 6u}) {
    auto const made = Ept::create({}, {.levels = levels});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), (Error{Errc::unsupported, Argument::levels, levels}));
  }
  EXPECT_FALSE(Ept::create({.four_levels = false, .five_levels = true}, {.levels = 4}));
}

TEST(EptCreate, UsesWhatIsAskedForWhereTheCpuHasIt) {
  EXPECT_EQ(modern.hardware_age(), (Age{true, true}));
  EXPECT_EQ(no_age.hardware_age(), (Age{false, false}));
  EXPECT_EQ(make({}).hardware_age(), (Age{false, false}));
}

// Bit 63: in leaves, whose rights decide; in tables, so that a broken one has it too; never in what is absent.
TEST(EptSuppressVe, IsBit63OfWhateverIsPresent) {
  auto const silent = make(new_intel, {.suppress_ve = true});
  EXPECT_EQ(silent.leaf(0, HostPhys{0x8000'0000}, rwx), 0x8000'0000'8000'0437u);
  EXPECT_EQ(silent.leaf(1, HostPhys{0x0920'0000}, rw | Memory::device), 0x8000'0000'0920'00C3u);
  EXPECT_EQ(silent.table(3, HostPhys{0x8000'1000}), 0x8000'0000'8000'1407u);
  EXPECT_EQ(silent.child(1, 0x8000'0000'8020'04B7, 1), 0x8000'0000'8020'1437u);
  EXPECT_EQ(silent.recast(0, 0x8000'0000'8000'0737, ro), 0x8000'0000'8000'0331u);
  EXPECT_EQ(silent.cleared(0, 0x8000'0000'8000'0737, {.dirty = true}), 0x8000'0000'8000'0537u);
  EXPECT_FALSE(silent.well_formed(0, 0x0000'0000'8000'0437));
  EXPECT_FALSE(silent.well_formed(3, 0x0000'0000'8000'1407));
  EXPECT_FALSE(modern.well_formed(0, 0x8000'0000'8000'0437));
  EXPECT_EQ(silent.kind(0, 0), Kind::absent);
  EXPECT_EQ(silent.swap(0, 0x0000'0000'8000'0437, 0x8000'0000'8000'0437), Swap::flush);
}

// That something is broken for a moment must reach the hypervisor, which says "retry", and not the guest.
TEST(EptSuppressVe, WhatIsBrokenHasItInAnyCase) {
  auto const silent = make(new_intel, {.suppress_ve = true});
  EXPECT_EQ(modern.broken(0x0000'0000'8000'1407), 0x9E0F'FFFF'7FFF'E000u);
  EXPECT_EQ(silent.broken(0x8000'0000'8000'1407), 0x9E0F'FFFF'7FFF'E000u);
  EXPECT_EQ(modern.mended(0x9E0F'FFFF'7FFF'E000), 0x0000'0000'8000'1407u);
  EXPECT_EQ(silent.mended(0x9E0F'FFFF'7FFF'E000), 0x8000'0000'8000'1407u);
}

}  // namespace
}  // namespace slat::x86_64
