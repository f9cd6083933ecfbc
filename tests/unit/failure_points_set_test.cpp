// Every allocation of every call of a set fails once, its index nodes' among them: with 16 areas the next does not fit
// inside the set and needs a block of leaves and one of the nodes above them, and with a full block of leaves another.

#include "unit/failure_points.hpp"

namespace slat::test {
namespace {

template <class Format>
class SetFailures : public FormatTest<Format> {
 protected:
  using S = Scene<Format>;

  enum class Leaves : std::uint8_t { one_area, two_areas };
  struct Op {
    std::string_view name;
    Leaves leaves;  // are one area, or one each
    GuestRange range;
    std::function<Result<>(S&)> call;
    std::function<Change(S&)> declare;
    std::uint64_t nodes;   // areas more, for a moment at least
    std::uint64_t frames;  // for tables
  };

  void add(S& s, GuestRange range, Attr attr, HostPhys host) {
    ASSERT_TRUE(s.oracle.perform("set.map", Change::map(range, host, attr), [&] {
      return s.set.map({range.begin, range.size, attr, Linear{host}}, s.table());
    }));
  }
  void furnish(S& s, Leaves as) {
    auto const all = s.leaves();
    GuestRange const first{all.begin, s.large()};
    if (as == Leaves::one_area) return add(s, all, rwx, s.ram());
    add(s, first, rwx, s.ram());
    add(s, {first.end(), s.large()}, rwx, HostPhys{32 * s.large()});
  }
  /// Areas that are never mapped, until the set is full for the `blocks`-th time.
  void fill(S& s, std::size_t blocks) {
    s.frames().fail_after(blocks);
    for (std::uint64_t n = 0;; n += 2) {
      ASSERT_LT(n, 4000u);
      auto const start = GuestPhys{6 * s.large() + n * s.page()};
      auto const done = s.set.map({start, s.page(), rw, Device{}}, s.table());
      if (done) continue;
      EXPECT_EQ(done.error(), (Error{Errc::no_memory, Argument::nodes, 1, {start, s.page()}})) << said(done.error());
      break;
    }
    s.frames().never_fail();
    if (blocks == 0) {
      EXPECT_EQ(s.set.len(), 16u);
    } else {
      EXPECT_GT(s.set.len(), 16u);
    }
  }

  static std::vector<Op> ops(S& s) {
    auto const maps = [](GuestRange range, HostPhys host) { return [=](S&) { return Change::map(range, host, rw); }; };
    auto const unmaps = [](GuestRange range) { return [=](S&) { return Change::unmap(range); }; };
    auto const same = [](GuestRange range) { return [=](S& w) { return Change::same(w.oracle.intent(), range); }; };
    auto const protects = [](GuestRange range, Attr attr) {
      return [=](S& w) { return Change::attributes(w.oracle.intent(), range, attr); };
    };
    auto const map = [](GuestRange range, auto backend, bool over) {
      return [=](S& w) { return w.set.map({range.begin, range.size, rw, backend}, w.table(), over); };
    };
    auto const unmap = [](GuestRange range) {
      return [=](S& w) { return w.set.unmap(range.begin, range.size, w.table()); };
    };
    auto const protect = [](GuestRange range, std::optional<Attr> attr) {
      return [=](S& w) {
        return w.set.protect(
            range.begin, range.size, [=](Attr) { return attr; }, w.table());
      };
    };
    auto const one = Leaves::one_area, two = Leaves::two_areas;
    auto const hole = s.hole(), middle = s.middle(), leaves = s.leaves();
    auto const host = s.ram(), other = s.other_ram();
    auto const both_ends = 2 * s.cut();
    auto const uncached = rw | Memory::uncached;
    return {
        {"map", one, hole, map(hole, Linear{host}, false), maps(hole, host), 1, s.two_ways()},
        {"map over the middle", one, middle, map(middle, Linear{other}, true), maps(middle, other), 2, both_ends},
        {"a device over the middle", one, middle, map(middle, Device{}, true), unmaps(middle), 2, both_ends},
        {"unmap the middle", one, middle, unmap(middle), unmaps(middle), 2, both_ends},
        {"protect the middle", one, middle, protect(middle, ro), protects(middle, ro), 2, both_ends},
        {"change the type of the middle", one, middle, protect(middle, uncached), protects(middle, uncached), 2,
         both_ends},
        {"map over two", two, middle, map(middle, Linear{other}, true), maps(middle, other), 2, both_ends},
        {"unmap across two", two, middle, unmap(middle), unmaps(middle), 2, both_ends},
        {"protect across two", two, middle, protect(middle, ro), protects(middle, ro), 2, both_ends},
        {"change the type across two", two, middle, protect(middle, uncached), protects(middle, uncached), 2,
         both_ends},

        {"map over all", one, leaves, map(leaves, Linear{host}, true), maps(leaves, host), 0, 0},
        {"a device over all", two, leaves, map(leaves, Device{}, true), unmaps(leaves), 0, 0},
        {"unmap all", two, leaves, unmap(leaves), unmaps(leaves), 0, 0},
        {"protect all", two, leaves, protect(leaves, ro), protects(leaves, ro), 0, 0},
        {"protect what wants none", one, middle, protect(middle, std::nullopt), same(middle), 0, 0},
        {"coalesce", two, leaves, [=](S& w) { return w.set.coalesce(leaves.begin, leaves.size, w.table()); },
         same(leaves), 0, 0},
        {"harvest", two, leaves,
         [=](S& w) {
           return w.set.harvest(
               leaves, [](GuestRange) {}, w.table());
         },
         [=](S& w) { return Change::harvest(w.oracle.intent(), leaves); }, 0, 0},
        {"clear", two, leaves, [](S& w) { return w.set.clear(w.table()); }, unmaps(leaves), 0, 0},
    };
  }

  /// `blocks` of nodes is what more areas take.
  std::size_t exercise(S& s, const Op& op, std::size_t blocks) {
    auto const of_nodes = op.nodes == 0 ? 0 : blocks;
    auto const points = fail_at_every_point(
        s, op.name, [&] { return op.declare(s); }, [&] { return op.call(s); },
        [&](std::size_t k, const Error& error) {
          Error expected{Errc::no_memory, Argument::nodes, op.nodes, op.range};
          if (k >= of_nodes) {
            // The frames are those of the area that could not have them, and so is the range.
            bool const whole = op.leaves == Leaves::one_area || error.range == op.range;
            expected = {Errc::no_memory, Argument::frames, whole ? op.frames : op.frames / 2, error.range};
            EXPECT_TRUE(op.range.contains(error.range) && (whole || op.leaves == Leaves::two_areas));
          }
          EXPECT_EQ(error, expected) << said(error);
        });
    EXPECT_EQ(points, of_nodes + op.frames) << op.name;
    auto const audit = s.set.audit(s.table());
    EXPECT_TRUE(audit) << name(audit.flaw);
    return points;
  }
  /// Everything goes back: what is left is the root.
  void leave(S& s) {
    GuestRange const all{GuestPhys{0}, s.geometry.input_size()};
    ASSERT_TRUE(s.oracle.perform("clear", Change::unmap(all), [&] { return s.set.clear(s.table()); }));
    s.expect_sound();
    EXPECT_TRUE(s.set.is_empty());
    EXPECT_EQ(s.frames().in_use(), s.geometry.root_bytes() / s.geometry.table_bytes());
  }

  std::size_t all_points(std::size_t blocks) const {
    auto const shape = FormatTest<Format>::make().geometry();
    return (blocks + 2 * shape.root) + 9 * (blocks + 2 * shape.top_leaf);
  }
};

FORMAT_TEST(SetFailures, WithAnyNodeOrFrameMissingACallChangesNothingAndThenItSucceeds) {
  struct Full {
    std::size_t blocks, more;
  };
  for (auto const [blocks, more] : {Full{0, 2}, Full{2, 1}, Full{3, 1}}) {
    std::size_t points = 0, count = 0;
    Scene<Format> measures{this->make()};
    for (auto const& op : this->ops(measures)) {
      Scene<Format> s{this->make()};
      this->furnish(s, op.leaves);
      this->fill(s, blocks);
      points += this->exercise(s, op, more);
      this->leave(s);
      ++count;
    }
    EXPECT_EQ(count, 18u);
    EXPECT_EQ(points, this->all_points(more));
  }
}

FORMAT_TEST(SetFailures, ThatIsSoAlsoForTheSecondCallOfAnEdit) {
  std::size_t points = 0;
  Scene<Format> measures{this->make()};
  for (auto const& op : this->ops(measures)) {
    Scene<Format> s{this->make()};
    this->furnish(s, op.leaves);
    this->fill(s, 0);
    auto const& recorder = s.oracle.recorder();
    auto const shootdowns = recorder.shootdowns();
    {
      auto edit = s.oracle.edit();
      auto const leaves = s.leaves();
      ASSERT_TRUE(s.oracle.perform("protect", Change::attributes(s.oracle.intent(), leaves, rw), [&] {
        return s.set.protect(
            leaves.begin, leaves.size, [](Attr) { return std::optional{rw}; }, s.table());
      }));
      points += this->exercise(s, op, 2);
      EXPECT_EQ(recorder.shootdowns(), shootdowns) << "before the edit ended";
    }
    EXPECT_EQ(recorder.shootdowns(), shootdowns + 1);
    this->leave(s);
  }
  EXPECT_EQ(points, this->all_points(2));
}

}  // namespace
}  // namespace slat::test
