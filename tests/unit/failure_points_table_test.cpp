// Every allocation of every call of a page table fails once, alone and as the second call of a wider edit.

#include "unit/failure_points.hpp"

namespace slat::test {
namespace {

template <class Format>
class TableFailures : public FormatTest<Format> {
 protected:
  using S = Scene<Format>;

  struct Op {
    std::string_view name;
    GuestRange range;
    std::function<Result<>(S&)> call;
    std::function<Change(S&)> declare;
    std::function<Result<std::uint64_t>(S&)> needed;  // of the same change; none for what is no change
    std::uint64_t frames;                             // alone
    std::uint64_t frames_when_cut;                    // where the left leaf has been cut near its edge
    bool pays = false;                                // what the edit owes
  };

  template <class Change>
  static std::function<Result<std::uint64_t>(S&)> needed(const Change& change) {
    return [=](S& s) { return s.table().frames_needed(change); };
  }

  /// Three blocks that nothing larger can be made of.
  static GuestRange blocks(const S& s) { return {GuestPhys{4 * s.large() + s.block()}, 3 * s.block()}; }
  /// Pages that one block can be made of.
  static GuestRange pages(const S& s) { return {GuestPhys{4 * s.large() + 6 * s.block()}, s.block()}; }

  void furnish(S& s) {
    ASSERT_TRUE(s.oracle.map(s.leaves(), s.ram(), rwx));
    ASSERT_EQ(s.table().query(s.leaves().begin).level, s.geometry.top_leaf);
    ASSERT_TRUE(s.oracle.map(blocks(s), HostPhys{32 * s.large()}, rwx));
    ASSERT_EQ(s.table().query(blocks(s).begin).level, 1u);
    ASSERT_TRUE(s.oracle.map(pages(s), HostPhys{48 * s.large()}, rwx));
    ASSERT_TRUE(s.oracle.split(pages(s)));
    ASSERT_EQ(s.table().query(pages(s).begin).level, 0u);
  }

  static std::vector<Op> ops(const S& s) {
    auto const map = [](GuestRange range, HostPhys host) { return [=](S&) { return Change::map(range, host, rw); }; };
    auto const same = [](GuestRange range) { return [=](S& w) { return Change::same(w.oracle.intent(), range); }; };
    auto const to = [](GuestRange range, Attr attr) {
      return [=](S& w) { return Change::attributes(w.oracle.intent(), range, attr); };
    };
    auto const hole = s.hole();
    auto const middle = s.middle();
    auto const leaves = s.leaves();
    auto const split = blocks(s);
    auto const whole = pages(s);
    GuestRange const one{leaves.begin + s.page(), s.large() - 2 * s.page()};
    GuestRange const all{GuestPhys{0}, s.geometry.input_size()};
    auto const host = s.ram();
    auto const other = s.other_ram();
    auto const uncached = rw | Memory::uncached;
    auto const cut = s.cut();
    return {
        {"map", hole, [=](S& w) { return w.table().map(hole, host, rw); }, map(hole, host), needed(Map{hole, host, rw}),
         s.two_ways(), s.two_ways()},
        {"replace nothing", hole, [=](S& w) { return w.table().replace(hole, host, rw); }, map(hole, host),
         needed(Replace{hole, host, rw}), s.two_ways(), s.two_ways()},
        {"replace", middle, [=](S& w) { return w.table().replace(middle, other, rw); }, map(middle, other),
         needed(Replace{middle, other, rw}), 2 * cut, cut},
        {"unmap", middle, [=](S& w) { return w.table().unmap(middle); }, [=](S&) { return Change::unmap(middle); },
         needed(Unmap{middle}), 2 * cut, cut},
        // One leaf cut at both ends: they share the table below it.
        {"unmap inside one", one, [=](S& w) { return w.table().unmap(one); }, [=](S&) { return Change::unmap(one); },
         needed(Unmap{one}), 2 * cut - 1, cut - 1},
        {"unmap and tell", middle, [=](S& w) { return w.table().unmap(middle, {.dirty = true}, [](GuestRange) {}); },
         [=](S&) { return Change::unmap(middle); }, needed(Unmap{middle}), 2 * cut, cut, true},
        {"protect", middle, [=](S& w) { return w.table().protect(middle, ro); }, to(middle, ro),
         needed(Protect{middle, ro}), 2 * cut, cut},
        {"change the memory type", middle, [=](S& w) { return w.table().protect(middle, uncached); },
         to(middle, uncached), needed(Protect{middle, uncached}), 2 * cut, cut},
        {"split", split, [=](S& w) { return w.table().split(split); }, same(split), needed(Split{split}), 3, 3},

        {"protect whole leaves", leaves, [=](S& w) { return w.table().protect(leaves, ro); }, to(leaves, ro),
         needed(Protect{leaves, ro}), 0, 0},
        {"replace whole leaves", leaves, [=](S& w) { return w.table().replace(leaves, host, rw); }, map(leaves, host),
         needed(Replace{leaves, host, rw}), 0, 0},
        {"unmap whole leaves", leaves, [=](S& w) { return w.table().unmap(leaves); },
         [=](S&) { return Change::unmap(leaves); }, needed(Unmap{leaves}), 0, 0},
        {"unmap everything", all, [=](S& w) { return w.table().unmap(all); }, [=](S&) { return Change::unmap(all); },
         needed(Unmap{all}), 0, 0},
        {"coalesce", whole, [=](S& w) { return w.table().coalesce(whole); }, same(whole), needed(Coalesce{whole}), 0,
         0},
        {"harvest", leaves, [=](S& w) { return w.oracle.table().harvest(leaves, {.dirty = true}, [](GuestRange) {}); },
         [=](S& w) { return Change::harvest(w.oracle.intent(), leaves); }, nullptr, 0, 0},
        {"lift write protection", leaves,
         [=](S& w) -> Result<> {
           (void)SLAT_TRY(w.table().lift_protection(leaves.begin));
           return {};
         },
         same(leaves), nullptr, 0, 0},
    };
  }

  /// Returns the points that there were.
  std::size_t exercise(S& s, const Op& op, std::uint64_t frames) {
    auto const promised = [&] {
      if (!op.needed) return;
      auto const needed = op.needed(s);
      ASSERT_TRUE(needed) << said(needed.error());
      EXPECT_EQ(*needed, frames) << op.name;
    };
    promised();
    auto const points = fail_at_every_point(
        s, op.name, [&] { return op.declare(s); }, [&] { return op.call(s); },
        [&](std::size_t, const Error& error) {
          EXPECT_EQ(error, (Error{Errc::no_memory, Argument::frames, frames, op.range})) << said(error);
          promised();
        });
    EXPECT_EQ(points, frames) << op.name;
    return points;
  }
  static std::uint64_t sum(const std::vector<Op>& all, std::uint64_t Op::*frames) {
    std::uint64_t total = 0;
    for (auto const& op : all) total += op.*frames;
    return total;
  }
};

FORMAT_TEST(TableFailures, TheRootIsHadOrThereIsNoTable) {
  Recorder quiet;
  auto const geometry = this->make().geometry();
  RecordingFrames frames{quiet, geometry.table_bytes(), 32};
  for (std::size_t k = 0; k != 2; ++k) {
    frames.fail_after(k);
    auto const table = Scene<Format>::Table::create(this->make(), frames, RecordingHook{quiet});
    frames.never_fail();
    EXPECT_EQ(static_cast<bool>(table), k == 1);
    EXPECT_EQ(frames.in_use(), k * geometry.root_bytes() / geometry.table_bytes());
    if (!table) {
      EXPECT_EQ(table.error(),
                (Error{Errc::no_memory, Argument::frames, geometry.root_bytes() / geometry.table_bytes()}));
    }
  }
  EXPECT_EQ(frames.in_use(), 0u);
  EXPECT_EQ(quiet.violation(), std::nullopt);
}

FORMAT_TEST(TableFailures, WithAnyFrameMissingACallChangesNothingAndWithTheFramesNeededItSucceeds) {
  std::uint64_t points = 0;
  auto const all = this->ops(Scene<Format>{this->make()});
  for (auto const& op : all) {
    Scene<Format> s{this->make()};
    this->furnish(s);
    points += this->exercise(s, op, op.frames);
    s.oracle.destroy();
    EXPECT_EQ(s.frames().in_use(), 0u) << op.name;
  }
  // Two ways down twice, both ends five times, one leaf's both ends, three blocks.
  auto const shape = this->make().geometry();
  EXPECT_EQ(all.size(), 16u);
  EXPECT_EQ(points, 4 * shape.root + 5 * 2 * shape.top_leaf + (2 * shape.top_leaf - 1) + 3);
}

FORMAT_TEST(TableFailures, ThatIsSoAlsoForTheSecondCallOfAnEdit) {
  auto const shape = this->make().geometry();
  std::uint64_t points = 0, points_when_cut = 0;
  for (bool const cut : {false, true})
    for (auto const& op : this->ops(Scene<Format>{this->make()})) {
      SCOPED_TRACE(cut ? "after a cut" : "after a change of rights");
      Scene<Format> s{this->make()};
      this->furnish(s);
      auto const shootdowns = s.oracle.recorder().shootdowns();
      {
        // The first call leaves a debt on all that the second changes, or a cut block (a broken slot, where it breaks).
        auto edit = s.oracle.edit();
        auto const leaves = s.leaves();
        auto const range = cut ? GuestRange{leaves.begin + 3 * s.page(), s.page()} : leaves;
        ASSERT_TRUE(s.oracle.protect(range, rw));
        (cut ? points_when_cut : points) += this->exercise(s, op, cut ? op.frames_when_cut : op.frames);
        EXPECT_EQ(s.oracle.recorder().shootdowns(), shootdowns + op.pays) << "before the edit ended";
      }
      EXPECT_EQ(s.oracle.recorder().shootdowns(), shootdowns + 1);
      s.expect_sound();
      s.oracle.destroy();
      EXPECT_EQ(s.frames().in_use(), 0u) << op.name;
    }
  EXPECT_EQ(points, 4 * shape.root + 5 * 2 * shape.top_leaf + (2 * shape.top_leaf - 1) + 3);
  EXPECT_EQ(points_when_cut, 4 * shape.root + 5 * shape.top_leaf + (shape.top_leaf - 1) + 3);
}

}  // namespace
}  // namespace slat::test
