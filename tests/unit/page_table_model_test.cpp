// Random calls against a map of ranges, on every format: what a table translates is what it was told, its books are
// right after every call, and a call takes exactly the frames it asked for.

#include <map>
#include <optional>
#include <random>

#include <slat/mm/page_table.hpp>

#include "oracle/recorder.hpp"
#include "oracle/recording_frames.hpp"
#include "unit/formats.hpp"

namespace slat::test {
namespace {

/// What the guest should see: pieces, each contiguous in guest and host.
class FlatMap {
 public:
  struct Piece {
    std::uint64_t size;
    HostPhys host;
    Attr attr;
  };

  void erase(GuestRange range) {
    cut(range.begin);
    cut(range.end());
    pieces_.erase(pieces_.lower_bound(range.begin), pieces_.lower_bound(range.end()));
  }
  void put(GuestRange range, HostPhys host, Attr attr) {
    erase(range);
    pieces_[range.begin] = {range.size, host, attr};
  }
  void protect(GuestRange range, Attr attr) {
    cut(range.begin);
    cut(range.end());
    for (auto at = pieces_.lower_bound(range.begin); at != pieces_.lower_bound(range.end()); ++at) at->second.attr = attr;
  }
  bool touches(GuestRange range) const {
    auto at = pieces_.lower_bound(range.end());
    if (at == pieces_.begin()) return false;
    --at;
    return GuestRange{at->first, at->second.size}.overlaps(range);
  }
  /// Whether a leaf says what the pieces under it say.
  bool agrees(const Leaf& leaf) const {
    for (auto at = leaf.range.begin; leaf.range.contains(at);) {
      auto piece = pieces_.upper_bound(at);
      if (piece == pieces_.begin()) return false;
      --piece;
      auto const offset = at - piece->first;
      if (offset >= piece->second.size) return false;
      if (piece->second.host + offset != leaf.host_of(at) || piece->second.attr != leaf.attr) return false;
      at = piece->first + piece->second.size;
    }
    return true;
  }
  std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    for (auto const& [begin, piece] : pieces_) sum += piece.size;
    return sum;
  }

 private:
  void cut(GuestPhys at) {
    auto piece = pieces_.upper_bound(at);
    if (piece == pieces_.begin()) return;
    --piece;
    auto const offset = at - piece->first;
    if (offset == 0 || offset >= piece->second.size) return;
    pieces_[at] = {piece->second.size - offset, piece->second.host + offset, piece->second.attr};
    piece->second.size = offset;
  }

  std::map<GuestPhys, Piece> pieces_;
};

template <class V>
class PageTableModel : public ::testing::Test {
 protected:
  using Table = PageTable<typename V::Format, RecordingFrames, RecordingHook>;

  Geometry geometry = V::make().geometry();
  Recorder recorder;
  RecordingFrames frames{recorder, geometry.table_bytes(), geometry.page_bits == 12 ? 1200u : 200u};
  Table table = *Table::create(V::make(), frames, RecordingHook{recorder});
  FlatMap model;
  std::mt19937_64 random{20260101};

  std::uint64_t below(std::uint64_t n) { return random() % n; }
  std::uint64_t page() const { return geometry.page_size(); }

  /// Addresses near each other and near the edges of blocks of every level.
  GuestRange some_range() {
    auto const top = geometry.top_leaf;
    auto const window = 3 * geometry.span(top);
    auto const level = static_cast<Level>(below(top + 1));
    auto const span = geometry.span(level);
    auto begin = below(window / span) * span;
    auto size = span * (1 + below(level == 0 ? 6 : 2));
    if (below(3) == 0) begin += page() * below(3);
    if (below(3) == 0 && size > page()) size -= page() * (1 + below(2) % (size / page() - 1 ? size / page() - 1 : 1));
    if (size > 2 * window) size = window;
    return {GuestPhys{begin}, size == 0 ? page() : size};
  }
  HostPhys some_host(GuestRange range) {
    auto const same = geometry.span(geometry.top_leaf) * (8 + below(4)) + range.begin.raw();
    bool const small = range.size <= 4 * geometry.span(1);
    return HostPhys{small && below(3) == 0 ? same + page() * below(4) : same};
  }
  Attr some_attr() {
    constexpr Attr choices[] = {rw, rwx, ro, rx, {Prot::rw, Memory::device}, {Prot::r, Memory::normal, 2}};
    return choices[below(std::size(choices))];
  }

  /// Applies it under a limit on frames, now and then one too few, and checks what must hold of every call.
  template <class Change>
  bool apply(const Change& change) {
    auto const needed = table.frames_needed(change);
    if (!needed) {
      EXPECT_TRUE(table.apply(change).error() == needed.error().code);
      return false;
    }
    // A batch of an eager split may pay in between: what is needed is still known in advance.
    if (*needed > frames.count() - frames.in_use()) {
      EXPECT_TRUE(table.apply(change).error() == Errc::no_memory);
      return false;
    }
    if (*needed != 0 && below(8) == 0) {
      auto const before = frames.fingerprint();
      auto const shootdowns = recorder.shootdowns();
      frames.fail_after(below(*needed));
      auto const refused = table.apply(change);
      frames.never_fail();
      EXPECT_FALSE(refused);
      EXPECT_TRUE(refused || refused.error() == Errc::no_memory);
      EXPECT_EQ(frames.fingerprint(), before) << "a failing call changed something";
      EXPECT_EQ(recorder.shootdowns(), shootdowns);
    }
    auto const allocations = frames.allocations();
    auto const done = table.apply(change);
    EXPECT_TRUE(done);
    EXPECT_EQ(frames.allocations() - allocations, *needed);
    return static_cast<bool>(done);
  }

  void step() {
    auto const range = some_range();
    switch (below(12)) {
      case 0:
      case 1: {
        Map const change{range, some_host(range), some_attr()};
        bool const taken = model.touches(range);
        EXPECT_EQ(apply(change), !taken);
        if (!taken) model.put(range, change.host, change.attr);
        break;
      }
      case 2:
      case 3: {
        Replace const change{range, some_host(range), some_attr()};
        if (apply(change)) model.put(range, change.host, change.attr);
        break;
      }
      case 4:
      case 5:
        if (apply(Unmap{range})) model.erase(range);
        break;
      case 6:
      case 7:
      case 8: {
        Protect const change{range, some_attr()};
        if (apply(change)) model.protect(range, change.attr);
        break;
      }
      case 9: apply(Coalesce{range}); break;
      case 10: {
        auto const few = GuestRange{range.begin, range.size < 16 * page() ? range.size : 16 * page()};
        apply(Split{few});
        break;
      }
      case 11: EXPECT_TRUE(table.harvest(range, {.accessed = false, .dirty = true}, [](GuestRange) {})); break;
    }
  }

  void check(bool closed) {
    auto const audit = table.audit();
    ASSERT_TRUE(audit) << name(audit.flaw) << std::hex << " at " << audit.where.begin.raw() << " " << audit.value;
    std::uint64_t bytes = 0;
    table.visit([&](const Leaf& leaf) {
      bytes += leaf.range.size;
      EXPECT_TRUE(!closed || leaf.kind == Kind::leaf);
      EXPECT_TRUE(model.agrees(leaf)) << std::hex << leaf.range.begin.raw() << "+" << leaf.range.size << " -> "
                                      << leaf.host.raw();
    });
    ASSERT_EQ(bytes, model.bytes());
    auto const root = geometry.root_bytes() / geometry.table_bytes();
    ASSERT_TRUE(!closed || frames.in_use() == table.tables() - 1 + root) << "frames leaked";
    ASSERT_FALSE(recorder.violation()) << recorder.violation()->text;
  }
};
TYPED_TEST_SUITE(PageTableModel, Formats, FormatName);

TYPED_TEST(PageTableModel, ATableTranslatesWhatItWasToldAndCountsItsFramesExactly) {
  for (int i = 0; i != 1500 && !this->HasFailure(); ++i) {
    this->step();
    this->check(true);
  }
  ASSERT_TRUE(this->table.unmap({GuestPhys{0}, this->geometry.input_size()}));
  EXPECT_EQ(this->table.tables(), 1u);
}

TYPED_TEST(PageTableModel, AWiderEditIsOneShootdownAndEndsAsTheSameCallsAlone) {
  for (int i = 0; i != 300 && !this->HasFailure(); ++i) {
    {
      auto edit = this->table.edit();
      auto const shootdowns = this->recorder.shootdowns();
      bool paid = false;
      for (auto calls = this->below(8); calls-- != 0 && !this->HasFailure();) {
        this->step();
        this->check(false);
        if (this->below(8) == 0) {
          edit.settle();
          paid = true;
        }
      }
      EXPECT_TRUE(paid || this->recorder.shootdowns() == shootdowns);
    }
    this->check(true);
  }
}

}  // namespace
}  // namespace slat::test
