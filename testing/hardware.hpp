#pragma once

// The other CPUs: they read and write guest memory at the worst moments, through the live tables or through anything
// that may still be cached of old ones, and set accessed and dirty bits as they go.

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include <slat/testing/diary.hpp>
#include <slat/testing/intent.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/recording_frames.hpp>
#include <slat/testing/stale_set.hpp>

namespace slat::testing {

template <class Reader>
class Hardware {
 public:
  Hardware(Recorder& recorder, RecordingFrames& frames, LiveTree<Reader>& tree, const StaleSet& stale, Diary& diary,
           const Intent& intent, std::uint64_t seed, unsigned period)
      : recorder_{&recorder},
        frames_{&frames},
        tree_{&tree},
        stale_{&stale},
        diary_{&diary},
        intent_{&intent},
        random_{seed * 0x9e37'79b9'7f4a'7c15 | 1},
        period_{period} {}

  /// True once in `period` times.
  bool takes_a_turn() { return period_ != 0 && below(period_) == 0; }

  /// Uses some page of `near`, or of the table around it, or one at an end of the operation's range.
  void act(GuestRange near, const Change& change) {
    if (period_ == 0) return;
    auto const page_size = tree_->shape().granule();
    auto range = near;
    if (below(3) == 0) {
      range.size *= tree_->shape().table_entries();
      range.begin = near.begin.down_to(range.size);
    }
    if (!change.range.empty() && below(4) == 0) {
      auto const at = below(2) == 0 ? change.range.begin : change.range.last().down_to(page_size) + page_size;
      range = {at.raw() < page_size ? at : at - page_size, 2 * page_size};
    }
    if (range.empty()) return;
    auto const page = range.begin + below(range.size / page_size) * page_size;
    if (page.raw() < tree_->shape().input_size()) use(page, below(2) == 0, change);
  }

  void use(GuestPhys page, bool write, const Change& change) {
    if (stale_->empty() || below(3) == 0) return walk(tree_->root(), tree_->shape().root, page, write, change);
    std::vector<std::pair<const StaleSlot*, std::size_t>> routes;
    stale_->overlapping({page, 1}, [&](const StaleSlot& slot) {
      for (std::size_t i = 0; i != slot.leaves.size() + slot.tables.size(); ++i) routes.emplace_back(&slot, i);
      return true;
    });
    if (routes.empty()) return walk(tree_->root(), tree_->shape().root, page, write, change);
    auto const [slot, i] = routes[below(routes.size())];
    if (i < slot->leaves.size())
      use_cached(slot->leaves[i], slot->span, page, write, change);
    else
      walk(slot->tables[i - slot->leaves.size()].table, slot->level - 1, page, write, change);
  }

 private:
  void walk(HostPhys table, Level level, GuestPhys page, bool write, const Change& change) {
    auto const& reader = tree_->reader();
    for (;; --level) {
      if (!frames_->owns(table)) return;
      auto* const entry = frames_->view(table) + tree_->index(page, level);
      auto const old = *entry;
      auto const decoded = reader.decode(level, old);
      if (!decoded.valid() || decoded.wrong != nullptr) return;
      if (decoded.leaf() && (decoded.rights == Prot::none || (write && !allows(decoded.rights, Prot::w)))) return;
      auto next = reader.accessed(level, old);
      if (write) next = reader.written(level, next);
      if (next != old) {
        recorder_->hardware("hardware marks", page.raw(), old, next);
        tree_->hardware_writes(entry, table, next);
      }
      if (decoded.leaf()) {
        auto const host = decoded.address + page.offset_in(tree_->shape().span(level));
        return diary_->touch(page, host, write, *intent_, change);
      }
      table = decoded.address;
    }
  }

  /// Without a walk: what the cached entry allows, where nothing would have to be marked in memory first.
  void use_cached(const Decoded& leaf, GuestRange span, GuestPhys page, bool write, const Change& change) {
    auto const& reader = tree_->reader();
    if (leaf.rights == Prot::none || (write && !allows(leaf.rights, Prot::w))) return;
    if (reader.sets_accessed() && !leaf.is_accessed) return;
    if (write && reader.sets_dirty() && !leaf.is_dirty) return;
    auto const host = leaf.address + (page - span.begin);
    recorder_->hardware(write ? "hardware writes by a stale entry" : "hardware reads by a stale entry", page.raw(),
                        host.raw(), 0);
    diary_->touch(page, host, write, *intent_, change);
  }

  std::uint64_t below(std::uint64_t limit) {
    random_ ^= random_ << 13;
    random_ ^= random_ >> 7;
    random_ ^= random_ << 17;
    return (random_ * 0x2545'f491'4f6c'dd1d >> 16) % limit;
  }

  Recorder* recorder_;
  RecordingFrames* frames_;
  LiveTree<Reader>* tree_;
  const StaleSet* stale_;
  Diary* diary_;
  const Intent* intent_;
  std::uint64_t random_;
  unsigned period_;
};

}  // namespace slat::testing
