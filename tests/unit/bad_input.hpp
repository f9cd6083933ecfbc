#pragma once

// Tables of what every operation answers to bad arguments, and to good ones that are next to bad; and the loop that
// holds slat to them.
//
//   row      a guest range and a host address: one thing is wrong with them, or only just not
//   column   an operation, given as much of the row as it takes
//   cell     one word for what is promised: `vocabulary` says what each of them means
//
// The words come from DESIGN.md's sections 1, 3 and 5 and from the comments of mm/, never from a run.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>
#include "unit/bad_input_rows.hpp"

namespace slat::test {
using namespace slat::testing;

inline std::string said(const Error& error) {
  std::string text;
  auto const append = [&text](std::string_view piece) { text += piece; };
  print(append, error);
  return text;
}

/// A table with areas on it, its hardware at rest, so that nothing changes but by the call under test.
template <class Format>
class World {
 public:
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;
  using Source = PageSource<RecordingFrames>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend>;

  explicit World(const Format& format) : World{format, Shape::of(format)} {}

  Table& table() { return oracle.table(); }

  /// All that a call that is refused must leave alone.
  struct Everything {
    std::uint64_t fingerprint;
    std::array<std::size_t, 7> counts;
    std::vector<std::tuple<GuestRange, Attr, Backend>> areas;
    friend bool operator==(const Everything&, const Everything&) = default;
  };
  Everything everything() {
    auto const& recorder = oracle.recorder();
    Everything all{oracle.frames().fingerprint(),
                   {recorder.stores(), recorder.shootdowns(), recorder.publishes(), recorder.waits(),
                    oracle.frames().in_use(), pages.in_use(), source.in_use()},
                   {}};
    for (auto const& area : set.iter()) all.areas.emplace_back(area.range(), area.flags(), area.backend());
    return all;
  }

  /// The first leaf in a range, as the oracle's own reader finds it.
  GuestRange first_leaf(GuestRange range) {
    for (auto at = range.begin; range.contains(at);) {
      auto const found = oracle.tlb().walk(at);
      if (found.decoded.leaf()) return found.place.span;
      at = found.place.span.end();
    }
    return {};
  }
  GuestRange first_area(GuestRange range) const {
    for (auto const& area : set.iter())
      if (area.overlaps(range)) return area.range();
    return {};
  }

  Shape shape;
  Oracle<Format> oracle;
  Recorder quiet;
  RecordingFrames pages;
  Source source;
  Set set;

 private:
  World(const Format& format, const Shape& of_format)
      : shape{of_format},
        oracle{format, {.frames = 40, .tlb = {.period = 0}}},
        pages{quiet, shape.page, 4, HostPhys{0x9'0000'0000}},
        source{pages, shape.page, shape.page} {
    add({shape.at(4), 2 * shape.block}, rx, Linear{shape.ram});
    add({shape.at(8), 4 * shape.page}, ro, Linear{shape.ram + 8 * shape.block});
    add({shape.at(10), shape.block}, rx, Lazy{source});
    add({shape.at(12), shape.page}, rw | Memory::device, Device{});
    GuestRange const populated{shape.at(10, 1), shape.page};
    auto const resolved = oracle.perform("resolve", Change::map(populated, pages.frame(0), rx),
                                         [&] { return set.resolve(populated.begin, Prot::r, table()); });
    EXPECT_TRUE(resolved && *resolved == Resolution::mapped);
  }
  void add(GuestRange range, Attr attr, Linear linear) {
    add(range, attr, linear, Change::map(range, linear.base, attr));
  }
  void add(GuestRange range, Attr attr, Backend backend, Change change = {}) {
    auto const done = oracle.perform("set.map", std::move(change), [&] {
      return set.map({range.begin, range.size, attr, backend}, table());
    });
    EXPECT_TRUE(done) << said(done.error());
  }
};

/// What came of a call: an error, or an answer ("" where success says it all).
struct Outcome {
  std::optional<Error> error{};
  std::string_view answer{};

  Outcome() = default;
  explicit Outcome(std::string_view text) : answer{text} {}
  explicit Outcome(bool yes) : answer{yes ? "yes" : "no"} {}
  explicit Outcome(const Result<>& result) {
    if (!result) error = result.error();
  }
};

template <class World>
struct Column {
  std::string_view name;
  std::function<Outcome(World&, const Row&)> call;
  /// What it does to translations when it does something; without it, nothing.
  std::function<Change(World&, const Row&)> change{};
  /// frames_needed() of the same change, which must promise the same: a cell of its own.
  std::function<Result<std::uint64_t>(World&, const Row&)> needed{};
};

/// Reads the cells of a matrix: a line for the columns' names, then a line for each row, its name and a bar before it.
template <class World>
class Matrix {
 public:
  Matrix(std::string_view text, std::vector<Column<World>> columns) : columns_{std::move(columns)} {
    std::istringstream lines{std::string{text}};
    std::string line;
    while (std::getline(lines, line)) {
      auto const bar = line.find('|');
      if (bar == std::string::npos) continue;
      names_.push_back(line.substr(0, line.find_last_not_of(' ', bar - 1) + 1));
      std::istringstream words{line.substr(bar + 1)};
      auto& cells = cells_.emplace_back();
      for (std::string word; words >> word;) cells.push_back(word);
    }
  }

  /// Holds `format` to every cell. Returns how often each word was said.
  template <class Format>
  std::map<std::string, std::size_t> run(const Format& format) {
    std::map<std::string, std::size_t> said_words;
    rows_ = rows(Shape::of(format));
    check_layout();
    if (::testing::Test::HasFailure()) return said_words;
    std::optional<World> world;
    for (std::size_t r = 0; r != rows_.size(); ++r)
      for (std::size_t c = 0; c != columns_.size(); ++c) {
        auto const& name = cells_[r + 1][c];
        auto const word = std::find_if(std::begin(vocabulary), std::end(vocabulary),
                                       [&](const Word& known) { return known.word == name; });
        SCOPED_TRACE(std::string{rows_[r].name} + ", " + std::string{columns_[c].name} + ": " + name);
        ++said_words[name];
        if (word == std::end(vocabulary)) {
          ADD_FAILURE() << "no such word";
          continue;
        }
        if (columns_[c].needed) ++said_words["frames_needed"];
        if (word->is == Word::Is::excluded) continue;
        if (!world) world.emplace(format);
        hold(*world, columns_[c], rows_[r], *word);
        if (word->is == Word::Is::done || ::testing::Test::HasFailure()) world.reset();
      }
    return said_words;
  }

 private:
  void check_layout() {
    ASSERT_EQ(names_.size(), rows_.size() + 1);
    ASSERT_EQ(cells_[0].size(), columns_.size());
    for (std::size_t c = 0; c != columns_.size(); ++c) EXPECT_EQ(cells_[0][c], columns_[c].name);
    for (std::size_t r = 0; r != rows_.size(); ++r) {
      EXPECT_EQ(names_[r + 1], rows_[r].name);
      EXPECT_EQ(cells_[r + 1].size(), columns_.size()) << rows_[r].name;
    }
  }

  static Error expected(World& world, const Row& in, const Word& word) {
    Error error{word.code, word.argument, 0, in.range};
    switch (word.argument) {
      case Argument::start: error.value = in.range.begin.raw(); break;
      case Argument::size:
      case Argument::limit: error.value = in.range.size; break;
      case Argument::host: error.value = in.host.raw(); break;
      case Argument::range: error.value = world.shape.input; break;
      default: break;
    }
    if (word.word == "nil" || word.word == "address") error.range = {};
    if (word.code == Errc::already_mapped) error.other = world.first_leaf(in.range);
    if (word.code == Errc::already_exists) error.other = world.first_area(in.range);
    return error;
  }

  static void hold(World& world, const Column<World>& column, const Row& in, const Word& word) {
    bool const refused = word.is == Word::Is::refused || word.is == Word::Is::either;
    auto const error = expected(world, in, word);
    auto const before = world.everything();
    auto const judge = [&](const std::optional<Error>& found) {
      ASSERT_EQ(found.has_value(), refused) << (found ? said(*found) : "was accepted");
      if (word.is == Word::Is::refused) {
        EXPECT_EQ(*found, error) << said(*found) << "\ninstead of " << said(error);
      }
    };
    if (column.needed) {
      auto const needed = column.needed(world, in);
      judge(needed ? std::nullopt : std::optional{needed.error()});
      EXPECT_TRUE(world.everything() == before) << "frames_needed() changed something";
    }
    Outcome outcome;
    auto const call = [&]() -> Result<> {
      outcome = column.call(world, in);
      if (outcome.error) return *outcome.error;
      return {};
    };
    bool const does = word.is == Word::Is::done;
    auto const done =
        world.oracle.perform(column.name, does && column.change ? column.change(world, in) : Change{}, call);
    EXPECT_EQ(static_cast<bool>(done), !outcome.error);
    judge(outcome.error);
    if (word.is == Word::Is::answer) {
      EXPECT_EQ(outcome.answer, word.word);
    }
    EXPECT_EQ(world.everything() == before, !does) << (does ? "nothing changed" : "something changed");
    EXPECT_EQ(world.oracle.violation(), Offence::none) << world.oracle.why();
    auto const audit = world.table().audit();
    EXPECT_TRUE(audit) << name(audit.flaw);
  }

  std::vector<Row> rows_;
  std::vector<Column<World>> columns_;
  std::vector<std::string> names_;
  std::vector<std::vector<std::string>> cells_;
};

}  // namespace slat::test
