// What every second-stage format owes to the walker, tried on every leaf that it can express.

#include <gtest/gtest.h>

#include <vector>

#include <slat/testing/readers.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

constexpr Age both{true, true}, a_mark{true, false}, d_mark{false, true};
constexpr Age ages[] = {{}, a_mark, d_mark, both};

constexpr Age without(Age a, Age b) { return {a.accessed && !b.accessed, a.dirty && !b.dirty}; }
constexpr bool covers(Age a, Age b) { return without(b, a) == Age{}; }

std::vector<Attr> all_attrs() {
  std::vector<Attr> attrs;
  for (unsigned prot = 0; prot < 16; ++prot)
    for (unsigned memory = 0; memory < 5; ++memory)
      for (unsigned software : {0u, 3u})
        attrs.push_back({static_cast<Prot>(prot), static_cast<Memory>(memory), static_cast<std::uint8_t>(software)});
  return attrs;
}

struct Leaf {
  Level level;
  Entry entry;
  HostPhys at;
  Attr attr;
};

template <class Format>
class FormatLaws : public FormatTest<Format> {
 protected:
  std::vector<Attr> attrs() const {
    std::vector<Attr> some;
    for (auto const& a : all_attrs())
      if (format.supports(a)) some.push_back(a);
    return some;
  }
  HostPhys highest(Level l) const {
    return HostPhys{(std::uint64_t{1} << format.output_bits()) - 1}.down_to(format.geometry().span(l));
  }
  std::vector<Leaf> born() const {
    std::vector<Leaf> leaves;
    for (auto const& a : attrs())
      for (Level l = 0; l <= format.top_leaf(a); ++l)
        for (auto at : {HostPhys{0}, HostPhys{5 * format.geometry().span(l)}, highest(l)})
          leaves.push_back({l, format.leaf(l, at, a), at, a});
    return leaves;
  }
  // And what becomes of them: marked, cleaned, and deprived of the write right while dirty.
  std::vector<Leaf> grown() const {
    std::vector<Leaf> leaves;
    for (auto const& [l, e, at, a] : born()) {
      for (auto age : ages) {
        leaves.push_back({l, format.aged(l, e, age), at, a});
        leaves.push_back({l, format.cleared(l, format.aged(l, e, both), age), at, a});
      }
      auto const less = a - Prot::w;
      if (a.allows(Prot::w) && format.supports(less))
        leaves.push_back({l, format.recast(l, format.aged(l, e, both), less), at, less});
    }
    return leaves;
  }
  // Everything that can be asked of a leaf.
  bool reads_the_same(Level l, Entry a, Entry b) const {
    if (format.kind(l, a) != format.kind(l, b) || format.address(l, a) != format.address(l, b)) return false;
    if (format.attr(l, a) != format.attr(l, b) || format.age(l, a) != format.age(l, b)) return false;
    for (unsigned prot = 0; prot < 16; ++prot)
      if (format.permits(l, a, static_cast<Prot>(prot)) != format.permits(l, b, static_cast<Prot>(prot))) return false;
    return true;
  }

  Format const format = FormatTest<Format>::make();
};
FORMAT_TEST(FormatLaws, ALeafReadsAsItWasWritten) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->born()) {
    ASSERT_EQ(f.kind(l, e), Kind::leaf);
    ASSERT_EQ(f.address(l, e), at);
    ASSERT_EQ(f.attr(l, e), a);
    ASSERT_TRUE(f.well_formed(l, e));
    ASSERT_TRUE(f.permits(l, e, a.prot));
    // Nothing that hardware will mark is marked, and nothing that it could not is dirty, but for what is writable.
    auto const by_nature = Age{!f.hardware_age().accessed, !f.hardware_age().dirty && a.allows(Prot::w)};
    ASSERT_EQ(f.age(l, e), by_nature);
  }
}

// What the walker counts on when it takes what it found out about one leaf for the next.
FORMAT_TEST(FormatLaws, LeavesThatDifferInAddressBitsAloneAreAlikeButForWhereTheyLead) {
  auto const& f = this->format;
  auto const attrs = this->attrs();
  for (auto const& [l, e, at, a] : this->grown()) {
    auto const bits = f.address_bits(l);
    auto const span = f.geometry().span(l);
    ASSERT_EQ(e & bits, at.raw());
    ASSERT_NE(f.broken(e) & ~bits, 0u) << "a broken leaf is not nothing";
    auto const other = (e & ~bits) | (at.raw() == 0 ? span : at.raw() - span);
    ASSERT_EQ(f.attr(l, other), a);
    ASSERT_EQ(f.age(l, other), f.age(l, e));
    for (auto const& next : attrs) {
      if (l > f.top_leaf(next)) continue;
      auto const to = f.recast(l, e, next);
      auto const other_to = f.recast(l, other, next);
      ASSERT_EQ(to ^ e, other_to ^ other);
      ASSERT_EQ(f.swap(l, e, to), f.swap(l, other, other_to));
    }
  }
  for (auto const& [l, e, at, a] : this->born()) {
    if (at.raw() == 0) {
      ASSERT_EQ(f.leaf(l, HostPhys{f.geometry().span(l)}, a), e + f.geometry().span(l));
    }
  }
}

FORMAT_TEST(FormatLaws, ATableReadsAsItWasWritten) {
  auto const& f = this->format;
  for (Level l = 1; l <= f.geometry().root; ++l) {
    for (auto at : {HostPhys{0}, HostPhys{7 * f.geometry().table_bytes()}, this->highest(0)}) {
      auto const e = f.table(l, at);
      ASSERT_EQ(f.kind(l, e), Kind::table);
      ASSERT_EQ(f.address(l, e), at);
      ASSERT_TRUE(f.well_formed(l, e));
      ASSERT_EQ(f.kind(l, f.broken(e)), Kind::broken);
      ASSERT_EQ(f.mended(f.broken(e)), e);
      ASSERT_EQ(f.address(l, f.broken(e)), at);
      ASSERT_TRUE(f.well_formed(l, f.broken(e)));
    }
  }
}

FORMAT_TEST(FormatLaws, AnAbsentEntryIsZeroAndStaysIt) {
  auto const& f = this->format;
  for (Level l = 0; l <= f.geometry().root; ++l) {
    EXPECT_EQ(f.kind(l, 0), Kind::absent);
    EXPECT_TRUE(f.well_formed(l, 0));
  }
  EXPECT_EQ(f.mended(0), 0u);
  EXPECT_EQ(f.broken(0), 0u);
}

FORMAT_TEST(FormatLaws, ABrokenLeafIsMendedToTheBitAndReadableMeanwhile) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    auto const broken = f.broken(e);
    ASSERT_EQ(f.kind(l, broken), Kind::broken);
    ASSERT_EQ(f.mended(broken), e);
    ASSERT_EQ(f.mended(e), e);
    ASSERT_EQ(f.broken(broken), broken);
    ASSERT_EQ(f.address(l, broken), at);
    ASSERT_EQ(f.attr(l, broken), a);
    ASSERT_EQ(f.age(l, broken), f.age(l, e));
    ASSERT_TRUE(f.well_formed(l, broken));
  }
}

FORMAT_TEST(FormatLaws, WhatBecomesOfABrokenLeafIsBroken) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    auto const broken = f.broken(e);
    for (auto age : ages) {
      ASSERT_EQ(f.aged(l, broken, age), f.broken(f.aged(l, e, age)));
      ASSERT_EQ(f.cleared(l, broken, age), f.broken(f.cleared(l, e, age)));
    }
    ASSERT_EQ(f.plain(l, broken), f.broken(f.plain(l, e)));
    ASSERT_EQ(f.unprotected(l, broken), f.broken(f.unprotected(l, e)));
    ASSERT_EQ(f.recast(l, broken, ro), f.broken(f.recast(l, e, ro)));
    if (l != 0) {
      ASSERT_EQ(f.child(l, broken, 3), f.broken(f.child(l, e, 3)));
    }
    if (l < f.geometry().top_leaf && at.aligned_to(f.geometry().span(l + 1))) {
      ASSERT_EQ(f.parent(l + 1, broken), f.broken(f.parent(l + 1, e)));
    }
  }
}

FORMAT_TEST(FormatLaws, ChildrenTranslateAsTheirBlockDoesAndJoinToItAgain) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    if (l == 0) continue;
    auto const last = f.geometry().entries(l - 1) - 1;
    for (std::size_t i : {std::size_t{0}, std::size_t{1}, last}) {
      auto const child = f.child(l, e, i);
      ASSERT_EQ(f.kind(l - 1, child), Kind::leaf);
      ASSERT_EQ(f.address(l - 1, child), at + i * f.geometry().span(l - 1));
      ASSERT_EQ(f.attr(l - 1, child), a);
      ASSERT_EQ(f.age(l - 1, child), f.age(l, e));
      ASSERT_EQ(f.permits(l - 1, child, Prot::w), f.permits(l, e, Prot::w));
      ASSERT_TRUE(f.well_formed(l - 1, child));
    }
    ASSERT_EQ(f.parent(l, f.child(l, e, 0)), e);
    ASSERT_EQ(f.plain(l - 1, f.child(l, e, 1)), f.child(l, f.plain(l, e), 1));
  }
}

FORMAT_TEST(FormatLaws, NewAttributesKeepAddressSizeAndMarks) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    for (auto const& next : this->attrs()) {
      if (l > f.top_leaf(next)) continue;
      auto const recast = f.recast(l, e, next);
      ASSERT_EQ(f.kind(l, recast), Kind::leaf);
      ASSERT_EQ(f.address(l, recast), at);
      ASSERT_EQ(f.attr(l, recast), next);
      ASSERT_TRUE(f.well_formed(l, recast));
      auto const dirty_by_nature = !f.hardware_age().dirty && next.allows(Prot::w) && !a.allows(Prot::w);
      ASSERT_EQ(f.age(l, recast), (f.age(l, e) | Age{false, dirty_by_nature}));
    }
    ASSERT_EQ(f.recast(l, e, a), e);
  }
}

FORMAT_TEST(FormatLaws, ACleanWriteProtectedLeafThatKeepsItsWriteRightStaysProtected) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->born()) {
    if (!a.allows(Prot::w)) continue;
    auto const clean = f.cleared(l, f.aged(l, e, both), d_mark);
    for (auto const& next : this->attrs()) {
      if (!next.allows(Prot::w) || l > f.top_leaf(next)) continue;
      auto const recast = f.recast(l, clean, next);
      ASSERT_FALSE(f.age(l, recast).dirty);
      ASSERT_EQ(f.permits(l, recast, Prot::w), f.hardware_age().dirty);
    }
  }
}

FORMAT_TEST(FormatLaws, MarksComeAndGoAndChangeNothingElse) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    for (auto age : ages) {
      auto const marked = f.aged(l, e, age);
      ASSERT_EQ(f.age(l, marked), (f.age(l, e) | age | Age{!f.hardware_age().accessed, false}));
      ASSERT_EQ(f.attr(l, marked), a);
      ASSERT_EQ(f.address(l, marked), at);
      ASSERT_TRUE(f.well_formed(l, marked));
      for (auto p : {Prot::r, Prot::w, Prot::x_user, Prot::x_supervisor})
        ASSERT_EQ(f.permits(l, marked, p), f.permits(l, e, p)) << "a mark grants nothing";

      auto const cleared = f.cleared(l, e, age);
      auto const gone = Age{age.accessed && f.harvestable().accessed, age.dirty && f.harvestable().dirty};
      ASSERT_EQ(f.age(l, cleared), without(f.age(l, e), gone));
      ASSERT_EQ(f.attr(l, cleared), a);
      ASSERT_EQ(f.address(l, cleared), at);
      ASSERT_TRUE(f.well_formed(l, cleared));
    }
  }
}

FORMAT_TEST(FormatLaws, TheNextWriteToACleanedLeafIsSeen) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    auto const clean = f.cleared(l, e, d_mark);
    auto const unseen = f.permits(l, clean, Prot::w) && !f.hardware_age().dirty;
    ASSERT_FALSE(unseen);
    // The fault handler lifts the protection, which the caller's attributes never showed.
    ASSERT_TRUE(f.permits(l, f.unprotected(l, clean), a.prot));
    ASSERT_EQ(f.permits(l, f.unprotected(l, clean), Prot::w), a.allows(Prot::w));
  }
}

FORMAT_TEST(FormatLaws, HardwareNeverAllowsMoreThanWasAskedFor) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown())
    for (unsigned prot = 0; prot < 16; ++prot)
      if (f.permits(l, e, static_cast<Prot>(prot))) {
        ASSERT_TRUE(a.allows(static_cast<Prot>(prot)));
      }
}

FORMAT_TEST(FormatLaws, PlainLeavesAreEqualWhenTheyTranslateAlike) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    auto const plain = f.plain(l, e);
    ASSERT_EQ(f.plain(l, plain), plain);
    ASSERT_EQ(f.plain(l, f.aged(l, e, f.hardware_age())), plain);
    ASSERT_EQ(f.plain(l, f.cleared(l, e, f.hardware_age())), plain);
    ASSERT_EQ(f.attr(l, plain), a);
    ASSERT_EQ(f.permits(l, plain, Prot::w), f.permits(l, e, Prot::w));
    if (f.unprotected(l, e) != e) {
      ASSERT_NE(f.plain(l, f.unprotected(l, e)), plain) << "protection must show";
    }
  }
}

FORMAT_TEST(FormatLaws, NoBitOfALeafGoesUnnoticed) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->born()) {
    for (unsigned bit = 0; bit < 64; ++bit) {
      auto const other = e ^ Entry { 1 } << bit;
      // A leaf that is dirty already may say it twice.
      if (f.age(l, e).dirty && f.plain(l, other) == f.plain(l, e)) continue;
      ASSERT_FALSE(f.well_formed(l, other) && this->reads_the_same(l, other, e)) << "bit " << bit;
    }
  }
}

FORMAT_TEST(FormatLaws, NoBitOfATableGoesUnnoticed) {
  auto const& f = this->format;
  for (Level l = 1; l <= f.geometry().root; ++l) {
    auto const e = f.table(l, HostPhys{3 * f.geometry().table_bytes()});
    for (unsigned bit = 0; bit < 64; ++bit) {
      auto const other = e ^ Entry { 1 } << bit;
      // What hardware marks in an entry that it used.
      if (other == reader_for(f).accessed(l, e)) continue;
      ASSERT_FALSE(f.well_formed(l, other) && f.kind(l, other) == Kind::table && f.address(l, other) == f.address(l, e))
          << "bit " << bit;
    }
  }
}

FORMAT_TEST(FormatLaws, AnAddressPastTheOutputSizeIsNotWellFormed) {
  auto const& f = this->format;
  auto const past = HostPhys{std::uint64_t{1} << f.output_bits()};
  EXPECT_FALSE(f.well_formed(0, f.leaf(0, past, rw)));
  EXPECT_FALSE(f.well_formed(1, f.table(1, past)));
}

FORMAT_TEST(FormatLaws, AnUnsupportedLeafIsNotWellFormed) {
  auto const& f = this->format;
  for (auto const& a : all_attrs()) {
    if (f.supports(a)) continue;
    auto const e = f.leaf(0, HostPhys{0}, a);
    EXPECT_FALSE(f.kind(0, e) == Kind::leaf && f.well_formed(0, e) && f.attr(0, e) == a);
  }
}

FORMAT_TEST(FormatLaws, ALeafAboveTheTopOneIsNotWellFormed) {
  auto const& f = this->format;
  for (Level l = f.geometry().top_leaf + 1; l <= f.geometry().root; ++l)
    EXPECT_FALSE(f.well_formed(l, f.leaf(l, HostPhys{0}, ro)));
}

FORMAT_TEST(FormatLaws, DevicesAreNeverExecutable) {
  auto const& f = this->format;
  for (auto const& a : all_attrs())
    if (is_device(a.memory) && (a.prot & Prot::x) != Prot::none) {
      EXPECT_FALSE(f.supports(a));
    }
  for (auto memory : {Memory::device, Memory::device_strict}) EXPECT_TRUE(f.supports(rw | memory));
}

// Any number may be cast to a right, a memory type or software bits.
FORMAT_TEST(FormatLaws, WhatMeansNothingIsNotSupported) {
  auto const& f = this->format;
  for (unsigned software = 4; software < 256; ++software)
    EXPECT_FALSE(f.supports({Prot::r, Memory::normal, static_cast<std::uint8_t>(software)}));
  for (unsigned prot = 0; prot != 256; ++prot)
    for (unsigned memory = 0; memory != 256; ++memory)
      if (prot > 15 || memory > 4) {
        ASSERT_FALSE(f.supports({Prot(prot), Memory(memory), 0})) << prot << ", " << memory;
      }
}

FORMAT_TEST(FormatLaws, FromNothingOrToTheSameIsFreeAndToNothingIsAFlush) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    ASSERT_EQ(f.swap(l, e, e), Swap::free);
    ASSERT_EQ(f.swap(l, 0, e), Swap::free);
    ASSERT_EQ(f.swap(l, e, 0), Swap::flush);
  }
  for (Level l = 1; l <= f.geometry().root; ++l) {
    auto const table = f.table(l, HostPhys{0});
    EXPECT_EQ(f.swap(l, table, table), Swap::free);
    EXPECT_EQ(f.swap(l, 0, table), Swap::free);
    EXPECT_EQ(f.swap(l, table, 0), Swap::flush);
  }
}

// Rights and marks alone never break; they flush exactly where something was lost that hardware acts on.
FORMAT_TEST(FormatLaws, RightsAndMarksFlushWhereTheyShrinkAndAreFreeWhereTheyGrow) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    for (auto const& next : this->attrs()) {
      if (next.memory != a.memory || l > f.top_leaf(next)) continue;
      for (auto age : ages) {
        auto const to = f.cleared(l, f.recast(l, e, next), age);
        auto lost = false;
        for (auto p : {Prot::r, Prot::w, Prot::x_user, Prot::x_supervisor})
          lost = lost || (f.permits(l, e, p) && !f.permits(l, to, p));
        auto const was = f.age(l, e), is = f.age(l, to);
        lost = lost || (f.hardware_age().accessed && was.accessed && !is.accessed);
        // On Arm a lost write right takes the mark with it, and that is a right lost.
        lost = lost || (f.hardware_age().dirty && was.dirty && !is.dirty && f.permits(l, e, Prot::w));
        auto const swap = f.swap(l, e, to);
        ASSERT_NE(swap, Swap::break_);
        if (lost) {
          ASSERT_EQ(swap, Swap::flush);
        }
        if (!lost && covers(is, was)) {
          ASSERT_EQ(swap, Swap::free);
        }
      }
    }
  }
}

FORMAT_TEST(FormatLaws, AnotherAddressOrTypeIsNeverFree) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->born()) {
    auto const moved = f.leaf(l, HostPhys{at.raw() ^ f.geometry().span(l)}, a);
    ASSERT_NE(f.swap(l, e, moved), Swap::free);
    for (auto memory : {Memory::normal, Memory::uncached, Memory::device}) {
      // Formats with one kind of device keep the other's name in a software bit.
      if (memory == a.memory || (is_device(memory) && is_device(a.memory))) continue;
      if (!f.supports(a | memory) || l > f.top_leaf(a | memory)) continue;
      ASSERT_NE(f.swap(l, e, f.recast(l, e, a | memory)), Swap::free);
    }
  }
}

FORMAT_TEST(FormatLaws, SizesAndTablesAreNeverFreeAndBreakOnlyWhereTheFormatCan) {
  auto const& f = this->format;
  for (auto const& [l, e, at, a] : this->grown()) {
    if (l == 0) continue;
    auto const table = f.table(l, HostPhys{f.geometry().table_bytes()});
    auto const down = f.swap(l, e, table), up = f.swap(l, table, e);
    ASSERT_EQ(down, up);
    ASSERT_NE(down, Swap::free);
    if (!f.can_break()) {
      ASSERT_EQ(down, Swap::flush);
    }
  }
  for (Level l = 1; l <= f.geometry().root; ++l) {
    auto const swap = f.swap(l, f.table(l, HostPhys{0}), f.table(l, HostPhys{f.geometry().table_bytes()}));
    EXPECT_EQ(swap, f.can_break() ? Swap::break_ : Swap::flush);
  }
}

FORMAT_TEST(FormatLaws, WhatHardwareMarksCanBeHarvested) {
  auto const& f = this->format;
  EXPECT_TRUE(f.harvestable().dirty);
  EXPECT_EQ(f.harvestable().accessed, f.hardware_age().accessed);
}

}  // namespace
}  // namespace slat::test
