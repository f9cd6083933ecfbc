#pragma once

// A thousand random operations on one table: what to do next, and where.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>

#include "model/layout.hpp"
#include "model/random.hpp"
#include "model/world.hpp"

namespace slat::test {

/// How often, in a thousand operations, what writes whole tables is drawn: their size is what it costs.
struct Weights {
  unsigned both_edges;
  unsigned unite;
  unsigned whole_blocks;
};
constexpr Weights weights(const Geometry& geometry) {
  if (geometry.page_bits == 12) return {20, 20, 16};
  return {18, 18, 8};
}

/// A thousand operations on one table.
template <class Family>
class Run {
  using Format = typename Family::Format;

 public:
  Run(std::uint64_t seed, Census& census)
      : random_{seed},
        format_{Family::draw(random_)},
        geometry_{format_.geometry()},
        weights_{weights(geometry_)},
        layout_{geometry_, geometry_.page_bits == 16 ? 3u : 4u, geometry_.top_leaf >= 2 && random_.once_in(6), random_},
        world_{format_, layout_.bounds, options(seed), census} {}

  bool sound() const { return world_.sound(); }
  std::string why() const { return world_.why(); }

  void step() {
    scopes();
    if (scarce_ && random_.once_in(5)) world_.make_scarce(random_.below(3), random_.coin());
    while (random_.once_in(4)) world_.use(some_page(), random_.coin());
    if (next_) return std::exchange(next_, nullptr)();
    auto draw = random_.below(1000);
    auto const drawn = [&](unsigned weight) {
      if (draw < weight) return true;
      draw -= weight;
      return false;
    };
    if (drawn(weights_.both_edges)) return both_edges();
    if (drawn(weights_.unite)) return unite();
    if (drawn(weights_.whole_blocks)) return whole_blocks();
    if (!layout_.huge.empty() && drawn(8)) return huge();
    if (drawn(60)) return harvest();
    pages();
  }
  void finish() { world_.finish(); }

 private:
  WorldOptions options(std::uint64_t seed) {
    scarce_ = random_.once_in(3);
    // A call that looks at a whole table gives hardware more turns, the larger the table is.
    auto const size = 1u << (geometry_.index_bits - 9);
    return {
        .frames = static_cast<std::size_t>(geometry_.root_bytes() / geometry_.table_bytes()) + (scarce_ ? 12 : 40),
        .seed = seed,
        .period = size * (random_.once_in(8) ? 2 + static_cast<unsigned>(random_.below(16)) : 32u << random_.below(6)),
        .has_areas = !random_.once_in(4),
        .large_page = geometry_.root != 0 && random_.coin() ? geometry_.span(1) : 8 * geometry_.page_size(),
        .thorough = random_.once_in(64) ? size : 64u * size << random_.below(3)};
  }

  /// Wider edits begin, settle and end between the operations.
  void scopes() {
    if (!world_.editing()) {
      if (random_.percent(3)) world_.begin_edit();
    } else if (random_.once_in(6)) {
      world_.end_edit();
    } else if (random_.once_in(12)) {
      world_.settle();
    }
  }

  // ---- operations on blocks

  bool is_block(GuestRange block) const {
    auto const found = world_.walk(block.begin);
    return found.decoded.leaf() && found.place.level != 0;
  }
  GuestRange some_block() { return layout_.blocks[random_.below(layout_.blocks.size())]; }

  /// From the inside of one block to the inside of another; puts blocks there if there are none.
  void both_edges() {
    auto const count = layout_.blocks.size();
    if (count < 2) return pages();
    auto const first = random_.below(count - 1);
    auto const last = random_.once_in(4) ? first + 1 + random_.below(count - first - 1) : first + 1;
    auto const begin = layout_.blocks[first];
    auto const end = layout_.blocks[last];
    if (is_block(begin) && is_block(end)) {
      if (!random_.once_in(3)) return cut(begin, end);
      // A block that has been written is dirty already: clean, it has marks to lose.
      world_.harvest(GuestRange::between(begin.begin, end.end()), {format_.harvestable().accessed, true});
      next_ = [=, this] { cut(begin, end); };
      return;
    }
    restore(GuestRange::between(begin.begin, end.end()));
    next_ = [=, this] { cut(begin, end); };
  }
  void cut(GuestRange begin, GuestRange end) {
    auto const range = GuestRange::between(inside(begin), inside(end));
    switch (random_.below(random_.once_in(8) ? 4 : 3)) {
      case 0: world_.unmap(range); break;
      case 1: world_.map_linear(range, some_host(range), some_attr(), true); break;
      case 2: world_.protect(range, some_attr(), false); break;
      default: world_.map_lazy(range, 0, some_attr(), true);
    }
  }
  /// A bound that lies in the block and is none of its ends.
  GuestPhys inside(GuestRange block) {
    auto const& flat = world_.flat();
    auto const strips = flat.within(block);
    return flat[strips.first + 1 + random_.below(strips.last - strips.first - 1)].range.begin;
  }
  void restore(GuestRange range) { world_.map_linear(range, aligned_host(range), attr_of_block(), true); }

  /// A block becomes pages, and these a block again; or pages that happen to make one do.
  void unite() {
    auto const block = some_block();
    if (is_block(block)) {
      world_.split(block);
      next_ = [=, this] { world_.coalesce(block); };
    } else if (random_.once_in(4)) {
      world_.coalesce(block);
    } else {
      restore(block);
      next_ = [=, this] {
        world_.split(block);
        next_ = [=, this] { world_.coalesce(block); };
      };
    }
  }
  void whole_blocks() {
    auto const first = random_.below(layout_.blocks.size());
    auto const last = first + random_.below(std::min<std::size_t>(2, layout_.blocks.size() - first));
    auto const range = GuestRange::between(layout_.blocks[first].begin, layout_.blocks[last].end());
    switch (random_.below(8)) {
      case 0: world_.map_device(range, some_attr(), true); break;
      case 1: world_.map_lazy(range, 1, attr_of_block(), true); break;
      case 2: world_.map_linear(range, aligned_host(range), attr_of_block(), false); break;
      case 3: world_.protect(range, some_attr(), random_.coin()); break;
      case 4: world_.harvest(range, {random_.coin() && format_.harvestable().accessed, true}); break;
      case 5: world_.coalesce(world_.flat().universe()); break;
      default: world_.unmap(range);
    }
  }
  /// The same where slots of level 2 are leaves.
  void huge() {
    auto const slot = layout_.huge[random_.below(layout_.huge.size())];
    auto const both = GuestRange::between(layout_.huge.front().begin, layout_.huge.back().end());
    auto const range = random_.once_in(3) ? both : slot;
    if (format_.top_leaf(attr_of_huge()) < 2) return whole_blocks();
    switch (random_.below(6)) {
      case 0: world_.unmap(range); break;
      case 1: world_.protect(range, attr_of_huge(), random_.coin()); break;
      case 2: world_.coalesce(range); break;
      case 3: {
        // Across the seam of two leaves.
        auto const part = GuestRange::between(inside(layout_.blocks.front()), inside(layout_.blocks.back()));
        world_.protect(part, attr_of_huge(), false);
        break;
      }
      default: world_.map_linear(range, aligned_host(range), attr_of_huge(), true);
    }
  }

  // ---- operations on pages

  void pages() {
    auto const range = some_pages();
    auto const& flat = world_.flat();
    auto const& first = flat[flat.index(range.begin)];
    switch (random_.below(world_.has_areas() ? 24 : 16)) {
      case 0:
      case 1:
      case 2:
      case 3:
      case 4: world_.map_linear(range, some_host(range), some_attr(), true); break;
      case 5:
      case 6:
        if (first.sort == Sort::none)
          world_.map_linear(range, some_host(range), some_attr(), false);
        else
          world_.unmap(range);
        break;
      case 7:
      case 8:
      case 9: world_.unmap(range); break;
      case 10:
      case 11:
      case 12:
      case 13:
      case 14: world_.protect(range, other_attr(first.attr), random_.once_in(4)); break;
      case 15:
        if (random_.once_in(8))
          world_.map_linear(range, some_host(range), some_attr(), false);
        else
          map_back(range);
        break;
      case 16:
      case 17: world_.map_lazy(range, static_cast<unsigned>(random_.below(2)), some_attr(), true); break;
      case 18: world_.map_device(range, some_attr(), true); break;
      default: fault();
    }
  }
  /// What the block around it would have there.
  void map_back(GuestRange range) { world_.map_linear(range, aligned_host(range), attr_of_block(), true); }

  /// Where a fault has something to do, if such a page is found soon.
  void fault() {
    auto const& flat = world_.flat();
    auto at = some_page();
    for (auto tries = 0; tries != 12; ++tries, at = some_page())
      if (auto const& strip = flat[flat.index(at)]; strip.sort == Sort::lazy && !strip.mapped) break;
    auto const& strip = flat[flat.index(at)];
    world_.resolve(at, random_.once_in(8) ? random_.one_of({Prot::r, Prot::w, Prot::x}) : strip.attr.prot);
  }
  void harvest() {
    auto const can = format_.harvestable();
    auto const range = random_.once_in(4) ? GuestRange::between(some_block().begin, some_pages().end()) : some_pages();
    if (range.wraps() || range.begin >= range.end()) return pages();
    switch (random_.below(4)) {
      case 0: world_.harvest(range, {can.accessed || random_.once_in(8), false}); break;
      case 1: world_.harvest(range, {can.accessed, true}); break;
      default: world_.harvest(range, {false, true});
    }
  }

  /// Some pages beside each other; mostly not inside a block, since to cut one is much work.
  GuestRange some_pages() {
    auto fine = layout_.pages[random_.below(layout_.pages.size())];
    for (auto tries = 0; tries != 6 && !random_.once_in(24) && is_block(fine); ++tries)
      fine = layout_.pages[random_.below(layout_.pages.size())];
    auto const page = geometry_.page_size();
    auto const count = fine.size / page;
    auto const first = random_.below(count);
    auto const size = 1 + random_.below(std::min<std::uint64_t>(count - first, random_.once_in(4) ? 8 : 3));
    return {fine.begin + first * page, size * page};
  }
  GuestPhys some_page() {
    auto const& fine = layout_.pages[random_.below(layout_.pages.size())];
    return fine.begin + random_.below(fine.size / geometry_.page_size()) * geometry_.page_size();
  }

  /// Where blocks fit, and so few that old and new often agree.
  HostPhys aligned_host(GuestRange range) {
    auto const unit = geometry_.span(geometry_.top_leaf);
    auto const universe = world_.flat().universe();
    return HostPhys{(1 + random_.below(2)) * 4 * unit + (range.begin - universe.begin.down_to(unit))};
  }
  HostPhys some_host(GuestRange range) {
    auto const host = aligned_host(range);
    return random_.once_in(3) ? host + (1 + random_.below(3)) * geometry_.page_size() : host;
  }

  Attr some_attr() {
    constexpr Prot rights[] = {Prot::r,    Prot::rw,
                               Prot::rw,   Prot::rx,
                               Prot::rwx,  Prot::rwx,
                               Prot::x,    Prot::r | Prot::x_user,
                               Prot::none, Prot::rw | Prot::x_supervisor};
    constexpr Memory types[] = {Memory::uncached, Memory::write_through, Memory::device, Memory::device_strict};
    for (;;) {
      Attr attr{random_.one_of(rights)};
      if (random_.once_in(5)) attr.memory = random_.one_of(types);
      if (random_.once_in(4)) attr.software = static_cast<std::uint8_t>(random_.below(4));
      if (format_.supports(attr)) return attr;
    }
  }
  Attr other_attr(Attr old) {
    for (auto tries = 0; tries != 4; ++tries)
      if (auto const attr = some_attr(); !(attr == old)) return attr;
    return some_attr();
  }
  /// With which pages beside each other are blocks again.
  Attr attr_of_block() {
    Attr const attr{format_.supports(ro) ? Prot::rw : Prot::rwx};
    return random_.once_in(4) && format_.top_leaf(rwx) != 0 ? rwx : attr;
  }
  Attr attr_of_huge() const { return {format_.supports(ro) ? Prot::rw : Prot::rwx}; }

  Random random_;
  Format format_;
  Geometry geometry_;
  Weights weights_;
  Layout layout_;
  bool scarce_ = false;
  World<Format> world_;
  std::function<void()> next_;  // the second half of what takes two operations
};

}  // namespace slat::test
