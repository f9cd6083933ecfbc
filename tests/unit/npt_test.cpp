// Nested page table entries bit by bit, worked out by hand from the manual's tables; what is refused; what create()
// refuses.

#include <gtest/gtest.h>

#include "unit/formats.hpp"

namespace slat::x86_64 {
namespace {

using test::detail::new_amd;

constexpr Npt make(const NptFeatures& cpu, const NptOptions& options = {}) { return *Npt::create(cpu, options); }

constexpr auto at_reset = make(new_amd);
constexpr auto combining = make(new_amd, {.pat = pat_with_write_combining});
constexpr std::uint64_t linux_pat = 0x0407'0506'0007'0106;  // WB WC UC- UC WB WP UC- WT
constexpr auto under_linux = make(new_amd, {.pat = linux_pat});
constexpr auto without_nx = make(new_amd, {.no_execute = false});

TEST(NptWords, OfLeaves) {
  // P 1, W 2, U 4, large 80, NX 63.
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0x8000'0000}, rwx), 0x0000'0000'8000'0007u);
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0x8000'0000}, rx), 0x0000'0000'8000'0005u);
  EXPECT_EQ(at_reset.leaf(1, HostPhys{0x8020'0000}, ro), 0x8000'0000'8020'0085u);
  EXPECT_EQ(at_reset.leaf(2, HostPhys{0x20'4000'0000}, rw), 0x8000'0020'4000'0087u);
  // The user's two bits are 52 and 53.
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0}, {Prot::rx, Memory::normal, 1}), 0x0010'0000'0000'0005u);
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0}, {Prot::rx, Memory::normal, 2}), 0x0020'0000'0000'0005u);
}

TEST(NptWords, OfTables) {
  for (Level l = 1; l <= 4; ++l) EXPECT_EQ(at_reset.table(l, HostPhys{0x8000'1000}), 0x0000'0000'8000'1007u);
  EXPECT_TRUE(at_reset.well_formed(3, 0x0000'0000'8000'1027)) << "hardware marks tables accessed";
  EXPECT_FALSE(at_reset.well_formed(3, 0x0000'0000'8000'1047)) << "and not dirty";
  EXPECT_FALSE(at_reset.well_formed(3, 0x0000'0000'8000'1087)) << "a leaf above 1 GiB";
  EXPECT_FALSE(at_reset.well_formed(3, 0x0000'0000'8000'1107)) << "bit 8 is reserved there";
  EXPECT_FALSE(at_reset.well_formed(1, 0x0000'0000'8000'1003)) << "a supervisor's";
  EXPECT_FALSE(at_reset.well_formed(1, 0x0000'0000'8000'1005)) << "read-only for all below";
  EXPECT_FALSE(at_reset.well_formed(1, 0x8000'0000'8000'1007)) << "not executable for all below";
}

// Where a PAT has write-back second, tables are read through that: index 1 is PWT.
TEST(NptWords, OfTablesChooseWriteBack) {
  constexpr auto other = make(new_amd, {.pat = 0x0000'0000'0007'0600});
  EXPECT_EQ(other.table(1, HostPhys{0x8000'1000}), 0x0000'0000'8000'100Fu);
  EXPECT_EQ(other.leaf(0, HostPhys{0x8000'1000}, rwx), 0x0000'0000'8000'100Fu);
  EXPECT_EQ(other.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device), 0x8000'0000'0900'0007u);
  EXPECT_EQ(other.attr(0, 0x8000'0000'0900'0007), rw | Memory::device);
}

TEST(NptMemoryTypes, AreIndicesIntoThePat) {
  // WT is second, strong UC fourth: PWT 8, PCD 10.
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0x8000'0000}, rw | Memory::write_through), 0x8000'0000'8000'000Fu);
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device), 0x8000'0000'0900'001Fu);
  EXPECT_EQ(at_reset.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device_strict), 0x8100'0000'0900'001Fu);
  EXPECT_EQ(at_reset.leaf(1, HostPhys{0x0920'0000}, rw | Memory::device), 0x8000'0000'0920'009Fu);
  // Linux has WC second and WT eighth.
  EXPECT_EQ(under_linux.leaf(0, HostPhys{0x8000'0000}, rw | Memory::uncached), 0x8000'0000'8000'000Fu);
  EXPECT_EQ(under_linux.leaf(0, HostPhys{0x8000'0000}, rw | Memory::write_through), 0x8000'0000'8000'009Fu);
  EXPECT_EQ(under_linux.leaf(1, HostPhys{0x8020'0000}, rw | Memory::write_through), 0x8000'0000'8020'109Fu);
  EXPECT_EQ(under_linux.leaf(2, HostPhys{0x4000'0000}, rw | Memory::write_through), 0x8000'0000'4000'109Fu);
}

TEST(NptMemoryTypes, ThatThePatLacksAreRefused) {
  EXPECT_FALSE(at_reset.supports(rw | Memory::uncached)) << "no write-combining after a reset";
  EXPECT_TRUE(at_reset.supports(rw | Memory::write_through));
  for (auto const memory : {Memory::normal, Memory::write_through, Memory::uncached, Memory::device}) {
    EXPECT_TRUE(combining.supports(rw | memory));
    EXPECT_TRUE(under_linux.supports(rw | memory));
  }
  constexpr auto only_write_back = make(new_amd, {.pat = 0x0606'0606'0606'0606});
  EXPECT_TRUE(only_write_back.supports(rw));
  for (auto const memory : {Memory::write_through, Memory::uncached, Memory::device, Memory::device_strict})
    EXPECT_FALSE(only_write_back.supports(rw | memory));
}

// Write-protected, UC- and reserved types are in a PAT too, and mean none of ours.
TEST(NptMemoryTypes, ThatNobodyAsksForAreNotWellFormed) {
  EXPECT_TRUE(under_linux.well_formed(0, 0x8000'0000'8000'001F)) << "strong UC, fourth";
  EXPECT_FALSE(under_linux.well_formed(0, 0x8000'0000'8000'0017)) << "UC-, third";
  EXPECT_FALSE(under_linux.well_formed(0, 0x8000'0000'8000'008F)) << "WP, sixth";
  EXPECT_FALSE(under_linux.well_formed(0, 0x8000'0000'8000'0087)) << "a second write-back, fifth";
}

TEST(NptSizes, ThePatBitMovesBetweenBits7And12) {
  constexpr auto attr = rw | Memory::uncached;  // fifth: the third index bit alone
  constexpr Entry huge = 0x8000'0000'8000'1087, block = 0x8000'0000'8020'1087, page = 0x8000'0000'8020'3087;
  EXPECT_EQ(combining.leaf(2, HostPhys{0x8000'0000}, attr), huge);
  EXPECT_EQ(combining.child(2, huge, 1), block);
  EXPECT_EQ(combining.leaf(1, HostPhys{0x8020'0000}, attr), block);
  EXPECT_EQ(combining.child(1, block, 3), page);
  EXPECT_EQ(combining.leaf(0, HostPhys{0x8020'3000}, attr), page);
  EXPECT_EQ(combining.parent(1, 0x8000'0000'8020'0087), block);
  EXPECT_EQ(combining.parent(2, 0x8000'0000'8000'1087), huge);
  // Without the bit, bit 7 is the size alone.
  EXPECT_EQ(combining.child(1, 0x8000'0000'8020'0087, 3), 0x8000'0000'8020'3007u);
  EXPECT_EQ(combining.parent(1, 0x8000'0000'8020'0007), 0x8000'0000'8020'0087u);
  // Nor is it a part of the address.
  EXPECT_EQ(combining.address(1, block), HostPhys{0x8020'0000});
  EXPECT_EQ(combining.attr(1, block), attr);
  // A change of type at a large leaf clears it, and sets it.
  EXPECT_EQ(combining.recast(1, block, rw), 0x8000'0000'8020'0087u);
  EXPECT_EQ(combining.recast(1, 0x8000'0000'8020'0087, attr), block);
}

TEST(NptRights, ThatAnEntryCannotTellApartAreRefused) {
  for (auto const prot : {Prot::none, Prot::w, Prot::x, Prot::w | Prot::x}) EXPECT_FALSE(at_reset.supports({prot}));
  for (auto const half : {Prot::x_user, Prot::x_supervisor}) EXPECT_FALSE(at_reset.supports({Prot::r | half}));
  for (auto const& attr : {ro, rw, rx, rwx}) EXPECT_TRUE(at_reset.supports(attr));
  EXPECT_FALSE(at_reset.supports({Prot::r, Memory::normal, 4}));
  EXPECT_FALSE(at_reset.supports(rwx | Memory::device));
  EXPECT_FALSE(at_reset.supports(rx | Memory::device_strict));
}

TEST(NptRights, WithoutNxAllIsExecutable) {
  auto cpu = new_amd;
  cpu.no_execute = false;
  for (auto const& format : {without_nx, make(cpu)}) {
    EXPECT_FALSE(format.uses_no_execute());
    EXPECT_FALSE(format.supports(ro));
    EXPECT_FALSE(format.supports(rw));
    EXPECT_TRUE(format.supports(rx));
    EXPECT_TRUE(format.supports(rwx));
    for (auto const memory : {Memory::device, Memory::device_strict}) {
      EXPECT_FALSE(format.supports(rw | memory)) << "which is never executable";
      EXPECT_FALSE(format.supports(rwx | memory));
    }
    EXPECT_FALSE(format.well_formed(0, 0x8000'0000'8000'0005)) << "bit 63 is reserved there";
  }
}

TEST(NptMarks, AreTheHardwaresBits) {
  auto const born = at_reset.leaf(0, HostPhys{0x8000'0000}, rw);
  EXPECT_EQ(at_reset.aged(0, born, {.accessed = true}), born | 0x20);
  EXPECT_EQ(at_reset.aged(0, born, {.dirty = true}), born | 0x40);
  EXPECT_EQ(at_reset.swap(0, born, born | 0x60), Swap::free);
  EXPECT_EQ(at_reset.swap(0, born | 0x60, born | 0x20), Swap::flush) << "D would not be set again";
  EXPECT_EQ(at_reset.swap(0, born | 0x60, born | 0x40), Swap::flush);
  EXPECT_EQ(at_reset.recast(0, born | 0x60, rx), 0x0000'0000'8000'0065u);
  EXPECT_EQ(at_reset.hardware_age(), (Age{true, true}));
}

TEST(NptSwap, WhatIsGainedIsFreeAndAllElseIsFlushed) {
  auto const all = at_reset.leaf(0, HostPhys{0x8000'0000}, rwx);
  auto const read = at_reset.leaf(0, HostPhys{0x8000'0000}, ro);
  EXPECT_EQ(at_reset.swap(0, read, all), Swap::free);
  EXPECT_EQ(at_reset.swap(0, all, read), Swap::flush);
  EXPECT_EQ(at_reset.swap(0, all, at_reset.recast(0, all, rw)), Swap::flush) << "NX is a right lost";
  EXPECT_EQ(at_reset.swap(0, all, at_reset.recast(0, all, rx)), Swap::flush);
  EXPECT_EQ(at_reset.swap(0, all, at_reset.leaf(0, HostPhys{0x8000'1000}, rwx)), Swap::flush);
  EXPECT_EQ(combining.swap(0, read, combining.recast(0, read, ro | Memory::uncached)), Swap::flush);
  EXPECT_EQ(at_reset.swap(0, all, at_reset.leaf(0, HostPhys{0x8000'0000}, {Prot::rwx, Memory::normal, 2})), Swap::free);
}

TEST(NptSwap, NothingBreaks) {
  EXPECT_FALSE(at_reset.can_break());
  auto const leaf = at_reset.leaf(1, HostPhys{0x8020'0000}, rwx);
  auto const table = at_reset.table(1, HostPhys{0x1000}), other = at_reset.table(1, HostPhys{0x2000});
  for (auto const to : {table, other, at_reset.leaf(1, HostPhys{0x8040'0000}, rwx), Entry{0}})
    EXPECT_EQ(at_reset.swap(1, leaf, to), Swap::flush);
  EXPECT_EQ(at_reset.swap(1, table, other), Swap::flush);
  EXPECT_EQ(at_reset.swap(1, table, leaf), Swap::flush);
  EXPECT_EQ(at_reset.broken(leaf), leaf & ~Entry{1});
}

TEST(NptCreate, ShapesFollowDepthAndLeafSizes) {
  EXPECT_EQ(at_reset.geometry(), (Geometry{12, 9, 9, 3, 2}));
  EXPECT_EQ(make(new_amd, {.levels = 5}).geometry(), (Geometry{12, 9, 9, 4, 2}));
  EXPECT_EQ(make(test::detail::small_amd).geometry().top_leaf, 1u) << "1 GiB is a capability, 2 MiB none";
  EXPECT_EQ(at_reset.geometry().input_bits(), 48u);
  EXPECT_FALSE(make(test::detail::small_amd).well_formed(2, 0x0000'0000'4000'0087));
}

TEST(NptCreate, AddressesAreAsLongAsTheCpus) {
  EXPECT_EQ(at_reset.output_bits(), 48u);
  EXPECT_TRUE(at_reset.well_formed(0, 0x8000'8000'0000'0007));
  EXPECT_FALSE(at_reset.well_formed(0, 0x8001'0000'0000'0007));
  EXPECT_FALSE(at_reset.well_formed(1, 0x0001'0000'0000'0007));
  auto cpu = new_amd;
  cpu.pa_bits = 57;
  EXPECT_EQ(make(cpu).output_bits(), 52u) << "an entry holds no more";
}

TEST(NptCreate, RefusesADepthThatTheCpuLacks) {
  auto const refused = [](const NptFeatures& cpu, unsigned levels) {
    auto const made = Npt::create(cpu, {.levels = levels});
    return !made && made.error() == Error{Errc::unsupported, Argument::levels, levels};
  };
  for (unsigned const levels : {0u, 2u, 3u, 6u}) EXPECT_TRUE(refused(new_amd, levels));
  auto cpu = new_amd;
  cpu.five_levels = false;
  EXPECT_TRUE(refused(cpu, 5));
  EXPECT_FALSE(refused(cpu, 4));
  EXPECT_TRUE(refused({}, 4)) << "no nested paging";
}

TEST(NptCreate, RefusesAPatWithoutWriteBackForTables) {
  for (auto const pat : {std::uint64_t{0x0606'0606'0007'0004}, std::uint64_t{0}}) {
    auto const made = Npt::create(new_amd, {.pat = pat});
    ASSERT_FALSE(made);
    EXPECT_EQ(made.error(), (Error{Errc::unsupported, Argument::attributes, pat}));
  }
  EXPECT_TRUE(Npt::create(new_amd, {.pat = 0x0000'0000'0600'0000}));
}

}  // namespace
}  // namespace slat::x86_64
