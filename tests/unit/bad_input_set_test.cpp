// What a set of areas answers to bad arguments, operation by operation, on every format. clear() takes no argument that
// could be bad.

#include "unit/bad_input.hpp"
#include "unit/format_suite.hpp"

namespace slat::test {
namespace {

template <class Format>
class BadInputToASet : public FormatTest<Format> {};

// map, lazy, device: an area of that kind; over, lazy+, device+: the same with unmap_overlap. free: find_free_area() of
// the row's size from its start on, within what the guest can address; within: of a page, with the row as the limit.
constexpr std::string_view matrix = R"(
                         | map    over   lazy   lazy+  device device+ unmap protect coalesce harvest resolve  find  overlaps free  within
start a byte off         | start  start  start  start  start  start   start start   start    start   unknown  no    no       yes   no
start half a page off    | start  start  start  start  start  start   start start   start    start   unknown  no    no       yes   no
start 0                  | done   done   done   done   done   done    same  same    same     same    unknown  no    no       yes   yes
end at the limit         | done   done   done   done   done   done    same  same    same     same    unknown  no    no       yes   yes
end past the limit       | input  input  input  input  input  input   input input   input    input   unknown  no    no       no    yes
start at the limit       | input  input  input  input  input  input   input input   input    input   unknown  no    no       no    yes
start past the limit     | input  input  input  input  input  input   input input   input    input   unknown  no    no       no    yes
end at 2^64              | input  input  input  input  input  input   input input   input    input   unknown  no    no       no    yes
end past 2^64            | past   past   past   past   past   past    past  past    past     past    unknown  no    -wrap    no    limit

size a byte more         | size   size   size   size   size   size    size  size    size     size    -size    -size no       yes   yes
size a byte less         | size   size   size   size   size   size    size  size    size     size    -size    -size no       yes   no
size half a page         | size   size   size   size   size   size    size  size    size     size    -size    -size no       yes   no
size 0                   | empty  empty  empty  empty  empty  empty   same  same    same     same    -size    -size no       nil   no
size 0 inside            | empty  empty  empty  empty  empty  empty   same  same    same     same    -size    -size no       nil   no
size 0 a byte off        | either either either either either either  same  same    same     same    unknown  no    no       nil   no
size 0 at the limit      | empty  empty  empty  empty  empty  empty   same  same    same     same    unknown  no    no       nil   no
size 0 past the limit    | either either either either either either  same  same    same     same    unknown  no    no       nil   no
size of all              | -wide  -wide  exists done   exists done    done  done    same     same    -size    -size yes      no    yes
size past the limit      | either input  either input  either input   input input   input    input   -size    -size yes      no    yes
size up to 2^64          | either input  either input  either input   input input   input    input   -size    -size yes      no    yes
reversed                 | past   past   past   past   past   past    past  past    past     past    -size    -size -wrap    no    limit
reversed inside          | past   past   past   past   past   past    past  past    past     past    -size    -size -wrap    no    limit

the same                 | exists done   exists done   exists done    done  done    same     same    spurious yes   yes      yes   no
over the front           | exists done   exists done   exists done    done  done    same     same    unknown  no    yes      yes   yes
over the back            | exists done   exists done   exists done    done  done    same     same    spurious yes   yes      yes   yes
inside                   | exists done   exists done   exists done    done  done    same     same    spurious yes   yes      yes   no
around                   | exists done   exists done   exists done    done  done    same     same    unknown  no    yes      yes   yes
around, start off        | either start  either start  either start   start start   start    start   unknown  no    yes      yes   yes
around, size off         | either size   either size   either size    size  size    size     size    -size    -size yes      yes   yes
adjacent below           | done   done   done   done   done   done    same  same    same     same    unknown  no    no       yes   yes
adjacent above           | done   done   done   done   done   done    same  same    same     same    unknown  no    no       yes   yes
among pages              | exists done   exists done   exists done    done  done    same     same    spurious yes   yes      yes   no
lazy memory              | exists done   exists done   exists done    done  done    same     same    done     yes   yes      yes   no
a device                 | exists done   exists done   exists done    done  done    same     same    emulate  yes   yes      yes   no

host a byte off          | host   host   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host half a page off     | host   host   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host 0                   | done   done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host end at the output   | done   done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host block at the output | done   done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host end past it         | output output -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host block past it       | output output -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host start at it         | output output -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host start past it       | output output -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host end at 2^64         | output output -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host end past 2^64       | output output -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host of another          | done   done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host next to another's   | done   done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host as the guest's      | done   done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
host as before           | exists done   -host  -host  -host  -host   -host -host   -host    -host   -host    -host -host    -host -host
)";

/// Areas and tables agree, and `outcome` if they do.
template <class W>
Outcome agreed(W& w, Outcome outcome) {
  auto const audit = w.set.audit(w.table());
  EXPECT_TRUE(audit) << name(audit.flaw);
  return outcome;
}

/// Mapping an area of one kind. What was added is there by itself, whoever its neighbours are.
template <class W, class Make, class Declare>
Column<W> mapping(std::string_view name, Make make, bool over, Declare declare) {
  auto const call = [=](W& w, const Row& in) {
    typename W::Backend const backend = make(w, in);
    auto const done = w.set.map({in.range.begin, in.range.size, rw, backend}, w.table(), over);
    if (done) {
      auto const* const area = w.set.find(in.range.begin);
      EXPECT_TRUE(area != nullptr && area->range() == in.range && area->flags() == rw && area->backend() == backend);
    }
    return agreed(w, Outcome{done});
  };
  return {name, call, declare, {}};
}

template <class W>
Outcome resolved(W& w, const Row& in) {
  auto const done = w.set.resolve(in.range.begin, Prot::r, w.table());
  if (!done) return Outcome{Result<>{done.error()}};
  switch (*done) {
    case Resolution::mapped: return agreed(w, {});
    case Resolution::spurious: return Outcome{"spurious"sv};
    case Resolution::emulate: return Outcome{"emulate"sv};
    case Resolution::unknown: return Outcome{"unknown"sv};
    default: return Outcome{"another"sv};
  }
}

template <class W>
Outcome found(const W& w, const Result<std::optional<GuestPhys>>& found, GuestRange limit, std::uint64_t size) {
  if (!found) return Outcome{Result<>{found.error()}};
  if (*found) {
    GuestRange const free{**found, size};
    EXPECT_TRUE(free.begin.aligned_to(w.shape.page) && limit.contains(free) && !w.set.overlaps(free)) << text(free);
  }
  return Outcome{found->has_value()};
}

template <class W>
std::vector<Column<W>> columns() {
  auto const linear = [](W&, const Row& in) { return Linear{in.host}; };
  auto const lazy = [](W& w, const Row&) { return Lazy{w.source}; };
  auto const device = [](W&, const Row&) { return Device{}; };
  auto const maps = [](W&, const Row& in) { return Change::map(in.range, in.host, rw); };
  auto const unmaps = [](W&, const Row& in) { return Change::unmap(in.range); };
  auto const protects = [](W& w, const Row& in) { return Change::attributes(w.oracle.intent(), in.range, rw); };
  auto const populates = [](W& w, const Row& in) {
    return Change::map({in.range.begin, w.shape.page}, w.pages.frame(1), rx);
  };
  auto const to_rw = [](Attr) { return std::optional{rw}; };
  auto const no_run = [](GuestRange) { ADD_FAILURE() << "nothing is dirty"; };
  return {
      mapping<W>("map", linear, false, maps),
      mapping<W>("over", linear, true, maps),
      mapping<W>("lazy", lazy, false, unmaps),
      mapping<W>("lazy+", lazy, true, unmaps),
      mapping<W>("device", device, false, unmaps),
      mapping<W>("device+", device, true, unmaps),
      {"unmap",
       [](W& w, const Row& in) {
         auto const done = w.set.unmap(in.range.begin, in.range.size, w.table());
         EXPECT_TRUE(!done || !w.set.overlaps(in.range));
         return agreed(w, Outcome{done});
       },
       unmaps},
      {"protect",
       [=](W& w, const Row& in) {
         return agreed(w, Outcome{w.set.protect(in.range.begin, in.range.size, to_rw, w.table())});
       },
       protects},
      {"coalesce",
       [](W& w, const Row& in) {
         return agreed(w, Outcome{w.set.coalesce(in.range.begin, in.range.size, w.table())});
       }},
      {"harvest", [=](W& w, const Row& in) { return Outcome{w.set.harvest(in.range, no_run, w.table())}; }},
      {"resolve", resolved<W>, populates},
      {"find", [](W& w, const Row& in) { return Outcome{w.set.find(in.range.begin) != nullptr}; }},
      {"overlaps", [](W& w, const Row& in) { return Outcome{w.set.overlaps(in.range)}; }},
      {"free",
       [](W& w, const Row& in) {
         GuestRange const all{GuestPhys{0}, w.shape.input};
         return found(w, w.set.find_free_area(in.range.begin, in.range.size, all, w.shape.page), all, in.range.size);
       }},
      {"within",
       [](W& w, const Row& in) {
         return found(w, w.set.find_free_area(GuestPhys{0}, w.shape.page, in.range, w.shape.page), in.range,
                      w.shape.page);
       }},
  };
}

FORMAT_TEST(BadInputToASet, IsNamedAndChangesNothingInEveryArgumentOfEveryOperation) {
  using W = World<Format>;
  auto words = Matrix<W>{matrix, columns<W>()}.run(this->make());
  std::size_t excluded = 0, cells = 0;
  for (auto const& [word, count] : words) (word[0] == '-' ? excluded : cells) += count;
  EXPECT_EQ(cells + excluded, 49u * 15);
  EXPECT_EQ(words["-host"], 15u * 13);
  EXPECT_EQ(words["-size"], 11u * 2);
  EXPECT_EQ(words["-wide"], 2u);
  EXPECT_EQ(words["-wrap"], 3u);
  EXPECT_EQ(excluded, 15u * 13 + 11u * 2 + 2u + 3u);
}

}  // namespace
}  // namespace slat::test
