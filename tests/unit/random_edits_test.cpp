// Random edits of every kind, on every format, under a TLB that keeps all it may and hardware that acts at every
// moment: no rule is broken, the books are right after every call, and a call takes exactly the frames that it asked
// for.
//
// SLAT_SEQUENCES in the environment says how many sequences to run on each format, SLAT_SEED where to begin.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>

#include <slat/testing/oracle.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  auto const* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

/// One table and some sixty random calls on it, a few of them in wider edits. They meet in a handful of blocks around a
/// boundary of the level above, so that they run into each other.
template <class Format>
class Sequence {
 public:
  Sequence(const Format& format, std::uint64_t seed)
      : random_{seed}, format_{format}, shape_{format_.geometry()}, oracle_{format_, options(seed)} {}

  void run() {
    for (auto i = 0; i != 60 && sound(); ++i) {
      step();
      auto const audit = oracle_.table().audit();
      if (!audit) complain(std::string{name(audit.flaw)} + " at " + text(audit.where));
    }
    edit_.reset();
    oracle_.frames().never_fail();
    oracle_.tlb().check_tables();
    oracle_.destroy();
  }
  bool sound() const { return oracle_.violation() == Offence::none && complaint_.empty(); }
  std::string why() const { return complaint_ + oracle_.why(); }

 private:
  using Checked = Oracle<Format>;

  OracleOptions options(std::uint64_t seed) {
    return {.frames = 96,
            .tlb = {.seed = seed, .period = 2 + static_cast<unsigned>(random_.below(1u << random_.below(11)))}};
  }

  void step() {
    auto const range = some_range();
    auto const host = some_host(range);
    auto const attr = some_attr();
    switch (random_.below(20)) {
      case 0:
      case 1:
      case 2: make(Map{range, host, attr}, [&] { return oracle_.map(range, host, attr); }); break;
      case 3:
      case 4:
      case 5: make(Replace{range, host, attr}, [&] { return oracle_.replace(range, host, attr); }); break;
      case 6: make(Unmap{range}, [&] { return oracle_.unmap(range); }); break;
      case 7: make(Unmap{range}, [&] { return oracle_.unmap(range, format_.harvestable(), [](GuestRange) {}); }); break;
      case 8:
      case 9:
      case 10: make(Protect{range, attr}, [&] { return oracle_.protect(range, attr); }); break;
      case 11: make(Coalesce{range}, [&] { return oracle_.coalesce(range); }); break;
      case 12: make(Split{range}, [&] { return oracle_.split(range); }); break;
      case 13: (void)oracle_.harvest(range, {false, true}); break;
      case 14: (void)oracle_.harvest(range, {format_.harvestable().accessed, random_.once_in(2)}); break;
      case 15: comb(range); break;
      case 16:
        if (!edit_) edit_.emplace(oracle_);
        break;
      case 17: edit_.reset(); break;
      case 18:
        if (edit_) edit_->settle();
        break;
      default:
        for (auto i = 0; i != 6; ++i) oracle_.tlb().use(some_page(range), random_.once_in(2));
    }
  }

  /// Makes the call, sometimes with too few frames: it succeeds with as many as it said, and with one fewer it does
  /// not.
  template <class Change, class Call>
  void make(const Change& change, Call call) {
    auto& frames = oracle_.frames();
    auto const needed = oracle_.table().frames_needed(change);
    std::uint64_t room = frames.count() - frames.in_use();
    if (random_.once_in(6)) {
      auto const limit = needed && *needed != 0 && random_.once_in(2) ? *needed - 1 : random_.below(3);
      if (limit < room) room = limit;
      frames.fail_after(limit);
    }
    auto const before = frames.allocations();
    auto const done = call();
    auto const taken = frames.allocations() - before;
    frames.never_fail();
    if (!needed) {
      if (done || done.error().code != needed.error().code) complain("frames_needed() refused, the call did not");
    } else if (done) {
      if (taken != *needed) complain(std::to_string(taken) + " frames taken, " + std::to_string(*needed) + " needed");
    } else if (done.error().code != Errc::no_memory || room >= *needed) {
      complain(std::to_string(*needed) + " frames needed, " + std::to_string(room) + " there, and refused");
    }
  }
  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what + "\n";
  }

  /// A call that owes for every other page, more than a list of ranges holds, before it cuts the next block.
  void comb(GuestRange range) {
    auto const page = shape_.page_size();
    auto const block = shape_.span(1);
    (void)oracle_.protect(range, ro);
    for (std::uint64_t i = 0; i != 20 && (2 * i + 1) * page <= range.size; ++i)
      (void)oracle_.protect({range.begin + 2 * i * page, page}, rwx);
    auto const end = range.begin.down_to(block) + block + block / 2;
    (void)oracle_.protect(GuestRange::between(range.begin, end), ro);
  }

  GuestPhys some_page(GuestRange range) {
    return range.begin + random_.below(range.size / shape_.page_size()) * shape_.page_size();
  }

  GuestRange some_range() {
    auto const page = shape_.page_size();
    auto const block = shape_.span(1);
    auto const base = shape_.root >= 2 ? GuestPhys{shape_.span(2) - 2 * block} : GuestPhys{0};
    switch (small_ ? 5 + random_.below(3) : random_.below(9)) {
      case 0: return {base + random_.below(4) * block, block};
      case 1: return {base + random_.below(2) * block, 2 * block};
      case 2: return {base, 4 * block};
      case 3:
        if (shape_.top_leaf >= 2) return {GuestPhys{0}, 2 * shape_.span(2)};
        [[fallthrough]];
      case 4: return {base + random_.below(3) * block + block / 2, block};
      case 5: return {base + random_.below(4) * block + random_.below(4) * page, (1 + random_.below(4)) * page};
      case 6:
        return {base + (1 + random_.below(3)) * block - (1 + random_.below(3)) * page, (2 + random_.below(4)) * page};
      default: return {base + random_.below(48) * page, (1 + random_.below(6)) * page};
    }
  }

  /// Mostly where blocks fit, and few enough that old and new often agree.
  HostPhys some_host(GuestRange range) {
    auto const far = shape_.top_leaf >= 2 ? shape_.span(2) * 2 : shape_.span(1) * 16;
    auto const skew = far * (1 + random_.below(2)) + (random_.once_in(4) ? 3 * shape_.page_size() : 0);
    return HostPhys{skew + range.begin.raw()};
  }

  Attr some_attr() {
    switch (random_.below(6)) {
      case 0: return ro;
      case 1: return rx;
      case 2: return rw;
      case 3: return rw | Memory::uncached;
      default: return rwx;
    }
  }

  Random random_;
  bool small_ = random_.once_in(3);  // a few pages at a time: tables become empty
  Format format_;
  Geometry shape_;
  Checked oracle_;
  std::optional<typename Checked::Edit> edit_;
  std::string complaint_;
};

template <class Format>
class RandomEdits : public FormatTest<Format> {};

FORMAT_TEST(RandomEdits, NothingThatMayBeCachedIsEverWrong) {
  auto const format = this->make();
  auto const first = from_environment("SLAT_SEED", 1);
  // Pages are many in a block of a large granule: fewer sequences make as many stores.
  auto const count = 1 + from_environment("SLAT_SEQUENCES", 12) * 512 / format.geometry().entries(0);
  for (auto seed = first; seed != first + count; ++seed) {
    Sequence<Format> sequence{format, seed};
    sequence.run();
    ASSERT_TRUE(sequence.sound()) << "seed " << seed << "\n" << sequence.why();
  }
}

}  // namespace
}  // namespace slat::test
