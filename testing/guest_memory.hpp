#pragma once

// How many live leaves lead to each frame of the pool: guest memory that comes from there must not be released before.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/testing/recording_frames.hpp>

namespace slat::testing {

class GuestMemory {
 public:
  explicit GuestMemory(const RecordingFrames& frames) : frames_{&frames}, uses_(frames.count()) {}

  bool any(HostPhys frame) const { return uses_[frames_->index(frame)] != 0; }
  void add(HostPhys host, std::uint64_t bytes) {
    each(host, bytes, [this](std::uint32_t& uses) { ++uses, ++all_; });
  }
  void remove(HostPhys host, std::uint64_t bytes) {
    each(host, bytes, [this](std::uint32_t& uses) { --uses, --all_; });
  }
  /// The table has gone, with its leaves.
  template <class Tree>
  void forget(const Tree& tree, HostPhys table) {
    if (all_ == 0) return;
    auto const level = tree.table(table).level;
    auto const* const entries = frames_->view(table);
    for (std::size_t i = 0; i != tree.shape().table_entries(); ++i)
      if (auto const leaf = tree.decode(level, entries[i]); leaf.leaf()) remove(leaf.address, tree.shape().span(level));
  }

 private:
  template <class Body>
  void each(HostPhys host, std::uint64_t bytes, Body body) {
    auto const first = frames_->frame(0);
    auto const size = frames_->count() * frames_->granule();
    if (host >= first + size || host + bytes <= first) return;
    auto const begin = host < first ? 0 : (host - first) / frames_->granule();
    auto const end = host + bytes > first + size ? frames_->count() : (host + bytes - first) / frames_->granule();
    for (auto i = begin; i != end; ++i) body(uses_[i]);
  }

  const RecordingFrames* frames_;
  std::vector<std::uint32_t> uses_;
  std::uint64_t all_ = 0;
};

}  // namespace slat::testing
