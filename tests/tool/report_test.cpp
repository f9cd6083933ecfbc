// What is printed: for people, word by word; for programs, parsed again.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/tool/images.hpp"
#include "tools/describe.hpp"
#include "tools/diff.hpp"
#include "tools/explain.hpp"
#include "tools/gather.hpp"
#include "tools/json.hpp"
#include "tools/judge.hpp"
#include "tools/text.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;
using Json = nlohmann::json;

constexpr std::uint64_t arm_page = 0x07ff;                 // rwx, write-back, inner shareable, accessed
constexpr std::uint64_t arm_device = 0x06c7 | 1ull << 54;  // rw-, device-nGnRE, outer shareable

/// 39 bits, 4K: RAM at 1 GiB as a block and pages of it, a device, a set of 16, something invalid.
struct ArmGuest {
  Scheme scheme = arm_scheme(HostPhys{Image::page(0)}, 0x8005'3559, 0, {});
  Image image{8};

  ArmGuest() {
    image.at(0, 0) = Image::page(1) | 3;
    image.at(0, 1) = Image::page(2) | 3;
    image.at(1, 72) = Image::page(3) | 3;
    image.at(3, 0) = 0x0900'0000 | arm_device;
    image.at(2, 0) = Image::page(4) | 3;
    image.at(2, 1) = 0x1'0020'0000 | (arm_page & ~2ull);
    image.at(2, 2) = 0x1'0040'0000 | (arm_page & ~2ull);
    image.at(4, 0) = 0x1'0000'0000 | arm_page;
    image.at(4, 1) = 0x1'0000'1000 | arm_page;
    image.at(4, 2) = 0x1'0000'2000 | (arm_page & ~0x80ull) | 1ull << 57;  // read-only, with a software bit
    image.at(4, 3) = 0x00de'ad00;
    for (std::size_t i = 16; i != 32; ++i) image.at(4, i) = 0x1'0001'0000 | (i - 16) << 12 | arm_page | 1ull << 52;
  }
  Gathered gathered() const {
    auto memory = image.memory();
    return gather(memory, scheme);
  }
};

constexpr std::uint64_t npt_rwx = 0x7, no_execute = 1ull << 63;

struct NptGuest {
  Scheme scheme = npt_scheme(Image::page(0), 4, {.pa_bits = 46});
  Image image{8};

  NptGuest() {
    image.at(0, 0) = Image::page(1) | npt_rwx;
    image.at(1, 0) = Image::page(2) | npt_rwx;
    image.at(1, 3) = 0xc000'0000 | npt_rwx | 0x98 | no_execute;  // 1 GiB, uncacheable
    image.at(2, 1) = 0x0120'0000 | npt_rwx | 0xe0;               // 2 MiB, accessed and dirty
    image.at(2, 0) = Image::page(3) | (npt_rwx & ~2ull);         // the table takes the write right away
    image.at(3, 5) = 0x0500'5000 | npt_rwx | 0x20;
  }
};

std::string text_of(auto print) {
  std::ostringstream out;
  print(out);
  return out.str();
}
Json json_of(auto write) { return Json::parse(text_of(write)); }

TEST(DumpTest, ArmRunsSayAllThatALeafHas) {
  auto const gathered = ArmGuest{}.gathered();
  EXPECT_EQ(text_of([&](auto& out) { print_dump(out, gathered); }),
            R"(---[ Arm stage 2, 3 levels of 4K tables, 39-bit guest addresses, root 0x80000000 ]---
[0x9000000, 0x9001000) -> [0x9000000, 0x9001000)  4K x1  rw- device-nGnRE outer  A-
[0x40000000, 0x40002000) -> [0x100000000, 0x100002000)  4K x2  rwx write-back inner  A-
[0x40002000, 0x40003000) -> [0x100002000, 0x100003000)  4K x1  r-x write-back inner  A- software 57
[0x40003000, 0x40004000) -> nothing  4K x1  not valid, first 0x0000000000dead00
[0x40010000, 0x40020000) -> [0x100010000, 0x100020000)  4K x16  rwx write-back inner  A- contiguous
[0x40200000, 0x40600000) -> [0x100200000, 0x100600000)  2M x2  rwx write-back inner  A-
)");
}

TEST(DumpTest, NptRunsSayAllThatALeafHas) {
  NptGuest guest;
  auto memory = guest.image.memory();
  auto const gathered = gather(memory, guest.scheme);
  EXPECT_EQ(text_of([&](auto& out) { print_dump(out, gathered); }),
            R"(---[ AMD NPT, 4 levels of 4K tables, 48-bit guest addresses, root 0x80000000 ]---
[0x5000, 0x6000) -> [0x5005000, 0x5006000)  4K x1  r-x write-back  A-
[0x200000, 0x400000) -> [0x1200000, 0x1400000)  2M x1  rwx write-back  AD
[0xc0000000, 0x100000000) -> [0xc0000000, 0x100000000)  1G x1  rw- uncacheable  --
)");
}

TEST(DumpTest, EptRunsSayAllThatALeafHas) {
  Image image{8};
  for (std::size_t i = 0; i != 3; ++i) image.at(i, 0) = Image::page(i + 1) | 7;
  image.at(3, 0) = 0x4000'0000 | 0x37;                 // rwx, write-back
  image.at(3, 1) = 0x4000'1000 | 0x73 | 1ull << 52;    // rw-, write-back whatever the guest says
  image.at(3, 2) = 0x4000'2000 | 0x04 | 0x300 | 0x30;  // --x, accessed and dirty
  image.at(2, 1) = 0x8020'0000 | 0x8f;                 // 2 MiB, write-combining
  auto memory = image.memory();
  auto const gathered = gather(memory, ept_scheme(Image::page(0) | 0x5e, {.pa_bits = 46}));
  EXPECT_EQ(text_of([&](auto& out) { print_dump(out, gathered); }),
            R"(---[ Intel EPT, 4 levels of 4K tables, 48-bit guest addresses, root 0x80000000 ]---
[0x0, 0x1000) -> [0x40000000, 0x40001000)  4K x1  rwx write-back  --
[0x1000, 0x2000) -> [0x40001000, 0x40002000)  4K x1  rw- write-back+ignore-pat  -- software 52
[0x2000, 0x3000) -> [0x40002000, 0x40003000)  4K x1  --x write-back  AD
[0x200000, 0x400000) -> [0x80200000, 0x80400000)  2M x1  rwx write-combining  --
)");
}

std::string explained(const Scheme& scheme, const Image& image, std::uint64_t address) {
  auto memory = image.memory();
  return text_of([&](auto& out) { print_explanation(out, scheme, explain(memory, scheme, GuestPhys{address})); });
}

TEST(ExplainTest, EachEntryOnTheWayIsTakenApart) {
  ArmGuest const guest;
  EXPECT_EQ(explained(guest.scheme, guest.image, 0x4000'2abc),
            R"(Arm stage 2, 3 levels of 4K tables, 39-bit guest addresses, root 0x80000000
guest address 0x40002abc
level 1: entry 1 of 512 in the table at 0x80000000, at 0x80000008: 0x0000000080002003
      0  valid       valid
      1  type        table
  47:12  address     0x80002000
level 2: entry 0 of 512 in the table at 0x80002000, at 0x80002000: 0x0000000080004003
      0  valid       valid
      1  type        table
  47:12  address     0x80004000
level 3: entry 2 of 512 in the table at 0x80004000, at 0x80004010: 0x020000010000277f
      0  valid       valid
      1  type        page
    5:2  MemAttr     write-back
      6  S2AP[0]     readable
      7  S2AP[1]     not writable
    9:8  SH          inner shareable
     10  AF          accessed
  47:12  address     0x100002000
     51  DBM         no
     52  Contiguous  alone
  54:53  XN          executable: x
  58:55  software    left to software
host address 0x100002abc
a read is allowed
a write faults: Permission fault, level 3: S2AP[1] (bit 7) is 0 in the entry at 0x80004010; [arm/a-profile] D8, "Stage 2 data accesses permissions"
a fetch at user level is allowed
a fetch at supervisor level is allowed
slat's own walker agrees: level 3, [0x40002000, 0x40003000) -> 0x100002000, r-x normal
)");
}

TEST(ExplainTest, EveryBitThatIsSetIsInAField) {
  for (auto const& scheme :
       {arm_scheme(HostPhys{0}, 0x8002'3559, 0, {}), arm_scheme(HostPhys{0}, vtcr_for(65536, 40, {}) | 3 << 21, 0, {}),
        ept_scheme(0x1e, {}), ept_scheme(0xde, {.pa_bits = {}, .mbec = true}), npt_scheme(0, 4, {})}) {
    for (Level level = 0; level <= scheme.shape().root; ++level) {
      for (Entry const kind : {0x3u, 0x81u, 0x7u, 0x87u}) {
        for (unsigned n = 0; n != 64; ++n) {
          auto const entry = kind | Entry{1} << n;
          auto const decoded = std::visit([&](auto& reader) { return reader.decode(level, entry); }, scheme.reader);
          if (!decoded.valid()) continue;
          Entry seen = 0;
          for (auto const& field : fields_of(scheme, level, entry, decoded)) seen |= field.value << field.low;
          ASSERT_EQ(seen, entry) << scheme.name() << ' ' << level << ' ' << std::hex << entry;
        }
      }
    }
  }
}

TEST(DumpTest, BitsThatHardwareIgnoresAreSoftwares) {
  auto const bits = [](const Scheme& scheme, Entry entry) { return software_text(scheme, entry); };
  // KVM keeps "writable" in 57 and 58 of its EPT entries.
  EXPECT_EQ(bits(ept_scheme(0x5e, {}), 0x8600'0002'5e00'0bf7), "11,57,58,63");
  EXPECT_EQ(bits(ept_scheme(0xde, {.pa_bits = {}, .mbec = true}), ~0ull), "11,52,53,54,55,56,57,58,59,61,62,63");
  EXPECT_EQ(bits(ept_scheme(0x1e, {}), 0x700), "8,9,10");
  EXPECT_EQ(bits(npt_scheme(0, 4, {}), 0x7ff0'0000'0000'0f00), "8,9,10,11,52,53,54,55,56,57,58,59,60,61,62");
  EXPECT_EQ(bits(arm_scheme(HostPhys{0}, 0x8002'3559, 0, {}), ~0ull), "51,55,56,57,58,59,60,61,62,63");
  EXPECT_EQ(bits(arm_scheme(HostPhys{0}, 0x8062'3559, 0, {}), ~0ull), "55,56,57,58,59,60,61,62,63");
}

/// The lines after the last entry, without slat's own.
std::string end_of(const std::string& text) {
  auto const last = text.rfind("any access");
  return last == std::string::npos ? text : text.substr(last, text.rfind("slat's own") - last);
}

TEST(ExplainTest, AFaultIsNamedWithItsReasonAndSection) {
  ArmGuest guest;
  auto const arm = [&](std::uint64_t at) { return end_of(explained(guest.scheme, guest.image, at)); };
  EXPECT_EQ(arm(0x4000'3000),
            "any access faults: Translation fault, level 3: the entry at 0x80004018 is not valid; [arm/a-profile] D8, "
            "\"Translation fault\"\n");
  EXPECT_EQ(arm(0x8000'0000),
            "any access faults: Translation fault, level 1: the entry at 0x80000010 is 0; [arm/a-profile] D8, "
            "\"Translation fault\"\n");
  EXPECT_EQ(
      arm(1ull << 39),
      "any access faults: Translation fault, level 0: the address is not below 0x8000000000, which is all that the "
      "tables translate; [arm/a-profile] D8, \"Translation fault\"\n");
  guest.image.at(4, 0) &= ~0x400ull;
  EXPECT_EQ(arm(0x4000'0000),
            "any access faults: Access flag fault, level 3: AF (bit 10) is 0 in the entry at 0x80004000; "
            "[arm/a-profile] D8, \"Access flag fault\"\n");
  guest.image.at(2, 0) = Image::page(8) | 3;
  EXPECT_EQ(arm(0x4000'0000), "any access: unknown: the source has no memory at 0x80008000, where the walk goes on\n");
  auto memory = guest.image.memory();
  auto const explanation = explain(memory, guest.scheme, GuestPhys{0x4000'0000});
  auto const json = json_of([&](auto& out) { write_explanation(out, guest.scheme, explanation); });
  EXPECT_TRUE(json["accesses"][0]["allowed"].is_null());

  NptGuest npt;
  auto const text = explained(npt.scheme, npt.image, 0x5000);
  EXPECT_NE(text.find("a write faults: #NPF, P set, PD: R/W (bit 1) is 0 in the entry at 0x80002000; [amd/vol2] "
                      "\"Nested paging\"\n"),
            std::string::npos)
      << text;
  npt.image.at(0, 0) |= 1 << 8;
  EXPECT_EQ(end_of(explained(npt.scheme, npt.image, 0x5000)),
            "any access faults: #NPF, RSV set, PML4: C1: bits 8:7 of this level are reserved, in the entry at "
            "0x80000000; [amd/vol2] \"Long-mode page translation\"; \"Nested paging\"\n");
}

TEST(ExplainTest, ARootThatHardwareRefusesIsNoFaultOfAnEntry) {
  Image const image{1};
  constexpr std::uint64_t high = 1ull << 47;
  auto const said = [&](const Scheme& scheme) { return end_of(explained(scheme, image, 0x1000)); };
  EXPECT_EQ(said(arm_scheme(HostPhys{high}, 0x8002'3559, 0, {})),
            "any access faults: Address size fault, level 0: A4.10: the root is out of range; [arm/a-profile] D8, "
            "\"Output address size\"\n");
  EXPECT_EQ(said(ept_scheme(high | 0x5e, {.pa_bits = 46})),
            "any access faults: VM entry fails: B1.4: the root is above MAXPHYADDR; [intel/vol3] \"Extended-page-table "
            "pointer (EPTP)\"\n");
  EXPECT_EQ(said(npt_scheme(high, 4, {.pa_bits = 46})),
            "any access faults: VMRUN fails (VMEXIT_INVALID): C3: the root is above the physical addresses; [amd/vol2] "
            "\"Enabling nested paging\"\n");
  // A root that is merely out of place is not why an address beyond the tables faults.
  auto const text = end_of(explained(arm_scheme(HostPhys{Image::page(0) + 8}, 0x8002'3559, 0, {}), image, 1ull << 39));
  EXPECT_NE(text.find("level 0: the address is not below 0x8000000000"), text.npos) << text;
}

TEST(TreeTest, TablesStandUnderTheTablesThatLeadToThem) {
  auto guest = ArmGuest{};
  guest.image.at(0, 2) = Image::page(9) | 3;
  auto const gathered = guest.gathered();
  EXPECT_EQ(text_of([&](auto& out) { print_tree(out, gathered, 1); }),
            R"(Arm stage 2, 3 levels of 4K tables, 39-bit guest addresses, root 0x80000000
level 1 table 0x80000000  [0x0, 0x8000000000)  3 tables, 0 leaves of 1G, 0 invalid, 509 empty
  level 2 table 0x80001000  [0x0, 0x40000000)  1 tables, 0 leaves of 2M, 0 invalid, 511 empty
  level 2 table 0x80002000  [0x40000000, 0x80000000)  1 tables, 2 leaves of 2M, 0 invalid, 509 empty
  level 2 table 0x80009000  [0x80000000, 0xc0000000)  not in the source
)");
}

TEST(StatsTest, EveryNumberIsCounted) {
  NptGuest guest;
  auto memory = guest.image.memory();
  auto const stats = stats_of(gather(memory, guest.scheme));
  EXPECT_EQ(stats.leaves, (std::array<std::uint64_t, 5>{1, 1, 1, 0, 0}));
  EXPECT_EQ(stats.tables, (std::array<std::uint64_t, 5>{1, 1, 1, 1, 0}));
  EXPECT_EQ(stats.mapped, 0x4020'1000u);
  EXPECT_EQ(stats.writable, 0x4020'0000u);
  EXPECT_EQ(stats.executable, 0x20'1000u);
  EXPECT_EQ(stats.both, 0x20'0000u);
  EXPECT_EQ(stats.device, 0x4000'0000u);
  EXPECT_EQ(stats.accessed, 0x20'1000u);
  EXPECT_EQ(stats.dirty, 0x20'0000u);
  EXPECT_EQ(stats.holes, 2u);
  EXPECT_EQ(stats.hole_bytes, 0x20'0000u - 0x6000 + 0xc000'0000 - 0x40'0000);
}

TEST(JsonTest, EveryVerbIsParsedAgain) {
  ArmGuest guest;
  guest.image.at(4, 5) = 0x1'0000'5000 | arm_page | 1ull << 50;
  auto gathered = guest.gathered();
  judge(gathered);
  auto const dump = json_of([&](auto& out) { write_dump(out, gathered); });
  EXPECT_EQ(dump["table"]["root"], "0x80000000");
  EXPECT_EQ(dump["runs"].size(), 7u);
  EXPECT_EQ(dump["runs"][2]["guest"], "0x40002000");
  EXPECT_EQ(dump["runs"][2]["host"], "0x100002000");
  EXPECT_EQ(dump["runs"][2]["rights"], "r-x");
  EXPECT_EQ(dump["runs"][2]["software"], "0x200000000000000");
  EXPECT_EQ(dump["runs"][3]["valid"], false);
  EXPECT_EQ(dump["runs"][4]["wrong"], "A4.1: bits 50:48 are reserved");
  auto const check = json_of([&](auto& out) { write_check(out, gathered); });
  EXPECT_EQ(check["wrong"], 1);
  EXPECT_EQ(check["counts"]["A4.1"], 1);
  EXPECT_EQ(check["findings"][0]["entry"], "0x00040001000057ff");
  EXPECT_EQ(check["second_opinion"]["agrees"], true);
  EXPECT_EQ(check["second_opinion"]["leaves"], gathered.second->leaves);
  EXPECT_EQ(check["second_opinion"]["not_of_slat"], gathered.second->foreign);
  auto const tree = json_of([&](auto& out) { write_tree(out, gathered, 4); });
  EXPECT_EQ(tree["tables"].size(), 5u);
  EXPECT_TRUE(tree["tables"][0]["parent"].is_null());
  auto const stats = json_of([&](auto& out) { write_stats(out, gathered); });
  EXPECT_EQ(stats["levels"][2]["leaves"], 21);
  EXPECT_TRUE(stats["dirty"].is_null());
  auto memory = guest.image.memory();
  auto const explanation = explain(memory, guest.scheme, GuestPhys{0x0900'0004});
  auto const explained = json_of([&](auto& out) { write_explanation(out, guest.scheme, explanation); });
  EXPECT_EQ(explained["host"], "0x9000004");
  EXPECT_EQ(explained["steps"].size(), 3u);
  EXPECT_EQ(explained["accesses"][2]["allowed"], false);
  EXPECT_EQ(explained["second_opinion"]["agrees"], true);
}

std::string difference(const Image& a, const Image& b, const Scheme& scheme, bool marks = false) {
  auto before = a.memory(), after = b.memory();
  auto const changes = diff(mappings_of(gather(before, scheme)), mappings_of(gather(after, scheme)), marks);
  return text_of([&](auto& out) { print_diff(out, changes); });
}

TEST(DiffTest, WhatChangedIsSaidAndNothingElse) {
  NptGuest const before;
  EXPECT_EQ(difference(before.image, before.image, before.scheme), "");
  auto after = NptGuest{};
  after.image.at(2, 1) &= ~0x60ull;  // marks
  EXPECT_EQ(difference(before.image, after.image, before.scheme), "");
  EXPECT_EQ(difference(before.image, after.image, before.scheme, true),
            "- [0x200000, 0x400000) -> [0x1200000, 0x1400000)  2M  rwx write-back  AD\n"
            "+ [0x200000, 0x400000) -> [0x1200000, 0x1400000)  2M  rwx write-back  --\n");
  after.image.at(3, 5) = 0;
  after.image.at(3, 7) = 0x0500'7000 | npt_rwx;
  EXPECT_EQ(difference(before.image, after.image, before.scheme),
            "- [0x5000, 0x6000) -> [0x5005000, 0x5006000)  4K  r-x write-back  A-\n"
            "+ [0x7000, 0x8000) -> [0x5007000, 0x5008000)  4K  r-x write-back  --\n");
}

/// A block of 2 MiB as 512 pages.
NptGuest split() {
  NptGuest guest;
  guest.image.at(2, 1) = Image::page(4) | npt_rwx;
  for (std::size_t i = 0; i != 512; ++i) guest.image.at(4, i) = (0x0120'0000 + (i << 12)) | npt_rwx | 0x60;
  return guest;
}

TEST(DiffTest, ABlockAndItsPagesTranslateAlike) {
  NptGuest const before;
  auto after = split();
  EXPECT_EQ(difference(before.image, after.image, before.scheme, true), "");
  EXPECT_EQ(difference(after.image, before.image, before.scheme, true), "");
  after.image.at(4, 9) = 0x0900'0000 | npt_rwx | 0x60;
  EXPECT_EQ(difference(before.image, after.image, before.scheme),
            "- [0x209000, 0x20a000) -> [0x1209000, 0x120a000)  2M  rwx write-back  AD\n"
            "+ [0x209000, 0x20a000) -> [0x9000000, 0x9001000)  4K  rwx write-back  AD\n");
  ArmGuest const set;
  ArmGuest alone;
  for (std::size_t i = 16; i != 32; ++i) alone.image.at(4, i) &= ~(1ull << 52);
  EXPECT_EQ(difference(set.image, alone.image, set.scheme), "");
  // Unless that is asked for.
  auto one = before.image.memory(), two = split().image.memory();
  auto const changes =
      diff(mappings_of(gather(one, before.scheme)), mappings_of(gather(two, before.scheme)), false, true);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].bytes, 0x20'0000u);
  EXPECT_EQ(diff(mappings_of(set.gathered()), mappings_of(alone.gathered()), false, true).size(), 1u);
}

TEST(DiffTest, LeavesOfTwoSizesThatWentAreTwoChanges) {
  auto before = NptGuest{};
  before.image.at(2, 2) = Image::page(4) | npt_rwx;
  before.image.at(4, 0) = 0x0140'0000 | npt_rwx | 0x60;
  auto after = before;
  after.image.at(2, 1) = after.image.at(2, 2) = 0;
  EXPECT_EQ(difference(before.image, after.image, before.scheme),
            "- [0x200000, 0x400000) -> [0x1200000, 0x1400000)  2M  rwx write-back  AD\n"
            "- [0x400000, 0x401000) -> [0x1400000, 0x1401000)  4K  rwx write-back  AD\n");
}

TEST(DiffTest, AKeptDumpIsASide) {
  auto const gathered = ArmGuest{}.gathered();
  auto const text = text_of([&](auto& out) { write_dump(out, gathered); });
  File const kept{std::as_bytes(std::span{text})};
  EXPECT_TRUE(diff(mappings_of(gathered), read_dump(kept.path()), true).empty());
  EXPECT_EQ(read_dump(kept.path()).size(), 5u);
}

TEST(DiffTest, WhatIsNoDumpIsRefused) {
  auto const complaint = [](const std::string& text) {
    File const file{std::as_bytes(std::span{text})};
    return complaint_of([&] { read_dump(file.path()); });
  };
  std::string const head = R"({"slat": "dump", "version": 1, "mappings": [)";
  std::string const row =
      R"({"guest": "0x1000", "bytes": "0x1000", "host": "0x0", "leaf": "0x1000", "attributes": "", "marks": ""})";
  EXPECT_EQ(complaint(head + row + "]}"), "");
  for (auto const* const bad : {"", "[]", "{", R"({"slat": "tree", "version": 1, "mappings": []})"})
    EXPECT_NE(complaint(bad), "") << bad;
  std::string twice = row;
  twice.append(",").append(row);
  for (auto const& rows :
       {std::string{"{}"}, twice, std::string{R"({"guest": 4096})"},
        std::string{R"({"guest": "0x1", "bytes": "0x0", "host": "0x0", "leaf": "0x1", "attributes": "", "marks": ""})"},
        std::string{
            R"({"guest": "x", "bytes": "0x1", "host": "0x0", "leaf": "0x1", "attributes": "", "marks": ""})"}}) {
    auto text = head;
    text.append(rows).append("]}");
    EXPECT_NE(complaint(text), "") << text;
  }
}

TEST(CheckTextTest, AFindingSaysRuleRangeEntryAndSection) {
  ArmGuest guest;
  guest.image.at(4, 5) = 0x1'0000'5000 | (arm_page & ~0x80ull) | 1ull << 50;
  guest.image.at(4, 0) = guest.image.at(4, 1) = guest.image.at(2, 1) = guest.image.at(2, 2) = 0;
  for (std::size_t i = 16; i != 32; ++i) guest.image.at(4, i) = 0;
  auto gathered = guest.gathered();
  judge(gathered);
  EXPECT_EQ(
      text_of([&](auto& out) { print_check(out, gathered); }),
      "wrong: A4.1: bits 50:48 are reserved: [0x40005000, 0x40006000), level 3, 0x000400010000577f at 0x80004028; "
      "[arm/a-profile] D8, \"VMSAv8-64 translation table format descriptors\"\n"
      "5 tables, 4 leaves: 1 wrong, 0 noted\n"
      "slat's own walker agrees on 3 of 3 leaves; 2 leaves are not of slat's encoding\n");
}

}  // namespace
}  // namespace slat::test
