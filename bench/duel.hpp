#pragma once

// A row beside its limit: in turns, each timed by the clock of this thread's CPU time, so that what else the machine
// does meanwhile is in neither.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <vector>

#include "row.hpp"

namespace slat::bench {

inline double now(clockid_t clock) {
  timespec t;
  if (clock_gettime(clock, &t) != 0) std::abort();
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Seconds that each turn took.
class Turns {
 public:
  template <class Act>
  void time(Act act) {
    auto const start = now(CLOCK_THREAD_CPUTIME_ID);
    act();
    seconds_.push_back(now(CLOCK_THREAD_CPUTIME_ID) - start);
  }
  double least() const { return seconds_.empty() ? 0 : *std::min_element(seconds_.begin(), seconds_.end()); }
  double median() const {
    auto sorted = seconds_;
    std::sort(sorted.begin(), sorted.end());
    return sorted.empty() ? 0 : sorted[sorted.size() / 2];
  }

 private:
  std::vector<double> seconds_;
};

class Duel {
 public:
  /// `twin`: the same row compiled otherwise, or nothing.
  Duel(const RowEntry& entry, const RowEntry* twin)
      : row_{entry.make()}, twin_{twin != nullptr ? twin->make() : nullptr}, limits_(row_->limits()) {}

  /// A limit always comes after the subject, and the subject after a limit: each finds the caches as the other left
  /// them.
  void round() {
    for (unsigned which = 0; which != limits_.size(); ++which) {
      row_->prepare();
      limits_[which].time([&] { row_->limit(which); });
      subject_turn();
    }
    if (twin_ == nullptr) return;
    twin_->prepare();
    twin_subject_.time([&] { twin_->subject(); });
  }

  const Turns& subject() const { return subject_; }
  const Turns& twin() const { return twin_subject_; }
  /// The fastest one.
  const Turns& limit() const {
    return *std::min_element(limits_.begin(), limits_.end(),
                             [](const Turns& a, const Turns& b) { return a.least() < b.least(); });
  }
  Facts facts() const { return facts_; }
  /// The facts were the same in all turns.
  bool steady() const { return steady_; }

 private:
  void subject_turn() {
    row_->prepare();
    subject_.time([&] { row_->subject(); });
    auto const facts = row_->facts();
    steady_ = steady_ && (turns_++ == 0 || facts == facts_);
    facts_ = facts;
  }

  std::unique_ptr<Row> row_, twin_;
  std::vector<Turns> limits_;
  Turns subject_, twin_subject_;
  Facts facts_;
  std::size_t turns_ = 0;
  bool steady_ = true;
};

}  // namespace slat::bench
