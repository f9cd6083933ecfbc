#pragma once

// What Arm's contiguous bit joins must be alike, whenever two members are valid, and complete when all is at rest.

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>

namespace slat::testing {

template <class Reader>
class ContiguousSets {
 public:
  ContiguousSets(Recorder& recorder, const LiveTree<Reader>& tree) : recorder_{&recorder}, tree_{&tree} {}

  /// The live slot at `place` has become `entry`. Members that are not valid yet, or no longer, may be missing for now;
  /// and where a size may change in place, the bit may.
  void look(Place place, const Decoded& entry) {
    used_ = used_ || entry.contiguous;
    auto const count = tree_->reader().contiguous_entries(place.level);
    if (!used_ || count == 1) return;
    auto const begin = place.span.begin.down_to(count * tree_->shape().span(place.level));
    auto const* const wrong = fault(begin, place.level);
    if (wrong == incomplete_set || (wrong == unlike_set && !tree_->reader().size_breaks()))
      incomplete_[begin.raw()] = place.level;
    else
      report(wrong, begin);
  }
  void at_rest() {
    for (auto const& [begin, level] : std::exchange(incomplete_, {}))
      report(fault(GuestPhys{begin}, level), GuestPhys{begin});
  }

 private:
  const char* fault(GuestPhys begin, Level level) const {
    auto const* const first = tree_->attached() ? tree_->slot({level, {begin, tree_->shape().span(level)}}) : nullptr;
    auto const& reader = tree_->reader();
    return first == nullptr ? nullptr
                            : reader.contiguous_fault(level, {first, reader.contiguous_entries(level)}, begin);
  }
  void report(const char* wrong, GuestPhys begin) {
    if (wrong != nullptr) recorder_->report(Offence::contiguous_mixed, std::string{wrong} + ", at " + hex(begin.raw()));
  }

  Recorder* recorder_;
  const LiveTree<Reader>* tree_;
  bool used_ = false;
  std::map<std::uint64_t, Level> incomplete_;  // by their first address
};

}  // namespace slat::testing
