#pragma once

// What must be so when no edit is open: the live tables say exactly what is meant, and every mark that hardware ever
// set and nobody was told of is still there.

#include <functional>
#include <utility>

#include <slat/testing/diary.hpp>
#include <slat/testing/intent.hpp>
#include <slat/testing/judge.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>

namespace slat::testing {

template <class Reader>
class AtRest {
 public:
  AtRest(Recorder& recorder, const LiveTree<Reader>& tree, const Intent& intent, const Judge<Reader>& judge)
      : recorder_{&recorder}, tree_{&tree}, intent_{&intent}, judge_{&judge} {}

  void read_age_with(std::function<Age(Level, Entry)> age) { age_ = std::move(age); }

  void check_marks(Diary& diary) const {
    diary.settle([this](GuestPhys page, Age untold) { return check_marks(page, untold); });
  }

  void check_meaning(GuestRange range) const {
    for (auto at = range.begin; range.contains(at);) {
      auto const found = tree_->walk(at);
      auto const span = found.place.span;
      auto const part = span.clamp_to(range);
      for (auto from = part.begin; part.contains(from);) {
        auto const piece = intent_->at(from).clamp_to(part);
        auto const host = found.decoded.address + (piece.range.begin - span.begin);
        auto const right = found.decoded.leaf() ? judge_->says(found.decoded, host, piece) : !piece.meaning;
        if (!right)
          return recorder_->report(Offence::wrong_translation,
                                   text(piece.range) + " should be " + judge_->describe(piece));
        from = piece.range.end();
      }
      at = part.end();
    }
  }

 private:
  /// What the table says of a page; `untold` is what hardware did to it and nobody was told of.
  Age check_marks(GuestPhys page, Age untold) const {
    if (!tree_->attached() || !intent_->at(page).meaning) return {};
    auto const found = tree_->walk(page);
    if (!found.decoded.leaf()) return {};  // said elsewhere
    auto const& reader = tree_->reader();
    auto const age =
        age_ ? age_(found.place.level, *found.entry) : Age{found.decoded.is_accessed, found.decoded.is_dirty};
    // Where software keeps the mark, only it can tell: without hardware's help, and on Arm where the write right, which
    // is the mark, was taken away.
    auto const marked = reader.sets_dirty() && (Reader::family != Family::arm || allows(found.decoded.rights, Prot::w));
    auto const lost = [&](Offence offence) {
      recorder_->report(offence, hex(page.raw()) + ", by " + text(found.place) + ": " + hex(*found.entry));
    };
    if (untold.dirty && !age.dirty && (age_ || marked)) lost(Offence::lost_dirty);
    if (untold.accessed && reader.sets_accessed() && !age.accessed) lost(Offence::lost_accessed);
    return age;
  }

  Recorder* recorder_;
  const LiveTree<Reader>* tree_;
  const Intent* intent_;
  const Judge<Reader>* judge_;
  std::function<Age(Level, Entry)> age_;
};

}  // namespace slat::testing
