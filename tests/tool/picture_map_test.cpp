// The memory map and the page: an element for everything, what disagrees is marked, and nothing runs out of its box.

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "tests/tool/images.hpp"
#include "tests/tool/svg_walk.hpp"
#include "tools/judge.hpp"
#include "tools/picture/comparison.hpp"
#include "tools/picture/pictures.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;
using Backing = hv::AreaList::Backing;

constexpr std::uint64_t rwx = 0x07ff;                       // rwx, write-back, inner shareable, accessed
constexpr std::uint64_t device_page = 0x06c7 | 1ull << 54;  // rw-, device-nGnRE
constexpr std::uint64_t read_only = rwx & ~0x80ull;

/// 39 bits, 4K: pages and a block of RAM at 1 GiB, a device below.
struct ArmGuest {
  Scheme scheme = arm_scheme(HostPhys{Image::page(0)}, 0x8005'3559, 0, {});
  Image image{8};

  ArmGuest() {
    image.at(0, 0) = Image::page(1) | 3;
    image.at(0, 1) = Image::page(2) | 3;
    image.at(1, 72) = Image::page(3) | 3;
    image.at(3, 0) = 0x0900'0000 | device_page;
    image.at(2, 0) = Image::page(4) | 3;
    image.at(2, 1) = 0x1'0020'0000 | (rwx & ~2ull);
    for (std::uint64_t i = 0; i != 4; ++i) image.at(4, i) = (0x1'0000'0000 + 4096 * i) | rwx;
  }
  Gathered gathered() const {
    auto memory = image.memory();
    return gather(memory, scheme);
  }
};

Area area(std::uint64_t begin, std::uint64_t bytes, Attr attr, Backing backing, std::uint64_t host = 0) {
  return {{GuestPhys{begin}, bytes}, attr, backing, HostPhys{host}};
}
Told told(std::vector<Area> list) {
  Told out;
  out.areas = Areas{std::move(list), 0};
  return out;
}
/// What ArmGuest maps, as meant.
std::vector<Area> meant() {
  return {area(0x0800'0000, 0x1'0000, {Prot::rw, Memory::device, 0}, Backing::device),
          area(0x0900'0000, 0x1000, {Prot::rw, Memory::device, 0}, Backing::linear, 0x0900'0000),
          area(0x4000'0000, 0x40'0000, {Prot::rwx, Memory::normal, 0}, Backing::linear, 0x1'0000'0000)};
}

std::vector<const Element*> with(const std::vector<Element>& elements, std::string_view key) {
  std::vector<const Element*> out;
  for (auto const& element : elements)
    if (element.has(key)) out.push_back(&element);
  return out;
}
/// The quarrels that are marked, as numbers.
std::string quarrels_in(const Gathered& gathered, const Told& told) {
  std::string out;
  auto const elements = expect_sound(draw_map(gathered, told));
  for (auto const* element : with(elements, "data-quarrel")) {
    EXPECT_TRUE(element->is("bad"));
    out += (*element)["data-quarrel"];
  }
  return out;
}
std::string digit(Quarrel quarrel) { return std::to_string(static_cast<unsigned>(quarrel)); }

TEST(MemoryMapTest, EveryAreaAndEveryRunHasItsBox) {
  ArmGuest const guest;
  auto const elements = expect_sound(draw_map(guest.gathered(), told(meant())));
  auto const areas = with(elements, "data-area"), pieces = with(elements, "data-piece");
  ASSERT_EQ(areas.size(), 3u);
  EXPECT_EQ(areas[0]->tooltip, "area [0x8000000, 0x8010000), 64 KiB, rw- device, device: never mapped, emulated");
  EXPECT_EQ(areas[1]->tooltip, "area [0x9000000, 0x9001000), 4 KiB, rw- device, linear: host memory from 0x9000000 on");
  EXPECT_EQ(areas[2]->tooltip,
            "area [0x40000000, 0x40400000), 4 MiB, rwx write-back, linear: host memory from 0x100000000 on");
  ASSERT_EQ(pieces.size(), 2u);
  EXPECT_EQ(
      pieces[0]->tooltip,
      "mapped: [0x9000000, 0x9001000), 4 KiB, rw- device-nGnRE, leaves: 1 x 4 KiB, host memory from 0x9000000 on");
  EXPECT_EQ(pieces[1]->tooltip,
            "mapped: [0x40000000, 0x40400000), 2.0 MiB of the area&#39;s 4 MiB (50.4%), rwx write-back, leaves: 1 x 2 "
            "MiB, 4 x "
            "4 KiB, host memory from 0x100000000 on");
  EXPECT_EQ(quarrels_in(guest.gathered(), told(meant())), "");
  // Mappings of two areas are two, though they are alike and side by side.
  auto two = meant();
  two[2].range.size = 0x30'0000;
  two.push_back(area(0x4030'0000, 0x10'0000, {Prot::rwx, Memory::normal, 0}, Backing::linear, 0x1'0030'0000));
  EXPECT_EQ(with(expect_sound(draw_map(guest.gathered(), told(two))), "data-piece").size(), 3u);
}

TEST(MemoryMapTest, WhatAnUnlistedAreaMayHaveIsNotCalledOutside) {
  ArmGuest const guest;
  auto areas = told(meant());
  areas.areas->list.pop_back();
  EXPECT_EQ(quarrels_in(guest.gathered(), areas), digit(Quarrel::outside));
  areas.areas->left_out = 1;
  EXPECT_EQ(quarrels_in(guest.gathered(), areas), "");
  EXPECT_NE(draw_map(guest.gathered(), areas).find("What lies in none of the others is not judged"), std::string::npos);
}

TEST(MemoryMapTest, WhatDisagreesInPartIsNotCalledSoInAll) {
  ArmGuest guest;
  // Every other page of 256 allows less: more pieces than are drawn.
  for (std::uint64_t i = 0; i != 256; ++i)
    guest.image.at(4, i) = (0x1'0000'0000 + 4096 * i) | (i % 2 == 0 ? rwx : read_only);
  guest.image.at(2, 1) = 0;
  auto const areas = told(meant());
  auto const all = compare(guest.gathered(), areas.areas, 40);
  ASSERT_EQ(all.pieces.size(), 2u) << "and the device";
  EXPECT_TRUE(all.pieces[1].quarrel == Quarrel::fewer_rights && all.pieces[1].is_in_part);
  EXPECT_FALSE(all.pieces[0].is_in_part);
  auto const elements = expect_sound(draw_map(guest.gathered(), areas));
  auto const pieces = with(elements, "data-quarrel");
  ASSERT_EQ(pieces.size(), 1u);
  EXPECT_TRUE(pieces[0]->tooltip.starts_with("in part fewer rights than the area: "));
}

TEST(MemoryMapTest, TheLegendKnowsOfAreasOnlyWhereThereAreSome) {
  ArmGuest const guest;
  EXPECT_NE(draw_map(guest.gathered(), told(meant())).find("! differs from its area"), std::string::npos);
  auto const text = draw_map(guest.gathered(), {});
  EXPECT_EQ(text.find("! differs from its area"), std::string::npos);
  EXPECT_NE(text.find("! every access faults"), std::string::npos);
}

TEST(MemoryMapTest, WhatDisagreesIsMarkedAndCounted) {
  auto const marked = [](auto change, auto change_areas) {
    ArmGuest guest;
    auto areas = meant();
    change(guest.image);
    change_areas(areas);
    return quarrels_in(guest.gathered(), told(areas));
  };
  auto const same = [](auto&) {};
  EXPECT_EQ(marked(same, [](auto& areas) { areas.pop_back(); }), digit(Quarrel::outside));
  EXPECT_EQ(marked(same, [](auto& areas) { areas[2].host = HostPhys{0x2'0000'0000}; }), digit(Quarrel::wrong_host));
  EXPECT_EQ(marked(same, [](auto& areas) { areas[2].backing = Backing::lazy; }), "");
  EXPECT_EQ(marked(same, [](auto& areas) { areas[2].attr.prot = Prot::r; }), digit(Quarrel::more_rights));
  EXPECT_EQ(marked(same, [](auto& areas) { areas[2].attr.memory = Memory::uncached; }), digit(Quarrel::memory));
  EXPECT_EQ(marked(same, [](auto& areas) { areas[1].backing = Backing::device; }), digit(Quarrel::emulated));
  EXPECT_EQ(marked([](Image& image) { image.at(4, 1) ^= rwx ^ read_only; }, same), digit(Quarrel::fewer_rights));
  EXPECT_EQ(marked([](Image& image) { image.at(4, 1) &= ~0x400ull; }, same), digit(Quarrel::faulty));
  EXPECT_EQ(marked([](Image& image) { image.at(2, 2) = 0x1'0040'0000 | (rwx & ~2ull); }, same),
            digit(Quarrel::outside));
  // A block is cut where its area ends, and only what is beyond is outside.
  ArmGuest const guest;
  auto areas = meant();
  areas[2].range.size = 0x30'0000;
  auto const text = draw_map(guest.gathered(), told(areas));
  EXPECT_NE(text.find("! mapped outside any area: 1 place, 1 MiB<"), text.npos);
  EXPECT_NE(text.find("mapped outside any area: [0x40300000, 0x40400000), 1 MiB"), text.npos);
}

TEST(MemoryMapTest, WhatIsNotKnownIsSaid) {
  ArmGuest const guest;
  auto const alone = draw_map(guest.gathered(), {});
  EXPECT_EQ(with(expect_sound(alone), "data-piece").size(), 2u);
  EXPECT_NE(alone.find("no list of areas: the hypervisor leaves none."), alone.npos);
  auto some = told(meant());
  some.areas->left_out = 5;
  EXPECT_NE(draw_map(guest.gathered(), some).find("8 areas; for 5 the list has no room."), std::string::npos);
  // A damaged list is a reason, and no failure.
  auto memory = guest.image.memory();
  auto scheme = guest.scheme;
  scheme.areas = HostPhys{Image::page(7)};
  EXPECT_NE(told_by(memory, scheme).no_areas.find("is no list of areas"), std::string::npos);
}

TEST(MemoryMapTest, AreasThatCannotBeAreDrawnAllTheSame) {
  ArmGuest const guest;
  auto areas = meant();
  areas.push_back(area(0x4010'0000, 0x1000, {Prot::r, Memory::normal, 0}, Backing::lazy));
  areas.push_back(area(~0ull - 0xfff, 0x1000, {Prot::r, Memory::normal, 0}, Backing::lazy));
  auto const text = draw_map(guest.gathered(), told(areas));
  auto const elements = expect_sound(text);
  EXPECT_NE(text.find("1 of them overlap"), text.npos);
  EXPECT_EQ(with(elements, "data-area").back()->tooltip.substr(0, 47),
            "area [0xfffffffffffff000, 0x10000000000000000),");
  auto const all = std::vector{area(0, ~0ull, {Prot::rwx, Memory::normal, 0}, Backing::lazy)};
  EXPECT_EQ(with(expect_sound(draw_map(guest.gathered(), told(all))), "data-area").size(), 1u);
  expect_sound(draw_heat(guest.gathered(), told(all)));
  std::vector<Area> many;
  for (std::uint64_t i = 0; i != 64; ++i)
    many.push_back(area(0x4000'0000 + i * 0x1'0000, 0x8000, {Prot::rwx, Memory::normal, 0}, Backing::lazy));
  EXPECT_EQ(with(expect_sound(draw_map(guest.gathered(), told(many))), "data-area").size(), 64u);
}

TEST(MemoryMapTest, TablesWithNothingInThemSaySo) {
  Image const image{1};
  auto memory = image.memory();
  auto const gathered = gather(memory, arm_scheme(HostPhys{Image::page(0)}, 0x8005'3559, 0, {}));
  for (auto const& text :
       {draw_map(gathered, {}), draw_tree(gathered), draw_heat(gathered, {}), draw_map(gathered, told({}))}) {
    expect_sound(text);
    EXPECT_NE(text.find("Nothing is mapped"), text.npos);
  }
}

TEST(PageTest, ThePageHasAllPicturesAndNumbers) {
  ArmGuest guest;
  for (std::size_t i = 4; i != 512; ++i) guest.image.at(4, i) = (0x3'0000'0000 + 8192 * i) | rwx;
  auto gathered = guest.gathered();
  judge(gathered);
  auto const page = write_page(gathered, told(meant()));
  EXPECT_TRUE(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">"));
  std::map<std::string, int> ids;
  for (auto const& [mark, count] :
       {std::pair{"<svg ", 3}, {"<h1>", 1}, {"<h2>", 6}, {"<tr><td>", 200}, {"<script", 0}, {"href", 0}}) {
    auto found = 0;
    for (auto at = page.find(mark); at != page.npos; at = page.find(mark, at + 1)) ++found;
    EXPECT_EQ(found, count) << mark;
  }
  for (auto at = page.find(" id=\""); at != page.npos; at = page.find(" id=\"", at + 1))
    EXPECT_EQ(++ids[page.substr(at, page.find('"', at + 5) - at)], 1);
  EXPECT_EQ(ids.size(), 6u);
  EXPECT_NE(page.find("311 more runs are left out"), page.npos);
  EXPECT_NE(page.find("<li>note: write-execute: "), page.npos);
  EXPECT_NE(page.find("<tr><th scope=\"row\">mapped</th><td>4100K</td></tr>"), page.npos);
}

TEST(PageTest, NoWordIsMarkup) {
  EXPECT_EQ(escaped("<a b='\"'>&\x01"), "&lt;a b=&#39;&quot;&#39;&gt;&amp;?");
  Svg svg{"x", "<title>&", "</desc>"};
  svg.head("a<b>\"c\"");
  svg.box({20, 60, 20, 20}, "normal", "</title><script>");
  auto const text = svg.finish();
  EXPECT_EQ(expect_sound(text.substr(0, text.find("&lt;script")) + text.substr(text.find("&lt;script") + 10)).size(),
            9u);
}

TEST(PageTest, AFileIsWrittenWholeOrNotAtAll) {
  auto text = std::string{"/tmp/slat-picture-XXXXXX"};
  ASSERT_NE(mkdtemp(text.data()), nullptr);
  std::filesystem::path const folder{text}, file = folder / "a.svg";
  replace_file(file, "one");
  replace_file(file, "two");
  std::ifstream in{file};
  EXPECT_EQ((std::string{std::istreambuf_iterator{in}, {}}), "two");
  EXPECT_NE(complaint_of([&] { replace_file(folder / "none" / "a.svg", "x"); }).find("No such file"),
            std::string::npos);
  EXPECT_NE(complaint_of([&] { replace_file(folder, "x"); }).find("no regular file"), std::string::npos);
  auto const pipe = folder / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_NE(complaint_of([&] { replace_file(pipe, "x"); }).find("no regular file"), std::string::npos);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  std::filesystem::remove(pipe);
  // As on a disk that is full: the old text stays, and nothing lies beside it.
  rlimit limit{};
  getrlimit(RLIMIT_FSIZE, &limit);
  rlimit const small{2, limit.rlim_max};
  auto* const before = std::signal(SIGXFSZ, SIG_IGN);
  setrlimit(RLIMIT_FSIZE, &small);
  auto const complaint = complaint_of([&] { replace_file(file, "three"); });
  setrlimit(RLIMIT_FSIZE, &limit);
  std::signal(SIGXFSZ, before);
  EXPECT_NE(complaint.find("File too large"), std::string::npos) << complaint;
  std::ifstream again{file};
  EXPECT_EQ((std::string{std::istreambuf_iterator{again}, {}}), "two");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator{folder}, {}), 1);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace slat::test
