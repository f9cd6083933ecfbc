#pragma once

// What the tables are meant to say: a flat map from guest addresses to host addresses and attributes, kept beside the
// table under test and knowing nothing of levels; and one change to it, of which the oracle sees before and after.

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace slat::testing {

struct Meaning {
  HostPhys host{};
  Attr attr{};
  bool tracked = false;  // dirty marks were harvested: where W is the dirty mark, it may be missing

  friend bool operator==(const Meaning&, const Meaning&) = default;
};

/// All of it but the host address, in one word that is not 0; and back.
constexpr std::uint64_t packed(const Meaning& meaning) {
  return 1ull << 63 | std::uint64_t(meaning.attr.prot) | std::uint64_t(meaning.attr.memory) << 8 |
         std::uint64_t{meaning.attr.software} << 16 | std::uint64_t{meaning.tracked} << 24;
}
constexpr Meaning unpacked(HostPhys host, std::uint64_t word) {
  return {host,
          {static_cast<Prot>(word & 0xff), static_cast<Memory>(word >> 8 & 0xff),
           static_cast<std::uint8_t>(word >> 16 & 0xff)},
          (word >> 24 & 1) != 0};
}

/// A range that means one thing: nothing, or host addresses that go up with the guest's.
struct Piece {
  GuestRange range;
  std::optional<Meaning> meaning;

  /// The part of it inside `clip`, which must overlap it.
  Piece clamp_to(GuestRange clip) const {
    Piece part{range.clamp_to(clip), meaning};
    if (part.meaning) part.meaning->host = part.meaning->host + (part.range.begin - range.begin);
    return part;
  }
};

class Intent {
 public:
  explicit Intent(std::uint64_t input_size) : input_size_{input_size} {}

  /// The piece around `at`: a hole reaches to its neighbours.
  Piece at(GuestPhys at) const {
    auto const next = pieces_.upper_bound(at.raw());
    auto begin = GuestPhys{0};
    if (next != pieces_.begin()) {
      auto const& known = std::prev(next)->second;
      if (known.range.contains(at)) return known;
      begin = known.range.end();
    }
    auto const end = next == pieces_.end() ? GuestPhys{input_size_} : next->second.range.begin;
    return {GuestRange::between(begin, end), std::nullopt};
  }

  /// The range in pieces, in order, holes included.
  std::vector<Piece> within(GuestRange range) const {
    std::vector<Piece> out;
    for (auto from = range.begin; range.contains(from); from = out.back().range.end())
      out.push_back(at(from).clamp_to(range));
    return out;
  }

  void assign(const Piece& piece) {
    cut(piece.range.begin);
    cut(piece.range.end());
    pieces_.erase(pieces_.lower_bound(piece.range.begin.raw()), pieces_.lower_bound(piece.range.end().raw()));
    if (piece.meaning) pieces_.emplace(piece.range.begin.raw(), piece);
  }

  bool empty() const { return pieces_.empty(); }
  std::uint64_t input_size() const { return input_size_; }

 private:
  void cut(GuestPhys where) {
    auto const next = pieces_.lower_bound(where.raw());
    if (next == pieces_.begin()) return;
    auto& left = std::prev(next)->second;
    if (!left.range.contains(where)) return;
    auto const right = left.clamp_to(GuestRange::between(where, left.range.end()));
    left.range = GuestRange::between(left.range.begin, where);
    pieces_.emplace(where.raw(), right);
  }

  std::uint64_t input_size_;
  std::map<std::uint64_t, Piece> pieces_;
};

/// One operation: the range it may touch, and what that range means afterwards.
struct Change {
  GuestRange range{};
  std::vector<Piece> after;  // cover the range, in order
  bool discards = false;     // what the range meant is given up: old A/D marks are nobody's any more

  /// `update(piece)` edits each piece of what is there, holes included.
  template <class Update>
  static Change of(const Intent& intent, GuestRange range, bool discards, Update update) {
    Change change{range, intent.within(range), discards};
    for (auto& piece : change.after) update(piece);
    return change;
  }
  static Change map(GuestRange range, HostPhys host, Attr attr) {
    return {range, {{range, Meaning{host, attr}}}, true};
  }
  static Change unmap(GuestRange range) { return {range, {{range, std::nullopt}}, true}; }
  static Change attributes(const Intent& intent, GuestRange range, Attr attr) {
    return of(intent, range, false, [&](Piece& piece) {
      if (piece.meaning) piece.meaning->attr = attr;
    });
  }
  /// Coalescing, splitting, harvesting accessed marks: nothing means anything else.
  static Change same(const Intent& intent, GuestRange range) {
    return of(intent, range, false, [](Piece&) {});
  }
  static Change harvest(const Intent& intent, GuestRange range) {
    return of(intent, range, false, [](Piece& piece) {
      if (piece.meaning) piece.meaning->tracked = true;
    });
  }

  Piece at(GuestPhys at) const {
    auto const found = std::upper_bound(after.begin(), after.end(), at,
                                        [](GuestPhys a, const Piece& piece) { return a < piece.range.begin; });
    return *std::prev(found);
  }
};

}  // namespace slat::testing
