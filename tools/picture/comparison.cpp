#include "tools/picture/comparison.hpp"

#include <algorithm>
#include <limits>
#include <optional>

#include "tools/runs.hpp"

namespace slat::tool {

std::string_view words_of(Quarrel quarrel) {
  constexpr std::array<std::string_view, quarrels> words{"as meant",
                                                         "fewer rights than the area",
                                                         "another memory type than the area",
                                                         "more rights than the area",
                                                         "another host address than the area",
                                                         "mapped, and the area is never mapped",
                                                         "mapped outside any area",
                                                         "a leaf at which every access faults"};
  return words[static_cast<std::size_t>(quarrel)];
}

namespace {

constexpr std::uint64_t near_enough = 2 << 20;

Quarrel judge_run(const Scheme& scheme, const Run& run, std::uint64_t begin, const Area* area, bool know_areas) {
  using Backing = hv::AreaList::Backing;
  auto const& leaf = run.first;
  if (leaf.decoded.fault != testing::Fault::none) return Quarrel::faulty;
  if (area == nullptr) return know_areas ? Quarrel::outside : Quarrel::none;
  if (area->backing == Backing::device) return Quarrel::emulated;
  auto const host = run.host().raw() + (begin - run.range.begin.raw());
  if (area->backing == Backing::linear && host != area->host.raw() + (begin - area->range.begin.raw()))
    return Quarrel::wrong_host;
  if ((leaf.rights - area->attr.prot) != Prot::none) return Quarrel::more_rights;
  if (!std::visit([&](auto& reader) { return reader.is(area->attr.memory, leaf.decoded.type); }, scheme.reader))
    return Quarrel::memory;
  return leaf.rights == area->attr.prot ? Quarrel::none : Quarrel::fewer_rights;
}

bool alike(const Piece& a, const Piece& b) {
  return a.quarrel == b.quarrel && a.rights == b.rights && a.type == b.type && a.is_mixed == b.is_mixed;
}

void join(Piece& to, const Piece& piece) {
  if (!alike(to, piece)) to.is_mixed = true;
  if (to.host + (piece.begin - to.begin) != piece.host || !piece.is_linear) to.is_linear = false;
  to.is_in_part = to.is_in_part || piece.is_in_part || to.quarrel != piece.quarrel;
  to.quarrel = std::max(to.quarrel, piece.quarrel);
  to.last = piece.last;
  to.mapped += piece.mapped;
  for (std::size_t i = 0; i != to.leaves.size(); ++i) to.leaves[i] += piece.leaves[i];
}

/// Piece after piece, each cut at the edges of areas. `take(piece)`.
void pieces_of(const Gathered& gathered, const std::vector<Area>& areas, bool know_areas, auto take) {
  std::size_t next = 0;  // the first area that does not end before `at`
  for (auto const& run : runs_of(gathered, false)) {
    if (!run.first.valid()) continue;
    auto const begin = run.range.begin.raw(), last = run.range.last().raw();
    for (auto at = begin;;) {
      while (next != areas.size() && areas[next].range.last().raw() < at) ++next;
      auto end = last;
      const Area* area = nullptr;
      if (next != areas.size()) {
        auto const& range = areas[next].range;
        if (range.begin.raw() <= at) {
          area = &areas[next];
          end = std::min(end, range.last().raw());
        } else {
          end = std::min(end, range.begin.raw() - 1);
        }
      }
      auto const bytes = end - at + 1;
      Piece piece{.begin = at, .last = end, .segment = 2 * next + (area != nullptr), .mapped = bytes};
      piece.host = run.host().raw() + (at - begin);
      piece.quarrel = judge_run(gathered.scheme, run, at, area, know_areas);
      piece.rights = run.first.rights;
      piece.type = run.first.decoded.type;
      piece.leaves[run.first.level] = (bytes - 1) / run.first.range.size + 1;
      take(piece);
      if (end == last) break;
      at = end + 1;
    }
  }
}

}  // namespace

Comparison compare(const Gathered& gathered, const std::optional<Areas>& areas, std::size_t most) {
  Comparison out;
  for (auto const& area : areas ? areas->list : std::vector<Area>{}) {
    if (!out.areas.empty() && area.range.begin <= out.areas.back().range.last())
      ++out.overlapping;
    else
      out.areas.push_back(area);
  }
  auto& pieces = out.pieces;
  auto const gap_of = [&](const Piece& piece) {
    return piece.segment % 2 == 0 ? near_enough : std::max(near_enough, out.areas[piece.segment / 2].range.size / 8);
  };
  auto const close = [&](const Piece& a, const Piece& b, std::uint64_t times) {
    if (a.segment != b.segment) return false;
    auto const gap = gap_of(a);
    return gap > std::numeric_limits<std::uint64_t>::max() / times || b.begin - a.last <= gap * times;
  };
  // What lies in none that is known may lie in one that is not.
  auto const know_all = areas && areas->left_out == 0 && out.overlapping == 0;
  pieces_of(gathered, out.areas, know_all, [&](const Piece& piece) {
    out.mapped += piece.mapped;
    auto& tally = out.tallies[static_cast<std::size_t>(piece.quarrel)];
    tally.bytes += piece.mapped;
    if (!pieces.empty() && alike(pieces.back(), piece) && close(pieces.back(), piece, 1)) {
      join(pieces.back(), piece);
    } else {
      ++tally.places;
      pieces.push_back(piece);
    }
  });
  for (std::uint64_t times = 1; pieces.size() > most; times *= 4) {
    std::vector<Piece> fewer;
    for (auto const& piece : pieces) {
      if (!fewer.empty() && close(fewer.back(), piece, times))
        join(fewer.back(), piece);
      else
        fewer.push_back(piece);
    }
    pieces = std::move(fewer);
    if (times >> 60 != 0) break;
  }
  return out;
}

}  // namespace slat::tool
