// Where memory comes from: images, cores, and what is said of those that cannot be used; beacons; numbers.

#include <gtest/gtest.h>

#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cstring>

#include "hv/beacon.hpp"
#include "tests/tool/images.hpp"
#include "tools/beacon.hpp"
#include "tools/file_memory.hpp"
#include "tools/source.hpp"
#include "tools/words.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;

using Bytes = std::vector<std::byte>;

template <class T>
void put(Bytes& bytes, std::size_t at, const T& value) {
  if (bytes.size() < at + sizeof value) bytes.resize(at + sizeof value);
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

/// A core with two segments, of 16 bytes of 0x11 at 0x1000 and 32 of 0x22 right behind them, and a note.
struct Core {
  Elf64_Ehdr header{};
  std::array<Elf64_Phdr, 3> segments{};
  Bytes bytes() const {
    Bytes out;
    put(out, 0, header);
    for (std::size_t i = 0; i != segments.size(); ++i) put(out, sizeof header + i * sizeof(Elf64_Phdr), segments[i]);
    out.resize(0x200 + 16, std::byte{0x11});
    out.resize(0x200 + 48, std::byte{0x22});
    return out;
  }

  Core() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_CORE;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    segments[0].p_type = PT_NOTE;
    segments[1] = {PT_LOAD, 0, 0x200, 0, 0x1000, 16, 16, 0};
    segments[2] = {PT_LOAD, 0, 0x210, 0, 0x1010, 32, 32, 0};
  }
};

std::string core_complaint(const Bytes& bytes) {
  File const file{bytes};
  return complaint_of([&] { FileMemory::core(file.path()); });
}

TEST(CoreTest, SegmentsAreReadByTheirPhysicalAddress) {
  File const file{Core{}.bytes()};
  auto core = FileMemory::core(file.path());
  EXPECT_EQ(core.extents(), (std::vector<Extent>{{0x1000, 16}, {0x1010, 32}}));
  std::array<std::byte, 4> four{};
  ASSERT_TRUE(core.read(HostPhys{0x100e}, four));  // across both
  EXPECT_EQ(four, (std::array{std::byte{0x11}, std::byte{0x11}, std::byte{0x22}, std::byte{0x22}}));
  EXPECT_FALSE(core.read(HostPhys{0x0fff}, four));
  EXPECT_FALSE(core.read(HostPhys{0x102e}, four));
  EXPECT_TRUE(core.read(HostPhys{0x102c}, four));
  EXPECT_FALSE(core.read(HostPhys{~0ull}, four));
}

TEST(CoreTest, EveryTruncationIsNamed) {
  auto const whole = Core{}.bytes();
  for (std::size_t length = 0; length != whole.size(); ++length) {
    auto const complaint = core_complaint({whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length)});
    EXPECT_NE(complaint.find(length < 16 ? "is no ELF file" : "truncated"), std::string::npos)
        << length << ": " << complaint;
  }
  EXPECT_EQ(core_complaint(whole), "");
}

TEST(CoreTest, WhatDoesNotFitIsNamed) {
  struct Case {
    const char* words;
    void (*spoil)(Core&);
  };
  auto const cases = std::to_array<Case>({
      {"segment 1 passes 2^64", [](Core& c) { c.segments[1].p_paddr = ~0ull - 3; }},
      {"segment 2 is truncated", [](Core& c) { c.segments[2].p_offset = ~0ull - 8; }},
      {"segment 2 is truncated", [](Core& c) { c.segments[2].p_filesz = ~0ull; }},
      {"program headers at offset", [](Core& c) { c.header.e_phoff = ~0ull; }},
      {"program headers at offset", [](Core& c) { c.header.e_phnum = 0xfffe; }},
      {"the section header with the count", [](Core& c) { c.header.e_phnum = PN_XNUM, c.header.e_shoff = ~0ull; }},
      {"a program header has 55 bytes", [](Core& c) { c.header.e_phentsize = 55; }},
      {"no 64-bit little-endian", [](Core& c) { c.header.e_ident[EI_CLASS] = ELFCLASS32; }},
      {"no 64-bit little-endian", [](Core& c) { c.header.e_ident[EI_DATA] = ELFDATA2MSB; }},
      {"but no core", [](Core& c) { c.header.e_type = ET_EXEC; }},
      {"has no memory", [](Core& c) { c.segments[1].p_type = c.segments[2].p_type = PT_NOTE; }},
      {"overlap", [](Core& c) { c.segments[2].p_paddr = 0x100f; }},
      {"compressed dump", [](Core& c) { std::memcpy(c.header.e_ident, "KDUMP   ", 8); }},
  });
  for (auto const& one : cases) {
    Core core;
    one.spoil(core);
    auto const complaint = core_complaint(core.bytes());
    EXPECT_NE(complaint.find(one.words), std::string::npos) << one.words << ": " << complaint;
  }
}

TEST(CoreTest, MoreSegmentsThanSixteenBitsCountAreCountedInASectionHeader) {
  Core core;
  auto bytes = core.bytes();
  Elf64_Shdr section{};
  section.sh_info = 3;
  core.header.e_phnum = PN_XNUM;
  core.header.e_shoff = bytes.size();
  put(bytes, 0, core.header);
  put(bytes, core.header.e_shoff, section);
  EXPECT_EQ(core_complaint(bytes), "");
}

TEST(ImageTest, ImagesThatCannotBeMeantAreNamed) {
  Bytes const page(4096);
  File const a{page}, b{page}, empty{{}};
  auto const complaint = [](std::vector<FileMemory::Image> images) {
    return complaint_of([&] { FileMemory::images(images); });
  };
  EXPECT_EQ(complaint({{a.path(), 0x1000}, {b.path(), 0x2000}}), "");
  EXPECT_NE(complaint({{a.path(), 0x1000}, {b.path(), 0x1fff}}).find("overlap"), std::string::npos);
  EXPECT_NE(complaint({{a.path(), ~0ull - 4094}}).find("passes 2^64"), std::string::npos);
  EXPECT_EQ(complaint({{a.path(), ~0ull - 4095}}), "");
  EXPECT_NE(complaint({{empty.path(), 0}}).find("is empty"), std::string::npos);
  EXPECT_NE(complaint({{"/nonexistent", 0}}).find("cannot open '/nonexistent'"), std::string::npos);
  EXPECT_NE(complaint({{"/dev", 0}}).find("no regular file"), std::string::npos);
  // Not opened for ever, either.
  std::string const pipe = ::testing::TempDir() + "slat-pipe-" + std::to_string(getpid());
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_NE(complaint({{pipe, 0}}).find("no regular file"), std::string::npos);
  unlink(pipe.c_str());
}

// ---- beacons --------------------------------------------------------------------------------------------------------

constexpr hv::Beacon::Words npt_words{hv::Beacon::Format::npt, 46, Image::base, Image::base, 0x0007'0406'0007'0406, 0};

HostMemory with_beacon(std::uint64_t offset, const hv::Beacon& beacon) {
  Bytes bytes(3 << 20);
  put(bytes, offset, beacon);
  bytes.resize(3 << 20);
  File const file{bytes};
  std::array const images{FileMemory::Image{file.path(), 0x8000'0000}};
  return HostMemory{FileMemory::images(images)};
}

TEST(BeaconTest, OneIsFoundWhereverItIs) {
  hv::Beacon beacon;
  beacon.publish(npt_words);
  for (std::uint64_t const offset : {0u, 64u, (1u << 20) - 64, 1u << 20, (2u << 20) + 192, (3u << 20) - 128}) {
    auto memory = with_beacon(offset, beacon);
    auto const found = find_beacon(memory, ~0ull);
    EXPECT_EQ(found.at.raw(), 0x8000'0000 + offset);
    auto const scheme = scheme_of(found, {});
    EXPECT_EQ(scheme.family(), testing::Family::amd);
    EXPECT_EQ(scheme.root.raw(), std::uint64_t{Image::base});
    EXPECT_EQ(std::get<NptReader>(scheme.reader).features().output_bits, 46u);
  }
}

TEST(BeaconTest, WhatIsNoneIsNotTaken) {
  hv::Beacon whole;
  whole.publish(npt_words);
  auto const complaint = [](std::uint64_t offset, const hv::Beacon& beacon, std::uint64_t limit = ~0ull) {
    auto memory = with_beacon(offset, beacon);
    return complaint_of([&] { find_beacon(memory, limit); });
  };
  EXPECT_NE(complaint(32, whole).find("no beacon"), std::string::npos);  // not aligned
  EXPECT_NE(complaint(2 << 20, whole, 1 << 20).find("no beacon"), std::string::npos);
  EXPECT_NE(complaint(0, hv::Beacon{}).find("not published"), std::string::npos);
  // Any byte of it that changes.
  for (std::size_t i = 0; i != sizeof whole; ++i) {
    auto damaged = whole;
    reinterpret_cast<unsigned char*>(&damaged)[i] ^= 1;
    EXPECT_NE(complaint(4096, damaged).find("no beacon"), std::string::npos) << i;
  }
  auto memory = with_beacon(0, whole);
  EXPECT_NE(complaint_of([&] { beacon_at(memory, HostPhys{0x8000'0040}); }).find("no beacon"), std::string::npos);
  EXPECT_NE(complaint_of([&] { beacon_at(memory, HostPhys{0x9000'0000}); }).find("no memory"), std::string::npos);
}

TEST(BeaconTest, TwoThatDifferAreNotChosenFrom) {
  hv::Beacon one, other;
  one.publish(npt_words);
  auto words = npt_words;
  words.root += 4096;
  other.publish(words);
  Bytes bytes(8192);
  put(bytes, 0, one);
  put(bytes, 4096, other);
  auto const make = [&] {
    File const file{bytes};
    std::array const images{FileMemory::Image{file.path(), 0}};
    return HostMemory{FileMemory::images(images)};
  };
  auto memory = make();
  EXPECT_NE(complaint_of([&] { find_beacon(memory, ~0ull); }).find("--beacon-at"), std::string::npos);
  EXPECT_EQ(beacon_at(memory, HostPhys{4096}).words.root, words.root);
  put(bytes, 4096, one);
  auto same = make();
  EXPECT_EQ(find_beacon(same, ~0ull).at, HostPhys{0});
}

TEST(BeaconTest, EachFormatIsReadByWhatItSays) {
  auto const scheme = [](hv::Beacon::Words words) { return scheme_of(FoundBeacon{HostPhys{0}, words}, {}); };
  using hv::Beacon;
  auto const arm = scheme({Beacon::Format::arm_stage2, 48, 0x8000'2000, 0x8065'3558, 1ull << 46, Beacon::xnx});
  auto const& arm_has = std::get<ArmReader>(arm.reader).features();
  EXPECT_TRUE(arm_has.xnx && arm_has.fwb && arm_has.ha && arm_has.hd && arm_has.bbm == 0);
  EXPECT_EQ(arm_has.input_bits, 40u);
  EXPECT_EQ(arm.root.raw(), 0x8000'2000u);
  auto const ept = scheme({Beacon::Format::ept, 46, 0x1000, 0x105e, 1u << 22, Beacon::no_execute_only | Beacon::no_1g});
  auto const& ept_has = std::get<EptReader>(ept.reader).features();
  EXPECT_TRUE(ept_has.mode_based_execute && ept_has.accessed_dirty && !ept_has.execute_only);
  EXPECT_EQ(ept_has.top_leaf, 1u);
  EXPECT_EQ(ept.root.raw(), 0x1000u);
  auto const npt = scheme({Beacon::Format::npt, 52, 0x1000, 0x1000, 7, Beacon::five_levels | Beacon::no_nx});
  auto const& npt_has = std::get<NptReader>(npt.reader).features();
  EXPECT_TRUE(npt_has.levels == 5 && npt_has.pat == 7 && !npt_has.no_execute);
  EXPECT_NE(complaint_of([&] { scheme({Beacon::Format{9}, 46}); }).find("format 9"), std::string::npos);
  EXPECT_NE(complaint_of([&] { scheme({Beacon::Format::npt, 5}); }).find("says 5 bits"), std::string::npos);
}

// ---- words ----------------------------------------------------------------------------------------------------------

TEST(WordsTest, NumbersAreWholeOrRefused) {
  EXPECT_EQ(number("4096", "x"), 4096u);
  EXPECT_EQ(number("0xffffffffffffffff", "x"), ~0ull);
  EXPECT_EQ(number("16K", "x", true), 16384u);
  EXPECT_EQ(number("0x10m", "x", true), 16u << 20);
  for (auto const* const text :
       {"", "0x", "-1", "+1", "1 ", "0x1g", "ten", "18446744073709551616", "0x10000000000000000"})
    EXPECT_NE(complaint_of([&] { number(text, "--root"); }).find("--root: '"), std::string::npos) << text;
  EXPECT_NE(complaint_of([&] { number("16777216T", "x", true); }).find("64 bits"), std::string::npos);
  EXPECT_EQ(word(0x12), "0x0000000000000012");
}

TEST(SchemeTest, WhatNoProcessorTakesIsRefused) {
  auto const arm = [](std::uint64_t vtcr) { return complaint_of([&] { arm_scheme(HostPhys{0}, vtcr, 0, {}); }); };
  EXPECT_EQ(arm(0x8005'3559), "");
  EXPECT_NE(arm(0x1'8005'3559).find("FEAT_LPA2"), std::string::npos);
  EXPECT_NE(arm(0x8005'3559 | 1ull << 36).find("S2PIE"), std::string::npos);
  EXPECT_NE(arm(0x8005'3559 | 1ull << 37).find("S2POE"), std::string::npos);
  EXPECT_NE(arm(0x8005'3559 | 1ull << 38).find("D128"), std::string::npos);
  EXPECT_EQ(arm(0x8005'3559 | 1ull << 44), "");  // HAFT: bit 10 of a table descriptor is nobody's business
  EXPECT_NE(arm(0x8005'f559).find("TG0"), std::string::npos);
  EXPECT_NE(arm(0x8005'354f).find("T0SZ"), std::string::npos);
  EXPECT_NE(arm(0x8005'3519).find("SL0"), std::string::npos);  // 39 bits from level 2 are 512 tables
  auto const ept = [](std::uint64_t eptp) { return complaint_of([&] { ept_scheme(eptp, {}); }); };
  EXPECT_EQ(ept(0x105e), "");
  EXPECT_NE(ept(0x104e).find("2 levels"), std::string::npos);
  EXPECT_NE(ept(0x105d).find("memory type"), std::string::npos);
  EXPECT_NE(ept(0x115e).find("11:8"), std::string::npos);
  EXPECT_NE(complaint_of([] { npt_scheme(0, 3, {}); }).find("4 or 5"), std::string::npos);
}

TEST(SchemeTest, AVtcrIsMadeOfGranuleAndSize) {
  struct Case {
    std::uint64_t granule;
    unsigned bits;
    std::optional<unsigned> start;
    std::uint64_t low;  // T0SZ, SL0
  };
  // Start levels as in the manual's tables: what 16 tables side by side can hold starts a level lower.
  for (auto const& one : {Case{4096, 39, {}, 0x59}, Case{4096, 40, {}, 0x58}, Case{4096, 44, {}, 0x94},
                          Case{4096, 48, {}, 0x90}, Case{4096, 33, {}, 0x1f}, Case{4096, 33, 1, 0x5f},
                          Case{16384, 40, {}, 0x58}, Case{16384, 48, {}, 0x90}, Case{65536, 40, {}, 0x58}}) {
    auto const vtcr = vtcr_for(one.granule, one.bits, one.start);
    EXPECT_EQ(vtcr & 0xff, one.low) << one.granule << ' ' << one.bits;
    auto const shape = arm_scheme(HostPhys{0}, vtcr, 0, {}).shape();
    EXPECT_EQ(shape.input_bits, one.bits);
    EXPECT_EQ(shape.granule(), one.granule);
  }
  EXPECT_NE(complaint_of([] { vtcr_for(8192, 40, {}); }).find("--granule"), std::string::npos);
  EXPECT_NE(complaint_of([] { vtcr_for(4096, 52, {}); }).find("--ipa-bits"), std::string::npos);
  EXPECT_NE(complaint_of([] { vtcr_for(4096, 40, 3); }).find("--start-level 3"), std::string::npos);
}

TEST(SourceTest, WhatIsNotSaidIsAskedFor) {
  auto const open = [](const SourceOptions& options) { return complaint_of([&] { open_source(options); }); };
  EXPECT_NE(open({}).find("no memory to look at"), std::string::npos);
  EXPECT_NE(open({{"a"}, {}, {}, {}}).find("wants its --base"), std::string::npos);
  EXPECT_NE(open({{}, {}, "a", "b"}).find("give one of them"), std::string::npos);
  EXPECT_NE(open({{}, {}, {}, "nowhere"}).find("HOST:PORT"), std::string::npos);
  auto memory = Image{1}.memory();
  auto const find = [&](const TableOptions& options) { return complaint_of([&] { find_scheme(memory, options); }); };
  TableOptions options;
  EXPECT_NE(find(options).find("which tables?"), std::string::npos);
  options.root = "0x1000";
  EXPECT_NE(find(options).find("--root alone"), std::string::npos);
  options.format = "arm";
  EXPECT_NE(find(options).find("--vtcr"), std::string::npos);
  options.granule = "4K";
  EXPECT_NE(find(options).find("--ipa-bits"), std::string::npos);
  options.ipa_bits = "40";
  EXPECT_EQ(find(options), "");
  options.levels = "4";
  EXPECT_NE(find(options).find("--levels is of"), std::string::npos);
  options.eptp = "0x105e";
  EXPECT_NE(find(options).find("--eptp is of --format ept, not of arm"), std::string::npos);
  options = {};
  options.eptp = "0x105e";
  EXPECT_EQ(find(options), "");
  options.beacon = true;
  EXPECT_NE(find(options).find("a beacon says"), std::string::npos);
  EXPECT_NE(complaint_of([] { source_of("x"); }).find("no side of a diff"), std::string::npos);
  EXPECT_NE(complaint_of([] { source_of("image:x"); }).find("image:FILE@HPA"), std::string::npos);
}

}  // namespace
}  // namespace slat::test
