#pragma once

// Index nodes from the frames that tables come from, for where there is no heap.

#include <bit>
#include <cstddef>
#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/node_source.hpp>

namespace slat {

/// A handle to a frame source, which must outlive every set that uses it. Threads as the frame source has them.
template <FrameSource Frames>
class FrameNodes {
 public:
  /// `granule` is the smallest number of bytes that `frames` hands out.
  explicit constexpr FrameNodes(Frames& frames, std::uint64_t granule = 4096) : frames_{&frames}, granule_{granule} {}

  /// One block of frames, or null when there is none. See NodeSource.
  void* allocate(std::size_t bytes) noexcept {
    auto const frame = frames_->allocate(whole(bytes));
    if (!frame) return nullptr;
    // view() has no inverse, so the block itself remembers which frame it is.
    Entry* const block = frames_->view(*frame);
    *block = frame->raw();
    return block + header;
  }
  /// `bytes` as for allocate().
  void release(void* block, std::size_t bytes) noexcept {
    auto const frame = static_cast<Entry*>(block)[-std::ptrdiff_t{header}];
    frames_->release(HostPhys{frame}, whole(bytes));
  }

 private:
  static constexpr std::ptrdiff_t header = 16 / sizeof(Entry);  // two words, to keep blocks aligned to 16 bytes

  constexpr std::uint64_t whole(std::size_t bytes) const {
    auto const power = std::bit_ceil(std::uint64_t{bytes} + header * sizeof(Entry));
    return power < granule_ ? granule_ : power;
  }

  Frames* frames_;
  std::uint64_t granule_;
};

}  // namespace slat
