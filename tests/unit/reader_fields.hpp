#pragma once

// What each bit of an entry does, as a table like the manuals' own, and the check that a reader agrees: every bit is
// flipped alone, and what the reader then says otherwise is compared with its row.

#include <gtest/gtest.h>

#include <bitset>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <vector>

#include <slat/testing/reader.hpp>
#include <slat/testing/violation.hpp>

namespace slat::test {
using namespace slat::testing;

/// What changes when a bit is flipped; several at once are joined by |.
enum Does : unsigned {
  ignored = 0,
  rights = 1 << 0,
  type = 1 << 1,
  address = 1 << 2,
  marks_accessed = 1 << 3,
  marks_dirty = 1 << 4,
  joins = 1 << 5,     // contiguous
  special = 1 << 6,   // what the reader calls so
  kind = 1 << 7,      // table, leaf or neither; the rest is then not looked at
  reserved = 1 << 8,  // a rule is broken, and hardware goes on
  // The walk ends here, with the fault of that name.
  no_translation = 1 << 9,
  address_size = 1 << 10,
  access_flag = 1 << 11,
  misconfigured = 1 << 12,
};
constexpr Does operator|(Does a, Does b) { return static_cast<Does>(unsigned{a} | unsigned{b}); }

/// A row: bits `high` down to `low`, and how the complaint begins, if there is one.
struct Field {
  unsigned high, low;
  Does does;
  const char* rule = "";
};

inline std::string text_of(const char* wrong) { return wrong == nullptr ? "" : wrong; }

inline Does difference(const Decoded& from, const Decoded& to) {
  switch (to.fault) {
    case Fault::none: break;
    case Fault::translation: return no_translation;
    case Fault::address_size: return address_size;
    case Fault::access_flag: return access_flag;
    case Fault::misconfigured: return misconfigured;
  }
  if (to.wrong != from.wrong) return reserved;
  if (to.kind != from.kind) return kind;
  return (to.rights != from.rights ? rights : ignored) | (to.type != from.type ? type : ignored) |
         (to.address != from.address ? address : ignored) |
         (to.is_accessed != from.is_accessed ? marks_accessed : ignored) |
         (to.is_dirty != from.is_dirty ? marks_dirty : ignored) | (to.contiguous != from.contiguous ? joins : ignored) |
         (to.special != from.special ? special : ignored);
}

/// `base` is an entry that nothing is wrong with. The rows hold every bit once, from 63 down.
template <class Reader>
void expect_fields(const Reader& reader, Level level, Entry base, const std::vector<Field>& rows) {
  auto const from = reader.decode(level, base);
  ASSERT_TRUE(from.usable()) << hex(base);
  ASSERT_EQ(text_of(from.wrong), "") << hex(base);
  auto next = 64u;
  for (auto const& row : rows) {
    ASSERT_EQ(row.high + 1, next) << "the rows leave out bits, or repeat some";
    ASSERT_LE(row.low, row.high);
    for (; next != row.low; --next) {
      auto const n = next - 1;
      auto const to = reader.decode(level, base ^ Entry{1} << n);
      auto const wrong = text_of(to.wrong);
      auto const where = "level " + std::to_string(level) + ", bit " + std::to_string(n) + " of " + hex(base);
      EXPECT_EQ(std::bitset<13>(difference(from, to)), std::bitset<13>(row.does)) << where << ": " << wrong;
      EXPECT_EQ(wrong.substr(0, std::string{row.rule}.size()), row.rule) << where;
      EXPECT_EQ(wrong.empty(), *row.rule == '\0') << where << ": " << wrong;
      if ((row.does & address) != 0) {
        EXPECT_EQ(to.address.raw() ^ from.address.raw(), std::uint64_t{1} << n) << where;
      }
    }
  }
  EXPECT_EQ(next, 0u) << "the rows leave out bits";
}

/// How the complaint about one entry begins.
struct Sample {
  Level level;
  Entry entry;
  const char* rule;  // empty: none
};
template <class Reader>
void expect_rules(const Reader& reader, std::initializer_list<Sample> samples) {
  for (auto const& [level, entry, rule] : samples) {
    auto const wrong = text_of(reader.decode(level, entry).wrong);
    auto const where = "level " + std::to_string(level) + ", entry " + hex(entry);
    EXPECT_EQ(wrong.substr(0, std::string{rule}.size()), rule) << where;
    EXPECT_EQ(wrong.empty(), *rule == '\0') << where << ": " << wrong;
  }
}

/// Memory of 64-bit words for a walk; where nothing was put, it must not look.
class Words {
 public:
  void put(std::uint64_t table, std::uint64_t index, Entry entry) { words_[table + 8 * index] = entry; }
  Entry operator()(HostPhys where) const {
    auto const found = words_.find(where.raw());
    EXPECT_NE(found, words_.end()) << "a walk reads " << hex(where.raw());
    return found == words_.end() ? 0 : found->second;
  }

 private:
  std::map<std::uint64_t, Entry> words_;
};

/// Where the steps of a walk were, from the root down.
inline std::vector<std::uint64_t> places(const Walk& walk) {
  std::vector<std::uint64_t> out;
  for (auto const& step : walk.used()) out.push_back(step.where.raw());
  return out;
}

}  // namespace slat::test
