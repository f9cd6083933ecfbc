// The icicle and the heat map: everything is counted once, what is marked is what is so, and no tables
// make a picture too large.

#include <gtest/gtest.h>

#include <chrono>
#include <random>
#include <set>

#include "tests/tool/images.hpp"
#include "tests/tool/svg_walk.hpp"
#include "tools/judge.hpp"
#include "tools/picture/pictures.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;

constexpr std::uint64_t npt_rwx = 0x7, accessed = 0x20, dirty = 0x60;

/// One table of pages at 0, another and a block at 1 GiB.
struct NptGuest {
  Scheme scheme = npt_scheme(Image::page(0), 4, {.pa_bits = 46});
  Image image{8};

  NptGuest() {
    image.at(0, 0) = Image::page(1) | npt_rwx;
    image.at(1, 0) = Image::page(2) | npt_rwx;
    image.at(1, 1) = Image::page(3) | npt_rwx;
    image.at(2, 0) = Image::page(4) | npt_rwx;
    image.at(3, 0) = Image::page(5) | npt_rwx;
    image.at(3, 1) = 0x0120'0000 | npt_rwx | 0x80;
    for (std::uint64_t i = 0; i != 100; ++i) image.at(4, i) = 0x0500'0000 | i << 12 | npt_rwx;
    image.at(5, 7) = 0x0600'0000 | npt_rwx;
  }
  Gathered gathered() const {
    auto memory = image.memory();
    return gather(memory, scheme);
  }
};

/// Tables and leaves that boxes of a level stand for.
std::pair<std::uint64_t, std::uint64_t> counted(const std::vector<Element>& elements, std::size_t level) {
  std::uint64_t tables = 0, leaves = 0;
  for (auto const& element : elements) {
    auto const own = element.has("data-level") ? static_cast<std::size_t>(element.number("data-level")) : 99;
    if (own == level) tables += static_cast<std::uint64_t>(element.number("data-tables"));
    if (own == level) leaves += static_cast<std::uint64_t>(element.number("data-leaves"));
    // Where there is one box for both, the leaves belong to the level above.
    if (own + 1 == level) leaves += static_cast<std::uint64_t>(element.number("data-beside"));
  }
  return {tables, leaves};
}
void expect_counted(const Gathered& gathered) {
  auto const text = draw_tree(gathered);
  auto const elements = expect_sound(text);
  auto const stats = stats_of(gathered);
  auto const boxes = std::count_if(elements.begin(), elements.end(), [](auto& e) { return e.has("data-level"); });
  EXPECT_LE(boxes, 2000);
  for (auto const& element : elements)
    if (element.has("data-level")) {
      EXPECT_GE(element.number("width"), 2) << element.tooltip;
    }
  for (std::size_t level = 0; level != stats.tables.size(); ++level)
    EXPECT_EQ(counted(elements, level), (std::pair{stats.tables[level], stats.leaves[level]})) << level;
}

TEST(IcicleTest, EveryTableAndEveryLeafIsInABoxOfItsLevel) {
  auto const gathered = NptGuest{}.gathered();
  expect_counted(gathered);
  auto const text = draw_tree(gathered);
  EXPECT_NE(
      text.find(
          "PD table at 0x80003000, guest [0x40000000, 0x80000000), entries 2 of 512 used (0.4%): 1 table, 1 leaf"),
      text.npos);
  EXPECT_NE(text.find("<title>100 leaves of 4 KiB within guest [0x0, 0x64000): 400 KiB</title>"), text.npos);
  EXPECT_NE(text.find(">PML4</text>"), text.npos);
}

TEST(IcicleTest, ManyTablesAreFewBoxes) {
  // 500 tables, each alone under an entry, and leaves of 2 MiB between them.
  Image image{503};
  image.at(0, 0) = Image::page(1) | npt_rwx;
  image.at(1, 0) = Image::page(2) | npt_rwx;
  for (std::size_t i = 0; i != 500; ++i) {
    image.at(2, i) = i % 2 == 0 ? Image::page(3 + i) | npt_rwx : (0x4000'0000 + (i << 21)) | npt_rwx | 0x80;
    image.at(3 + i, 3) = 0x0500'0000 | npt_rwx;
  }
  auto memory = image.memory();
  expect_counted(gather(memory, npt_scheme(Image::page(0), 4, {.pa_bits = 46})));
}

TEST(IcicleTest, TablesAndLeavesShareABoxWhereThereIsRoomForOne) {
  // 400 tables, each with a table and a leaf of 2 MiB.
  Image image{802};
  image.at(0, 0) = Image::page(1) | npt_rwx;
  for (std::size_t i = 0; i != 400; ++i) {
    image.at(1, i) = Image::page(2 + i) | npt_rwx;
    image.at(2 + i, 0) = Image::page(402 + i) | npt_rwx;
    image.at(2 + i, 1) = (0x4000'0000 + (i << 21)) | npt_rwx | 0x80;
    image.at(402 + i, 3) = 0x0500'0000 | npt_rwx;
  }
  auto memory = image.memory();
  auto const gathered = gather(memory, npt_scheme(Image::page(0), 4, {.pa_bits = 46}));
  expect_counted(gathered);
  EXPECT_NE(draw_tree(gathered).find("data-beside"), std::string::npos);
}

TEST(IcicleTest, WhatIsLeftOutIsSaid) {
  NptGuest guest;
  guest.image.at(2, 3) = Image::page(99) | npt_rwx;
  guest.image.at(2, 4) = Image::page(4) | npt_rwx;
  auto const text = draw_tree(guest.gathered());
  expect_counted(guest.gathered());
  EXPECT_NE(text.find("! 1 of &#39;missing-table&#39;"), text.npos);
  EXPECT_NE(text.find("! 1 of &#39;shared-table&#39;"), text.npos);
  EXPECT_NE(text.find("PT table at 0x80063000"), text.npos) << "a table that is not there is drawn";
}

/// Which cells of 4 KiB have a class.
std::set<std::uint64_t> cells(const std::vector<Element>& elements, std::string_view classes) {
  std::set<std::uint64_t> out;
  for (auto const& element : elements)
    if (element.is(classes) && element.tooltip.starts_with("0x"))
      for (std::uint64_t i = 0; i != (element.has("data-n") ? std::stoull(element["data-n"]) : 1); ++i)
        out.insert(std::stoull(element.tooltip, nullptr, 16) + 4096 * i);
  return out;
}

TEST(HeatMapTest, ExactlyTheDirtyPagesAreDirty) {
  NptGuest guest;
  guest.image.at(3, 0) = guest.image.at(3, 1) = 0;                           // nothing but the pages at 0
  guest.image.at(1, 3) = 0xc000'0000 | npt_rwx | 0x98 | dirty | 1ull << 63;  // and a device
  std::set<std::uint64_t> expected, touched;
  for (std::uint64_t i : {3u, 4u, 63u, 64u, 99u}) guest.image.at(4, i) |= dirty, expected.insert(4096 * i);
  for (std::uint64_t i : {5u, 62u}) guest.image.at(4, i) |= accessed, touched.insert(4096 * i);
  auto const text = draw_heat(guest.gathered(), {});
  auto const elements = expect_sound(text);
  EXPECT_EQ(cells(elements, "dirty"), expected);
  EXPECT_EQ(cells(elements, "accessed"), touched);
  EXPECT_EQ(cells(elements, "mapped").size(), 100u - 7);
  EXPECT_NE(text.find("One cell is 4 KiB, a row 256 KiB."), text.npos);
  EXPECT_NE(text.find("There are no events: the hypervisor leaves none."), text.npos);
}

TEST(HeatMapTest, MarksThatHardwareDoesNotKeepAreNotShown) {
  Image image{3};
  image.at(0, 1) = Image::page(1) | 3;
  image.at(1, 0) = Image::page(2) | 3;
  image.at(2, 0) = 0x1'0000'07ff;
  auto memory = image.memory();
  auto const text = draw_heat(gather(memory, arm_scheme(HostPhys{Image::page(0)}, 0x8005'3559, 0, {})), {});
  EXPECT_NE(text.find("marks no page as accessed"), text.npos);
  EXPECT_NE(text.find("marks no page as dirty"), text.npos);
  EXPECT_EQ(cells(expect_sound(text), "mapped"), (std::set<std::uint64_t>{0x4000'0000}));
}

TEST(HeatMapTest, OnArmAWritablePageWhoseWritesAreNotTrackedIsNotCalledDirty) {
  Image image{4};
  image.at(0, 0) = Image::page(1) | 3;
  image.at(1, 0) = Image::page(2) | 3;
  constexpr std::uint64_t written = 0x07ff, tracked = 1ull << 51;
  image.at(2, 0) = 0x1'0000'0000 | written | tracked;
  image.at(2, 1) = 0x1'0000'1000 | written;
  image.at(2, 2) = 0x1'0000'2000 | (written & ~0x80ull) | tracked;
  auto memory = image.memory();
  constexpr auto marks = 3ull << 21;  // VTCR_EL2.HA, HD
  auto const text = draw_heat(gather(memory, arm_scheme(HostPhys{Image::page(0)}, 0x8005'3559 | marks, 0, {})), {});
  auto const elements = expect_sound(text);
  EXPECT_NE(text.find("Writes to 4 KiB leave no mark"), text.npos);
  EXPECT_EQ(cells(elements, "dirty"), (std::set<std::uint64_t>{0}));
  EXPECT_EQ(cells(elements, "accessed"), (std::set<std::uint64_t>{0x1000, 0x2000}));
}

TEST(HeatMapTest, APageHasTheColourOfItsFirstFault) {
  NptGuest guest;
  guest.image.at(3, 0) = guest.image.at(3, 1) = 0;
  Told told;
  told.events = Events{.list = {}, .lost = 7, .ticks_per_second = 1'000'000};
  auto const fault = [&](std::uint64_t ticks, std::uint64_t at, Resolution outcome) {
    told.events->list.push_back(
        {.begin = ticks, .address = at, .kind = hv::Event::Kind::fault, .outcome = static_cast<std::uint8_t>(outcome)});
  };
  for (std::uint64_t i = 0; i != 6; ++i) fault(1000 + 2000 * i, 0x1008 + 4096 * i, Resolution::mapped);
  fault(90'000, 0x1000, Resolution::mapped);    // again
  fault(90'000, 0x9000, Resolution::spurious);  // it was there
  fault(90'000, 0x7'0000'0000, Resolution::mapped);
  auto const text = draw_heat(guest.gathered(), told);
  auto const elements = expect_sound(text);
  for (std::uint64_t i = 0; i != 6; ++i)
    EXPECT_EQ(cells(elements, "time" + std::to_string(i)), (std::set<std::uint64_t>{0x1000 + 4096 * i})) << i;
  EXPECT_NE(text.find("0x2000: 1 fault, the first at 2.00 ms"), text.npos);
  EXPECT_NE(text.find("Of 9 events, 8 faults had a page mapped. 7 older events are lost."), text.npos);
  told.events->list.clear();
  expect_sound(draw_heat(guest.gathered(), told));
}

TEST(PictureLimitTest, AGigabyteOfPagesIsSmallAndSoon) {
  // The 512 tables of a gigabyte, every other page dirty.
  Image image{515};
  image.at(0, 0) = Image::page(1) | npt_rwx;
  image.at(1, 1) = Image::page(2) | npt_rwx;
  for (std::uint64_t i = 0; i != 512 * 512; ++i) {
    image.at(2, i / 512) = Image::page(3 + i / 512) | npt_rwx;
    image.at(3 + i / 512, i % 512) =
        (0x4000'0000 + (i * 7919 % (1 << 18) << 12)) | npt_rwx | (i % 128 < 64 ? dirty : accessed);
  }
  auto memory = image.memory();
  auto const gathered = gather(memory, npt_scheme(Image::page(0), 4, {.pa_bits = 46}));
  ASSERT_EQ(gathered.leaves.size(), 512u * 512);
  auto const start = std::chrono::steady_clock::now();
  auto const heat = draw_heat(gathered, {});
  auto const map = draw_map(gathered, {});
  EXPECT_LT(heat.size(), 500u << 10);
  EXPECT_LT(map.size(), 50u << 10);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds{10});
  expect_sound(heat);
  expect_sound(map);
  expect_counted(gathered);
}

TEST(PictureLimitTest, ThousandsOfStretchesAreTheLargestAndANumber) {
  // A page in every second 2 MiB, and far above them a block.
  Image image{260};
  image.at(0, 0) = Image::page(1) | npt_rwx;
  image.at(1, 0) = Image::page(2) | npt_rwx;
  image.at(1, 100) = 0x40'0000'0000 | npt_rwx | 0x80;
  for (std::size_t i = 0; i != 256; ++i) {
    image.at(2, 2 * i) = Image::page(3 + i) | npt_rwx;
    image.at(3 + i, 0) = 0x0500'0000 | npt_rwx;
  }
  auto memory = image.memory();
  auto const gathered = gather(memory, npt_scheme(Image::page(0), 4, {.pa_bits = 46}));
  auto const heat = draw_heat(gathered, {});
  expect_sound(heat);
  EXPECT_NE(heat.find("245 more stretches of memory, of 980 KiB, not shown: these are the largest."), heat.npos);
  auto const map = draw_map(gathered, {});
  expect_sound(map);
  EXPECT_NE(map.find("256 x 4 KiB"), map.npos);
}

TEST(PictureLimitTest, GarbageIsDrawn) {
  constexpr std::size_t pages = 8;
  std::mt19937_64 random{1};
  auto const root = Image::page(0);
  for (auto const& scheme :
       {arm_scheme(HostPhys{root}, 0x8005'3559, 0, {}), arm_scheme(HostPhys{root}, vtcr_for(16384, 36, {}), 0, {}),
        ept_scheme(root | 0x5e, {}), npt_scheme(root, 5, {})}) {
    std::size_t leaves = 0;
    for (unsigned round = 0; round != 12; ++round) {
      Image image{pages};
      image.scramble(random);
      auto memory = image.memory();
      auto gathered = gather(memory, scheme, {.tables = 64});
      judge(gathered);
      leaves += gathered.leaves.size();
      Told told;
      told.areas.emplace();
      for (std::uint64_t i = 0; i != 20; ++i) {
        auto const begin = random() >> random() % 64;
        told.areas->list.push_back({{GuestPhys{begin}, std::min(random() >> random() % 64, ~begin) | 1},
                                    {},
                                    hv::AreaList::Backing{static_cast<std::uint8_t>(1 + i % 3)},
                                    HostPhys{random()}});
      }
      std::sort(told.areas->list.begin(), told.areas->list.end(),
                [](auto& a, auto& b) { return a.range.begin < b.range.begin; });
      expect_counted(gathered);
      for (auto const& text : {draw_map(gathered, told), draw_map(gathered, {}), draw_heat(gathered, told)}) {
        EXPECT_LT(text.size(), 500u << 10);
        expect_sound(text);
      }
      EXPECT_LT(write_page(gathered, told).size(), 1000u << 10);
    }
    EXPECT_GT(leaves, 1000u);
  }
}

}  // namespace
}  // namespace slat::test
