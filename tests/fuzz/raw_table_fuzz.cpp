// Hostile table bytes: the input fills a table's frames with entries that lead anywhere, to themselves and out of the
// pool included, and puts wrong counts beside them. Then:
//
//   audit()       follows nothing that it has not proven, reads each table once, writes nothing, leaves no mark of its
//                 own, and answers the same twice
//   query, visit  take no more loads than there are slots on the way, one a level for one address, whatever is there;
//                 where frames that are not in use read as empty, they go nowhere else
//   and if audit() finds the table sound:
//                 hardware, as the reader of the architecture has it, finds a fault in no entry; query, visit, dump,
//                 tables() and the audit of areas agree with it; and whatever is then done to the table leaves it
//                 sound, until unmapping all of it has given every frame back

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/readers.hpp>
#include <slat/testing/violation.hpp>

#include "fuzz/raw_pool.hpp"

namespace slat::test {
namespace {

struct NoCpus {
  void operator()(HostPhys, const Stale&) noexcept {}
  void publish() noexcept {}
};

template <class Format>
class RawTable {
  using Table = PageTable<Format, RawPool, NoCpus>;
  using Backend = Backends<Table, PageSource<RawPool>>;
  using Area = MemoryArea<Attr, Backend>;

 public:
  RawTable(const Format& format, FuzzedDataProvider& bytes)
      : bytes_{bytes},
        format_{format},
        geometry_{format.geometry()},
        reader_{testing::reader_for(format)},
        pool_{geometry_},
        table_{*Table::create(format, pool_, NoCpus{})} {
    for (std::size_t i = pool_.root_granules(); i + 1 != pool_.count(); ++i) (void)pool_.allocate(pool_.granule());
  }

  void run() {
    fill();
    auto const found = audit();
    read_whatever_is_there();
    audit_areas_of(found);
    if (found) {
      read_what_is_sound();
      change_what_is_sound();
    } else {
      // Nothing was ever mapped: the table gives back its root and looks at nothing.
      pool_.allow_stores(true);
    }
  }

 private:
  // ---- what the input puts there

  void fill() {
    auto const lies = bytes_.ConsumeIntegral<std::uint32_t>();
    for (auto left = 48; left != 0 && bytes_.remaining_bytes() != 0; --left) write_run();
    for (std::size_t i = 0; i != pool_.count(); ++i) {
      auto const first = pool_.address_of(i);
      auto const entries = i == 0 ? geometry_.entries(geometry_.root) : pool_.entries();
      auto& word = pool_.word_of(i);
      word = static_cast<std::uint64_t>(std::count_if(first, first + entries, [](Entry e) { return e != 0; }));
      // Most words are right, or nothing would be sound. A wrong one is a table's, or a link or a mark of whoever else
      // has the frame: of those, audit() may take none for its own.
      if (i >= 16 || (lies >> 2 * i & 3) != 3) continue;
      word = bytes_.ConsumeIntegral<std::uint64_t>();
      if ((lies & 0xC000'0000) == 0xC000'0000) word = ~std::uint64_t{0};
      if ((word & ~visited & ~slat::detail::Word::broken_below) <= geometry_.root_bytes() / sizeof(Entry))
        word &= ~visited;
    }
  }

  /// Some entries of one frame, as an entry of some level that is well formed, or nearly, or any word.
  void write_run() {
    auto const frame = bytes_.ConsumeIntegralInRange<std::size_t>(0, pool_.count() - 2);
    auto const level = bytes_.ConsumeIntegralInRange<Level>(0, geometry_.root);
    auto const first = bytes_.ConsumeIntegral<std::uint16_t>() & (pool_.entries() - 1);
    auto const length = bytes_.ConsumeIntegral<std::uint8_t>();
    auto const wanted = length < 224 ? 1 + std::size_t{length} / 32 : pool_.entries();
    auto const count = std::min(wanted, pool_.entries() - first);
    auto const step = geometry_.span(level);
    auto entry = some_entry(level);
    auto const advances = entry != 0 && format_.kind(level, entry) == Kind::leaf;
    for (std::size_t i = 0; i != count; ++i) {
      pool_.address_of(frame)[first + i] = entry;
      if (advances) entry += step;
    }
  }

  Entry some_entry(Level level) {
    auto const what = bytes_.ConsumeIntegral<std::uint8_t>();
    Entry entry = 0;
    switch (what & 3) {
      case 0:
        entry = format_.table(level, pool_.frame(bytes_.ConsumeIntegralInRange<std::size_t>(0, pool_.count())));
        break;
      case 1: {
        auto const attr = some_attr(bytes_);
        auto const page = bytes_.ConsumeIntegral<std::uint32_t>();
        auto const host = HostPhys{(page * geometry_.page_size()) & format_.address_bits(level)};
        entry = format_.leaf(level, host, format_.supports(attr) ? attr : rwx);
        if ((what & 32) != 0) entry = format_.aged(level, entry, {true, (what & 64) != 0});
        break;
      }
      case 2: entry = bytes_.ConsumeIntegral<std::uint64_t>(); break;
      default: return 0;
    }
    if ((what & 4) != 0) entry = format_.broken(entry);
    if ((what & 24) == 24) entry ^= Entry{1} << bytes_.ConsumeIntegralInRange(0, 63);
    return entry;
  }

  // ---- what holds for every table

  Audit audit() {
    auto const words = pool_.words();
    (void)pool_.take_loads();
    auto const found = table_.audit();
    if (pool_.take_loads() > geometry_.entries(geometry_.root) + pool_.count() * pool_.entries())
      fail("audit() read a table twice");
    if (pool_.words() != words) fail("audit() left a mark");
    auto const again = table_.audit();
    if (found.flaw != again.flaw || found.where != again.where || found.value != again.value)
      fail("a second audit() finds something else");
    std::string text;
    auto const append = [&](std::string_view piece) { text += piece; };
    print(append, found);
    if (text.empty()) fail("audit() said nothing");
    return found;
  }

  void read_whatever_is_there() {
    pool_.be_lenient(true);
    for (auto i = 0; i != 4; ++i) {
      auto const at = some_address();
      (void)pool_.take_loads();
      auto const leaf = table_.query(at);
      if (pool_.take_loads() > geometry_.root + 1) fail("query() took more than one load a level");
      if (at.raw() < geometry_.input_size() && !leaf.range.contains(at)) fail("query() answered for another address");

      auto const range = GuestRange{at, some_pages() * geometry_.page_size()};
      auto const part = range.clamp_to({GuestPhys{0}, geometry_.input_size()});
      std::uint64_t slots = 0;
      for (Level level = 0; !part.empty() && level <= geometry_.root; ++level)
        slots += (part.last().raw() >> geometry_.shift(level)) - (part.begin.raw() >> geometry_.shift(level)) + 1;
      if (range.wraps()) continue;
      (void)pool_.take_loads();
      table_.visit(range, [&](const Leaf& seen) {
        if (!seen.range.overlaps(range)) fail("visit() told of a leaf outside its range");
      });
      if (pool_.take_loads() > slots) fail("visit() looked at a slot twice");
    }
    pool_.be_lenient(false);
  }

  GuestPhys some_address() {
    // Anywhere; or, more often, in the first slots of every level, where fill() mostly puts something.
    if (bytes_.ConsumeBool()) return GuestPhys{bytes_.ConsumeIntegral<std::uint64_t>()};
    std::uint64_t at = bytes_.ConsumeIntegral<std::uint16_t>();
    for (Level level = 0; level <= geometry_.root; ++level)
      at += std::uint64_t{bytes_.ConsumeIntegral<std::uint8_t>()} << geometry_.shift(level);
    return GuestPhys{at};
  }
  std::uint64_t some_pages() {
    auto const few = bytes_.ConsumeIntegral<std::uint8_t>();
    return few < 224 ? few : few * geometry_.entries(0) / 64;
  }
  GuestRange some_range() {
    auto const begin = some_address().down_to(geometry_.page_size());
    auto const pages = some_pages() + 1;
    return {begin, bytes_.ConsumeBool() ? pages * geometry_.page_size() : geometry_.span(pages % geometry_.root)};
  }

  /// One linear area beside the table: a table that is not sound is not looked into for its sake.
  void audit_areas_of(const Audit& table) {
    auto const range = some_range();
    if (range.wraps()) return;
    auto const host = HostPhys{bytes_.ConsumeIntegral<std::uint32_t>() * geometry_.page_size()};
    auto const attr = some_attr(bytes_);
    std::vector const areas{Area{range.begin, range.size, attr, Backend{Linear{host}}}};
    auto const found = audit_areas<Backend, Attr>(areas, table_);
    if (!table) {
      if (found.flaw != table.flaw) fail("the audit of areas finds another flaw in the table");
      return;
    }
    auto exact = true;
    std::uint64_t mapped = 0;
    table_.visit([&](const Leaf& leaf) {
      exact = exact && range.contains(leaf.range) && leaf.attr == attr &&
              leaf.host == host + (leaf.range.begin - range.begin);
      mapped += leaf.range.size;
    });
    if (bool{found} != (exact && mapped == range.size)) fail("the audit of areas is wrong about a leaf");
  }

  // ---- what holds for a sound one

  struct Reached {
    std::vector<bool> frames;
    std::size_t tables = 0;
    std::size_t leaves = 0;
  };

  /// Everything that hardware reaches from here, in order, beside what visit() told.
  void follow(std::size_t table, Level level, GuestPhys begin, const std::vector<Leaf>& leaves, Reached& reached) {
    auto const root = level == geometry_.root;
    for (std::size_t i = 0; i != (root ? pool_.root_granules() : 1); ++i) {
      if (reached.frames[table + i]) fail("sound, and a frame is reached twice");
      reached.frames[table + i] = true;
    }
    ++reached.tables;
    for (std::size_t i = 0; i != geometry_.entries(level); ++i) {
      auto const entry = pool_.address_of(table)[i];
      auto const is = reader_.decode(level, entry);
      auto const at = begin + i * geometry_.span(level);
      auto const where = testing::hex(entry) + " at level " + std::to_string(level);
      if (is.wrong != nullptr) fail("sound, and hardware's rules forbid " + where + ": " + is.wrong);
      if (is.valid() ? !is.usable() : entry != 0) fail("sound, and hardware cannot use " + where);
      if (is.table()) {
        if (!pool_.owns(is.address)) fail("sound, and a table lies outside the frames");
        follow(pool_.index(is.address), level - 1, at, leaves, reached);
      } else if (is.leaf()) {
        auto const said = reached.leaves < leaves.size() ? leaves[reached.leaves] : Leaf{};
        if (said.kind != Kind::leaf || said.level != level || said.entry != entry || said.host != is.address ||
            said.range != GuestRange{at, geometry_.span(level)})
          fail("visit() does not tell of the leaf " + where);
        ++reached.leaves;
      }
    }
  }

  void read_what_is_sound() {
    std::vector<Leaf> leaves;
    table_.visit([&](const Leaf& leaf) { leaves.push_back(leaf); });
    Reached reached{std::vector<bool>(pool_.count()), 0, 0};
    follow(0, geometry_.root, GuestPhys{0}, leaves, reached);
    if (reached.leaves != leaves.size()) fail("visit() told of a leaf that hardware does not find");
    if (reached.tables != table_.tables()) fail("tables() is wrong");

    auto const stride = leaves.size() / 32 + 1;
    for (std::size_t i = 0; i < leaves.size(); i += stride)
      for (auto const at : {leaves[i].range.begin, leaves[i].range.last()})
        if (auto const leaf = table_.query(at); leaf.entry != leaves[i].entry || leaf.range != leaves[i].range)
          fail("query() and visit() disagree");

    std::size_t lines = 0;
    std::size_t length = 0;
    auto const count = [&](std::string_view piece) {
      length += piece.size();
      lines += static_cast<std::size_t>(std::count(piece.begin(), piece.end(), '\n'));
    };
    table_.dump(count);
    if ((lines == 0) != leaves.empty() || lines > leaves.size() || (lines == 0) != (length == 0))
      fail("dump() wrote a wrong number of lines");
    kept_ = pool_.in_use() - reached_frames(reached);
  }
  static std::size_t reached_frames(const Reached& reached) {
    return static_cast<std::size_t>(std::count(reached.frames.begin(), reached.frames.end(), true));
  }

  void change_what_is_sound() {
    pool_.allow_stores(true);
    for (auto left = bytes_.ConsumeIntegralInRange(0, 6); left != 0; --left) {
      change();
      if (auto const found = table_.audit(); !found) fail("no longer sound: " + std::string{name(found.flaw)});
    }
    if (!table_.unmap({GuestPhys{0}, geometry_.input_size()})) fail("a sound table cannot be unmapped");
    if (!table_.audit() || table_.tables() != 1) fail("something is left when all is unmapped");
    if (pool_.in_use() != kept_ + pool_.root_granules()) fail("not all frames came back");
  }
  void change() {
    auto const range = some_range();
    auto const host = HostPhys{bytes_.ConsumeIntegral<std::uint32_t>() * geometry_.page_size()};
    auto const attr = some_attr(bytes_);
    // A refusal is an answer, too: what it must leave alone is another test's matter.
    switch (bytes_.ConsumeIntegralInRange(0, 6)) {
      case 0: (void)table_.map(range, host, attr); break;
      case 1: (void)table_.replace(range, host, attr); break;
      case 2: (void)table_.unmap(range); break;
      case 3: (void)table_.protect(range, attr); break;
      case 4: (void)table_.split(range); break;
      case 5: (void)table_.coalesce(range); break;
      default: (void)table_.harvest(range, format_.harvestable(), [](GuestRange) {}); break;
    }
  }

  /// audit()'s own bit: never left set in the word of a live table.
  static constexpr std::uint64_t visited = slat::detail::Word::visited;

  FuzzedDataProvider& bytes_;
  Format format_;
  Geometry geometry_;
  decltype(testing::reader_for(std::declval<const Format&>())) reader_;
  RawPool pool_;
  Table table_;
  std::size_t kept_ = 0;  // frames in use that the table does not reach
};

}  // namespace
}  // namespace slat::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider bytes{data, size};
  slat::test::with_format(bytes, [&](const auto& format) { slat::test::RawTable{format, bytes}.run(); });
  return 0;
}
