#pragma once

// A handful of frames that hold whatever a fuzzer puts there, each in an allocation of its own: what reads past the end
// of one meets AddressSanitizer.
//
// Frames are numbered from the root's first granule on. The last one is never handed out, so that the pool has a frame
// in its middle that nobody owns once others have come back.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <slat/mm/concepts.hpp>

#include "fuzz/format_choice.hpp"

namespace slat::test {

class RawPool {
 public:
  static constexpr std::size_t others = 8;  // beside the root

  explicit RawPool(const Geometry& geometry)
      : granule_{geometry.table_bytes()},
        root_granules_{static_cast<std::size_t>(geometry.root_bytes() / granule_)},
        void_{std::make_unique<Entry[]>(entries())},
        words_(root_granules_ + others),
        used_(root_granules_ + others) {
    blocks_.push_back(std::make_unique<Entry[]>(root_granules_ * entries()));
    for (std::size_t i = 0; i != others; ++i) blocks_.push_back(std::make_unique<Entry[]>(entries()));
  }
  RawPool(const RawPool&) = delete;
  RawPool& operator=(const RawPool&) = delete;

  // The seam to the table.
  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    if (bytes != granule_) {
      if (bytes != root_granules_ * granule_ || used_[0]) return {};
      for (std::size_t i = 0; i != root_granules_; ++i) used_[i] = true;
      return base;
    }
    for (std::size_t i = 0; i != count(); ++i) {
      if (used_[i] || (i < root_granules_ && root_granules_ != 1)) continue;
      used_[i] = true;
      return frame(i);
    }
    return {};
  }
  void release(HostPhys at, std::uint64_t bytes) noexcept {
    for (std::uint64_t part = 0; part != bytes; part += granule_) {
      if (!owns(at + part)) fail("released a frame that nobody had");
      used_[index(at + part)] = false;
      latest_ = nullptr;
    }
  }
  Entry* view(HostPhys at) const noexcept {
    if (owns(at)) return address_of(index(at));
    if (!lenient_) fail("looked at a frame that is not in use");
    return void_.get();
  }
  std::uint64_t& word(HostPhys at) noexcept {
    if (!owns(at)) fail("used the word of a frame that is not in use");
    return words_[index(at)];
  }
  bool owns(HostPhys at) const noexcept {
    return at >= base && at - base < count() * granule_ && at.aligned_to(granule_) && used_[index(at)];
  }
  Entry load(const Entry* entry) const noexcept {
    ++loads_;
    if (!holds(entry)) fail("loaded what is no entry of a frame in use");
    return *entry;
  }
  void store(Entry* entry, Entry next) noexcept {
    check_store(entry);
    *entry = next;
  }
  Entry exchange(Entry* entry, Entry next) noexcept {
    check_store(entry);
    return std::exchange(*entry, next);
  }
  bool compare_exchange(Entry* entry, Entry& expected, Entry next) noexcept {
    check_store(entry);
    if (*entry != expected) fail("an entry changed by itself");
    *entry = next;
    return true;
  }

  // The seam to the test.
  std::uint64_t granule() const { return granule_; }
  std::size_t entries() const { return granule_ / sizeof(Entry); }
  std::size_t root_granules() const { return root_granules_; }
  std::size_t count() const { return used_.size(); }
  HostPhys frame(std::size_t i) const { return base + i * granule_; }
  std::size_t index(HostPhys at) const { return static_cast<std::size_t>((at - base) / granule_); }
  Entry* address_of(std::size_t i) const {
    return i < root_granules_ ? blocks_[0].get() + i * entries() : blocks_[i - root_granules_ + 1].get();
  }
  std::uint64_t& word_of(std::size_t i) { return words_[i]; }
  const std::vector<std::uint64_t>& words() const { return words_; }
  std::size_t in_use() const {
    std::size_t sum = 0;
    for (auto const used : used_) sum += used ? 1 : 0;
    return sum;
  }
  /// Whether a frame that is not in use looks like an empty table, as a careful source may have it.
  void be_lenient(bool on) {
    lenient_ = on;
    latest_ = nullptr;
  }
  /// Whether entries may be written.
  void allow_stores(bool on) { stores_ = on; }
  /// Loads of entries since this was called last.
  std::uint64_t take_loads() { return std::exchange(loads_, 0); }

 private:
  static constexpr HostPhys base{0x7'0000'0000};

  // Most loads are from the frame of the one before.
  bool holds(const Entry* entry) const {
    if (latest_ != nullptr && entry >= latest_ && entry < latest_ + entries()) return true;
    for (std::size_t i = 0; i != count(); ++i) {
      latest_ = address_of(i);
      if (used_[i] && entry >= latest_ && entry < latest_ + entries()) return true;
    }
    latest_ = void_.get();
    return lenient_ && entry >= latest_ && entry < latest_ + entries();
  }
  void check_store(const Entry* entry) const {
    if (!stores_) fail("a call that only reads has written");
    if (!holds(entry)) fail("wrote what is no entry of a frame in use");
  }

  std::uint64_t granule_;
  std::size_t root_granules_;
  std::vector<std::unique_ptr<Entry[]>> blocks_;
  std::unique_ptr<Entry[]> void_;
  std::vector<std::uint64_t> words_;
  std::vector<bool> used_;
  mutable std::uint64_t loads_ = 0;
  mutable const Entry* latest_ = nullptr;
  bool lenient_ = false;
  bool stores_ = false;
};
static_assert(FrameSource<RawPool>);

}  // namespace slat::test
