// What a page table answers to bad arguments, operation by operation, on every format.

#include "unit/bad_input.hpp"
#include "unit/format_suite.hpp"

namespace slat::test {
namespace {

template <class Format>
class BadInputToATable : public FormatTest<Format> {};

constexpr std::string_view matrix = R"(
                         | map     replace unmap   tell    protect split   coalesce harvest query   lift
start a byte off         | start   start   start   start   start   start   start    start   no      no
start half a page off    | start   start   start   start   start   start   start    start   no      no
start 0                  | done    done    same    same    same    same    same     same    no      no
end at the limit         | done    done    same    same    same    same    same     same    no      no
end past the limit       | input   input   input   input   input   input   input    input   no      no
start at the limit       | input   input   input   input   input   input   input    input   no      address
start past the limit     | input   input   input   input   input   input   input    input   no      address
end at 2^64              | input   input   input   input   input   input   input    input   no      address
end past 2^64            | past    past    past    past    past    past    past     past    no      address

size a byte more         | size    size    size    size    size    size    size     size    -size   -size
size a byte less         | size    size    size    size    size    size    size     size    -size   -size
size half a page         | size    size    size    size    size    size    size     size    -size   -size
size 0                   | empty   empty   same    same    same    same    same     same    -size   -size
size 0 inside            | empty   empty   same    same    same    same    same     same    -size   -size
size 0 a byte off        | either  either  start   start   start   start   start    start   no      no
size 0 at the limit      | empty   empty   same    same    same    same    same     same    no      address
size 0 past the limit    | either  either  input   input   input   input   input    input   no      address
size of all              | -wide   -wide   done    done    done    done    same     same    -size   -size
size past the limit      | either  input   input   input   input   input   input    input   -size   -size
size up to 2^64          | either  input   input   input   input   input   input    input   -size   -size
reversed                 | past    past    past    past    past    past    past     past    -size   -size
reversed inside          | past    past    past    past    past    past    past     past    -size   -size

the same                 | mapped  done    done    done    done    done    same     same    yes     no
over the front           | mapped  done    done    done    done    done    same     same    no      no
over the back            | mapped  done    done    done    done    done    same     same    yes     no
inside                   | mapped  done    done    done    done    done    same     same    yes     no
around                   | mapped  done    done    done    done    done    same     same    no      no
around, start off        | either  start   start   start   start   start   start    start   no      no
around, size off         | either  size    size    size    size    size    size     size    -size   -size
adjacent below           | done    done    same    same    same    same    same     same    no      no
adjacent above           | done    done    same    same    same    same    same     same    no      no
among pages              | mapped  done    done    done    done    same    same     same    yes     no
lazy memory              | mapped  done    done    done    done    same    same     same    no      no
a device                 | done    done    same    same    same    same    same     same    no      no

host a byte off          | host    host    -host   -host   -host   -host   -host    -host   -host   -host
host half a page off     | host    host    -host   -host   -host   -host   -host    -host   -host   -host
host 0                   | done    done    -host   -host   -host   -host   -host    -host   -host   -host
host end at the output   | done    done    -host   -host   -host   -host   -host    -host   -host   -host
host block at the output | done    done    -host   -host   -host   -host   -host    -host   -host   -host
host end past it         | output  output  -host   -host   -host   -host   -host    -host   -host   -host
host block past it       | output  output  -host   -host   -host   -host   -host    -host   -host   -host
host start at it         | output  output  -host   -host   -host   -host   -host    -host   -host   -host
host start past it       | output  output  -host   -host   -host   -host   -host    -host   -host   -host
host end at 2^64         | output  output  -host   -host   -host   -host   -host    -host   -host   -host
host end past 2^64       | output  output  -host   -host   -host   -host   -host    -host   -host   -host
host of another          | done    done    -host   -host   -host   -host   -host    -host   -host   -host
host next to another's   | done    done    -host   -host   -host   -host   -host    -host   -host   -host
host as the guest's      | done    done    -host   -host   -host   -host   -host    -host   -host   -host
host as before           | mapped  done    -host   -host   -host   -host   -host    -host   -host   -host
)";

/// A column for one of the six changes, with frames_needed() beside it.
template <class W, class Call, class Make, class Declare>
Column<W> change(std::string_view name, Call call, Make make, Declare declare) {
  return {name, [=](W& w, const Row& in) { return Outcome{call(w.table(), in)}; }, declare,
          [=](W& w, const Row& in) { return w.table().frames_needed(make(in)); }};
}

template <class W>
std::vector<Column<W>> columns() {
  using Table = typename W::Table;
  auto const maps = [](W&, const Row& in) { return Change::map(in.range, in.host, rw); };
  auto const unmaps = [](W&, const Row& in) { return Change::unmap(in.range); };
  auto const protects = [](W& w, const Row& in) { return Change::attributes(w.oracle.intent(), in.range, rw); };
  auto const keeps = [](W& w, const Row& in) { return Change::same(w.oracle.intent(), in.range); };
  auto const ignored = [](GuestRange) {};
  auto const no_run = [](GuestRange) { ADD_FAILURE() << "nothing is dirty"; };
  return {
      change<W>(
          "map", [](Table& t, const Row& in) { return t.map(in.range, in.host, rw); },
          [](const Row& in) {
            return Map{in.range, in.host, rw};
          },
          maps),
      change<W>(
          "replace", [](Table& t, const Row& in) { return t.replace(in.range, in.host, rw); },
          [](const Row& in) {
            return Replace{in.range, in.host, rw};
          },
          maps),
      change<W>(
          "unmap", [](Table& t, const Row& in) { return t.unmap(in.range); },
          [](const Row& in) { return Unmap{in.range}; }, unmaps),
      {"tell", [=](W& w, const Row& in) { return Outcome{w.table().unmap(in.range, {.dirty = true}, ignored)}; },
       unmaps},
      change<W>(
          "protect", [](Table& t, const Row& in) { return t.protect(in.range, rw); },
          [](const Row& in) {
            return Protect{in.range, rw};
          },
          protects),
      change<W>(
          "split", [](Table& t, const Row& in) { return t.split(in.range); },
          [](const Row& in) { return Split{in.range}; }, keeps),
      change<W>(
          "coalesce", [](Table& t, const Row& in) { return t.coalesce(in.range); },
          [](const Row& in) { return Coalesce{in.range}; }, keeps),
      {"harvest", [=](W& w, const Row& in) { return Outcome{w.table().harvest(in.range, {.dirty = true}, no_run)}; }},
      {"query", [](W& w, const Row& in) { return Outcome{w.table().query(in.range.begin).kind == Kind::leaf}; }},
      {"lift",
       [](W& w, const Row& in) {
         auto const lifted = w.table().lift_protection(in.range.begin);
         return lifted ? Outcome{*lifted} : Outcome{Result<>{lifted.error()}};
       }},
  };
}

FORMAT_TEST(BadInputToATable, IsNamedAndChangesNothingInEveryArgumentOfEveryOperation) {
  using W = World<Format>;
  auto words = Matrix<W>{matrix, columns<W>()}.run(this->make());
  // 49 rows, 10 columns, and frames_needed() beside six of them.
  std::size_t excluded = 0, cells = 0;
  for (auto const& [word, count] : words) (word[0] == '-' ? excluded : cells) += count;
  EXPECT_EQ(words["frames_needed"], 49u * 6);
  EXPECT_EQ(cells + excluded, 49u * (10 + 6));
  EXPECT_EQ(words["-host"], 15u * 8);
  EXPECT_EQ(words["-size"], 11u * 2);
  EXPECT_EQ(words["-wide"], 2u);
  EXPECT_EQ(excluded, 15u * 8 + 11u * 2 + 2u);
}

}  // namespace
}  // namespace slat::test
