// What a fault in a lazy area comes to when the page source, or the address, is not what it should be.

#include <memory>

#include "unit/bad_input.hpp"
#include "unit/format_suite.hpp"

namespace slat::test {
namespace {

template <class Format>
class BadPages : public FormatTest<Format> {};

enum class But : std::uint8_t { fine, empty, elsewhere };  // no page is left; pages are out in another table

/// A source, the lazy area at block 20 that it feeds, a fault in it, and what comes of it.
struct Case {
  std::string_view name;
  HostPhys base;  // of the source's pages
  std::uint64_t granule, page;
  std::uint64_t area;    // its size
  std::uint64_t fault;   // so far into it
  std::uint64_t mapped;  // so much; with 0, nothing:
  Error why{};           // and no range
  But but = But::fine;
};

std::vector<Case> cases(const Shape& s, HostPhys root) {
  auto const p = s.page;
  auto const ram = s.other();
  auto const end = s.host_limit();
  return {
      {"a byte inside a page", ram, p, p, 2 * p, p + 5, p},
      {"the last byte of the area", ram, p, p, 2 * p, 2 * p - 1, p},
      {"a large page", ram, p, 4 * p, 4 * p, 3 * p, 4 * p},
      {"a large page that the area cuts", ram, p, 4 * p, 3 * p, 0, p},
      {"pages up to the output size", end - 4 * p, p, 4 * p, 4 * p, 0, 4 * p},
      {"pages at it", end, p, p, 2 * p, 0, 0, {Errc::out_of_range, Argument::host, end.raw()}},
      {"pages past it", end + s.block, p, p, 2 * p, 0, 0, {Errc::out_of_range, Argument::host, end.raw() + s.block}},
      {"pages half a page off", ram + p / 2, p, p, 2 * p, 0, 0, {Errc::misaligned, Argument::host, ram.raw() + p / 2}},
      {"half pages", ram, p / 2, p / 2, 2 * p, 0, 0, {Errc::bad_state, Argument::granule, p / 2}},
      {"pages of two", ram, 2 * p, 2 * p, 4 * p, 0, 0, {Errc::bad_state, Argument::granule, 2 * p}},
      {"pages of two in an area of one", ram, 2 * p, 2 * p, p, 0, 0, {Errc::bad_state, Argument::granule, 2 * p}},
      {"no page left", ram, p, p, 2 * p, 0, 0, {Errc::no_memory, Argument::host, p}, But::empty},
      {"none, large or small", ram, p, 4 * p, 4 * p, 0, 0, {Errc::no_memory, Argument::host, p}, But::empty},
      {"pages out elsewhere", ram, p, p, 2 * p, 0, 0, {Errc::bad_state, Argument::host, root.raw()}, But::elsewhere},
  };
}

FORMAT_TEST(BadPages, AreRefusedAndGivenBackAndChangeNothing) {
  using W = World<Format>;
  std::size_t mapped = 0, refused = 0;
  auto const all = cases(Shape::of(this->make()), W{this->make()}.table().root());
  for (auto const& c : all) {
    SCOPED_TRACE(c.name);
    W w{this->make()};
    RecordingFrames frames{w.quiet, c.granule, 16, c.base};
    typename W::Source source{frames, c.granule, c.page};
    if (c.but == But::elsewhere) {
      ASSERT_TRUE(source.feeds(w.table().root() + w.shape.block) && source.take(w.shape.page));
    }
    // A source of other pages than the table's is refused with the area; what else is wrong shows in the fault.
    bool const fits = c.why.argument != Argument::granule;
    auto const add = [&] { return w.set.map({w.shape.at(20), c.area, rw, Lazy{source}}, w.table()); };
    if (fits) {
      ASSERT_TRUE(add());
    }
    if (c.but == But::empty) frames.fail_after(0);
    auto const before = w.everything();
    auto const in_use = frames.in_use();
    auto const out = source.in_use();
    auto const at = w.shape.at(20) + c.fault;

    auto change = Change{};
    if (c.mapped != 0) change = Change::map({at.down_to(c.mapped), c.mapped}, frames.frame(0), rw);
    auto const done = w.oracle.perform(c.name, change, [&]() -> Result<Resolution> {
      if (!fits) SLAT_TRY(add());
      return w.set.resolve(at, Prot::w, w.table());
    });
    EXPECT_EQ(w.oracle.violation(), Offence::none) << w.oracle.why();
    auto const audit = w.set.audit(w.table());
    EXPECT_TRUE(audit) << name(audit.flaw);
    if (c.mapped != 0) {
      ++mapped;
      ASSERT_TRUE(done) << said(done.error());
      EXPECT_EQ(*done, Resolution::mapped);
      EXPECT_EQ(source.in_use() - out, c.mapped / c.granule);
      continue;
    }
    ++refused;
    EXPECT_TRUE(w.everything() == before);
    EXPECT_EQ(frames.in_use(), in_use);
    EXPECT_EQ(source.in_use(), out);
    ASSERT_FALSE(done) << "was accepted";
    EXPECT_EQ(done.error().code, c.why.code) << said(done.error());
    EXPECT_EQ(done.error().argument, c.why.argument) << said(done.error());
    EXPECT_EQ(done.error().value, c.why.value) << said(done.error());
  }
  EXPECT_EQ(mapped, 5u);
  EXPECT_EQ(refused, 9u);
}

}  // namespace
}  // namespace slat::test
