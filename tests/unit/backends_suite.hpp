#pragma once

// A set of areas of all three kinds over a real table, with everything in granules, for the suites on backends.

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/recorder.hpp>
#include <slat/testing/recording_frames.hpp>
#include "unit/format_suite.hpp"

namespace slat::test {
using namespace slat::testing;

/// Page `n` of the guest and of the host, in granules.
template <class Format>
class BackendsTest : public FormatTest<Format> {
 protected:
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;
  using Source = PageSource<RecordingFrames>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend>;

  std::uint64_t page() const { return geometry.page_size(); }
  GuestPhys gpa(std::uint64_t n) const { return GuestPhys{n * page()}; }
  HostPhys hpa(std::uint64_t n) const { return HostPhys{n * page()}; }
  std::uint64_t block() const { return geometry.span(1); }
  /// The slot that translates `at`, to corrupt.
  Entry& entry(GuestPhys at) {
    auto where = table.root();
    for (Level level = geometry.root;; --level) {
      Entry& e = frames.view(where)[geometry.index(at, level)];
      if (table.format().kind(level, e) != Kind::table) return e;
      where = table.format().address(level, e);
    }
  }
  Flaw flaw() { return set.audit(table).flaw; }

  Geometry geometry = FormatTest<Format>::make().geometry();
  Recorder recorder;
  RecordingFrames frames{recorder, geometry.table_bytes(), 96};
  Table table = *Table::create(FormatTest<Format>::make(), frames, RecordingHook{recorder});
  Source source{frames, geometry.page_size(), geometry.page_size()};
  Set set;
};

}  // namespace slat::test

#define PAGES(n) ((n) * this->page())
