#pragma once

// Every point at which a call can fail for want of memory, tried in turn: with k allocations that succeed, for each k
// that is too few, the call says what it lacks and changes nothing; with as many as it needs it succeeds, and takes
// them all.
//
// What a call needs is worked out by hand, from the shape of the tree: a test that counted what the call took could not
// tell a call that needs nothing from one that is never tried.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;

/// A table with its hardware at rest, and a set whose nodes come from the table's frames. `Pages` feeds lazy areas.
template <class Format, class Pages = PageSource<RecordingFrames>>
class Scene {
 public:
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;
  using Backend = Backends<Table, Pages>;
  using Set = MemorySet<Attr, Table, Backend, FrameNodes<RecordingFrames>>;

  explicit Scene(const Format& format) : geometry{format.geometry()}, oracle{format, options()} {}

  Table& table() { return oracle.table(); }
  RecordingFrames& frames() { return oracle.frames(); }

  std::uint64_t page() const { return geometry.page_size(); }
  std::uint64_t block() const { return geometry.span(1); }
  /// The largest leaf, and how many tables an edge inside one costs: one for each level below it.
  std::uint64_t large() const { return geometry.span(geometry.top_leaf); }
  std::uint64_t cut() const { return geometry.top_leaf; }
  /// A page on each side of a boundary of the root's slots, where nothing is: two tables for each level below the root.
  GuestRange hole() const { return {GuestPhys{14 * geometry.span(geometry.root) - page()}, 2 * page()}; }
  std::uint64_t two_ways() const { return 2 * std::uint64_t{geometry.root}; }

  /// Two of the largest leaves beside each other, and all of them but a page at either end.
  GuestRange leaves() const { return {GuestPhys{large()}, 2 * large()}; }
  GuestRange middle() const { return {GuestPhys{large() + page()}, 2 * large() - 2 * page()}; }
  HostPhys ram() const { return HostPhys{8 * large()}; }
  /// Aligned as `leaves` is, so that as much as may be is large again.
  HostPhys other_ram() const { return HostPhys{16 * large() + page()}; }

  /// All that a call that fails must leave alone.
  struct Everything {
    std::uint64_t fingerprint;
    std::array<std::size_t, 5> counts;
    std::vector<std::tuple<GuestRange, Attr, Backend>> areas;
    friend bool operator==(const Everything&, const Everything&) = default;
  };
  Everything everything() {
    auto const& recorder = oracle.recorder();
    Everything all{
        frames().fingerprint(),
        {recorder.stores(), recorder.shootdowns(), recorder.publishes(), recorder.waits(), frames().in_use()},
        {}};
    for (auto const& area : set.iter()) all.areas.emplace_back(area.range(), area.flags(), area.backend());
    return all;
  }
  void expect_sound() {
    EXPECT_EQ(oracle.violation(), Offence::none) << oracle.why();
    auto const audit = table().audit();
    EXPECT_TRUE(audit) << name(audit.flaw);
  }

  Geometry geometry;
  Oracle<Format> oracle;
  Set set{FrameNodes<RecordingFrames>{oracle.frames(), geometry.table_bytes()}};

 private:
  static OracleOptions options() { return {.frames = 64, .tlb = {.period = 0}, .only_tables = false}; }
};

inline std::string said(const Error& error) {
  std::string text;
  auto const append = [&text](std::string_view piece) { text += piece; };
  print(append, error);
  return text;
}

/// Makes the call with 0, 1, 2 ... allocations until it succeeds. `declare()` says what it then does, `refused(k,
/// error)` looks at what it says before. Returns how many allocations were too few.
template <class S, class Declare, class Call, class Refused>
std::size_t fail_at_every_point(S& scene, std::string_view name, Declare declare, Call call, Refused refused) {
  constexpr std::size_t many = 64;
  for (std::size_t k = 0; k != many; ++k) {
    SCOPED_TRACE(std::string{name} + " with " + std::to_string(k));
    auto const before = scene.everything();
    auto const taken = scene.frames().allocations();
    scene.frames().fail_after(k);
    auto const done = scene.oracle.perform(name, declare(), call);
    scene.frames().never_fail();
    scene.expect_sound();
    if (done) {
      EXPECT_EQ(scene.frames().allocations() - taken, k) << "it did not need them all";
      return k;
    }
    EXPECT_EQ(done.error().code, Errc::no_memory) << said(done.error());
    refused(k, done.error());
    EXPECT_TRUE(scene.everything() == before) << "something changed";
  }
  ADD_FAILURE() << name << " never succeeds";
  return many;
}

}  // namespace slat::test
