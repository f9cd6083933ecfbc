#pragma once

// The tables as bytes, read by the architecture's reader and by nothing else of the oracle or the library.
//
// compare() reads the tree again from its root. An entry is decoded if its bytes are not those of the last time, if its
// table was not in the tree then, or if it translates a part of the range that the operation was about; every other one
// says what it said when it was last compared. So each comparison is of all pages, at the cost of comparing bytes.
//
// The listener hears:
//   leaf(span, level, entry, decoded), absent(span)   what hardware finds
//   broken(span)                                      an invalid entry that is not 0, with whatever hangs below it
//   changed(span, level, old, next)                   a slot that was in the tree the last time, and is other than then
//   table(used, word)                                 a table, its entries that are not 0 and the word beside it
//   wrong(text)                                       what no tree may hold

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <slat/mm/address.hpp>

#include <slat/testing/reader.hpp>
#include <slat/testing/recording_frames.hpp>

namespace slat::test {
using namespace slat::testing;

template <class Reader>
class RawTree {
 public:
  /// Entries of the root that translate nothing of `universe` are only read by a thorough comparison.
  RawTree(const Reader& reader, RecordingFrames& frames, HostPhys root, GuestRange universe)
      : reader_{reader},
        shape_{reader.shape()},
        frames_{&frames},
        root_{root},
        root_first_{universe.begin.raw() >> shape_.shift(shape_.root)},
        root_last_{(universe.last().raw() >> shape_.shift(shape_.root)) + 1},
        seen_(frames.count()) {}

  /// Tables in the tree, in granules.
  std::size_t granules() const { return granules_; }

  template <class Listener>
  void compare(GuestRange touched, Listener& listener) {
    touched_ = touched;
    start();
    look(root_, shape_.root, GuestPhys{0}, root_first_, root_last_, listener);
  }
  /// Decodes every entry.
  template <class Listener>
  void compare_all(Listener& listener) {
    for (auto& seen : seen_) seen.round = never;
    start();
    look(root_, shape_.root, GuestPhys{0}, 0, shape_.root_entries(), listener);
  }

 private:
  static constexpr std::uint64_t never = 0;

  /// A table as it was when it was last read.
  struct Seen {
    std::uint64_t round = never;
    Level level = 0;
    GuestPhys base{};
    std::size_t used = 0;
    std::vector<Entry> entries;
    std::vector<std::size_t> tables;  // entries that lead to one
  };

  struct Indices {
    std::size_t first, last;
  };

  void start() {
    ++round_;
    auto const root_bytes = shape_.root_entries() * sizeof(Entry);
    granules_ = static_cast<std::size_t>((root_bytes + shape_.granule() - 1) / shape_.granule());
  }

  template <class Listener>
  void look(HostPhys table, Level level, GuestPhys base, std::size_t first, std::size_t last, Listener& listener) {
    auto& seen = seen_[frames_->index(table)];
    if (seen.round == round_) return listener.wrong("a table is in the tree twice: " + hex(table.raw()));
    auto const known = seen.round == round_ - 1 && seen.level == level && seen.base == base;
    seen.round = round_;
    if (!known) {
      seen.level = level;
      seen.base = base;
      seen.used = 0;
      seen.entries.assign(level == shape_.root ? shape_.root_entries() : shape_.table_entries(), 0);
      seen.tables.clear();
    }
    auto const* const entries = frames_->view(table);
    auto const span = shape_.span(level);
    GuestRange const covered{base + first * span, (last - first) * span};
    Indices touched{first, first};
    if (auto const part = touched_.clamp_to(covered); !known) {
      touched = {first, last};
    } else if (!part.empty()) {
      touched = {static_cast<std::size_t>((part.begin - base) / span),
                 static_cast<std::size_t>((part.last() - base) / span) + 1};
    }
    auto tables_changed = !known;
    auto const read = [&](Indices part, bool every) {
      for (auto i = part.first; i != part.last; ++i) {
        auto const old = seen.entries[i];
        auto const now = entries[i];
        if (!every && old == now) continue;
        GuestRange const slot{base + i * span, span};
        if (old != now) {
          seen.used = seen.used + (now != 0) - (old != 0);
          seen.entries[i] = now;
          if (known) listener.changed(slot, level, old, now);
        }
        auto const decoded = reader_.decode(level, now);
        tables_changed = tables_changed || (old != now && (decoded.table() || reader_.decode(level, old).table()));
        tell(slot, level, now, decoded, listener);
      }
    };
    auto const read_changed = [&](Indices part) {
      constexpr std::size_t step = 64;
      for (auto i = part.first; i < part.last; i += step) {
        auto const size = std::min(step, part.last - i);
        if (std::memcmp(entries + i, &seen.entries[i], size * sizeof(Entry)) != 0) read({i, i + size}, false);
      }
    };
    read_changed({first, touched.first});
    read(touched, true);
    read_changed({touched.last, last});
    if (tables_changed) find_tables(seen, level);
    listener.table(seen.used, frames_->word(table));
    for (auto const i : seen.tables) {
      auto const below = reader_.decode(level, seen.entries[i]).address;
      if (!frames_->owns(below)) return listener.wrong("a table outside the frames in use: " + hex(below.raw()));
      ++granules_;
      look(below, level - 1, base + i * span, 0, shape_.table_entries(), listener);
    }
  }

  template <class Listener>
  void tell(GuestRange slot, Level level, Entry entry, const Decoded& decoded, Listener& listener) {
    if (decoded.wrong != nullptr) return listener.wrong(std::string{decoded.wrong} + ": " + hex(entry));
    switch (decoded.kind) {
      case Decoded::Kind::absent: return listener.absent(slot);
      case Decoded::Kind::broken: return listener.broken(slot);
      case Decoded::Kind::leaf: return listener.leaf(slot, level, entry, decoded);
      case Decoded::Kind::table: return;
    }
  }

  void find_tables(Seen& seen, Level level) {
    seen.tables.clear();
    if (level == 0) return;
    for (std::size_t i = 0; i != seen.entries.size(); ++i)
      if (reader_.decode(level, seen.entries[i]).table()) seen.tables.push_back(i);
  }

  Reader reader_;
  Shape shape_;
  RecordingFrames* frames_;
  HostPhys root_;
  std::size_t root_first_, root_last_;
  std::vector<Seen> seen_;
  GuestRange touched_{};
  std::uint64_t round_ = never + 1;
  std::size_t granules_ = 0;
};

}  // namespace slat::test
