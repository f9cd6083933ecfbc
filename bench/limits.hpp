#pragma once

// What no mapper can do without: tables to walk, and frames that go back in a tree's own order.

#include <atomic>
#include <cstring>
#include <vector>

#include "guest.hpp"

namespace slat::bench {

/// Tables of pointers in the shape of a guest's, and nothing beside them.
class Shadow {
 public:
  explicit Shadow(std::uint64_t tables) : frames_{tables} { reset(); }

  /// The slot of a page whose tables exist: three loads, each of which needs the one before.
  Entry* slot(GuestPhys at) const {
    auto* table = root_;
#pragma GCC unroll 3
    for (unsigned shift = 39; shift != 12; shift -= 9)
      table = reinterpret_cast<Entry*>(load(table + (at.raw() >> shift & 511)));
    return table + (at.raw() >> 12 & 511);
  }
  /// The same with tables, zeroed, where none are.
  Entry* grown_slot(GuestPhys at) {
    auto* table = root_;
#pragma GCC unroll 3
    for (unsigned shift = 39; shift != 12; shift -= 9) {
      auto* const entry = table + (at.raw() >> shift & 511);
      auto next = load(entry);
      if (next == 0) {
        next = reinterpret_cast<Entry>(zeroed());
        store(entry, next);
      }
      table = reinterpret_cast<Entry*>(next);
    }
    return table + (at.raw() >> 12 & 511);
  }
  /// Only the root is left.
  void reset() {
    frames_.reset();
    root_ = zeroed();
  }

  static Entry load(Entry* slot) { return std::atomic_ref(*slot).load(std::memory_order_acquire); }
  static void store(Entry* slot, Entry e) { std::atomic_ref(*slot).store(e, std::memory_order_release); }

 private:
  Entry* zeroed() {
    auto* const table = frames_.pool().view(*frames_.pool().allocate(4_KiB));
    std::memset(table, 0, 4_KiB);
    return table;
  }

  Frames frames_;
  Entry* root_ = nullptr;
};

/// A FramePool that remembers in which order frames come back: for each its number among those that were taken.
class Recorder {
 public:
  explicit Recorder(std::uint64_t tables) : frames_{tables} {}

  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    auto const frame = frames_.pool().allocate(bytes);
    if (frame) taken_.push_back(*frame);
    return frame;
  }
  void release(HostPhys frame, std::uint64_t bytes) noexcept {
    auto number = taken_.size();
    while (taken_[--number] != frame) {
    }
    order.push_back(number);
    frames_.pool().release(frame, bytes);
  }
  Entry* view(HostPhys frame) const noexcept { return frames_.pool().view(frame); }
  std::uint64_t& word(HostPhys frame) noexcept { return frames_.pool().word(frame); }

  std::uint64_t taken() const { return taken_.size(); }

  std::vector<std::size_t> order;

 private:
  mutable Frames frames_;
  std::vector<HostPhys> taken_;
};

/// The frames of a guest's table, to be given back as that table gives them back.
class Returns {
 public:
  /// `life(frames, hook)` leads a table through its life and answers with recorder.order of the part that is meant.
  template <class Life>
  Returns(std::uint64_t tables, Life life) : frames_{tables} {
    Recorder recorder{tables};
    Counts counts;
    order_ = life(recorder, CountingHook{&counts});
    taken_.resize(recorder.taken());
    prepare();
  }
  void prepare() {
    frames_.reset();
    for (auto& frame : taken_) frame = *frames_.pool().allocate(4_KiB);
  }
  void operator()() {
    for (auto const i : order_) frames_.pool().release(taken_[i], 4_KiB);
  }

 private:
  Frames frames_;
  std::vector<std::size_t> order_;
  std::vector<HostPhys> taken_;
};

}  // namespace slat::bench
