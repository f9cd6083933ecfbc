#pragma once

// Where in a guest's address space the random operations meet: a few blocks around a boundary of a level above them, so
// that they run into each other, with the places in them where operations begin and end.

#include <algorithm>
#include <cstdint>
#include <vector>

#include <slat/mm/geometry.hpp>

#include "model/random.hpp"

namespace slat::test {

struct Layout {
  std::vector<GuestRange> blocks;  // neighbours, each a slot of level 1 (or some pages where pages are all there is)
  std::vector<GuestRange> huge;    // slots of level 2, if the universe is that large
  std::vector<GuestPhys> bounds;   // of the strips
  std::vector<GuestRange> pages;   // strips of one page each lie here: some at both ends and in the middle of a block

  /// `count` blocks. `is_huge`: with the slots of level 2 around them.
  Layout(const Geometry& geometry, std::size_t count, bool is_huge, Random& random) {
    auto const block =
        geometry.root == 0 ? std::min(geometry.input_size(), 64 * geometry.page_size()) : geometry.span(1);
    count = static_cast<std::size_t>(std::min<std::uint64_t>(count, geometry.input_size() / block));
    auto const size = count * block;
    GuestPhys begin{0};
    // Around the end of a table, at the end of all, or at its beginning.
    if (geometry.root >= 2 && (is_huge || !random.once_in(4))) {
      auto const level = is_huge ? 2 : static_cast<Level>(2 + random.below(geometry.root - 1));
      auto const boundary = geometry.span(level);
      if (boundary + size <= geometry.input_size()) begin = GuestPhys{boundary - count / 2 * block};
      if (is_huge)
        for (auto at = boundary; at <= boundary * 2 && at <= geometry.input_size(); at += boundary)
          huge.push_back({GuestPhys{at - boundary}, boundary});
    } else if (random.coin()) {
      begin = GuestPhys{geometry.input_size() - size};
    }
    for (std::size_t i = 0; i != count; ++i) add(geometry, {begin + i * block, block});
    for (auto const& slot : huge) {
      bounds.push_back(slot.begin);
      bounds.push_back(slot.end());
    }
    std::sort(bounds.begin(), bounds.end());
    bounds.erase(std::unique(bounds.begin(), bounds.end()), bounds.end());
  }

 private:
  static constexpr std::uint64_t some = 16;

  void add(const Geometry& geometry, GuestRange block) {
    blocks.push_back(block);
    auto const page = geometry.page_size();
    auto const in_block = block.size / page;
    std::vector<std::uint64_t> first{0, in_block / 2, in_block - some};
    if (in_block <= 3 * some) first = {0};
    for (auto const from : first) {
      GuestRange const fine{block.begin + from * page, std::min(in_block, some) * page};
      pages.push_back(fine);
      for (std::uint64_t at = 0; at <= fine.size; at += page) bounds.push_back(fine.begin + at);
    }
    bounds.push_back(block.begin);
    bounds.push_back(block.end());
  }
};

}  // namespace slat::test
