#pragma once

// What happened, in order: frames, hooks and CPUs write here, an observer (the hostile TLB) listens, and the first
// violation freezes the story that led to it.
//
//   Recorder recorder;
//   RecordingFrames frames{recorder, 4_KiB, 256};
//   RecordingHook hook{recorder};
//   ... PageTable<Format, RecordingFrames, RecordingHook> ...
//   EXPECT_EQ(recorder.shootdowns(), 1u);
//   EXPECT_FALSE(recorder.violation()) << recorder.violation()->text;
//
// Nothing here throws: the code under test calls it from noexcept functions. A test asks afterwards. One thread only.

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/stale.hpp>
#include <slat/testing/event.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

/// Whoever listens. Virtual, because the types under test must not depend on who that is.
class Observer {
 public:
  Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer() = default;

  /// Hardware may act: an access to the entry at `where` is about to be made.
  virtual void before(HostPhys where) = 0;
  /// The event has happened, but that frames still have their old content when they are released.
  virtual void on(const Event& event) = 0;
  /// It is about to be written into a trace: what it needs to be understood is to be kept first.
  virtual void foresee(const Event& event) = 0;
};

class Recorder {
 public:
  // What tests ask.
  std::size_t shootdowns() const { return shootdowns_; }
  std::size_t publishes() const { return publishes_; }
  std::size_t waits() const { return waits_; }
  std::size_t stores() const { return stores_; }
  /// The latest invalidations, oldest first (a long test keeps only so many).
  const std::deque<Stale>& invalidations() const { return invalidations_; }
  const std::optional<Violation>& violation() const { return violation_; }
  void clear_counts() {
    shootdowns_ = publishes_ = waits_ = stores_ = 0;
    invalidations_.clear();
  }
  /// For tests that provoke one.
  Offence take_violation() {
    auto const offence = violation_ ? violation_->offence : Offence::none;
    violation_.reset();
    return offence;
  }

  void listen(Observer* observer) { observer_ = observer; }
  Observer* observer() const { return observer_; }
  /// Whose rules a report cites.
  void speak_of(Family family) { family_ = family; }

  /// Keeps every event from here on, for trace(): else only the last few, for a report.
  void keep_all() { keeps_all_ = true; }
  bool keeps_all() const { return keeps_all_; }
  const std::vector<Event>& kept() const { return kept_; }

  /// A line of the test's own in the report: the name of the operation that begins.
  void remark(std::string line) {
    auto const at = remarks_++ % last_.size();
    remark_[at] = std::move(line);
    note({What::finish, remark_cpu, {at}});
  }

  /// Only the first one counts: what follows it is its consequence.
  void report(Offence offence, const std::string& particulars) {
    if (violation_) return;
    auto const number = rule(offence, family_);
    auto text = std::string{name(offence)};
    if (!number.empty()) text += " (rule " + std::string{number} + ")";
    violation_.emplace(Violation{offence, text + ": " + particulars + "\n" + story()});
  }

  /// The CPU that executes what is recorded from here on.
  void run_on(std::uint8_t cpu) { cpu_ = cpu; }
  std::uint8_t cpu() const { return cpu_; }

  /// An access is about to be made.
  void about_to_access(HostPhys where) {
    if (observer_) observer_->before(where);
  }
  void record(What what, std::array<std::uint64_t, 4> values = {}) { record(Event{what, cpu_, values}); }
  void record(const Event& event) {
    if (event.writes()) ++stores_;
    if (event.what == What::publish || event.what == What::dsb_ishst) ++publishes_;
    if (event.what == What::readers_gone) ++waits_;
    note(event);
    if (keeps_all_) {
      if (observer_ && event.writes()) observer_->foresee(event);
      kept_.push_back(event);
    }
    if (observer_) observer_->on(event);
  }

  /// For the trace alone: what the observer was told by other ways.
  void keep(What what, std::array<std::uint64_t, 4> values = {}) {
    if (keeps_all_) kept_.push_back({what, cpu_, values});
  }

  /// The hook was called: what it was asked, as the events that say so.
  void asked(HostPhys root, const Stale& stale) {
    ++shootdowns_;
    if (invalidations_.size() == most_invalidations) invalidations_.pop_front();
    invalidations_.push_back(stale);
    record(What::hook, {root.raw()});
    if (stale.everything()) record(What::asked_everything);
    for (auto const& [range, level, tables] : stale.ranges())
      record(What::asked, {range.begin.raw(), range.size, level, tables});
  }

 private:
  static constexpr std::size_t most_invalidations = 1024;
  static constexpr std::uint8_t remark_cpu = 0xff;

  void note(const Event& event) { last_[noted_++ % last_.size()] = event; }

  std::string story() const {
    std::string out;
    for (auto at = noted_ < last_.size() ? 0 : noted_ - last_.size(); at < noted_; ++at) {
      auto const& event = last_[at % last_.size()];
      out += event.cpu == remark_cpu && event.what == What::finish ? "  --- " + remark_[event.values[0]]
                                                                   : "  " + text(event);
      out += "\n";
    }
    return out;
  }

  Observer* observer_ = nullptr;
  Family family_ = Family::arm;
  std::optional<Violation> violation_;
  std::deque<Stale> invalidations_;
  std::array<Event, 64> last_;
  std::array<std::string, 64> remark_;
  std::vector<Event> kept_;
  std::size_t noted_ = 0, remarks_ = 0;
  std::size_t shootdowns_ = 0, publishes_ = 0, waits_ = 0, stores_ = 0;
  std::uint8_t cpu_ = 0;
  bool keeps_all_ = false;
};

/// How a hook is carried out: instructions, CPUs. Virtual, because the table's type must not depend on it.
class Lowering {
 public:
  Lowering() = default;
  Lowering(const Lowering&) = delete;
  Lowering& operator=(const Lowering&) = delete;
  virtual ~Lowering() = default;

  virtual void invalidate(HostPhys root, const Stale& stale) noexcept = 0;
  virtual void publish() noexcept = 0;
};

/// An InvalidationHook that tells the recorder. Without a lowering it does at once all that it is asked, on every CPU:
/// for tests of a table alone. A handle, to be copied freely.
class RecordingHook {
 public:
  explicit RecordingHook(Recorder& recorder, Lowering* lowering = nullptr)
      : recorder_{&recorder}, lowering_{lowering} {}

  void operator()(HostPhys root, const Stale& stale) noexcept {
    recorder_->asked(root, stale);
    if (lowering_ != nullptr)
      lowering_->invalidate(root, stale);
    else
      recorder_->record(What::granted);
    recorder_->record(What::settled, {root.raw()});
  }
  void publish() noexcept {
    if (lowering_ != nullptr)
      lowering_->publish();
    else
      recorder_->record(What::publish);
  }
  void wait_for_readers() noexcept { recorder_->record(What::readers_gone); }

 private:
  Recorder* recorder_;
  Lowering* lowering_;
};
static_assert(InvalidationHook<RecordingHook>);

}  // namespace slat::testing
