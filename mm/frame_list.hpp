#pragma once

// A queue of frames that costs no memory: the link is the word beside each frame.

#include <slat/mm/concepts.hpp>

namespace slat::detail {

/// Frames on their way in (a reserve) or out (a debt). Each has one granule; a list has one kind. First in, first out:
/// where a source gives ascending frames, tables are filled the way that a prefetcher expects.
class FrameList {
 public:
  constexpr bool empty() const { return first_ == end; }

  template <class Frames>
  constexpr void push(Frames& frames, HostPhys frame) {
    (empty() ? first_ : frames.word(HostPhys{last_})) = frame.raw();
    frames.word(frame) = end;
    last_ = frame.raw();
  }
  /// The list must not be empty.
  template <class Frames>
  constexpr HostPhys pop(Frames& frames) {
    HostPhys const frame{first_};
    first_ = frames.word(frame);
    return frame;
  }
  template <class Frames>
  constexpr void release_all(Frames& frames, std::uint64_t bytes) {
    while (!empty()) frames.release(pop(frames), bytes);
  }

 private:
  static constexpr std::uint64_t end = ~std::uint64_t{0};  // 0 may be a frame; an odd address cannot
  std::uint64_t first_ = end;
  std::uint64_t last_ = end;
};

}  // namespace slat::detail
