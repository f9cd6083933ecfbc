#pragma once

// Frames in host memory that see every access to a live entry, fail on demand, and give out and take back poison.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/concepts.hpp>

#include <slat/testing/recorder.hpp>

namespace slat::testing {

/// `count` granules from `base` on. A freed granule is the next to be given out: reuse too early shows at once.
/// Content through view() is the table's own business while the table is not linked; what is linked is to be accessed
/// through load, store, exchange and compare_exchange.
class RecordingFrames {
 public:
  // Valid on every architecture, at every level, and pointing where no pool and no test has anything.
  static constexpr Entry fresh = 0x0000'fe5c'0000'0407;
  static constexpr Entry dead = 0x0000'dead'0000'0407;

  RecordingFrames(Recorder& recorder, std::uint64_t granule, std::size_t count, HostPhys base = HostPhys{0x7'0000'0000})
      : recorder_{&recorder},
        granule_{granule},
        count_{count},
        base_{base},
        memory_{std::make_unique_for_overwrite<Entry[]>(count * granule / sizeof(Entry))},
        words_(count),
        used_(count) {
    for (auto i = count; i-- > 0;) free_.push_back(i);
  }
  RecordingFrames(const RecordingFrames&) = delete;
  RecordingFrames& operator=(const RecordingFrames&) = delete;

  // The seam to the table.
  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    if (successes_ == 0) return std::nullopt;
    auto const found = bytes == granule_ ? take_one() : take_block(bytes / granule_);
    if (!found) return std::nullopt;
    if (successes_ != unlimited) --successes_;
    ++allocations_;
    auto const frame = base_ + *found * granule_;
    fill(*found, bytes, fresh_);
    recorder_->record(What::allocate, {frame.raw(), bytes});
    return frame;
  }
  /// For whoever has its own allocator: these granules are in use from here on. False when some are already, or are not
  /// whole granules of this pool.
  bool place(HostPhys frame, std::uint64_t bytes) noexcept {
    if (!whole(frame, bytes)) return false;
    auto const begin = used_.begin() + static_cast<std::ptrdiff_t>(index(frame));
    auto const end = begin + static_cast<std::ptrdiff_t>(bytes / granule_);
    if (std::find(begin, end, true) != end) return false;
    std::fill(begin, end, true);
    in_use_ += bytes / granule_;
    fill(index(frame), bytes, fresh_);
    recorder_->record(What::allocate, {frame.raw(), bytes});
    return true;
  }

  void release(HostPhys frame, std::uint64_t bytes) noexcept {
    if (!whole(frame, bytes)) return recorder_->report(Offence::foreign_release, hex(frame.raw()));
    auto const first = index(frame);
    for (std::size_t i = 0; i != bytes / granule_; ++i)
      if (!used_[first + i]) return recorder_->report(Offence::double_release, hex((frame + i * granule_).raw()));
    recorder_->record(What::release, {frame.raw(), bytes});
    fill(first, bytes, dead);
    // Downwards, so that the first granule is the next one out.
    for (auto i = bytes / granule_; i-- > 0;) {
      used_[first + i] = false;
      free_.push_back(first + i);
      --in_use_;
    }
  }

  Entry* view(HostPhys frame) const noexcept { return &memory_[(frame - base_) / sizeof(Entry)]; }
  std::uint64_t& word(HostPhys frame) noexcept { return words_[index(frame)]; }
  /// A granule that is in use.
  bool owns(HostPhys frame) const noexcept {
    return inside(frame) && (frame - base_) % granule_ == 0 && used_[index(frame)];
  }

  Entry load(const Entry* entry) const noexcept {
    touch(entry);
    return *entry;
  }
  void store(Entry* entry, Entry next) noexcept {
    auto const where = touch(entry);
    auto const old = *entry;
    *entry = next;
    recorder_->record(What::store, {where.raw(), old, next, sizeof(Entry)});
  }
  Entry exchange(Entry* entry, Entry next) noexcept {
    auto const where = touch(entry);
    auto const old = *entry;
    *entry = next;
    recorder_->record(What::exchange, {where.raw(), old, next});
    return old;
  }
  bool compare_exchange(Entry* entry, Entry& expected, Entry next) noexcept {
    auto const where = touch(entry);
    auto const old = *entry;
    if (old != expected) {
      expected = old;
      return false;
    }
    *entry = next;
    recorder_->record(What::compare_exchange, {where.raw(), old, next});
    return true;
  }

  // The seam to the test.
  /// Frames are given out cleared, and not with poison.
  void give_zeros() { fresh_ = 0; }
  /// The next `n` allocations succeed and those after them fail, until never_fail().
  void fail_after(std::size_t n) { successes_ = n; }
  void never_fail() { successes_ = unlimited; }
  /// Granules in use now, and allocations that ever succeeded.
  std::size_t in_use() const { return in_use_; }
  std::size_t allocations() const { return allocations_; }
  std::uint64_t granule() const { return granule_; }
  /// Which granule an address lies in. The address must be inside().
  std::size_t index(HostPhys address) const { return static_cast<std::size_t>((address - base_) / granule_); }
  bool inside(HostPhys address) const { return address >= base_ && address - base_ < count_ * granule_; }
  HostPhys frame(std::size_t i) const { return base_ + i * granule_; }
  std::size_t count() const { return count_; }
  /// All that a failing call must leave alone: the content of every frame in use, the words, and which frames those
  /// are.
  std::uint64_t fingerprint() const {
    std::uint64_t hash = 0xcbf2'9ce4'8422'2325;
    auto const mix = [&hash](std::uint64_t value) { hash = (hash ^ value) * 0x0000'0100'0000'01b3; };
    for (std::size_t i = 0; i != count_; ++i) {
      if (!used_[i]) continue;
      mix(i);
      mix(words_[i]);
      auto const* const entries = view(frame(i));
      for (std::size_t e = 0; e != granule_ / sizeof(Entry); ++e) mix(entries[e]);
    }
    return hash;
  }

 private:
  static constexpr std::size_t unlimited = std::numeric_limits<std::size_t>::max();

  bool whole(HostPhys frame, std::uint64_t bytes) const {
    return bytes != 0 && inside(frame) && bytes <= count_ * granule_ - (frame - base_) &&
           (frame - base_) % granule_ == 0 && bytes % granule_ == 0;
  }

  HostPhys touch(const Entry* entry) const {
    auto const where = base_ + static_cast<std::uint64_t>(entry - memory_.get()) * sizeof(Entry);
    recorder_->about_to_access(where);
    if (!used_[index(where)]) recorder_->report(Offence::access_after_release, hex(where.raw()));
    return where;
  }

  std::optional<std::size_t> take_one() {
    while (!free_.empty()) {
      auto const i = free_.back();
      free_.pop_back();
      if (used_[i]) continue;  // went out as part of a block
      used_[i] = true;
      ++in_use_;
      return i;
    }
    return std::nullopt;
  }
  /// The first free run that is aligned to itself, by address.
  std::optional<std::size_t> take_block(std::size_t granules) {
    for (std::size_t i = 0; i + granules <= count_; ++i) {
      if (!frame(i).aligned_to(granules * granule_)) continue;
      auto const begin = used_.begin() + static_cast<std::ptrdiff_t>(i);
      auto const end = begin + static_cast<std::ptrdiff_t>(granules);
      if (std::find(begin, end, true) != end) continue;
      std::fill(begin, end, true);
      in_use_ += granules;
      return i;
    }
    return std::nullopt;
  }
  void fill(std::size_t first, std::uint64_t bytes, Entry poison) {
    std::fill_n(view(frame(first)), bytes / sizeof(Entry), poison);
    std::fill_n(words_.begin() + static_cast<std::ptrdiff_t>(first), bytes / granule_, poison);
  }
  Recorder* recorder_;
  std::uint64_t granule_;
  std::size_t count_;
  HostPhys base_;
  std::unique_ptr<Entry[]> memory_;
  std::vector<std::uint64_t> words_;
  std::vector<bool> used_;
  std::vector<std::size_t> free_;
  Entry fresh_ = fresh;
  std::size_t successes_ = unlimited;
  std::size_t in_use_ = 0;
  std::size_t allocations_ = 0;
};
static_assert(FrameSource<RecordingFrames>);

}  // namespace slat::testing
