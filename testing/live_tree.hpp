#pragma once

// The tables that hardware can reach, read raw: where each one hangs, and walks through them.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/concepts.hpp>

#include <slat/testing/reader.hpp>
#include <slat/testing/recording_frames.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

/// One entry's place in the tree.
struct Place {
  Level level = 0;
  GuestRange span{};
};

inline std::string text(Place place) {
  return "the slot of level " + std::to_string(place.level) + " at " + text(place.span);
}

/// Where a walk ended: at a leaf, or at what is not valid.
struct Found {
  Place place;
  Entry* entry = nullptr;
  Decoded decoded;
};

template <class Reader>
class LiveTree {
 public:
  enum class State : std::uint8_t {
    aside,        // not linked, never seen by hardware since it was allocated
    live,         // in the tree
    cached,       // out of the tree; a cached pointer may lead to it
    invalidated,  // out of the tree, and the pointers are gone
  };
  struct Table {
    State state = State::aside;
    Level level = 0;
    GuestPhys base{};          // of its first entry
    std::size_t unlinked = 0;  // when, in events
  };

  LiveTree(RecordingFrames& frames, const Reader& reader)
      : frames_{&frames},
        reader_{reader},
        shape_{reader.shape()},
        tables_(frames.count()),
        shadow_{std::make_unique_for_overwrite<Entry[]>(frames.count() * shape_.table_entries())} {}

  const RecordingFrames& frames() const { return *frames_; }
  const Shape& shape() const { return shape_; }
  const Reader& reader() const { return reader_; }
  /// As far as a TLB is concerned: where a walk stops with a fault, nothing is valid.
  Decoded decode(Level level, Entry entry) const {
    auto decoded = reader_.decode(level, entry);
    if (decoded.valid() && !decoded.usable()) decoded.kind = Decoded::Kind::broken;
    return decoded;
  }
  HostPhys root() const { return root_; }
  bool attached() const { return attached_; }
  std::size_t live_tables() const { return live_; }
  /// Granules of the root.
  std::size_t root_granules() const {
    auto const bytes = shape_.root_entries() * sizeof(Entry);
    return static_cast<std::size_t>((bytes + shape_.granule() - 1) / shape_.granule());
  }

  Table& table(HostPhys at) { return tables_[frames_->index(at)]; }
  const Table& table(HostPhys at) const { return tables_[frames_->index(at)]; }
  /// The place of the entry at `where`, which lies in a table that is live or cached.
  Place place(HostPhys where) const {
    auto const& in = table(where);
    auto const index = (where - where.down_to(shape_.granule())) / sizeof(Entry);
    return {in.level, {in.base + index * shape_.span(in.level), shape_.span(in.level)}};
  }

  /// Makes `root` the live tree. Calls visit(place, decoded) as link() does.
  template <class Visit>
  void attach(HostPhys root, Visit visit) {
    root_ = root;
    attached_ = true;
    for (std::size_t i = 0; i != root_granules(); ++i) {
      auto const granule = root + i * shape_.granule();
      auto const entries =
          i + 1 == root_granules() ? shape_.root_entries() - i * shape_.table_entries() : shape_.table_entries();
      enter(granule, shape_.root, GuestPhys{i * shape_.table_entries() * shape_.span(shape_.root)}, entries, visit);
    }
  }
  void detach() {
    for (std::size_t i = 0; i != root_granules(); ++i) table(root_ + i * shape_.granule()) = {};
    live_ -= root_granules();
    attached_ = false;
  }
  /// Whether the root holds nothing valid.
  bool empty() const {
    auto const* const entries = frames_->view(root_);
    for (std::size_t i = 0; i != shape_.root_entries(); ++i)
      if (decode(shape_.root, entries[i]).valid()) return false;
    return true;
  }
  bool is_root(HostPhys frame) const {
    return attached_ && frame >= root_ && frame - root_ < root_granules() * shape_.granule();
  }

  /// A pointer to `at`, whose entries are of `level` and begin at `base`, has become live. Calls visit(place, decoded)
  /// for every entry below, those of tables before what they lead to; a run of absent ones is one place.
  /// visit.table(at, level, base) decides whether to go into a table.
  template <class Visit>
  void link(HostPhys at, Level level, GuestPhys base, Visit& visit) {
    if (visit.table(at, level, base)) enter(at, level, base, shape_.table_entries(), visit);
  }
  /// The opposite: gives the tables that went, which are cached from now on.
  void unlink(HostPhys at, Level level, std::size_t now, std::vector<HostPhys>& gone) {
    if (!frames_->owns(at) || table(at).state != State::live || table(at).level != level) return;
    table(at).state = State::cached;
    table(at).unlinked = now;
    --live_;
    gone.push_back(at);
    if (level == 0) return;
    auto const* const entries = frames_->view(at);
    for (std::size_t i = 0; i != shape_.table_entries(); ++i)
      if (auto const below = decode(level, entries[i]); below.table()) unlink(below.address, level - 1, now, gone);
  }

  /// The slot of `at` in a table, and whatever it leads to.
  Found walk(HostPhys from, Level level, GuestPhys at) const {
    for (;; --level) {
      auto* const entry = frames_->view(from) + index(at, level);
      auto const decoded = decode(level, *entry);
      auto const span = shape_.span(level);
      if (!decoded.table() || !frames_->owns(decoded.address))
        return {{level, {at.down_to(span), span}}, entry, decoded};
      from = decoded.address;
    }
  }
  Found walk(GuestPhys at) const { return walk(root_, shape_.root, at); }
  /// The live entry at exactly this place, or null when the tree is not that deep there.
  const Entry* slot(Place place) const {
    auto from = root_;
    for (auto level = shape_.root;; --level) {
      auto const* const entry = frames_->view(from) + index(place.span.begin, level);
      if (level == place.level) return entry;
      auto const decoded = decode(level, *entry);
      if (!decoded.table() || !frames_->owns(decoded.address)) return nullptr;
      from = decoded.address;
    }
  }
  /// As what a leaf may be cached: one of a contiguous set as all of the set.
  std::pair<Place, Decoded> cached_as(Place place, Decoded leaf) const {
    if (!leaf.contiguous) return {place, leaf};
    auto const size = reader_.contiguous_entries(place.level) * place.span.size;
    GuestRange const set{place.span.begin.down_to(size), size};
    leaf.address = leaf.address - (place.span.begin - set.begin);
    return {{place.level, set}, leaf};
  }
  /// What the live slot at exactly this place holds; absent when the tree is not that deep there.
  Decoded at(Place place) const {
    auto const* const entry = slot(place);
    return entry == nullptr ? Decoded{} : decode(place.level, *entry);
  }

  /// Calls body(place, leaf) for each leaf that a walk of `range` from this table could find, until it answers false.
  template <class Body>
  bool each_leaf(HostPhys from, Level level, GuestRange range, Body&& body) const {
    auto const span = shape_.span(level);
    for (auto begin = range.begin.down_to(span); begin <= range.last(); begin = begin + span) {
      auto const decoded = decode(level, frames_->view(from)[index(begin, level)]);
      GuestRange const slot{begin, span};
      if (decoded.leaf() && !body(Place{level, slot}, decoded)) return false;
      if (decoded.table() && frames_->owns(decoded.address) &&
          !each_leaf(decoded.address, level - 1, slot.clamp_to(range), body))
        return false;
    }
    return true;
  }

  /// The shadow: what live tables hold as far as the recorder was told.
  Entry& shadow(HostPhys where) {
    auto const granule = where.down_to(shape_.granule());
    return shadow_[frames_->index(where) * shape_.table_entries() + (where - granule) / sizeof(Entry)];
  }
  void hardware_writes(HostPhys where, Entry next) {
    *entry_at(where) = next;
    if (table(where).state == State::live) shadow(where) = next;
  }
  /// The first entry of a live table that is not what was recorded.
  std::optional<HostPhys> unseen() {
    for (std::size_t i = 0; i != tables_.size(); ++i) {
      if (tables_[i].state != State::live) continue;
      auto const frame = frames_->frame(i);
      for (std::uint64_t at = 0; at != shape_.granule(); at += sizeof(Entry))
        if (*entry_at(frame + at) != shadow(frame + at)) return frame + at;
    }
    return std::nullopt;
  }
  /// A live table, other than the root, that leads nowhere.
  std::optional<HostPhys> idle() const {
    for (std::size_t i = 0; i != tables_.size(); ++i) {
      auto const frame = frames_->frame(i);
      if (tables_[i].state != State::live || is_root(frame)) continue;
      auto const* const entries = frames_->view(frame);
      if (std::all_of(entries, entries + shape_.table_entries(), [](Entry entry) { return entry == 0; })) return frame;
    }
    return std::nullopt;
  }
  Entry* entry_at(HostPhys where) const {
    auto const granule = where.down_to(shape_.granule());
    return frames_->view(granule) + (where - granule) / sizeof(Entry);
  }
  std::size_t index(GuestPhys at, Level level) const {
    auto const i = at.raw() >> shape_.shift(level);
    return static_cast<std::size_t>(level == shape_.root ? i & (shape_.root_entries() - 1)
                                                         : i & (shape_.table_entries() - 1));
  }

 private:
  template <class Visit>
  void enter(HostPhys at, Level level, GuestPhys base, std::uint64_t count, Visit& visit) {
    auto& table = tables_[frames_->index(at)];
    table.state = State::live;
    table.level = level;
    table.base = base;
    ++live_;
    auto const* const entries = frames_->view(at);
    std::copy_n(entries, shape_.table_entries(), &shadow(at));
    auto const span = shape_.span(level);
    for (std::size_t i = 0; i != count;) {
      auto const first = i;
      GuestPhys const begin = base + first * span;
      while (i != count && entries[i] == 0) ++i;
      if (i != first) {
        visit(Place{level, {begin, (i - first) * span}}, Decoded{});
        continue;
      }
      auto const decoded = decode(level, entries[i++]);
      visit(Place{level, {begin, span}}, decoded);
      if (decoded.table()) link(decoded.address, level - 1, begin, visit);
    }
  }

  RecordingFrames* frames_;
  Reader reader_;
  Shape shape_;
  std::vector<Table> tables_;
  std::unique_ptr<Entry[]> shadow_;
  HostPhys root_{};
  bool attached_ = false;
  std::size_t live_ = 0;
};

}  // namespace slat::testing
