// What slat's own walker makes of tables, beside the readers.

#include <gtest/gtest.h>

#include <sstream>

#include <slat/arch/aarch64/registers.hpp>
#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/vmcb.hpp>

#include "tests/tool/images.hpp"
#include "tests/unit/formats.hpp"
#include "tools/explain.hpp"
#include "tools/gather.hpp"
#include "tools/json.hpp"
#include "tools/own_walk.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;

constexpr HostPhys root{Image::base};

template <aarch64::Granule G>
Scheme scheme_of(const aarch64::Stage2<G>& format) {
  return arm_scheme(root, aarch64::vtcr_el2(format), aarch64::hcr_el2(format),
                    {.pa_bits = {}, .xnx = format.supports({Prot::r | Prot::x_user})});
}
Scheme scheme_of(const x86_64::Ept& format) {
  return ept_scheme(x86_64::eptp(format, root), {.pa_bits = format.output_bits(), .mbec = format.mode_based_execute()});
}
Scheme scheme_of(const x86_64::Npt& format) {
  return npt_scheme(root.raw(), format.geometry().root + 1, {.pa_bits = format.output_bits(), .pat = format.pat()});
}

/// Tables down to the pages behind the root's first entry, in memory one after the other.
struct Tree {
  Scheme scheme;
  Image image{1024};  // 4 MiB
  Level top = scheme.shape().root;

  /// The table of that level: the root is first, and may be sixteen.
  HostPhys table(Level level) const {
    return root + (level == top ? 0 : 16 + (top - level)) * scheme.shape().granule();
  }
  Entry& at(Level level, std::size_t index) {
    return image.words()[(table(level).raw() - Image::base) / sizeof(Entry) + index];
  }
  Gathered gathered() const {
    auto memory = image.memory();
    return gather(memory, scheme);
  }
  Explanation explained(std::uint64_t address) const {
    auto memory = image.memory();
    return explain(memory, scheme, GuestPhys{address});
  }
};

/// Each kind of leaf that the format has: pages, clean, dirty and cleaned again; and a block.
template <class Format>
void expect_agreement(const Format& format) {
  Tree tree{scheme_of(format)};
  for (auto level = tree.top; level != 0; --level) tree.at(level, 0) = format.table(level, tree.table(level - 1));
  std::size_t leaves = 0;
  HostPhys const host{0x1'0000'0000};
  for (unsigned prot = 0; prot != 16; ++prot)
    for (unsigned memory = 0; memory != 5; ++memory) {
      Attr const attr{Prot(prot), slat::Memory(memory), static_cast<std::uint16_t>(prot % 4)};
      if (!format.supports(attr)) continue;
      auto const clean = format.leaf(0, host + leaves * tree.scheme.shape().granule(), attr);
      auto const dirty = format.aged(0, clean, {.accessed = true, .dirty = true});
      for (auto const entry : {clean, dirty, format.cleared(0, dirty, {.accessed = false, .dirty = true})})
        tree.at(0, leaves++) = entry;
      if (tree.top > 1) tree.at(1, leaves++) = format.leaf(1, host, attr);
    }
  // Without any right a leaf of EPT is none.
  ASSERT_GT(leaves, 20u);
  auto const gathered = [&] {
    auto out = tree.gathered();
    out.second = second_opinion(out, tree.scheme);
    return out;
  }();
  ASSERT_EQ(gathered.second->not_asked, "");
  EXPECT_EQ(gathered.leaves.size(), leaves);
  EXPECT_EQ(gathered.second->leaves, leaves);
  EXPECT_EQ(gathered.second->foreign, 0u);
  EXPECT_EQ(gathered.second->differ, 0u) << gathered.findings.list().front().text;
  EXPECT_EQ(gathered.findings.counts().count("second-opinion"), 0u);
}

TEST(OwnWalkTest, AgreesOnAllThatSlatWrites) {
  using Arm16 = aarch64::Stage2<aarch64::Granule::k16>;
  using Arm64 = aarch64::Stage2<aarch64::Granule::k64>;
  for (auto const& cpu : {detail::old_arm, detail::new_arm})
    for (auto const ipa_bits : {32u, 39u, 40u, 43u, 48u})  // 40 and 43 bits: 2 and 16 root tables
      for (auto const concatenate : {false, true})
        expect_agreement(*aarch64::Stage2<>::create(cpu, {.ipa_bits = ipa_bits, .concatenate = concatenate}));
  expect_agreement(*Arm16::create(detail::new_arm, {}));
  expect_agreement(*Arm64::create(detail::old_arm, {.ipa_bits = 48}));
  for (auto const levels : {4u, 5u})
    for (auto const marks : {false, true})
      expect_agreement(
          *x86_64::Ept::create(detail::new_intel, {.levels = levels, .suppress_ve = marks, .accessed_dirty = marks}));
  expect_agreement(Ept4NoAge::make());
  expect_agreement(*x86_64::Npt::create(detail::new_amd, {}));
  expect_agreement(Npt4::make());
  expect_agreement(Npt5::make());
}

// ---- tables by hand -------------------------------------------------------------------------------------------------

/// With one leaf, of the page at 1000h.
Tree tree_of(const Scheme& scheme, Entry table, Entry leaf) {
  Tree tree{scheme};
  for (auto level = tree.top; level != 0; --level) tree.at(level, 0) = tree.table(level - 1).raw() | table;
  tree.at(0, 1) = leaf;
  return tree;
}
Scheme arm(bool xnx = false) { return arm_scheme(root, 0x8002'3559, 0, {.pa_bits = {}, .xnx = xnx}); }
Scheme ept(bool mbec = false) { return ept_scheme(root.raw() | 0x5e, {.pa_bits = 46, .mbec = mbec}); }
Scheme npt(std::uint64_t pat) { return npt_scheme(root.raw(), 4, {.pa_bits = 46, .pat = pat}); }

SecondOpinion asked(const Tree& tree, const Scheme& scheme, Gathered* out = nullptr) {
  auto gathered = tree.gathered();
  auto opinion = second_opinion(gathered, scheme);
  EXPECT_EQ(gathered.findings.counts().contains("second-opinion"), opinion.differ != 0);
  if (out != nullptr) *out = gathered;
  return opinion;
}

TEST(OwnWalkTest, WhatOthersWriteIsCounted) {
  // Writable without the bit by which slat knows; write-back that the guest's PAT cannot change; a bit that nobody
  // uses; read-only by a table.
  for (auto const& tree : {tree_of(arm(), 3, 0x4000'07ff), tree_of(ept(), 7, 0x0600'0000'4000'0b77),
                           tree_of(npt(x86_64::pat_at_reset), 7, 0x4000'0e07), tree_of(ept(), 5, 0x4000'0037)}) {
    auto const opinion = asked(tree, tree.scheme);
    EXPECT_EQ(opinion.leaves, 1u);
    EXPECT_EQ(opinion.foreign, 1u);
    EXPECT_EQ(opinion.differ, 0u);
    EXPECT_EQ(text_of(opinion), "slat's own walker agrees on 1 of 1 leaves; 1 leaves are not of slat's encoding");
    auto const second = tree.explained(0x1abc).second;
    EXPECT_EQ(second.agrees, true);
    EXPECT_NE(second.text.find("[0x1000, 0x2000) -> 0x40000000"), std::string::npos) << second.text;
  }
}

TEST(OwnWalkTest, WhatDiffersIsAFindingThatNamesBoth) {
  struct Case {
    Tree tree;
    Scheme other;
    const char* own;
    const char* read;
  };
  auto elsewhere = ept();
  elsewhere.root = root + 0x1000;
  auto const leaf_at = [](Entry leaf) { return 0x4000'0000 | leaf; };
  for (auto const& [tree, other, own, read] : {
           // XN 0b01 is for FEAT_XNX to tell from 0b00.
           Case{tree_of(arm(), 3, leaf_at(0x0020'0000'0000'077f)), arm(true), "r-U normal", "r-x write-back"},
           // Without mode-based execution X is for both.
           Case{tree_of(ept(), 0x407, leaf_at(0x37)), ept(true), "rwS normal", "rwx write-back"},
           // The second type of the PAT: write-through after a reset, write-combining with Linux.
           Case{tree_of(npt(x86_64::pat_at_reset), 7, leaf_at(0x0f)), npt(0x0407'0506'0007'0106), "rwx uncached",
                "rwx write-through"},
           // The root is not where the walker begins.
           Case{tree_of(ept(), 7, leaf_at(0x37)), elsewhere, "PML4, [0x0, 0x8000000000) -> nothing", "rwx write-back"},
       }) {
    EXPECT_EQ(asked(tree, tree.scheme).differ, 0u) << own;
    auto gathered = tree.gathered();
    auto const opinion = asked(tree, other, &gathered);
    EXPECT_EQ(opinion.leaves, 1u) << own;
    EXPECT_EQ(opinion.differ, 1u) << own;
    EXPECT_EQ(text_of(opinion), "slat's own walker agrees on 0 of 1 leaves");
    ASSERT_FALSE(gathered.findings.list().empty()) << own;
    gathered.second = opinion;
    std::ostringstream json;
    write_check(json, gathered);
    EXPECT_NE(json.str().find("\"agrees\": false"), std::string::npos);
    auto const walk = second_walk(tree.explained(0x1abc), other);
    EXPECT_EQ(walk.agrees, false) << walk.text;
    for (auto const& text : {gathered.findings.list().back().text, walk.text}) {
      EXPECT_NE(text.find(own), std::string::npos) << text;
      EXPECT_NE(text.find("; the reader finds "), std::string::npos) << text;
      EXPECT_NE(text.find(read), std::string::npos) << text;
    }
  }
}

TEST(OwnWalkTest, AReaderThatErrsIsContradicted) {
  auto const tree = tree_of(ept(), 7, 0x4000'0037);
  constexpr void (*errors[])(tool::Leaf&) = {
      [](tool::Leaf& leaf) { leaf.level = 1; },
      [](tool::Leaf& leaf) { leaf.entry |= 0x100; },
      [](tool::Leaf& leaf) { leaf.decoded.address = leaf.decoded.address + 0x1000; },
      [](tool::Leaf& leaf) { leaf.rights = leaf.decoded.rights = Prot::rw; },
      [](tool::Leaf& leaf) { leaf.decoded.type = 0; },
  };
  for (auto const& err : errors) {
    auto gathered = tree.gathered();
    ASSERT_EQ(gathered.leaves.size(), 1u);
    err(gathered.leaves[0]);
    EXPECT_EQ(second_opinion(gathered, tree.scheme).differ, 1u) << &err - &errors[0];
    ASSERT_EQ(gathered.findings.list().size(), 1u);
    EXPECT_EQ(gathered.findings.list()[0].rule, "second-opinion");
    EXPECT_EQ(gathered.findings.list()[0].weight, Weight::wrong);
    EXPECT_EQ(gathered.findings.list()[0].where, tree.table(0) + 8);
  }
}

TEST(OwnWalkTest, AWalkThatGoesAstrayStaysInTheCopies) {
  // Four entries are all of this root. A page that leads to it is a table for who begins at another one.
  Tree tree{arm_scheme(root, vtcr_for(4096, 32, 1), 0, {})};
  ASSERT_EQ(tree.scheme.shape().root_entries(), 4u);
  tree.at(2, 0) = tree.table(1).raw() | 3;
  tree.at(1, 0) = tree.table(0).raw() | 3;
  tree.at(0, 0) = root.raw() | 0x077f;
  tree.at(1, 511) = 0x4000'077d;
  auto other = tree.scheme;
  other.root = tree.table(0);
  auto const opinion = asked(tree, other);
  EXPECT_EQ(opinion.leaves, 2u);
  EXPECT_EQ(opinion.differ, 2u);
}

TEST(OwnWalkTest, WhatSlatWouldNotMakeIsNotAsked) {
  auto const expect_not_asked = [](const Scheme& scheme, Entry table, const char* why) {
    auto const tree = tree_of(scheme, table, 0);
    EXPECT_EQ(asked(tree, scheme).not_asked, why);
    auto const second = tree.explained(0x1000).second;
    EXPECT_EQ(second.agrees, std::nullopt);
    EXPECT_EQ(second.text, std::string{"slat's own walker was not asked: "} + why);
  };
  // Longer guest addresses than host addresses.
  expect_not_asked(arm_scheme(root, vtcr_for(4096, 44, {}), 0, {.pa_bits = 40}), 3,
                   "slat makes no such tables: Arm stage 2, 44-bit guest addresses, 40-bit host addresses, walks from "
                   "level 0");
  // A level that such a processor does not start at.
  expect_not_asked(arm_scheme(root, vtcr_for(4096, 40, 0), 0, {.pa_bits = 40}), 3,
                   "slat makes no such tables: Arm stage 2, 40-bit guest addresses, 40-bit host addresses, walks from "
                   "level 0");
  // No write-back for tables.
  expect_not_asked(npt(0x0600'0000'0000'0000), 7,
                   "slat makes no such tables: AMD NPT, 48-bit guest addresses, 46-bit host addresses, walks from "
                   "PML4, PAT 0x0600000000000000");
}

TEST(OwnWalkTest, TablesThatWereNotReadAreNoGround) {
  auto const sound = tree_of(ept(), 7, 0x4000'0037);
  for (Entry const entry : {Entry{0x1'0000'0007}, sound.table(0).raw() | 7, root.raw() | 7, Entry{0x107f}}) {
    auto tree = sound;
    tree.at(1, 1) = entry;  // missing, shared, on the way to itself, refused
    auto const opinion = asked(tree, tree.scheme);
    EXPECT_EQ(opinion.not_asked, "1 tables or more are missing, shared or refused") << std::hex << entry;
    EXPECT_EQ(opinion.leaves, 0u);
    EXPECT_EQ(tree.explained(0x1000).second.agrees, true) << "on another way";
  }
}

TEST(OwnWalkTest, AWalkThatEndsInAFaultIsComparedToo) {
  auto tree = tree_of(ept(), 7, 0x4000'0037);
  auto const second = [&](std::uint64_t address) { return tree.explained(address).second; };
  EXPECT_EQ(second(0x2000).text, "slat's own walker agrees: PT, [0x2000, 0x3000) -> nothing");
  EXPECT_EQ(second(1ull << 48).text, "slat's own walker was not asked: no entry was read");
  tree.at(1, 1) = 0x1'0000'0007;
  EXPECT_EQ(second(0x20'0000).text, "slat's own walker was not asked: the source lacks what the walk reads");
  tree.at(1, 1) = root.raw() | 7;
  EXPECT_EQ(second(0x20'0000).text, "slat's own walker was not asked: a table is on the way to itself");
  tree.at(1, 1) = 0x4020'009f;  // a block of a reserved memory type
  EXPECT_EQ(second(0x20'0000).agrees, std::nullopt);
  EXPECT_NE(second(0x20'0000).text.find("hardware refuses the entry at"), std::string::npos);
  // Hardware does not look at bit 10 there, and slat takes it for a right.
  tree.at(1, 1) = tree.table(0).raw() | 0x400;
  EXPECT_EQ(second(0x20'1000).agrees, std::nullopt) << second(0x20'1000).text;
}

}  // namespace
}  // namespace slat::test
