// A cursor's calls, beside a twin that is changed by apply(): nobody can tell by what is stored, told and owed,
// whatever comes in between.

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>

#include <slat/mm/cursor.hpp>
#include <slat/testing/random.hpp>
#include "unit/format_suite.hpp"
#include "unit/twins.hpp"

namespace slat::test {
namespace {

template <class Format>
class CursorOf : public FormatTest<Format> {
 protected:
  using Twin = Twins<Format>;
  using Next = Cursor<PageTable<Format, RecordingFrames, RecordingHook>>;

  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  std::uint64_t count() const { return geometry.entries(0); }
  GuestRange one(std::uint64_t blocks, std::uint64_t pages = 0) const {
    return {GuestPhys{blocks * block() + pages * page()}, page()};
  }
  GuestRange next(const Next& cursor) const { return {cursor.at(), page()}; }
  HostPhys ram(GuestPhys at) const { return HostPhys{16 * block() + at.raw()}; }
  GuestRange all() const { return {GuestPhys{0}, geometry.input_size()}; }
  bool pages_in_root() const { return geometry.root == 0; }

  Geometry geometry = FormatTest<Format>::make().geometry();
};

// Across a table's end, so that tables come and go.
FORMAT_TEST(CursorOf, ChangesPageAfterPageAsApplyDoes) {
  Twins<Format> twins{this->make(), 12};
  auto const first = this->count() - 3, pages = this->count() + 6;
  auto const over = [&](auto step) {
    twins.open();
    {
      typename TestFixture::Next next{twins.table(), this->one(0, first).begin};
      for (std::uint64_t i = 0; i != pages; ++i) ASSERT_TRUE(step(next)) << i << twins.why();
    }
    twins.close();
    ASSERT_TRUE(twins.sound()) << twins.why();
  };
  over([&](auto& next) { return twins.step(next, Map{this->next(next), this->ram(next.at()), rw}); });
  for (auto const attr : {ro, ro, rw, rw | Memory::uncached})
    over([&](auto& next) { return twins.step(next, Protect{this->next(next), attr}); });
  twins.use(this->one(1, 2).begin, true);
  over([&](auto& next) { return twins.step(next, Protect{this->next(next), ro}); });
  over([&](auto& next) { return twins.step(next, Unmap{this->next(next)}); });
  over([&](auto& next) { return twins.step(next, Unmap{this->next(next)}); });
  EXPECT_TRUE(twins.finish()) << twins.why();
}

FORMAT_TEST(CursorOf, IsOneEdit) {
  Twins<Format> twins{this->make(), 12};
  auto& table = twins.table();
  auto& recorder = twins.recorder();
  auto const costs = [&](std::size_t publishes, std::size_t shootdowns) {
    EXPECT_EQ(recorder.publishes(), publishes);
    EXPECT_EQ(recorder.shootdowns(), shootdowns);
    recorder.clear_counts();
  };
  auto const pages = 3 * this->count();
  recorder.clear_counts();
  {
    Cursor next{table, GuestPhys{0}};
    for (std::uint64_t i = 0; i != pages; ++i) ASSERT_TRUE(next.map(this->ram(next.at()), rw));
    costs(0, 0);
  }
  costs(1, 0);
  {
    Cursor next{table, GuestPhys{0}};
    for (std::uint64_t i = 0; i != pages; ++i) ASSERT_TRUE(next.protect(ro));
    costs(0, 0);
    next.settle();
    costs(1, 1);
  }
  costs(0, 0);
  {
    Cursor next{table, GuestPhys{0}};
    for (std::uint64_t i = 0; i != pages; ++i) ASSERT_TRUE(next.protect(ro));
  }
  costs(0, 0);
  {
    Cursor next{table, GuestPhys{0}};
    for (std::uint64_t i = 0; i != pages; ++i) ASSERT_TRUE(next.unmap());
  }
  costs(1, 1);
  EXPECT_EQ(table.tables(), 1u);
  EXPECT_TRUE(table.audit());
}

// What it stored is counted and owed before anything else looks.
FORMAT_TEST(CursorOf, LetsOtherCallsComeInBetween) {
  for (auto between = 0; between != 9; ++between) {
    Twins<Format> twins{this->make(), 16};
    ASSERT_TRUE(twins.make(Map{{GuestPhys{0}, 2 * this->block()}, this->ram(GuestPhys{0}), rw}));
    ASSERT_TRUE(twins.make(Split{{GuestPhys{0}, 2 * this->block()}}));
    for (auto verb = 0; verb != 3; ++verb) {
      twins.open();
      std::optional<typename TestFixture::Next> next;
      next.emplace(twins.table(), this->one(0, 4).begin);
      auto const go = [&](std::uint64_t pages) {
        for (std::uint64_t i = 0; i != pages; ++i) {
          auto const range = this->next(*next);
          bool const done = verb == 0   ? twins.step(*next, Protect{range, ro})
                            : verb == 1 ? twins.step(*next, Unmap{range})
                                        : twins.step(*next, Map{range, this->ram(range.begin), rw});
          if (!done) next->seek(range.end());
        }
      };
      go(7);
      switch (between) {
        // The same page again, and its neighbour.
        case 0: twins.make(Unmap{this->one(0, 10)}); break;
        case 1: twins.make(Protect{this->one(0, 9), rw}); break;
        case 2: twins.make(Map{this->one(0, 5), this->ram(GuestPhys{0}), rw}); break;
        case 3: twins.make(Replace{this->one(0, 6), this->ram(GuestPhys{0}), rwx}); break;
        // All that the run counts on.
        case 4: twins.make(Unmap{{GuestPhys{0}, this->block()}}); break;
        case 5: twins.settle(); break;
        case 6: twins.make(Map{this->one(1, 3), this->ram(GuestPhys{0}), rw}); break;
        case 7: {
          typename TestFixture::Next other{twins.table(), this->one(0, 20).begin};
          for (auto i = 0; i != 5; ++i) ASSERT_TRUE(twins.step(other, Unmap{this->next(other)}));
          break;
        }
        default: ASSERT_TRUE(twins.table().audit()); break;
      }
      go(5);
      next.reset();
      twins.close();
      ASSERT_TRUE(twins.sound()) << "between " << between << ", verb " << verb << "\n" << twins.why();
    }
    ASSERT_TRUE(twins.finish()) << twins.why();
  }
}

FORMAT_TEST(CursorOf, ChangesPagesAtRandomAsApplyDoes) {
  auto const sequences = 1 + 8 * 512 / this->count();
  for (std::uint64_t seed = 1; seed <= sequences; ++seed) {
    Random random{seed};
    Twins<Format> twins{this->make(), this->geometry.root + random.below(5)};
    std::optional<typename TestFixture::Next> next;
    auto const place = [&] {
      auto const near_end = random.once_in(2) ? this->count() - 4 : 0;
      return this->one(random.below(3), near_end + random.below(4)).begin;
    };
    for (auto i = 0; i != 60 && twins.sound(); ++i) {
      // Whatever happens beside it must not matter: the twin has one edit for as long as the cursor lives.
      if (random.once_in(6) || !next) {
        next.reset();
        twins.close();
        if (random.once_in(3))
          twins.make(Map{{this->one(random.below(3)).begin, this->block()}, this->ram(place()), rw});
        twins.open();
        next.emplace(twins.table(), place());
      }
      if (random.once_in(6)) next->seek(place());
      if (random.once_in(8)) twins.settle();
      if (random.once_in(8)) twins.make(Unmap{{place(), this->page()}});
      if (random.once_in(8)) twins.make(Map{{place(), this->page()}, this->ram(place()), rw});
      if (random.once_in(8)) twins.use(place(), random.once_in(2));
      auto const attr = random.once_in(3) ? ro : random.once_in(6) ? rw | Memory::uncached : rw;
      auto const verb = random.below(3);
      for (auto pages = 1 + random.below(6); pages != 0; --pages) {
        auto const range = this->next(*next);
        auto const host = random.once_in(16) ? HostPhys{8} : this->ram(range.begin);
        bool const done = verb == 0   ? twins.step(*next, Map{range, host, attr})
                          : verb == 1 ? twins.step(*next, Unmap{range})
                                      : twins.step(*next, Protect{range, attr});
        if (!done) break;
      }
    }
    next.reset();
    ASSERT_TRUE(twins.finish()) << "seed " << seed << "\n" << twins.why();
  }
}

// A block may only come in the place of pages that the same edit changed by way of an invalidation.
FORMAT_TEST(CursorOf, OwesWhatItStoredToACoalescingInTheSameEdit) {
  if (this->pages_in_root() || this->geometry.top_leaf == 0) return;
  Twins<Format> twins{this->make(), 12};
  // The page before the block has no run yet, and pays no heed to it.
  auto const before = this->one(0, this->count() - 1);
  GuestRange const block{this->one(1).begin, this->block()};
  ASSERT_TRUE(twins.make(Map{before, this->ram(before.begin), rw}));
  ASSERT_TRUE(twins.make(Map{block, this->ram(block.begin), rw}));
  ASSERT_TRUE(twins.make(Split{block}));
  twins.open();
  {
    typename TestFixture::Next next{twins.table(), before.begin};
    while (next.at() != block.end()) ASSERT_TRUE(twins.step(next, Protect{this->next(next), ro}));
    ASSERT_TRUE(twins.make(Coalesce{block}));
  }
  twins.close();
  EXPECT_EQ(twins.table().query(block.begin).level, 1u);
  EXPECT_TRUE(twins.finish()) << twins.why();
}

// Whether that is planned before its run or with it open: the last page in a table is known to be the last.
FORMAT_TEST(CursorOf, IsCountedBeforeAnythingIsPlannedOrDone) {
  if (this->pages_in_root()) return;
  for (auto const planned_first : {true, false}) {
    Twins<Format> twins{this->make(), 12};
    auto& table = twins.table();
    auto const last = this->one(0, 5);
    for (auto const page : {5u, 8u, 9u, 10u, 11u})
      ASSERT_TRUE(table.map(this->one(0, page), this->ram(GuestPhys{0}), rw));
    {
      typename PageTable<Format, RecordingFrames, RecordingHook>::Transaction both{table};
      if (planned_first) {
        ASSERT_TRUE(both.plan(Unmap{last}));
      }
      Cursor next{table, this->one(0, 8).begin};
      for (auto i = 0; i != 4; ++i) ASSERT_TRUE(next.unmap());
      if (!planned_first) {
        ASSERT_TRUE(both.plan(Unmap{last}));
      }
      both.commit(Unmap{last});
    }
    EXPECT_EQ(table.tables(), 1u) << planned_first;
    EXPECT_TRUE(table.audit()) << planned_first;
  }
}

// Nor is a page mapped by a mere store where the run owes its invalidation, or another call does by now.
FORMAT_TEST(CursorOf, OwesWhatItStoredToACallAfterAPlan) {
  using Transaction = typename PageTable<Format, RecordingFrames, RecordingHook>::Transaction;
  auto const ram = this->ram(GuestPhys{0}), other = ram + this->page();
  {
    Twins<Format> twins{this->make(), 12};
    for (auto const page : {5u, 8u, 9u, 10u, 11u, 12u}) ASSERT_TRUE(twins.make(Map{this->one(0, page), ram, rw}));
    twins.open();
    {
      Transaction both{twins.table()};
      typename TestFixture::Next next{twins.table(), this->one(0, 7).begin};
      for (auto i = 0; i != 4; ++i) ASSERT_TRUE(twins.step(next, Unmap{this->next(next)}));
      ASSERT_TRUE(both.plan(Unmap{this->one(0, 5)}));
      ASSERT_TRUE(twins.make(Map{this->one(0, 10), other, rw}));
    }
    ASSERT_TRUE(twins.finish()) << twins.why();
  }
  Twins<Format> twins{this->make(), 12};
  for (auto const page : {5u, 10u}) ASSERT_TRUE(twins.make(Map{this->one(0, page), ram, rw}));
  twins.open();
  {
    Transaction both{twins.table()};
    typename TestFixture::Next next{twins.table(), this->one(0, 6).begin};
    for (auto i = 0; i != 4; ++i) ASSERT_TRUE(twins.step(next, Map{this->next(next), ram, rw}));
    ASSERT_TRUE(both.plan(Unmap{this->one(0, 10)}));
    ASSERT_TRUE(twins.make(Unmap{this->one(0, 10)}));
    ASSERT_TRUE(twins.step(next, Map{this->next(next), other, rw}));
  }
  ASSERT_TRUE(twins.finish()) << twins.why();
}

// An error leaves it where it is, and what was changed before as it is.
FORMAT_TEST(CursorOf, RefusesWhatTheTableWouldRefuse) {
  Twins<Format> twins{this->make(), 12};
  twins.open();
  typename TestFixture::Next next{twins.table(), GuestPhys{0}};
  auto const host = this->ram(GuestPhys{0});
  for (auto i = 0; i != 3; ++i) ASSERT_TRUE(twins.step(next, Map{this->next(next), host, rw}));
  auto const refused = [&](Errc why, const auto& verb) {
    auto const result = call(next, verb);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, why);
    EXPECT_EQ(next.at(), verb.range.begin);
  };
  refused(Errc::misaligned, Map{this->next(next), host + 8, rw});
  refused(Errc::unsupported, Map{this->next(next), host, {Prot::rw, Memory::normal, 255}});
  refused(Errc::unsupported, Map{this->next(next), host, {Prot(255), Memory(255), 0xffff}});
  refused(Errc::unsupported, Map{this->next(next), HostPhys{0}, {Prot(255), Memory(255), 0xffff}});
  refused(Errc::unsupported, Protect{this->next(next), {Prot::rw, Memory::normal, 255}});
  next.seek(GuestPhys{0});
  refused(Errc::already_mapped, Map{this->next(next), host, rw});
  ASSERT_TRUE(twins.step(next, Protect{this->next(next), ro}));
  refused(Errc::unsupported, Protect{this->next(next), {Prot(255), Memory(255), 0xffff}});
  ASSERT_TRUE(twins.step(next, Protect{this->next(next), ro}));
  next.seek(GuestPhys{this->page() + 8});
  refused(Errc::misaligned, Unmap{this->next(next)});
  next.seek(GuestPhys{this->geometry.input_size() - this->page()});
  ASSERT_TRUE(twins.step(next, Unmap{this->next(next)}));
  refused(Errc::out_of_range, Unmap{this->next(next)});
  refused(Errc::out_of_range, Map{this->next(next), host, rw});
  next.seek(GuestPhys{~(this->page() - 1)});
  refused(Errc::out_of_range, Unmap{this->next(next)});
}

// Its last page takes the table along, and no page before it does.
FORMAT_TEST(CursorOf, LeavesNoEmptyTable) {
  Twins<Format> twins{this->make(), 12};
  for (auto const pages : {1u, 2u, 3u}) {
    for (auto i = 0u; i != pages; ++i) ASSERT_TRUE(twins.make(Map{this->one(0, 2 * i), this->ram(GuestPhys{0}), rw}));
    ASSERT_TRUE(twins.make(Map{this->one(1), this->ram(GuestPhys{0}), rw}));
    auto const tables = twins.table().tables();
    twins.open();
    {
      typename TestFixture::Next next{twins.table(), GuestPhys{0}};
      for (auto i = 0u; i != 8; ++i) ASSERT_TRUE(twins.step(next, Unmap{this->next(next)}));
    }
    twins.close();
    if (!this->pages_in_root()) {
      EXPECT_EQ(twins.table().tables(), tables - 1);
    }
    ASSERT_TRUE(twins.make(Unmap{this->all()}));
  }
  EXPECT_TRUE(twins.finish()) << twins.why();
}

}  // namespace
}  // namespace slat::test
