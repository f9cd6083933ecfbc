#pragma once

// When a frame may be released: not while the live tree, anything that may be cached, or a reader leads to it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include <slat/testing/guest_memory.hpp>
#include <slat/testing/invalidations.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/stale_set.hpp>

namespace slat::testing {

template <class Reader>
class FrameRules {
  using Tree = LiveTree<Reader>;
  using State = typename Tree::State;

 public:
  FrameRules(Recorder& recorder, const RecordingFrames& frames, Tree& tree, const StaleSet& stale,
             Invalidations& invalidations, bool waits_for_readers)
      : recorder_{&recorder},
        frames_{&frames},
        tree_{&tree},
        stale_{&stale},
        invalidations_{&invalidations},
        waits_for_readers_{waits_for_readers},
        guest_memory_{frames} {}

  /// Goes up with whatever has an order: what is unlinked, and readers.
  std::size_t tick() { return ++now_; }
  /// Leaves of the live tree come and go.
  GuestMemory& guest_memory() { return guest_memory_; }

  void on(const Event& event) {
    auto const& [first, second, third, fourth] = event.values;
    switch (event.what) {
      case What::allocate: allocated(HostPhys{first}, second); break;
      case What::release: releasing(HostPhys{first}, second); break;
      case What::readers_gone: last_wait_ = tick(); break;
      case What::reader_begins: readers_[first] = tick(); break;
      case What::reader_ends: readers_.erase(first); break;
      case What::reader_loads: read(first, HostPhys{second}); break;
      default: break;
    }
  }

 private:
  void allocated(HostPhys frame, std::uint64_t bytes) {
    for (std::uint64_t at = 0; at < bytes; at += tree_->shape().granule()) tree_->table(frame + at) = {};
  }

  void releasing(HostPhys first, std::uint64_t bytes) {
    for (std::uint64_t at = 0; at < bytes; at += tree_->shape().granule()) {
      auto const frame = first + at;
      auto& table = tree_->table(frame);
      if (tree_->is_root(frame)) {
        if (any_stale([](const auto&) { return true; }) || !tree_->empty() || invalidations_->walking() != 0)
          report(Offence::released_while_linked, frame);
        invalidations_->detach();
        tree_->detach();
      }
      switch (table.state) {
        case State::live: report(Offence::released_while_linked, frame); break;
        case State::cached:
          if (any_stale([&](const auto& item) { return leads_to_table(item, frame); }))
            report(Offence::released_while_cached, frame);
          break;
        case State::invalidated:
          if (may_be_read(table)) report(Offence::released_before_readers, frame);
          break;
        case State::aside: check_guest_memory(frame); break;
      }
      table = {};
    }
  }

  /// Whether a CPU can use anything stale that counts.
  template <class Counts>
  bool any_stale(Counts counts) {
    auto found = false;
    stale_->each([&](const StaleSlot& slot) {
      for (auto const& leaf : slot.leaves) found = (counts(leaf) && invalidations_->gives_away(leaf.hold)) || found;
      for (auto const& gone : slot.tables) found = (counts(gone) && invalidations_->gives_away(gone.hold)) || found;
    });
    return found;
  }
  static bool leads_to_table(const StaleLeaf&, HostPhys) { return false; }
  static bool leads_to_table(const StaleTable& gone, HostPhys frame) {
    return std::find(gone.frames.begin(), gone.frames.end(), frame) != gone.frames.end();
  }

  void read(std::uint64_t reader, HostPhys where) {
    if (!frames_->owns(where.down_to(tree_->shape().granule())))
      report(Offence::access_after_release, where, " by reader " + std::to_string(reader));
  }
  /// Readers that nobody tells of are over when the mapper says so.
  bool may_be_read(const typename Tree::Table& table) const {
    if (waits_for_readers_ && table.unlinked >= last_wait_) return true;
    return std::any_of(readers_.begin(), readers_.end(),
                       [&](const auto& reader) { return reader.second < table.unlinked; });
  }

  /// A frame goes that is no table: no translation that anybody can use may lead to it.
  void check_guest_memory(HostPhys frame) {
    if (guest_memory_.any(frame)) return report(Offence::host_released, frame, " is mapped");
    auto const leads_there = [&](GuestRange span, const Decoded& leaf) {
      return frame >= leaf.address && frame - leaf.address < span.size;
    };
    auto const by_table = [&](const StaleSlot& slot, HostPhys table) {
      return frames_->owns(table) &&
             !tree_->each_leaf(table, slot.level - 1, slot.span,
                               [&](Place at, const Decoded& leaf) { return !leads_there(at.span, leaf); });
    };
    stale_->each([&](const StaleSlot& slot) {
      auto found = false;
      for (auto const& leaf : slot.leaves)
        found = (leads_there(slot.span, leaf.was) && invalidations_->gives_away(leaf.hold)) || found;
      for (auto const& gone : slot.tables)
        found = (by_table(slot, gone.table) && invalidations_->gives_away(gone.hold)) || found;
      if (found) report(Offence::host_released, frame, " may be cached, by " + text(Place{slot.level, slot.span}));
    });
  }

  void report(Offence offence, HostPhys frame, const std::string& more = {}) {
    recorder_->report(offence, hex(frame.raw()) + more);
  }

  Recorder* recorder_;
  const RecordingFrames* frames_;
  Tree* tree_;
  const StaleSet* stale_;
  Invalidations* invalidations_;
  bool waits_for_readers_;
  GuestMemory guest_memory_;
  std::map<std::uint64_t, std::size_t> readers_;  // that were told of: when each began
  std::size_t now_ = 1;
  std::size_t last_wait_ = 0;
};

}  // namespace slat::testing
