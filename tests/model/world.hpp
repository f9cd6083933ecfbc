#pragma once

// The operations of the random tests. Each is foretold (forecast.hpp), done under the oracle, done to the flat map, and
// compared (comparison.hpp): the answer tells whether it succeeded and changed the tables.
//
// With areas, a table is changed only by the set and by what leaves translations as they are (split, coalesce);
// without, directly.

#include "model/forecast.hpp"

namespace slat::test {

template <class Format>
class World : public Forecasts<Format> {
  using Base = Forecasts<Format>;

 public:
  using Base::Base;
  using Base::editing, Base::has_areas, Base::make_scarce, Base::walk;
  using typename Base::Backend, typename Base::Source;

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
  /// Of a table without areas every other time with the marks told.
  bool unmap(GuestRange range) {
    if (!has_areas() && ++unmaps_ % 2 == 0) return unmap_and_tell(range);
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
  bool unmap_and_tell(GuestRange range) {
    operation_ = {"unmap and tell", range, {}, {}, limit_};
    auto const what = format_.harvestable();
    auto const forecast = funded(Unmap{range});
    auto const owed = owed_reports(range);
    std::vector<GuestRange> runs;
    pays_ = true;
    auto const done = call(Change::unmap(range), forecast, [&] {
      auto result = table().unmap(range, what, [&](GuestRange run) {
        oracle_.tlb().harvested(run, what);
        runs.push_back(run);
      });
      if (result) oracle_.tlb().told(range, what);
      return result;
    });
    pays_ = false;
    if (!done && !runs.empty()) complain("a call that failed has told of something");
    for (auto const& run : runs)
      if (!range.contains(run)) complain("told of what is outside the range: " + text(run));
    for (auto const& report : owed)
      if (done && !covered(flat_[report.strip].range.clamp_to(range), runs)) complain("a written page went untold");
    if (done) flat_.unmap(range);
    if (!runs.empty()) census_->note(Effect::tell);
    settled_ = done;
    auto const changed = check(done);
    settled_ = false;
    return changed;
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
    auto const result = perform(std::move(change), [&] { return set_.resolve(at, access, table()); });
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
  using Base::call, Base::check, Base::check_thoroughly, Base::complain, Base::funded, Base::funded_by_area;
  using Base::calls_in_edit_, Base::census_, Base::edit_, Base::flat_, Base::format_, Base::geometry_, Base::limit_;
  using Base::give_up, Base::listen_to_oracle, Base::moves_pages, Base::page_source, Base::page_to_be, Base::perform;
  using Base::operation_, Base::oracle_, Base::pages_, Base::pays_, Base::set_, Base::settled_;
  using Base::table;
  using typename Base::Forecast;

  unsigned unmaps_ = 0;

  struct Report {
    std::size_t strip;
    bool clears;
  };

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
};

}  // namespace slat::test
