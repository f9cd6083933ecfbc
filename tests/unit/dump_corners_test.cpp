// A table as text: every right and memory type has its spelling, and one line holds only what is alike and goes on.

#include <gtest/gtest.h>

#include <set>
#include <string>

#include <slat/mm/leaf.hpp>

namespace slat::test {
namespace {

template <class Value>
std::string text(const Value& value) {
  std::string all;
  auto sink = [&all](std::string_view piece) { all += piece; };
  print(sink, value);
  return all;
}

std::string dump(std::initializer_list<Leaf> leaves) {
  std::string all;
  auto sink = [&all](std::string_view piece) { all += piece; };
  Dump lines{sink};
  for (auto const& leaf : leaves) lines(leaf);
  lines.finish();
  lines.finish();  // there is nothing more to say
  return all;
}

constexpr Leaf first{.kind = Kind::leaf, .range = {0x1000_gpa, 0x1000}, .host = 0x8000_hpa, .attr = rw, .age = {}};
constexpr Leaf next{.kind = Kind::leaf, .range = {0x2000_gpa, 0x1000}, .host = 0x9000_hpa, .attr = rw, .age = {}};

TEST(Dump, NothingIsNoLine) { EXPECT_EQ(dump({}), ""); }

TEST(Dump, LeavesThatGoOnAreOneLine) {
  EXPECT_EQ(dump({first, next}), "[0x1000, 0x3000) -> 0x8000  4K x2  rw- normal  --\n");
}

TEST(Dump, LeavesThatDifferInAnythingAreALineEach) {
  std::string const alone = dump({first});
  auto const expect_two = [&](const Leaf& other) { EXPECT_EQ(dump({first, other}), alone + dump({other})); };
  auto other = next;
  other.range.begin = 0x3000_gpa;  // a hole before it
  expect_two(other);
  other = next;
  other.host = 0xa000_hpa;
  expect_two(other);
  other = next;
  other.attr = ro;
  expect_two(other);
  other = next;
  other.age.dirty = true;
  expect_two(other);
  other = next;
  other.kind = Kind::broken;
  expect_two(other);
  other = next;
  other.range.size = 0x2000;
  expect_two(other);
}

TEST(Dump, SaysMarksAndWhatIsBroken) {
  auto leaf = first;
  leaf.age = {.accessed = true, .dirty = true};
  leaf.kind = Kind::broken;
  EXPECT_EQ(dump({leaf}), "[0x1000, 0x2000) -> 0x8000  4K x1  rw- normal  AD  broken\n");
}

TEST(AttrText, SaysWhoMayExecute) {
  EXPECT_EQ(text(Prot::none), "---");
  EXPECT_EQ(text(Prot::rwx), "rwx");
  EXPECT_EQ(text(Prot::w), "-w-");
  EXPECT_EQ(text(Prot::r | Prot::x_user), "r-U");
  EXPECT_EQ(text(Prot::r | Prot::x_supervisor), "r-S");
}

TEST(AttrText, EveryMemoryTypeHasANameOfItsOwn) {
  std::set<std::string_view> names;
  for (auto memory = Memory::normal; memory <= Memory::device_strict; memory = Memory(int(memory) + 1)) {
    EXPECT_NE(name(memory), "unknown");
    EXPECT_TRUE(names.insert(name(memory)).second) << name(memory);
    EXPECT_EQ(text(ro | memory), "r-- " + std::string{name(memory)});
  }
  EXPECT_EQ(names.size(), 5u);
  EXPECT_EQ(name(Memory(int(Memory::device_strict) + 1)), "unknown");
}

TEST(AttrText, SaysTheUsersBitsWhereTheyAreSet) {
  EXPECT_EQ(text(Attr{Prot::rx, Memory::uncached, 3}), "r-x uncached sw3");
}

TEST(Attr, RightsAreAddedAndTakenAndNothingElseChanges) {
  constexpr Attr before{Prot::r, Memory::write_through, 2};
  auto const after = before | Prot::w;
  EXPECT_EQ(after, (Attr{Prot::rw, Memory::write_through, 2}));
  EXPECT_NE(after, before);
  EXPECT_EQ(after - Prot::w, before);
}

}  // namespace
}  // namespace slat::test
