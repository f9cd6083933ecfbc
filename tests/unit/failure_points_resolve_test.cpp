// A fault in a lazy area needs a page and table frames: each of them is missing once, for a page of one granule and for
// a page as large as a block.

#include <map>
#include <optional>

#include "unit/failure_points.hpp"

namespace slat::test {
namespace {

/// Pages that are addresses and no memory, so that one may be as large as a block of any granule.
class PaperPages {
 public:
  PaperPages(HostPhys base, std::uint64_t largest) : next_{base}, largest_{largest} {}

  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    if (bytes > largest_) return {};
    auto const page = (next_ + (bytes - 1)).down_to(bytes);
    next_ = page + bytes;
    out_[page.raw()] = bytes;
    return page;
  }
  void release(HostPhys page, std::uint64_t bytes) noexcept {
    auto const found = out_.find(page.raw());
    if (found == out_.end() || found->second != bytes)
      ADD_FAILURE() << "released what was not allocated";
    else
      out_.erase(found);
  }
  Entry* view(HostPhys) const noexcept { return nullptr; }
  std::uint64_t& word(HostPhys page) noexcept { return words_[page.raw()]; }

  /// No page of more than this many bytes is left from here on.
  void leave(std::uint64_t largest) { largest_ = largest; }
  std::size_t out() const { return out_.size(); }
  HostPhys next(std::uint64_t bytes) const { return (next_ + (bytes - 1)).down_to(bytes); }

 private:
  HostPhys next_;
  std::uint64_t largest_;
  std::map<std::uint64_t, std::uint64_t> out_, words_;
};
struct Unprepared {
  void operator()(Entry*, std::uint64_t) const noexcept {}
};

template <class Format>
class ResolveFailures : public FormatTest<Format> {
 protected:
  using Source = PageSource<PaperPages, Unprepared>;
  using S = Scene<Format, Source>;

  /// A lazy area with nothing near it, so that a page at its start takes a table for each level below the root, and a
  /// block one less.
  struct Faulting {
    explicit Faulting(const Format& format, bool blocks)
        : scene{format},
          pages{HostPhys{32 * scene.large()}, scene.block()},
          source{pages, scene.page(), blocks ? scene.block() : scene.page()},
          area{scene.hole().begin.down_to(scene.block()) + scene.block(), 2 * scene.block()} {
      EXPECT_TRUE(scene.set.map({area.begin, area.size, rwx, Lazy{source}}, scene.table()));
      auto const leaves = scene.leaves();
      EXPECT_TRUE(scene.oracle.perform("set.map", Change::map(leaves, scene.ram(), rwx), [&] {
        return scene.set.map({leaves.begin, leaves.size, rwx, Linear{scene.ram()}}, scene.table());
      }));
    }
    /// Faults with 0, 1, 2 ... table frames until `mapped` bytes are. Returns how many were too few.
    std::size_t exercise(std::uint64_t mapped) {
      auto const out = pages.out();
      auto const in_use = source.in_use();
      std::uint64_t tables = scene.geometry.root;
      GuestRange const page{area.begin, scene.page()};
      auto const points = fail_at_every_point(
          scene, "resolve",
          [&] {
            return Change::map({area.begin, mapped}, pages.next(mapped), rwx);
          },
          [&]() -> Result<> {
            auto const done = SLAT_TRY(scene.set.resolve(area.begin, Prot::w, scene.table()));
            EXPECT_EQ(done, Resolution::mapped);
            return {};
          },
          [&](std::size_t, const Error& error) {
            // A block that fails is followed by a page: that is what could not be had in the end.
            EXPECT_EQ(error, (Error{Errc::no_memory, Argument::frames, tables, page})) << said(error);
            EXPECT_EQ(pages.out(), out);
            EXPECT_EQ(source.in_use(), in_use);
          });
      EXPECT_EQ(pages.out(), out + 1);
      EXPECT_EQ(source.in_use(), in_use + mapped / scene.page());
      auto const leaf = scene.table().query(area.begin);
      EXPECT_EQ(leaf.level, mapped == scene.page() ? 0u : 1u);
      EXPECT_EQ(leaf.range.size, mapped);
      return points;
    }
    /// Faults with no page left.
    void expect_no_page() {
      pages.leave(0);
      auto const before = scene.everything();
      auto const allocations = scene.frames().allocations();
      auto const done = scene.oracle.perform("resolve", Change{},
                                             [&] { return scene.set.resolve(area.begin, Prot::w, scene.table()); });
      ASSERT_FALSE(done);
      EXPECT_EQ(done.error(), (Error{Errc::no_memory, Argument::host, scene.page(), {area.begin, scene.page()}}))
          << said(done.error());
      EXPECT_TRUE(scene.everything() == before);
      EXPECT_EQ(scene.frames().allocations(), allocations);
      EXPECT_EQ(source.in_use(), 0u);
      pages.leave(scene.block());
    }
    /// Everything goes back.
    void leave() {
      GuestRange const all{GuestPhys{0}, scene.geometry.input_size()};
      ASSERT_TRUE(scene.oracle.perform("clear", Change::unmap(all), [&] { return scene.set.clear(scene.table()); }));
      scene.expect_sound();
      EXPECT_EQ(pages.out(), 0u);
      EXPECT_EQ(source.in_use(), 0u);
      EXPECT_EQ(scene.frames().in_use(), scene.geometry.root_bytes() / scene.geometry.table_bytes());
    }

    S scene;
    PaperPages pages;
    Source source;
    GuestRange area;
  };

  Level root() const { return FormatTest<Format>::make().geometry().root; }
};

FORMAT_TEST(ResolveFailures, APageWaitsForThePageAndForATableOfEachLevel) {
  typename TestFixture::Faulting f{this->make(), false};
  f.expect_no_page();
  EXPECT_EQ(f.exercise(f.scene.page()), this->root());
  f.leave();
}

FORMAT_TEST(ResolveFailures, ABlockWaitsForThePageAndForATableLess) {
  typename TestFixture::Faulting f{this->make(), true};
  f.expect_no_page();
  EXPECT_EQ(f.exercise(f.scene.block()), this->root() - 1);
  f.leave();
}

FORMAT_TEST(ResolveFailures, WhereNoLargePageIsLeftASmallOneWaitsForAsManyTables) {
  typename TestFixture::Faulting f{this->make(), true};
  f.pages.leave(f.scene.page());
  EXPECT_EQ(f.exercise(f.scene.page()), this->root());
  f.leave();
}

FORMAT_TEST(ResolveFailures, ThatIsSoAlsoInsideAnEditThatOwes) {
  for (bool const blocks : {false, true}) {
    typename TestFixture::Faulting f{this->make(), blocks};
    auto const& recorder = f.scene.oracle.recorder();
    auto const shootdowns = recorder.shootdowns();
    {
      auto edit = f.scene.oracle.edit();
      auto const leaves = f.scene.leaves();
      ASSERT_TRUE(f.scene.oracle.perform("protect", Change::attributes(f.scene.oracle.intent(), leaves, ro), [&] {
        return f.scene.set.protect(
            leaves.begin, leaves.size, [](Attr) { return std::optional{ro}; }, f.scene.table());
      }));
      f.expect_no_page();
      EXPECT_EQ(f.exercise(blocks ? f.scene.block() : f.scene.page()), this->root() - (blocks ? 1 : 0));
      EXPECT_EQ(recorder.shootdowns(), shootdowns);
    }
    EXPECT_EQ(recorder.shootdowns(), shootdowns + 1);
    f.leave();
  }
}

}  // namespace
}  // namespace slat::test
