// What is gathered of tables, and what is said of wrong ones.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <sstream>

#include <slat/arch/aarch64/registers.hpp>
#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

#include "tests/tool/images.hpp"
#include "tests/unit/formats.hpp"
#include "tools/describe.hpp"
#include "tools/explain.hpp"
#include "tools/gather.hpp"
#include "tools/json.hpp"
#include "tools/judge.hpp"
#include "tools/text.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;
using namespace slat::literals;

// ---- tables of slat's own -------------------------------------------------------------------------------------------

template <aarch64::Granule G>
Scheme scheme_of(const aarch64::Stage2<G>& format, HostPhys root) {
  return arm_scheme(root, aarch64::vtcr_el2(format), aarch64::hcr_el2(format),
                    {.pa_bits = {}, .xnx = format.supports({Prot::r | Prot::x_user}), .house_rules = true});
}
Scheme scheme_of(const x86_64::Ept& format, HostPhys root) {
  return ept_scheme(x86_64::eptp(format, root),
                    {.pa_bits = format.output_bits(), .mbec = format.mode_based_execute(), .house_rules = true});
}
Scheme scheme_of(const x86_64::Npt& format, HostPhys root) {
  return npt_scheme(x86_64::nested_cr3(format, root), format.geometry().root + 1,
                    {.pa_bits = format.output_bits(), .pat = format.pat(), .house_rules = true});
}

/// RAM in the largest leaves, a part of it as pages and read-only, a device.
template <class Format>
void fill(Guest<Format>& guest) {
  auto& table = guest.table;
  auto const page = table.geometry().page_size();
  auto const block = table.geometry().span(1);
  ASSERT_TRUE(table.map({0x4000'0000_gpa, 4 * block}, 0x1'0000'0000_hpa, rwx));
  ASSERT_TRUE(table.protect({0x4000'0000_gpa + page, 3 * page}, rx));
  ASSERT_TRUE(table.map({0x0900'0000_gpa, page}, 0x0900'0000_hpa, rw | slat::Memory::device));
}

/// What is gathered is what the table says of itself; nothing is wrong with it; an address is explained as it is
/// queried; slat's own walker agrees.
template <class Format>
void expect_same(const Format& format, std::uint64_t granule = 4096) {
  Guest guest{format, granule};
  fill(guest);
  auto memory = guest.memory();
  auto const scheme = scheme_of(format, guest.table.root());
  ASSERT_EQ(scheme.root, guest.table.root());
  ASSERT_EQ(scheme.shape().input_bits, format.geometry().input_bits());
  ASSERT_EQ(scheme.shape().root, format.geometry().root);
  auto gathered = gather(memory, scheme);
  judge(gathered);
  EXPECT_EQ(gathered.findings.count(Weight::wrong), 0u)
      << gathered.findings.list().front().rule << ": " << gathered.findings.list().front().text;
  EXPECT_EQ(gathered.tables.size(), guest.table.tables());
  std::size_t next = 0;
  guest.table.visit([&](const slat::Leaf& leaf) {
    ASSERT_LT(next, gathered.leaves.size());
    auto const& got = gathered.leaves[next++];
    EXPECT_EQ(got.range, leaf.range);
    EXPECT_EQ(got.decoded.address, leaf.host);
    EXPECT_EQ(got.rights, leaf.attr.prot);
    EXPECT_EQ(got.entry, leaf.entry);
    EXPECT_EQ(is_device(scheme, got.decoded.type), slat::is_device(leaf.attr.memory));
    auto const explanation = explain(memory, scheme, leaf.range.last());
    ASSERT_TRUE(explanation.host);
    EXPECT_EQ(*explanation.host, leaf.host_of(leaf.range.last()));
    EXPECT_EQ(explanation.verdicts.at(1).allowed, leaf.attr.allows(Prot::w));
    EXPECT_EQ(explanation.second.agrees, true) << explanation.second.text;
  });
  ASSERT_TRUE(gathered.second);
  EXPECT_EQ(gathered.second->not_asked, "");
  EXPECT_EQ(gathered.second->leaves, next);
  EXPECT_EQ(gathered.second->foreign, 0u);
  EXPECT_EQ(next, gathered.leaves.size());
}

TEST(GatherTest, ATableOfSlatIsGatheredAsItIs) {
  expect_same(*aarch64::Stage2<>::create(detail::old_arm, {}));
  expect_same(*aarch64::Stage2<>::create(detail::new_arm, {.ipa_bits = 48}));
  expect_same(*aarch64::Stage2<aarch64::Granule::k16>::create(detail::new_arm, {}), 16384);
  expect_same(*aarch64::Stage2<aarch64::Granule::k64>::create(detail::old_arm, {}), 65536);
  expect_same(*x86_64::Ept::create(detail::new_intel, {}));
  expect_same(*x86_64::Ept::create(detail::new_intel, {.levels = 5}));
  expect_same(*x86_64::Npt::create(detail::new_amd, {}));
  expect_same(*x86_64::Npt::create(detail::new_amd, {.levels = 5}));
}

// ---- what is wrong --------------------------------------------------------------------------------------------------

/// A root in page 0, then a table for each level down to the pages in pages 1, 2...; the last has the leaf in entry 1.
struct Chain {
  Scheme scheme;
  Entry table;  // the bits of an entry for a table
  Entry leaf;   // of a page, without its address
  Entry block;  // of a leaf of the level above
  Image image{16};

  unsigned depth() const { return scheme.shape().root; }
  void build() {
    for (unsigned i = 0; i != depth(); ++i) image.at(i, 0) = Image::page(i + 1) | table;
    image.at(depth(), 1) = 0x4000'0000 | leaf;
  }
};

constexpr std::uint64_t vtcr = 0x8002'3559;  // 39 bits from level 1, 4K, 40-bit PS
constexpr std::uint64_t root = Image::page(0);

Chain arm() { return {arm_scheme(HostPhys{root}, vtcr, 0, {}), 0x3, 0x07ff | 1ull << 54, 0x07fd | 1ull << 54}; }
Chain ept() { return {ept_scheme(root | 0x5e, {.pa_bits = 46}), 0x7, 0x33, 0xb3}; }
Chain npt() { return {npt_scheme(root, 4, {.pa_bits = 46}), 0x7, 1ull << 63 | 0x7, 1ull << 63 | 0x87}; }

struct Case {
  const char* rule;
  void (*spoil)(Chain&);
};

/// Each case is found by its name, and without it nothing is.
void expect_found(Chain (*make)(), std::span<const Case> cases) {
  auto const findings = [](Chain& chain) {
    auto memory = chain.image.memory();
    auto gathered = gather(memory, chain.scheme);
    judge(gathered);
    return gathered.findings;
  };
  auto sound = make();
  sound.build();
  EXPECT_TRUE(findings(sound).list().empty()) << findings(sound).list().front().text;
  for (auto const& one : cases) {
    auto chain = make();
    chain.build();
    one.spoil(chain);
    auto const found = findings(chain);
    EXPECT_EQ(found.counts().count(one.rule), 1u) << one.rule;
    for (auto const& finding : found.list())
      if (finding.weight == Weight::wrong && (finding.rule[0] < 'a')) {
        EXPECT_NE(section_of(finding.rule), "") << finding.rule;
      }
  }
}

/// What has no architecture. The entry above the leaf's table is at(depth - 1, 0).
constexpr auto everywhere = std::to_array<Case>({
    {"missing-table", [](Chain& c) { c.image.at(c.depth() - 1, 0) = Image::page(16) | c.table; }},
    {"shared-table", [](Chain& c) { c.image.at(c.depth() - 1, 1) = c.image.at(c.depth() - 1, 0); }},
    {"loop", [](Chain& c) { c.image.at(c.depth() - 1, 1) = Image::page(c.depth() - 1) | c.table; }},
    {"loop", [](Chain& c) { c.image.at(c.depth() - 1, 1) = root | c.table; }},
    {"writable-table", [](Chain& c) { c.image.at(c.depth(), 2) = Image::page(1) | c.leaf; }},
    {"writable-table", [](Chain& c) { c.image.at(c.depth() - 1, 3) = Image::base | c.block; }},
    {"writable-table",
     [](Chain& c) {  // with another between the block and the table
       c.image.at(c.depth() - 1, 3) = Image::base | c.block;
       c.image.at(c.depth(), 2) = Image::page(8) | c.leaf;
     }},
});

Entry& leaf_of(Chain& chain) { return chain.image.at(chain.depth(), 1); }
Entry& block_of(Chain& chain) { return chain.image.at(chain.depth() - 1, 1); }
constexpr std::uint64_t block_at = 0x4020'0000;

TEST(CheckTest, ArmFaultsAreNamed) {
  expect_found(arm, everywhere);
  expect_found(arm, std::to_array<Case>({
                        {"A4.1", [](Chain& c) { leaf_of(c) |= 1ull << 50; }},
                        {"A4.1", [](Chain& c) { leaf_of(c) |= 1ull << 11; }},
                        {"A4.1", [](Chain& c) { leaf_of(c) &= ~(1ull << 9); }},
                        {"A4.1", [](Chain& c) { leaf_of(c) &= ~2ull; }},
                        {"A4.1", [](Chain& c) { c.image.at(0, 0) |= 1ull << 60; }},
                        {"A4.2", [](Chain& c) { leaf_of(c) |= 1ull << 53; }},
                        {"A4.3", [](Chain& c) { leaf_of(c) = (leaf_of(c) & ~0x3cull) | 0x10; }},
                        {"A4.5", [](Chain& c) { leaf_of(c) |= 1ull << 52; }},
                        {"A4.7", [](Chain& c) { block_of(c) = block_at | 1ull << 20 | c.block; }},
                        {"A4.7", [](Chain& c) { block_of(c) = block_at | 1ull << 16 | c.block; }},
                        {"A4.8", [](Chain& c) { leaf_of(c) |= 1ull << 48; }},
                        {"A4.10", [](Chain& c) { leaf_of(c) |= 1ull << 40; }},
                        {"A4.10", [](Chain& c) { c.image.at(0, 0) |= 1ull << 40; }},
                        {"A4.9",
                         [](Chain& c) {
                           c.scheme = arm_scheme(HostPhys{Image::page(1)}, 0x8002'3558, 0, {});  // two root tables
                         }},
                        {"loop",
                         [](Chain& c) {
                           c.scheme = arm_scheme(HostPhys{root}, 0x8002'3558, 0, {});  // the second of two root tables
                           c.image.at(0, 0) = Image::page(1) | c.table;
                         }},
                        {"device-executable", [](Chain& c) { leaf_of(c) &= ~(0x3cull | 1ull << 54); }},
                        {"write-execute", [](Chain& c) { leaf_of(c) &= ~(1ull << 54); }},
                    }));
}

TEST(CheckTest, EptFaultsAreNamed) {
  expect_found(ept, everywhere);
  expect_found(ept, std::to_array<Case>({
                        {"B1.2", [](Chain& c) { leaf_of(c) &= ~1ull; }},
                        {"B1.2", [](Chain& c) { leaf_of(c) = (leaf_of(c) & ~0x38ull) | 0x10; }},
                        {"B1.2", [](Chain& c) { leaf_of(c) |= 1ull << 50; }},
                        {"B1.2", [](Chain& c) { c.image.at(0, 0) |= 1ull << 7; }},
                        {"B1.2", [](Chain& c) { c.image.at(1, 0) |= 1ull << 5; }},
                        {"B1.2", [](Chain& c) { block_of(c) = block_at | 1ull << 13 | c.block; }},
                        {"B1.4", [](Chain& c) { c.scheme = ept_scheme(root | 1ull << 50 | 0x5e, {.pa_bits = 46}); }},
                        {"device-executable", [](Chain& c) { leaf_of(c) = (leaf_of(c) & ~0x3aull) | 4; }},
                        {"write-execute", [](Chain& c) { leaf_of(c) |= 4; }},
                    }));
}

TEST(CheckTest, NptFaultsAreNamed) {
  expect_found(npt, everywhere);
  expect_found(npt,
               std::to_array<Case>({
                   {"C1", [](Chain& c) { leaf_of(c) |= 1ull << 50; }},
                   {"C1", [](Chain& c) { c.image.at(0, 0) |= 1ull << 8; }},
                   {"C1", [](Chain& c) { block_of(c) = block_at | 1ull << 13 | c.block; }},
                   {"C1", [](Chain& c) { c.scheme = npt_scheme(root, 4, {.pa_bits = 46, .no_nx = true}); }},
                   {"C3", [](Chain& c) { c.scheme = npt_scheme(root | 1ull << 50, 4, {.pa_bits = 46}); }},
                   {"device-executable", [](Chain& c) { leaf_of(c) = (leaf_of(c) & 0x7fff'ffff'ffff'ffff) | 0x18; }},
                   {"write-execute", [](Chain& c) { leaf_of(c) &= 0x7fff'ffff'ffff'ffff; }},
               }));
}

/// [intel/vol3] "Code Fetches in Uncacheable Memory": none is speculative. KVM and Xen map devices so.
TEST(CheckTest, ExecutableDevicesAreWrongOnArmAndNotedOnX86) {
  auto const wrong = [](Chain chain, void (*spoil)(Chain&)) {
    chain.build();
    spoil(chain);
    auto memory = chain.image.memory();
    auto gathered = gather(memory, chain.scheme);
    judge(gathered);
    EXPECT_EQ(gathered.findings.counts().count("device-executable"), 1u);
    return gathered.findings.count(Weight::wrong);
  };
  EXPECT_EQ(wrong(arm(), [](Chain& c) { leaf_of(c) &= ~(0x3cull | 1ull << 54); }), 1u);
  EXPECT_EQ(wrong(ept(), [](Chain& c) { leaf_of(c) = (leaf_of(c) & ~0x38ull) | 7; }), 0u);
  EXPECT_EQ(wrong(npt(), [](Chain& c) { leaf_of(c) = (leaf_of(c) & 0x7fff'ffff'ffff'ffff) | 0x18; }), 0u);
}

/// [intel/vol3] "EPT misconfigurations": KVM writes W and X without R where the guest has an emulated device, and a
/// reserved bit on AMD.
TEST(CheckTest, MisconfiguredLeavesAreNotesWhereTheyAreMeant) {
  for (auto chain : {ept(), npt()}) {
    chain.build();
    leaf_of(chain) = chain.scheme.family() == slat::testing::Family::intel ? 6 : 1ull << 51 | 1;
    auto memory = chain.image.memory();
    EXPECT_EQ(gather(memory, chain.scheme).findings.count(Weight::wrong), 1u);
    auto const meant = gather(memory, chain.scheme, {.traps = true}).findings;
    EXPECT_EQ(meant.count(Weight::wrong), 0u);
    EXPECT_EQ(meant.count(Weight::note), 1u);
    // A table is never meant so.
    chain.image.at(0, 0) |= 1ull << 7;
    auto spoilt = chain.image.memory();
    EXPECT_EQ(gather(spoilt, chain.scheme, {.traps = true}).findings.count(Weight::wrong), 1u);
  }
}

TEST(CheckTest, APointerToThePageOfASmallRootIsALoop) {
  Image image{4};
  image.at(0, 8) = Image::page(0) | 3;  // the root is 64 bytes
  auto memory = image.memory();
  auto const scheme = arm_scheme(HostPhys{root + 64}, vtcr_for(4096, 33, 1), 0, {});
  auto const gathered = gather(memory, scheme);
  EXPECT_EQ(gathered.findings.counts().count("loop"), 1u);
  EXPECT_EQ(gathered.tables.size(), 1u);
}

TEST(CheckTest, ManyFindingsOfARuleAreCountedAndNotAllKept) {
  auto chain = arm();
  chain.build();
  for (std::size_t i = 0; i != 512; ++i) chain.image.at(2, i) = 0x4000'0000 | chain.leaf | 1ull << 50;
  auto memory = chain.image.memory();
  auto const gathered = gather(memory, chain.scheme);
  EXPECT_EQ(gathered.findings.counts().at("A4.1"), 512u);
  EXPECT_EQ(gathered.findings.list().size(), Findings::kept_of_a_rule);
  EXPECT_EQ(gathered.findings.count(Weight::wrong), 512u);
}

TEST(CheckTest, NeighboursAreOneNoteWhereverTheyLead) {
  auto chain = npt();
  chain.build();
  for (std::size_t i = 8; i != 16; ++i) chain.image.at(3, i) = (0x4000'0000 + 0x7000 * i) | 0x7;
  auto memory = chain.image.memory();
  auto gathered = gather(memory, chain.scheme);
  judge(gathered);
  ASSERT_EQ(gathered.findings.list().size(), 1u);
  EXPECT_EQ(gathered.findings.list()[0].range, (GuestRange{0x8000_gpa, 0x8000}));
}

TEST(CheckTest, NoMoreTablesAreReadThanAllowed) {
  auto chain = arm();
  chain.build();
  for (std::size_t i = 1; i != 10; ++i) chain.image.at(1, i) = Image::page(2 + i) | chain.table;
  auto memory = chain.image.memory();
  auto const gathered = gather(memory, chain.scheme, {.tables = 5});
  EXPECT_EQ(gathered.tables.size(), 5u);
  EXPECT_EQ(gathered.findings.counts().at("limit"), 1u);
}

// ---- garbage --------------------------------------------------------------------------------------------------------

/// Whatever is in memory, everything ends, and no frame is read twice.
void survive(const Scheme& scheme, unsigned rounds) {
  std::mt19937_64 random{scheme.shape().input_bits};
  constexpr std::size_t pages = 8;
  std::uint64_t tables = 0;
  for (unsigned round = 0; round != rounds; ++round) {
    Image image{pages};
    image.scramble(random);
    auto memory = image.memory();
    auto gathered = gather(memory, scheme, {.tables = 64});
    judge(gathered);
    tables += gathered.tables.size();
    auto present = std::count_if(gathered.tables.begin(), gathered.tables.end(), [](auto& t) { return t.present; });
    ASSERT_LE(present, static_cast<std::ptrdiff_t>(pages));
    std::ostringstream out;
    if (round % 64 == 0) {
      print_dump(out, gathered);
      print_tree(out, gathered, 4);
      print_stats(out, gathered);
      print_check(out, gathered);
      write_dump(out, gathered);
      write_check(out, gathered);
    }
    for (unsigned i = 0; i != 4; ++i) {
      GuestPhys const at{random() & (scheme.shape().input_size() * 2 - 1)};
      auto const explanation = explain(memory, scheme, at);
      ASSERT_LE(explanation.steps.size(), scheme.shape().root + 1);
      print_explanation(out, scheme, explanation);
    }
  }
  EXPECT_GT(tables, rounds);
}

TEST(GarbageTest, ArmTablesAreSurvived) {
  survive(arm_scheme(HostPhys{root}, vtcr, 0, {}), 500);
  survive(arm_scheme(HostPhys{root}, 0x8002'3558 | 3 << 21, 1ull << 46, {.pa_bits = {}, .xnx = true, .bbm = 2}), 300);
  survive(arm_scheme(HostPhys{root}, vtcr_for(16384, 36, {}), 0, {}), 100);
}
TEST(GarbageTest, EptTablesAreSurvived) {
  survive(ept_scheme(root | 0x5e, {}), 500);
  survive(ept_scheme(root | 0x66, {.pa_bits = 40, .mbec = true, .no_exec_only = true, .no_1g = true}), 300);
}
TEST(GarbageTest, NptTablesAreSurvived) {
  survive(npt_scheme(root, 4, {}), 500);
  survive(npt_scheme(root, 5, {.pa_bits = 40, .no_1g = true, .no_nx = true}), 300);
}

}  // namespace
}  // namespace slat::test
