#pragma once

// A stack of frames that costs no memory: the link is the word beside each frame.

#include <slat/mm/concepts.hpp>

namespace slat::detail {

/// Frames on their way in (a reserve) or out (a debt). Each has one granule; a list has one kind.
class FrameList {
 public:
  constexpr bool empty() const { return head_ == end; }

  template <class Frames>
  constexpr void push(Frames& frames, HostPhys frame) {
    frames.word(frame) = head_;
    head_ = frame.raw();
  }
  /// The list must not be empty.
  template <class Frames>
  constexpr HostPhys pop(Frames& frames) {
    HostPhys const frame{head_};
    head_ = frames.word(frame);
    return frame;
  }
  template <class Frames>
  constexpr void release_all(Frames& frames, std::uint64_t bytes) {
    while (!empty()) frames.release(pop(frames), bytes);
  }

 private:
  static constexpr std::uint64_t end = ~std::uint64_t{0};  // 0 may be a frame; an odd address cannot
  std::uint64_t head_ = end;
};

}  // namespace slat::detail
