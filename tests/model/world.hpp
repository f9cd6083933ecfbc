#pragma once

// A table of any format, the areas that drive it, and the flat map of what its pages are meant to be, under the eyes of
// the oracle. Each operation forecasts from the flat map whether it may succeed and what frames it takes, does it, and
// then has everything compared:
//
//   oracle      no store, invalidation or release broke a rule, as Oracle judges them
//   flat map    what the raw bytes say is what every page is meant to be (raw_tree.hpp says how that is complete), and
//               marks that the guest's own writes left are still there
//   tables      every table's count is right, none is reachable twice or outside the frames
//   frames      in use are the tables in the tree; pages out are those of mapped lazy areas
//   areas       the set holds exactly the areas that the flat map has
//   shootdowns  one at most, and none inside a wider edit
//
// That is done after every operation, inside edits too, where a page that is to be mapped may be broken and is then
// held to what the table says that it will be. Every `thorough`-th operation the library's own audits must agree, every
// entry of every table is decoded, and the table is read back leaf by leaf.
//
// With areas, a table is changed only by the set and by what leaves translations as they are (split, coalesce);
// without, directly.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>

#include "model/census.hpp"
#include "model/flat_map.hpp"
#include "model/guest_pages.hpp"
#include "model/raw_tree.hpp"

namespace slat::test {
using namespace slat::testing;

struct WorldOptions {
  std::size_t frames = 96;
  std::uint64_t seed = 1;  // of the oracle's hardware
  unsigned period = 0;     // of its turns
  bool has_areas = true;
  std::uint64_t large_page = 0;  // what the second page source populates
  std::size_t thorough = 16;     // see above
};

/// One call, for the report of what went wrong.
struct Operation {
  std::string_view name;
  GuestRange range{};
  HostPhys host{};
  Attr attr{};
  std::optional<std::size_t> frames;  // so many may be had, and no more
};

inline std::string describe(const Operation& operation) {
  std::string out{operation.name};
  auto const append = [&out](std::string_view piece) { out += piece; };
  out += " ";
  print_range(append, operation.range);
  out += " to " + hex(operation.host.raw()) + ", ";
  print(append, operation.attr);
  if (operation.frames) out += ", with " + std::to_string(*operation.frames) + " frames";
  return out;
}

template <class Format>
class World {
  using Checked = Oracle<Format>;
  using Reader = typename Checked::Reader;

 public:
  using Table = typename Checked::Table;
  using Source = PageSource<GuestPages, LeaveAsIs>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend>;

  World(const Format& format, const std::vector<GuestPhys>& bounds, const WorldOptions& options, Census& census)
      : format_{format},
        reader_{reader_for(format)},
        geometry_{format.geometry()},
        options_{options},
        census_{&census},
        oracle_{format, {.frames = options.frames, .tlb = {.seed = options.seed, .period = options.period}}},
        pages_{oracle_.recorder(), geometry_.page_size(), options.large_page},
        by_granule_{pages_, geometry_.page_size(), geometry_.page_size(), {}},
        by_large_page_{pages_, geometry_.page_size(), options.large_page, {}},
        flat_{bounds},
        raw_{reader_, oracle_.frames(), oracle_.table().root(), flat_.universe()} {}
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World() {
    // The oracle's table may owe pages.
    edit_.reset();
    oracle_.frames().never_fail();
    oracle_.destroy();
  }

  const FlatMap& flat() const { return flat_; }
  const Format& format() const { return format_; }
  const Geometry& geometry() const { return geometry_; }
  bool has_areas() const { return options_.has_areas; }
  bool editing() const { return edit_.has_value(); }
  std::size_t free_frames() { return oracle_.frames().count() - oracle_.frames().in_use(); }
  /// What hardware finds there.
  Found walk(GuestPhys at) const { return oracle_.tlb().walk(at); }
  bool sound() const { return complaint_.empty(); }
  std::string why() const { return complaint_; }

  /// The next operation may have so many frames; with pages it gets none.
  void make_scarce(std::size_t frames, bool pages) {
    limit_ = frames;
    pages_.fail(pages);
  }

  // ---- operations: each checks all, and tells whether it succeeded and changed something

  bool map_linear(GuestRange range, HostPhys host, Attr attr, bool over) {
    operation_ = {over ? "map over" : "map", range, host, attr, limit_};
    auto const in_the_way = flat_.any(range, [&](const Strip& strip) { return strip.sort != Sort::none; });
    auto const moves = moves_pages(range, host);
    auto forecast = over ? funded(Replace{range, host, attr}) : funded(Map{range, host, attr});
    if (in_the_way && !over) forecast = {0, has_areas() ? Errc::already_exists : Errc::already_mapped};
    if (forecast.refusal && forecast.refusal != Errc::already_exists && forecast.refusal != Errc::already_mapped)
      return complain("refused without a reason");
    give_up(range);
    auto const done = call(Change::map(range, host, attr), forecast, [&]() -> Result<> {
      if (has_areas()) return set_.map({range.begin, range.size, attr, Linear{host}}, table(), over);
      return over ? table().replace(range, host, attr) : table().map(range, host, attr);
    });
    if (done) flat_.map_linear(range, host, attr);
    if (done && moves) census_->note(Effect::replace);
    return check(done);
  }
  bool map_lazy(GuestRange range, unsigned source, Attr attr, bool over) {
    return map_nothing(over ? "map lazy over" : "map lazy", range, Lazy<Source>{page_source(source)}, attr, over,
                       [&] { flat_.map_lazy(range, source, attr); });
  }
  bool map_device(GuestRange range, Attr attr, bool over) {
    return map_nothing(over ? "map device over" : "map device", range, Device{}, attr, over,
                       [&] { flat_.map_device(range, attr); });
  }
  bool unmap(GuestRange range) {
    operation_ = {"unmap", range, {}, {}, limit_};
    auto const forecast = funded_by_area(
        range, [&](GuestRange part, const Attr&) { return std::optional{Unmap{part}}; }, Unmap{range});
    give_up(range);
    auto const done = call(Change::unmap(range), forecast, [&] {
      return has_areas() ? set_.unmap(range.begin, range.size, table()) : table().unmap(range);
    });
    if (done) flat_.unmap(range);
    return check(done);
  }
  /// Gives `attr` to all areas in the range; if `selective`, not to those whose attributes have the software bit 0.
  bool protect(GuestRange range, Attr attr, bool selective) {
    operation_ = {selective ? "protect some of" : "protect", range, {}, attr, limit_};
    auto const update = [=](const Attr& old) -> std::optional<Attr> {
      if (selective && (old.software & 1) != 0) return std::nullopt;
      return attr;
    };
    auto const forecast = funded_by_area(
        range,
        [&](GuestRange part, const Attr& old) {
          auto const next = update(old);
          return next ? std::optional{Protect{part, *next}} : std::nullopt;
        },
        Protect{range, attr});
    auto change = Change::of(oracle_.intent(), range, false, [&](Piece& piece) {
      if (piece.meaning)
        piece.meaning->attr = has_areas() ? update(piece.meaning->attr).value_or(piece.meaning->attr) : attr;
    });
    auto const done = call(std::move(change), forecast, [&] {
      return has_areas() ? set_.protect(range.begin, range.size, update, table()) : table().protect(range, attr);
    });
    if (done && has_areas()) flat_.protect(range, update);
    if (done && !has_areas()) flat_.protect(range, [&](const Attr&) { return std::optional{attr}; });
    return check(done);
  }
  bool split(GuestRange range) {
    operation_ = {"split", range, {}, {}, limit_};
    return check(
        call(Change::same(oracle_.intent(), range), funded(Split{range}), [&] { return table().split(range); }));
  }
  bool coalesce(GuestRange range) {
    operation_ = {"coalesce", range, {}, {}, limit_};
    return check(call(Change::same(oracle_.intent(), range), {}, [&] {
      return has_areas() ? set_.coalesce(range.begin, range.size, table()) : table().coalesce(range);
    }));
  }
  bool harvest(GuestRange range, Age what) {
    operation_ = {
        what.dirty ? what.accessed ? "harvest all of" : "harvest dirty" : "harvest accessed", range, {}, {}, limit_};
    auto const can = format_.harvestable();
    Forecast forecast;
    if (what.accessed && !can.accessed) forecast.refusal = Errc::unsupported;
    auto const owed = what.dirty && !forecast.refusal ? owed_reports(range) : std::vector<Report>{};
    std::vector<GuestRange> runs;
    auto const sink = [&](GuestRange run) {
      oracle_.tlb().harvested(run, what);
      runs.push_back(run);
    };
    auto change = what.dirty ? Change::harvest(oracle_.intent(), range) : Change::same(oracle_.intent(), range);
    auto const done = call(std::move(change), forecast, [&] {
      return has_areas() ? set_.harvest(range, sink, table(), what) : table().harvest(range, what, sink);
    });
    for (auto const& run : runs)
      if (!range.contains(run)) complain("harvested outside the range: " + text(run));
    for (auto const& report : owed) {
      if (done && !covered(flat_[report.strip].range, runs)) complain("a written page was not harvested");
      if (done && report.clears) flat_[report.strip].written = false;
    }
    if (done && what.dirty) flat_.each(range, [](Strip& strip) { strip.tracked = strip.mapped; });
    if (!runs.empty()) census_->note(Effect::harvest);
    return check(done);
  }

  /// A fault of the guest at a page that is a strip of its own, or in an area whose pages are.
  bool resolve(GuestPhys at, Prot access) {
    auto const& strip = flat_[flat_.index(at)];
    operation_ = {"resolve", {at, geometry_.page_size()}, {}, {access}, limit_};
    auto const found = walk(at);
    auto change = Change::same(oracle_.intent(), found.place.span);
    auto expected = Resolution::unknown;
    GuestRange populated;
    bool starves = false;
    if (strip.sort == Sort::none || !has_areas()) {
    } else if (strip.sort == Sort::device) {
      expected = Resolution::emulate;
    } else if (!strip.attr.allows(access)) {
      expected = Resolution::denied;
    } else if (found.decoded.kind == Decoded::Kind::broken) {
      expected = Resolution::busy;
    } else if (found.decoded.leaf()) {
      expected = Resolution::spurious;
    } else if (strip.sort == Sort::lazy) {
      expected = Resolution::mapped;
      if (auto const page = page_to_be(at, strip, found)) {
        populated = page->range;
        change = Change::map(page->range, page->meaning->host, page->meaning->attr);
        operation_.range = page->range;
        operation_.host = page->meaning->host;
      } else {
        starves = true;
      }
    }
    if (!has_areas()) return false;
    auto const stores = oracle_.recorder().stores();
    auto const result = run(std::move(change), [&] { return set_.resolve(at, access, table()); });
    if (starves) {
      if (result || result.error().code != Errc::no_memory) complain("a fault was resolved without a page");
      if (!result) census_->note(Effect::failed_call);
    } else if (!result || *result != expected) {
      complain("a fault was resolved otherwise than expected");
    } else if (!populated.empty()) {
      flat_.populate(populated, operation_.host);
      census_->note(Effect::populate);
    }
    return check(bool(result)) && oracle_.recorder().stores() != stores;
  }

  /// Hardware reads or writes a page.
  void use(GuestPhys at, bool write) {
    auto& strip = flat_[flat_.index(at)];
    auto const found = walk(at);
    auto const writes = write && !editing() && found.decoded.leaf() && allows(found.decoded.rights, Prot::w);
    oracle_.tlb().use(at, write);
    // The mark is of the leaf: of the strip if that has no others.
    if (writes && found.place.span.contains(strip.range)) strip.written = true;
  }

  // ---- wider edits

  void begin_edit() {
    edit_.emplace(oracle_);
    calls_in_edit_ = 0;
  }
  void settle() {
    operation_ = {"settle", {}, {}, {}, {}};
    auto const shootdowns = oracle_.recorder().shootdowns();
    edit_->settle();
    if (oracle_.recorder().shootdowns() > shootdowns + 1) complain("more than one shootdown");
    settled_ = true;
    check(false);
    settled_ = false;
  }
  void end_edit() {
    operation_ = {"end of edit", {}, {}, {}, {}};
    auto const shootdowns = oracle_.recorder().shootdowns();
    edit_.reset();
    if (oracle_.recorder().shootdowns() > shootdowns + 1) complain("more than one shootdown");
    if (calls_in_edit_ >= 2) census_->note(Effect::wider_edit);
    check(false);
  }

  /// Ends everything: nothing is left, and nothing is missing.
  void finish() {
    if (editing()) end_edit();
    auto const all = flat_.universe();
    operation_ = {"clear", all, {}, {}, {}};
    make_scarce(0, true);
    give_up(all);
    auto const cleared =
        call(Change::unmap(all), {}, [&] { return has_areas() ? set_.clear(table()) : table().unmap(all); });
    if (cleared) flat_.unmap(all);
    check(cleared);
    check_thoroughly();
    oracle_.tlb().check_tables();
    if (table().tables() != 1) complain("tables are left");
    oracle_.destroy();
    if (oracle_.frames().in_use() != 0 || pages_.out() != 0) complain("frames are left");
    listen_to_oracle();
  }

 private:
  /// What a call will come to: so many frames, or an error whatever there is.
  struct Forecast {
    std::uint64_t frames = 0;
    std::optional<Errc> refusal{};
  };
  struct Report {
    std::size_t strip;
    bool clears;
  };

  Table& table() { return oracle_.table(); }
  Source& page_source(unsigned i) { return i == 0 ? by_granule_ : by_large_page_; }
  bool complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what + "\nin " + describe(operation_) + "\n" + oracle_.why();
    return false;
  }
  void listen_to_oracle() {
    if (oracle_.violation() != Offence::none) complain("the oracle objects");
  }

  // ---- forecasts

  template <class Asked>
  Forecast funded(const Asked& asked) {
    auto const needed = table().frames_needed(asked);
    if (!needed) return {0, needed.error().code};
    return {*needed, {}};
  }
  /// As the set plans: area by area. `asked(part, attr)` is what it asks of the table for each.
  template <class Ask, class Whole>
  Forecast funded_by_area(GuestRange range, Ask ask, const Whole& whole) {
    if (!has_areas()) return funded(whole);
    Forecast sum;
    for (auto const& area : set_.iter()) {
      if (!area.overlaps(range)) continue;
      if (auto const asked = ask(range.clamp_to(area.range()), area.flags())) sum.frames += funded(*asked).frames;
    }
    return sum;
  }
  std::uint64_t room() { return limit_ && *limit_ < free_frames() ? *limit_ : free_frames(); }

  /// The page that a fault will populate, or nothing when there is no memory for it.
  std::optional<Piece> page_to_be(GuestPhys at, const Strip& strip, const Found& found) {
    auto left = room();
    auto const large = strip.source != 0 ? pages_.large() : geometry_.page_size();
    auto const try_size = [&](std::uint64_t bytes) -> std::optional<Piece> {
      GuestRange const page{at.down_to(bytes), bytes};
      auto const host = pages_.next(bytes);
      if (!host) return {};
      auto const needed = funded(Map{page, *host, strip.attr}).frames;
      if (needed <= left) return Piece{page, Meaning{*host, strip.attr}};
      // It has taken what it found before it gave up.
      if (limit_) left = *limit_ <= free_frames() ? 0 : (left < *limit_ - left ? left : *limit_ - left);
      return {};
    };
    auto const fits = [&](GuestRange page) { return found.place.span.contains(page) && area_of(at).contains(page); };
    if (large != geometry_.page_size() && fits({at.down_to(large), large}))
      if (auto const page = try_size(large)) return page;
    return try_size(geometry_.page_size());
  }
  GuestRange area_of(GuestPhys at) const { return set_.find(at)->range(); }

  bool moves_pages(GuestRange range, HostPhys host) const {
    return flat_.any(range, [&](const Strip& strip) {
      return strip.mapped && strip.host != host + (strip.range.begin - range.begin);
    });
  }

  // ---- calls

  template <class Lazily>
  bool map_nothing(std::string_view name, GuestRange range, Backend backend, Attr attr, bool over, Lazily put) {
    if (!has_areas()) return false;
    operation_ = {name, range, {}, attr, limit_};
    auto const in_the_way = flat_.any(range, [&](const Strip& strip) { return strip.sort != Sort::none; });
    auto forecast = in_the_way ? funded(Unmap{range}) : Forecast{};
    if (in_the_way && !over) forecast = {0, Errc::already_exists};
    give_up(range);
    auto const done = call(Change::unmap(range), forecast, [&] {
      return set_.map({range.begin, range.size, attr, backend}, table(), over);
    });
    if (done) put();
    return check(done);
  }

  template <class Call>
  auto run(Change change, Call call) {
    auto const shootdowns = oracle_.recorder().shootdowns();
    auto const stores = oracle_.recorder().stores();
    if (limit_) oracle_.frames().fail_after(*limit_);
    auto result = oracle_.perform(operation_.name, std::move(change), call);
    oracle_.frames().never_fail();
    pages_.fail(false);
    pages_.end_call();
    limit_.reset();
    if (oracle_.recorder().shootdowns() > shootdowns + (editing() ? 0 : 1)) complain("more than one shootdown");
    stored_ = oracle_.recorder().stores() != stores;
    return result;
  }
  template <class Call>
  bool call(Change change, Forecast forecast, Call call) {
    auto const room = this->room();
    auto const allocations = oracle_.frames().allocations();
    auto const result = run(std::move(change), call);
    if (!result) keep(operation_.range);
    if (forecast.refusal) {
      if (result || result.error().code != *forecast.refusal)
        complain("the call was not refused, or not for the reason");
    } else if (forecast.frames > room) {
      if (result || result.error().code != Errc::no_memory) complain("a call succeeded with too few frames");
      if (!result) census_->note(Effect::failed_call);
    } else if (!result) {
      complain("refused with frames enough: " + std::string{name(result.error().code)});
    } else if (oracle_.frames().allocations() - allocations != forecast.frames) {
      complain("took other than the " + std::to_string(forecast.frames) + " frames needed");
    }
    return bool(result);
  }

  void give_up(GuestRange range) {
    flat_.each(range, [&](Strip& strip) {
      if (strip.mapped && strip.sort == Sort::lazy) pages_.give_up(strip.host, strip.range.size);
    });
  }
  void keep(GuestRange range) {
    if (range.empty()) return;
    flat_.each(range, [&](Strip& strip) {
      if (strip.mapped && strip.sort == Sort::lazy) pages_.keep(strip.host, strip.range.size);
    });
  }

  // ---- harvests

  /// What must be reported; its mark is taken if all of its leaf lies in the range.
  std::vector<Report> owed_reports(GuestRange range) {
    std::vector<Report> owed;
    if (!flat_.any(range, [](const Strip& strip) { return strip.written; })) return owed;
    table().visit(range, [&](const Leaf& leaf) {
      auto const strips = flat_.within(leaf.range.clamp_to(range));
      for (auto i = strips.first; i != strips.last; ++i)
        if (flat_[i].written) owed.push_back({i, range.contains(leaf.range)});
    });
    return owed;
  }
  static bool covered(GuestRange range, const std::vector<GuestRange>& runs) {
    for (auto const& run : runs)
      if (run.contains(range)) return true;
    return false;
  }

  // ---- comparing

  struct Listener {
    World& world;
    GuestRange universe = world.flat_.universe();
    unsigned broken_slots = 0;
    bool cut = false, cut_begin = false, cut_end = false, unlinked = false, united = false;

    void wrong(const std::string& what) { world.complain(what); }
    void wrong(std::string_view what, GuestRange span) { wrong(std::string{what} + ": " + text(span)); }

    void leaf(GuestRange span, Level level, Entry entry, const Decoded& leaf) {
      if (!universe.contains(span)) return wrong("mapped outside the universe", span);
      auto const strips = world.flat_.within(span);
      for (auto i = strips.first; i != strips.last; ++i) {
        auto const& strip = world.flat_[i];
        auto const at = strip.range.clamp_to(span).begin;
        if (!strip.mapped || leaf.address + (at - span.begin) != strip.host + (at - strip.range.begin) ||
            !world.grants(strip, leaf.rights) || !world.reader_.is(strip.attr.memory, leaf.type))
          return wrong("hardware finds another translation than was meant", span);
        if (strip.written && !world.format_.age(level, entry).dirty) return wrong("a written page is not dirty", span);
      }
    }
    void absent(GuestRange span) {
      auto const part = span.clamp_to(universe);
      if (!part.empty() && world.flat_.any(part, [](const Strip& strip) { return strip.mapped; }))
        wrong("hardware finds nothing where something was meant", part);
    }
    void broken(GuestRange span) {
      ++broken_slots;
      if (!world.editing() || world.settled_) return wrong("broken, and no edit is open", span);
      world.read_back(span);
    }
    void table(std::size_t used, std::uint64_t word) {
      if ((word & slat::detail::Word::count) != used || (!world.editing() && word != used))
        wrong("the word beside a table is wrong: " + hex(word));
    }
    void changed(GuestRange slot, Level level, Entry old, Entry next) {
      if (level == 0) return;
      auto const& format = world.format_;
      auto const was = world.reader_.decode(level, old);
      auto const is = format.kind(level, next == 0 ? 0 : format.mended(next));
      auto const& range = world.operation_.range;
      if (was.table() && (is != Kind::table || format.address(level, next) != was.address)) {
        unlinked = true;
        united = united || (is == Kind::leaf && world.operation_.name == "coalesce");
      }
      if (!was.leaf() || is != Kind::table || range.empty()) return;
      auto const replaced = world.operation_.name.starts_with("map") && range.contains(slot);
      if (replaced) return;
      cut = true;
      cut_begin =
          cut_begin || (slot.contains(range.begin) && slot.begin != range.begin && !slot.contains(range.last()));
      cut_end = cut_end || (slot.contains(range.last()) && slot.end() != range.end() && !slot.contains(range.begin));
    }
  };

  bool grants(const Strip& strip, Prot rights) const {
    return rights == strip.attr.prot || (strip.tracked && !reader_.sets_dirty() && rights == strip.attr.prot - Prot::w);
  }

  /// Has everything compared. Answers whether the operation has changed something.
  bool check(bool done) {
    listen_to_oracle();
    Listener listener{*this};
    raw_.compare(operation_.range, listener);
    if (!done && (listener.cut || listener.unlinked)) complain("a call that failed changed the tree");
    check_frames();
    if (has_areas()) check_areas();
    if (++checks_ % options_.thorough == 0) check_thoroughly();
    count(done, listener);
    return done && stored_;
  }
  void count(bool done, const Listener& seen) {
    if (!done) return;
    if (stored_) census_->note(Effect::change);
    if (stored_) ++calls_in_edit_;
    if (seen.cut) census_->note(Effect::split);
    if (seen.cut_begin && seen.cut_end) census_->note(Effect::both_edges);
    if (seen.unlinked) census_->note(Effect::unlink);
    if (seen.united) census_->note(Effect::coalesce);
    if (seen.broken_slots != 0) census_->note(Effect::broken_seen);
  }

  void check_frames() {
    auto const in_use = oracle_.frames().in_use();
    if (editing() && !settled_ ? in_use < raw_.granules() : in_use != raw_.granules())
      complain(std::to_string(in_use) + " frames in use, " + std::to_string(raw_.granules()) + " in the tree");
    std::uint64_t lazy = 0;
    for (std::size_t i = 0; i != flat_.size(); ++i)
      if (flat_[i].mapped && flat_[i].sort == Sort::lazy) lazy += flat_[i].range.size / geometry_.page_size();
    if (pages_.out() != lazy + pages_.pending() || pages_.out() != by_granule_.in_use() + by_large_page_.in_use())
      complain(std::to_string(pages_.out()) + " pages out, " + std::to_string(lazy) + " mapped");
    if (!editing() && pages_.pending() != 0) complain("pages wait for a shootdown that has been");
    if (!pages_.flaw().empty()) complain(pages_.flaw());
  }

  void check_areas() {
    auto const areas = set_.iter();
    auto area = areas.begin();
    for (std::size_t i = 0; i != flat_.size();) {
      if (flat_[i].sort == Sort::none) {
        ++i;
        continue;
      }
      auto last = i + 1;
      while (last != flat_.size() && flat_[last].sort != Sort::none && !flat_[last].begins) ++last;
      auto const range = flat_.range({i, last});
      if (area == areas.end() || !(area->range() == range) || !(area->flags() == flat_[i].attr) ||
          !(area->backend() == backend(flat_[i])))
        return void(complain("the set's areas are not those that were meant, at " + text(range)));
      ++area;
      i = last;
    }
    if (area != areas.end()) complain("the set has an area that was not meant, at " + text(area->range()));
  }
  Backend backend(const Strip& strip) {
    if (strip.sort == Sort::linear) return Linear{strip.base};
    if (strip.sort == Sort::lazy) return Lazy<Source>{page_source(strip.source)};
    return Device{};
  }

  void check_thoroughly() {
    auto const audit = has_areas() ? set_.audit(table()) : table().audit();
    if (!audit) complain("audit: " + std::string{name(audit.flaw)} + " at " + text(audit.where));
    Listener listener{*this};
    raw_.compare_all(listener);
    read_back({GuestPhys{0}, geometry_.input_size()});
    listen_to_oracle();
  }

  /// What the table says of every leaf in `span`, broken or not, is what was meant; and it says it of every page.
  void read_back(GuestRange span) {
    auto const part = span.clamp_to(flat_.universe());
    std::uint64_t found = 0;
    table().visit(span, [&](const Leaf& leaf) {
      if (!flat_.universe().contains(leaf.range)) return void(complain("a leaf outside the universe"));
      found += leaf.range.clamp_to(part).size;
      auto const strips = flat_.within(leaf.range);
      for (auto i = strips.first; i != strips.last; ++i) {
        auto const& strip = flat_[i];
        auto const at = strip.range.clamp_to(leaf.range).begin;
        if (!strip.mapped || leaf.host_of(at) != strip.host + (at - strip.range.begin) || !(leaf.attr == strip.attr) ||
            (strip.written && !leaf.age.dirty))
          complain("the table reads back otherwise than was meant, at " + text(leaf.range));
      }
    });
    std::uint64_t meant = 0;
    if (!part.empty()) {
      auto const strips = flat_.within(part);
      for (auto i = strips.first; i != strips.last; ++i)
        if (flat_[i].mapped) meant += flat_[i].range.clamp_to(part).size;
    }
    if (found != meant) complain("the table reads back holes, at " + text(span));
  }

  Format format_;
  Reader reader_;
  Geometry geometry_;
  WorldOptions options_;
  Census* census_;
  mutable Checked oracle_;
  GuestPages pages_;
  Source by_granule_;
  Source by_large_page_;
  Set set_;
  FlatMap flat_;
  RawTree<Reader> raw_;
  std::optional<typename Checked::Edit> edit_;
  std::optional<std::size_t> limit_;
  Operation operation_{"nothing", {}, {}, {}, {}};
  std::string complaint_;
  std::size_t checks_ = 0;
  std::size_t calls_in_edit_ = 0;
  bool stored_ = false;
  bool settled_ = false;
};

}  // namespace slat::test
