#pragma once

// Has everything compared after an operation. This is what is held to what:
//
//   oracle      no store, invalidation or release broke a rule, as Oracle judges them
//   flat map    what the raw bytes say is what every page is meant to be (raw_tree.hpp says how that is complete), and
//               marks that the guest's own writes left are still there
//   tables      every table's count is right, none is reachable twice or outside the frames
//   frames      in use are the tables in the tree; pages out are those of mapped lazy areas
//   areas       the set holds exactly the areas that the flat map has
//
// That is done after every operation, inside edits too, where a page that is to be mapped may be broken and is then
// held to what the table says that it will be. Every `thorough`-th operation the library's own audits must agree, every
// entry of every table is decoded, and the table is read back leaf by leaf.

#include "model/ground.hpp"

namespace slat::test {

template <class Format>
class Comparison : public Ground<Format> {
  using Base = Ground<Format>;

 public:
  using Base::Base;
  using typename Base::Backend, typename Base::Source;

 protected:
  using Base::by_granule_, Base::by_large_page_, Base::pages_, Base::raw_, Base::reader_, Base::set_;
  using Base::census_, Base::flat_, Base::format_, Base::geometry_, Base::operation_, Base::options_, Base::oracle_;
  using Base::complain, Base::editing, Base::has_areas, Base::listen_to_oracle, Base::page_source;
  using Base::stored_, Base::settled_, Base::checks_, Base::calls_in_edit_;
  using Base::table;

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
  void check_thoroughly() {
    auto const audit = has_areas() ? set_.audit(table()) : table().audit();
    if (!audit) complain("audit: " + std::string{name(audit.flaw)} + " at " + text(audit.where));
    Listener listener{*this};
    raw_.compare_all(listener);
    read_back({GuestPhys{0}, geometry_.input_size()});
    listen_to_oracle();
  }

 private:
  struct Listener {
    Comparison& world;
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
};

}  // namespace slat::test
