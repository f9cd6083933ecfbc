#pragma once

// Random edits of one table under the oracle: mostly few pages around a few block boundaries, so that calls run into
// each other, some of them in wider edits and some with too few frames.

#include <optional>
#include <string>

#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>
#include "mutants/check.hpp"

namespace slat::test {
using namespace slat::testing;

/// One table and a few random calls on it.
template <class Format>
class Edits {
 public:
  Edits(const Format& format, std::uint64_t seed)
      : random_{seed}, shape_{format.geometry()}, oracle_{format, {.frames = 64, .tlb = {.seed = seed, .period = 6}}} {}

  /// Up to the first violation. Each call of the table counts, and so does the end of an edit.
  Outcome run() {
    for (auto i = 0; i != 50 && violation().empty(); ++i) step();
    if (auto const wrong = violation(); !wrong.empty()) return {operations_, wrong};
    edit_.reset();
    ++operations_;
    oracle_.tlb().check_tables();
    oracle_.destroy();
    alive_ = false;
    return {operations_, violation()};
  }

 private:
  using Checked = Oracle<Format>;

  std::string violation() {
    if (oracle_.violation() != Offence::none) return oracle_.why();
    if (!complaint_.empty() || !alive_) return complaint_;
    auto const audit = oracle_.table().audit();
    return audit ? std::string{} : std::string{name(audit.flaw)} + " at " + text(audit.where);
  }

  bool did(const Result<>& done) {
    ++operations_;
    return done && oracle_.violation() == Offence::none;
  }

  void step() {
    auto const range = some_range();
    auto const attr = some_attr();
    if (random_.once_in(6)) oracle_.frames().fail_after(random_.below(3));
    switch (random_.below(18)) {
      case 0:
      case 1:
      case 2: did(oracle_.map(range, some_host(range), attr)); break;
      case 3:
      case 4:
      case 5: did(oracle_.replace(range, some_host(range), attr)); break;
      case 6:
      case 7: did(oracle_.unmap(range)); break;
      case 8:
      case 9: did(oracle_.protect(range, attr)); break;
      case 10: did(oracle_.split(range)); break;
      case 11: did(oracle_.coalesce(range)); break;
      case 12: restore(range, attr); break;
      case 13: did(oracle_.harvest(range, {false, true})); break;
      case 14:
        if (!edit_) edit_.emplace(oracle_);
        break;
      case 15:
        if (edit_) ++operations_;
        edit_.reset();
        break;
      case 16:
        if (!edit_) break;
        ++operations_;
        edit_->settle();
        break;
      default:
        ++operations_;
        for (auto i = 0; i != 8; ++i) oracle_.tlb().use(some_page(range), random_.once_in(2));
    }
    oracle_.frames().never_fail();
  }

  /// Has a block divided and made whole again; or puts something in the way of that, which must stay as it is.
  void restore(GuestRange range, Attr attr) {
    auto const level = static_cast<Level>(1 + random_.below(shape_.top_leaf));
    GuestRange const block = shape_.slot(range.begin, level);
    auto const page = range.clamp_to({range.begin, shape_.page_size()});
    HostPhys const host{far() + block.begin.raw()};
    auto const obstacle = random_.below(3);
    auto const first = obstacle == 1 ? host + shape_.page_size() : host;
    // What the level above could hold whole is left alone: it would take too many pages.
    if (obstacle == 1 && level != 1) return;
    bool whole =
        did(oracle_.replace(block, first, attr)) && did(oracle_.protect(page, ro)) && did(oracle_.protect(block, attr));
    if (whole && obstacle == 2) whole = did(oracle_.replace(page, host + 2 * block.size, attr));
    whole = whole && did(oracle_.coalesce(block));
    if (!whole || edit_ || obstacle != 0) return;
    if (oracle_.table().query(block.begin).level != level) complaint_ = "coalescing did not restore the block";
  }

  GuestPhys some_page(GuestRange range) {
    return range.begin + random_.below(range.size / shape_.page_size()) * shape_.page_size();
  }
  /// Around the last two blocks below the first boundary of the level above.
  GuestRange some_range() {
    auto const page = shape_.page_size();
    auto const block = shape_.span(1);
    GuestPhys const base{shape_.span(2) - 2 * block};
    switch (random_.below(11)) {
      case 0: return {base + random_.below(4) * block, block};
      case 10: return {base + random_.below(2) * block + block / 2, 2 * block};
      case 1: return {base + random_.below(2) * block, 2 * block};
      case 2: return {GuestPhys{0}, shape_.span(2)};
      case 3: return {base + random_.below(3) * block + block / 2, block};
      case 4:
        return {base + (1 + random_.below(3)) * block - (1 + random_.below(3)) * page, (2 + random_.below(4)) * page};
      default: return {base + random_.below(3) * block + random_.below(6) * page, (1 + random_.below(3)) * page};
    }
  }
  // Past 4 GiB, so that both halves of an entry have a part of it.
  std::uint64_t far() const { return shape_.span(2) * 9; }
  HostPhys some_host(GuestRange range) {
    auto const skew = far() * (1 + random_.below(2)) + (random_.once_in(4) ? 3 * shape_.page_size() : 0);
    return HostPhys{skew + range.begin.raw()};
  }
  Attr some_attr() {
    constexpr Attr all[] = {ro, rx, rw, rw | Memory::uncached, rwx, rwx};
    return all[random_.below(6)];
  }

  Random random_;
  Geometry shape_;
  Checked oracle_;
  std::optional<typename Checked::Edit> edit_;
  std::uint64_t operations_ = 0;
  std::string complaint_;
  bool alive_ = true;
};

template <class Format>
Outcome run_edits(const Format& format, std::uint64_t sequences) {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed <= sequences && outcome.violation.empty(); ++seed) {
    auto const one = Edits<Format>{format, seed}.run();
    outcome = {outcome.operations + one.operations, one.violation};
  }
  return outcome;
}

}  // namespace slat::test
