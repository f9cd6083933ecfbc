#pragma once

// A tree of tables, read once: every table that can be reached, every entry in use, and what is wrong. All that is
// printed afterwards is made of this.
//
// Tables full of garbage are no danger. A walk is as deep as the format and no deeper, no frame is read twice, frames
// that the source lacks are findings, and so is the end of patience.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/memory.hpp"
#include "tools/own_walk.hpp"
#include "tools/scheme.hpp"

namespace slat::tool {

/// An entry in use: a leaf, or one that hardware takes for nothing and that is not 0.
struct Leaf {
  GuestRange range;
  Level level;
  HostPhys where;  // the entry's own address
  Entry entry;
  testing::Decoded decoded;
  Prot rights;  // what all entries on the way allow

  bool valid() const { return decoded.leaf(); }
};

struct Table {
  HostPhys at;
  Level level;
  GuestPhys base;  // of its first entry
  std::uint64_t entries;
  std::size_t parent;  // an index; its own for the root
  Prot rights;         // what the entries on the way leave
  std::uint64_t leaves = 0, tables = 0, invalid = 0;
  bool present = false;  // whether the source has it
};

enum class Weight : std::uint8_t { note, wrong };

struct Finding {
  Weight weight;
  std::string rule;  // a number of docs/rules.md, or the tool's own word
  std::string text;
  GuestRange range;  // what the entry translates
  Level level = 0;
  HostPhys where{};  // the entry, or the table
  Entry entry = 0;
};

/// The first of each rule's findings, and how many there were.
class Findings {
 public:
  static constexpr std::size_t kept_of_a_rule = 64;

  /// `text()` is asked only if the finding is kept.
  template <class Text>
  void add(Weight weight, std::string_view rule, Text text, GuestRange range, Level level, HostPhys where,
           Entry entry) {
    ++(weight == Weight::wrong ? wrong_ : notes_);
    auto known = counts_.find(rule);
    if (known == counts_.end()) known = counts_.emplace(rule, 0).first;
    if (++known->second > kept_of_a_rule) return;
    list_.push_back({weight, std::string{rule}, text(), range, level, where, entry});
  }
  const std::vector<Finding>& list() const { return list_; }
  /// How often each rule is broken, and each note due.
  const std::map<std::string, std::uint64_t, std::less<>>& counts() const { return counts_; }
  std::uint64_t count(Weight weight) const { return weight == Weight::wrong ? wrong_ : notes_; }

 private:
  std::vector<Finding> list_;
  std::map<std::string, std::uint64_t, std::less<>> counts_;
  std::uint64_t wrong_ = 0, notes_ = 0;
};

struct Gathered {
  Scheme scheme;
  std::vector<Table> tables;              // the root first, then level by level
  std::vector<std::vector<Entry>> words;  // of each table, as they were read; none if the source lacks it
  std::vector<Leaf> leaves;               // by guest address
  Findings findings;
  std::uint64_t left_out = 0;             // tables that are pointed to and were not read, whyever
  std::optional<SecondOpinion> second{};  // once judge() has asked for it
};

struct Limits {
  std::size_t tables = 1 << 18;  // 1 GiB of tables of 4 KiB
  bool traps = false;            // x86: a leaf that is misconfigured is meant so, and a note
};

Gathered gather(HostMemory& memory, const Scheme& scheme, const Limits& limits = {});

}  // namespace slat::tool
