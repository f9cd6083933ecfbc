#pragma once

// What a trace needs beside the events themselves, to be understood by itself: what tables hold when they are linked,
// for nobody saw them being filled, and what the mapper has said that it is about to do.

#include <cstddef>
#include <cstdint>
#include <set>

#include <slat/testing/intent.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>

namespace slat::testing {

/// Writes nothing unless the recorder keeps all.
template <class Reader>
class TraceKeeper {
  using Tree = LiveTree<Reader>;

 public:
  TraceKeeper(Recorder& recorder, const RecordingFrames& frames, const Tree& tree)
      : recorder_{&recorder}, frames_{&frames}, tree_{&tree} {}

  void attach(HostPhys root) {
    if (!recorder_->keeps_all()) return;
    for (std::size_t i = 0; i != tree_->root_granules(); ++i)
      table(root + i * tree_->shape().granule(), tree_->shape().root);
    recorder_->keep(What::root, {root.raw()});
  }
  /// Before `store`, which may link a table.
  void store(const Event& store) {
    HostPhys const where{store.values[0]};
    if (!tree_->attached() || !frames_->owns(where.down_to(tree_->shape().granule()))) return;
    if (tree_->table(where).state != Tree::State::live) return;
    auto const level = tree_->place(where).level;
    if (auto const next = tree_->decode(level, store.values[2]); next.table()) table(next.address, level - 1);
  }
  void change(const Change& change) {
    if (!recorder_->keeps_all()) return;
    recorder_->keep(What::change, {change.range.begin.raw(), change.range.size, change.discards});
    for (auto const& [range, meaning] : change.after)
      recorder_->keep(What::piece, {range.begin.raw(), range.size, meaning ? meaning->host.raw() : 0,
                                    meaning ? packed(*meaning) : 0});
  }

 private:
  void table(HostPhys at, Level level) {
    std::set<std::uint64_t> kept;
    table(at, level, kept);
  }
  void table(HostPhys at, Level level, std::set<std::uint64_t>& kept) {
    if (!frames_->owns(at) || tree_->table(at).state != Tree::State::aside || !kept.insert(at.raw()).second) return;
    recorder_->keep(What::zero, {at.raw(), tree_->shape().granule()});
    auto const* const entries = frames_->view(at);
    for (std::size_t i = 0; i != tree_->shape().table_entries(); ++i) {
      if (entries[i] == 0) continue;
      recorder_->keep(What::word, {(at + i * sizeof(Entry)).raw(), entries[i]});
      if (auto const below = tree_->decode(level, entries[i]); below.table()) table(below.address, level - 1, kept);
    }
  }

  Recorder* recorder_;
  const RecordingFrames* frames_;
  const Tree* tree_;
};

}  // namespace slat::testing
