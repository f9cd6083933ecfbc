#pragma once

// Frames for readers in other threads: a released one holds poison, so that who is still in it finds out, and one that
// is looked into while it is free, or that never was one, is noted.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include <slat/mm/frame_pool.hpp>

namespace slat::test {

/// As FramePool, whose threads it has: the writer's, but for view(). What it knows for itself is relaxed atomics, which
/// put nothing in order that the library does not.
class PoisonedFrames {
 public:
  /// Neither a table nor a leaf in any format: all bits that make one are clear.
  static constexpr Entry poison = 0xDEAD'BEEF'DEAD'B000;
  static constexpr HostPhys nowhere{~std::uint64_t{0}};

  /// While it is set, a thread that has chosen so stops between finding its way to a frame and looking into it: at the
  /// frame for which its `looks_left` reaches 0.
  std::atomic<bool> hold{false};
  static inline thread_local unsigned looks_left = 0;
  bool holds_somebody() const { return held_.load(std::memory_order_relaxed) != 0; }

  explicit PoisonedFrames(std::uint64_t granules, std::uint64_t granule = 4096)
      : granule_{granule},
        bytes_(granules * granule + granule),
        out_(granules),
        pool_{aligned(granules), base, granule},
        pit_(granule / sizeof(Entry), poison) {
    for (auto at = base; at - base < granules * granule; at = at + granule)
      if (pool_.owns(at)) fill(at);
  }

  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    auto const frame = pool_.allocate(bytes);
    if (frame) mark(*frame, bytes, true);
    return frame;
  }
  void release(HostPhys frame, std::uint64_t bytes) noexcept {
    mark(frame, bytes, false);
    for (auto at = frame; at - frame < bytes; at = at + granule_) {
      fill(at);
      released_.fetch_add(1, std::memory_order_relaxed);
    }
    pool_.release(frame, bytes);
  }
  /// A frame that is not out leads into a pit of poison.
  Entry* view(HostPhys frame) const noexcept {
    if (looks_left != 0 && --looks_left == 0 && hold.load(std::memory_order_relaxed)) {
      held_.fetch_add(1, std::memory_order_relaxed);
      while (hold.load(std::memory_order_relaxed)) std::this_thread::yield();
      held_.fetch_sub(1, std::memory_order_relaxed);
    }
    if (pool_.owns(frame) && out_[number(frame)].load(std::memory_order_relaxed)) return pool_.view(frame);
    lost_.store(frame.raw(), std::memory_order_relaxed);
    return pit_.data();
  }
  std::uint64_t& word(HostPhys frame) noexcept { return pool_.word(frame); }
  bool owns(HostPhys frame) const noexcept { return pool_.owns(frame); }

  std::uint64_t in_use() const { return pool_.used(); }
  /// Granules that came back so far.
  std::uint64_t released() const { return released_.load(std::memory_order_relaxed); }
  /// The last frame that somebody looked for and that was not out, or `nowhere`.
  HostPhys lost() const { return HostPhys{lost_.load(std::memory_order_relaxed)}; }

 private:
  static constexpr HostPhys base{0x40'0000};

  std::span<std::byte> aligned(std::uint64_t granules) {
    void* start = bytes_.data();
    auto space = bytes_.size();
    std::align(granule_, granules * granule_, start, space);
    return {static_cast<std::byte*>(start), granules * granule_};
  }
  std::size_t number(HostPhys frame) const { return (frame - base) / granule_; }
  void mark(HostPhys frame, std::uint64_t bytes, bool out) noexcept {
    for (std::uint64_t at = 0; at < bytes; at += granule_)
      out_[number(frame + at)].store(out, std::memory_order_relaxed);
  }
  void fill(HostPhys frame) noexcept {
    auto* const entries = pool_.view(frame);
    for (std::size_t i = 0; i != granule_ / sizeof(Entry); ++i)
      std::atomic_ref(entries[i]).store(poison, std::memory_order_relaxed);
  }

  std::uint64_t granule_;
  std::vector<std::byte> bytes_;
  std::vector<std::atomic<bool>> out_;
  FramePool pool_;
  mutable std::vector<Entry> pit_;
  std::atomic<std::uint64_t> released_{0};
  mutable std::atomic<unsigned> held_{0};
  mutable std::atomic<std::uint64_t> lost_{nowhere.raw()};
};
static_assert(FrameSource<PoisonedFrames>);

}  // namespace slat::test
