#pragma once

// Frames out of one range of bytes: a buddy allocator whose bookkeeping lies at the head of the range.

#include <bit>
#include <cstddef>
#include <optional>
#include <span>

#include <slat/mm/concepts.hpp>

namespace slat {

/// Power-of-two blocks of granules, aligned to themselves. Takes 8 bytes and one bit per granule from the range for the
/// words of FrameSource and for itself; touches no free frame. Allocate and release are O(log n).
///
/// Threads: one at a time, as the writer of the tables in it; view() and owns() from any thread.
class FramePool {
 public:
  /// `memory` is the range as this CPU sees it, aligned as `base`, its host-physical address, is. `granule` is a power
  /// of two of bytes, at least 64, and that of the tables in it. What does not fill a granule at either end is left
  /// out; more than 2^28 granules are, too.
  FramePool(std::span<std::byte> memory, HostPhys base, std::uint64_t granule = 4096)
      : shift_{static_cast<unsigned>(std::countr_zero(granule))} {
    std::uint64_t const skip = (granule - base.offset_in(granule)) & (granule - 1);
    memory = memory.subspan(skip < memory.size() ? skip : memory.size());
    bytes_ = memory.data();
    base_ = base + skip;
    std::uint64_t total = memory.size() >> shift_;
    if (total > limit) total = limit;
    auto const overhead = total * sizeof(std::uint64_t) + (total + 63) / 64 * sizeof(std::uint64_t);
    first_ = static_cast<Index>((overhead + granule - 1) >> shift_);
    count_ = static_cast<Index>(total);
    if (first_ > count_) first_ = count_;
    words_ = reinterpret_cast<std::uint64_t*>(bytes_);
    to_bytes_ = reinterpret_cast<std::uintptr_t>(bytes_) - base_.raw();
    free_ = words_ + total;
    heads_.fill(none);
    for (std::uint64_t i = 0; i != (total + 63) / 64 && first_ != count_; ++i) free_[i] = 0;
    used_ = count_ - first_;
    release_run(first_, count_);
  }
  FramePool(const FramePool&) = delete;
  FramePool& operator=(const FramePool&) = delete;

  /// `bytes` is rounded up to a granule; nothing when it is no power of two, or when no such block is free.
  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    if (!is_power_of_two(bytes)) return {};
    auto const order = bytes >> shift_ <= 1 ? 0u : static_cast<unsigned>(std::countr_zero(bytes >> shift_));
    auto from = order;
    while (from < orders && heads_[from] == none) ++from;
    if (from >= orders) return {};
    Index const block = heads_[from];
    remove(block);
    while (from != order) {
      --from;
      insert(block + (Index{1} << from), from);
    }
    used_ += Index{1} << order;
    return address(block);
  }

  /// What allocate() gave, or a granule-aligned part of it, all whole granules.
  void release(HostPhys frame, std::uint64_t bytes) noexcept {
    auto const begin = index(frame);
    auto const granules = static_cast<Index>((bytes + granule() - 1) >> shift_);
    release_run(begin, begin + granules);
  }

  /// See FrameSource. `frame` is one that was handed out.
  /// @{
  Entry* view(HostPhys frame) const noexcept { return reinterpret_cast<Entry*>(frame.raw() + to_bytes_); }
  std::uint64_t& word(HostPhys frame) noexcept { return words_[(frame - base_) >> shift_]; }
  /// @}
  /// Whether `frame` lies in the part that is handed out.
  bool owns(HostPhys frame) const noexcept {
    return frame >= address(first_) && frame - base_ < std::uint64_t{count_} << shift_;
  }

  /// In bytes.
  std::uint64_t granule() const { return std::uint64_t{1} << shift_; }
  /// Granules handed out, and granules that could be.
  /// @{
  std::uint64_t used() const { return used_; }
  std::uint64_t capacity() const { return count_ - first_; }
  /// @}

  /// Calls visit(HostPhys, std::uint64_t bytes) for every run of granules that are handed out, in ascending order.
  /// Linear in `capacity()` at worst.
  template <class Visit>
  void visit_used(Visit&& visit) const {
    for (Index block = first_; block != count_;) {
      auto const begin = block;
      while (block != count_ && !is_free(block)) ++block;
      if (block != begin) visit(address(begin), std::uint64_t{block - begin} << shift_);
      while (block != count_ && is_free(block)) block += Index{1} << link(block).order;
    }
  }

 private:
  using Index = std::uint32_t;
  static constexpr std::uint64_t limit = std::uint64_t{1} << 28;
  static constexpr Index none = static_cast<Index>(limit);
  static constexpr unsigned orders = 29;

  // A free block's first word: the neighbours in its list, and its order. Its bit in `free_` is set.
  struct Link {
    Index next, previous;
    unsigned order;
  };
  static constexpr std::uint64_t pack(Link l) {
    return std::uint64_t{l.next} | std::uint64_t{l.previous} << 29 | std::uint64_t{l.order} << 58;
  }
  Link link(Index block) const {
    auto const word = words_[block];
    constexpr std::uint64_t mask = (std::uint64_t{1} << 29) - 1;
    return {static_cast<Index>(word & mask), static_cast<Index>(word >> 29 & mask), static_cast<unsigned>(word >> 58)};
  }

  HostPhys address(Index block) const { return base_ + (std::uint64_t{block} << shift_); }
  Index index(HostPhys frame) const { return static_cast<Index>((frame - base_) >> shift_); }
  /// Blocks are aligned to themselves as host addresses, not within the range.
  std::uint64_t number(Index block) const { return (base_.raw() >> shift_) + block; }
  bool is_free(Index block) const { return (free_[block / 64] >> block % 64 & 1) != 0; }

  void insert(Index block, unsigned order) {
    Index const next = heads_[order];
    words_[block] = pack({next, none, order});
    if (next != none) words_[next] = pack({link(next).next, block, order});
    heads_[order] = block;
    free_[block / 64] |= std::uint64_t{1} << block % 64;
  }
  void remove(Index block) {
    auto const [next, previous, order] = link(block);
    if (next != none) words_[next] = pack({link(next).next, previous, order});
    if (previous != none)
      words_[previous] = pack({next, link(previous).previous, order});
    else
      heads_[order] = next;
    free_[block / 64] &= ~(std::uint64_t{1} << block % 64);
  }

  void release_run(Index begin, Index end) {
    used_ -= end - begin;
    while (begin != end) {
      unsigned order = 0;
      while (order + 1 < orders && (number(begin) >> order & 1) == 0 && end - begin >= Index{2} << order) ++order;
      release_block(begin, order);
      begin += Index{1} << order;
    }
  }
  void release_block(Index block, unsigned order) {
    for (; order + 1 < orders; ++order) {
      bool const upper = (number(block) >> order & 1) != 0;
      if (upper && block < first_ + (Index{1} << order)) break;
      Index const buddy = upper ? block - (Index{1} << order) : block + (Index{1} << order);
      if (buddy >= count_ || !is_free(buddy) || link(buddy).order != order) break;
      remove(buddy);
      if (upper) block = buddy;
    }
    insert(block, order);
  }

  std::byte* bytes_ = nullptr;
  HostPhys base_{};
  std::uintptr_t to_bytes_ = 0;  // from a host-physical address to this CPU's
  unsigned shift_;
  Index first_ = 0;
  Index count_ = 0;
  Index used_ = 0;
  std::uint64_t* words_ = nullptr;
  std::uint64_t* free_ = nullptr;
  std::array<Index, orders> heads_{};
};
static_assert(FrameSource<FramePool>);

}  // namespace slat
