#pragma once

// The other CPUs: they read and write guest memory at the worst moments, through the live tables or through anything
// that may still be cached of old ones, and set accessed and dirty bits as they go.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <slat/testing/invalidations.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/recording_frames.hpp>
#include <slat/testing/stale_set.hpp>

namespace slat::testing {

template <class Reader>
class Hardware {
 public:
  Hardware(Recorder& recorder, const RecordingFrames& frames, const LiveTree<Reader>& tree, const StaleSet& stale,
           const Invalidations& invalidations, std::uint64_t seed, unsigned period)
      : recorder_{&recorder},
        frames_{&frames},
        tree_{&tree},
        stale_{&stale},
        invalidations_{&invalidations},
        random_{seed * 0x9e37'79b9'7f4a'7c15 | 1},
        period_{period} {}

  /// True once in `period` times, at uneven intervals.
  bool takes_a_turn() {
    if (period_ == 0 || --until_turn_ != 0) return false;
    until_turn_ = 1 + below(2 * std::uint64_t{period_} - 1);
    return true;
  }

  /// Uses some page of `near`, or of the table around it, or one at an end of the operation's range.
  void act(GuestRange near, GuestRange changing) {
    if (period_ == 0) return;
    auto const page_size = tree_->shape().granule();
    auto range = near;
    if (below(3) == 0) {
      range.size *= tree_->shape().table_entries();
      range.begin = near.begin.down_to(range.size);
    }
    if (!changing.empty() && below(4) == 0) {
      auto const at = below(2) == 0 ? changing.begin : changing.last().down_to(page_size) + page_size;
      range = {at.raw() < page_size ? at : at - page_size, 2 * page_size};
    }
    if (range.empty()) return;
    auto const page = range.begin + below(range.size / page_size) * page_size;
    if (page.raw() < tree_->shape().input_size()) use(page, below(2) == 0);
  }

  void use(GuestPhys page, bool write) {
    if (stale_->empty() || below(3) == 0) return walk(tree_->root(), tree_->shape().root, page, write);
    auto const usable = invalidations_->usable();
    routes_.clear();
    stale_->overlapping({page, 1}, [&](const StaleSlot& slot) {
      for (auto const& leaf : slot.leaves)
        if ((leaf.hold.held() & usable) != 0) routes_.push_back({&slot, &leaf.was, HostPhys{}});
      for (auto const& table : slot.tables)
        if ((table.hold.held() & usable) != 0) routes_.push_back({&slot, nullptr, table.table});
      return true;
    });
    if (routes_.empty()) return walk(tree_->root(), tree_->shape().root, page, write);
    auto const& [slot, leaf, table] = routes_[below(routes_.size())];
    if (leaf != nullptr)
      use_cached(*leaf, slot->span, page, write);
    else
      walk(table, slot->level - 1, page, write);
  }

 private:
  /// A way to a page that is no longer in the tree: by a leaf, or by a table.
  struct Route {
    const StaleSlot* slot;
    const Decoded* leaf;
    HostPhys table;
  };

  void walk(HostPhys table, Level level, GuestPhys page, bool write) {
    auto const& reader = tree_->reader();
    for (;; --level) {
      if (!frames_->owns(table)) return;
      auto const index = tree_->index(page, level);
      auto const old = frames_->view(table)[index];
      auto const decoded = tree_->decode(level, old);
      if (!decoded.valid()) return;
      if (decoded.leaf() && (decoded.rights == Prot::none || (write && !allows(decoded.rights, Prot::w)))) return;
      auto next = reader.accessed(level, old);
      if (write) next = reader.written(level, next);
      if (next != old) recorder_->record(What::mark, {(table + index * sizeof(Entry)).raw(), old, next});
      if (decoded.leaf()) return used(page, decoded.address + page.offset_in(tree_->shape().span(level)), write);
      table = decoded.address;
    }
  }

  /// Without a walk: what the cached entry allows, where nothing would have to be marked in memory first.
  void use_cached(const Decoded& leaf, GuestRange span, GuestPhys page, bool write) {
    auto const& reader = tree_->reader();
    if (leaf.rights == Prot::none || (write && !allows(leaf.rights, Prot::w))) return;
    if (reader.sets_accessed() && !leaf.is_accessed) return;
    if (write && reader.sets_dirty() && !leaf.is_dirty) return;
    used(page, leaf.address + (page - span.begin), write);
  }

  void used(GuestPhys page, HostPhys host, bool write) {
    recorder_->record(What::use, {page.raw(), host.raw(), write});
  }

  std::uint64_t below(std::uint64_t limit) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return (random_ * 0x2545'f491'4f6c'dd1d >> 16) % limit;
  }

  Recorder* recorder_;
  const RecordingFrames* frames_;
  const LiveTree<Reader>* tree_;
  const StaleSet* stale_;
  const Invalidations* invalidations_;
  std::vector<Route> routes_;
  std::uint64_t random_;
  unsigned period_;
  std::uint64_t until_turn_ = period_;
};

}  // namespace slat::testing
