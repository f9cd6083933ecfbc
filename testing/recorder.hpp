#pragma once

// What happened, in order: the frames and the hook under test write here, an observer (the hostile TLB) listens, and
// the first violation freezes the story that led to it.
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

#include <slat/mm/address.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/stale.hpp>
#include <slat/mm/text.hpp>

#include <slat/testing/violation.hpp>

namespace slat::testing {

/// One access to a live entry, as it came out.
struct Access {
  enum class Kind : std::uint8_t { load, store, exchange, compare_exchange };
  Kind kind;
  HostPhys where;  // of the entry
  Entry old;       // found there
  Entry next;      // left there: `old` for a load and for a compare_exchange that lost

  bool wrote() const {
    return kind == Kind::store || kind == Kind::exchange || (kind == Kind::compare_exchange && won);
  }
  bool won = false;  // of a compare_exchange
};

/// Whoever listens. Virtual, because the types under test must not depend on who that is.
class Observer {
 public:
  Observer() = default;
  Observer(const Observer&) = delete;
  Observer& operator=(const Observer&) = delete;
  virtual ~Observer() = default;

  /// Hardware may act: an access to the entry at `where` is about to be made.
  virtual void before(HostPhys where) = 0;
  virtual void after(const Access& access) = 0;
  virtual void allocated(HostPhys frame, std::uint64_t bytes) = 0;
  /// Still with its old content.
  virtual void releasing(HostPhys frame, std::uint64_t bytes) = 0;
  virtual void published() = 0;
  virtual void invalidated(HostPhys root, const Stale& stale) = 0;
  virtual void readers_gone() = 0;
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

  /// A line of the test's own in the trace: the name of the operation that begins.
  void remark(std::string_view text) { note({"---", text, {}}); }

  /// Only the first one counts: what follows it is its consequence.
  void report(Offence offence, const std::string& particulars) {
    if (violation_) return;
    violation_.emplace(Violation{offence, std::string{name(offence)} + ": " + particulars + "\n" + trace()});
  }

  // What the recording types say.
  void about_to_access(HostPhys where) {
    if (observer_) observer_->before(where);
  }
  void accessed(const Access& access) {
    if (access.wrote()) ++stores_;
    if (access.kind != Access::Kind::load) note({word(access), {}, {access.where.raw(), access.old, access.next}});
    if (observer_) observer_->after(access);
  }
  void allocated(HostPhys frame, std::uint64_t bytes) {
    note({"allocate", {}, {frame.raw(), bytes}});
    if (observer_) observer_->allocated(frame, bytes);
  }
  void releasing(HostPhys frame, std::uint64_t bytes) {
    note({"release", {}, {frame.raw(), bytes}});
    if (observer_) observer_->releasing(frame, bytes);
  }
  void published() {
    ++publishes_;
    note({"publish", {}, {}});
    if (observer_) observer_->published();
  }
  void invalidated(HostPhys root, const Stale& stale) {
    ++shootdowns_;
    note({stale.everything() ? "hook: everything" : "hook", {}, {root.raw()}});
    for (auto const& range : stale.ranges())
      note({range.tables ? "  range with tables" : "  range",
            {},
            {range.range.begin.raw(), range.range.size, range.level}});
    if (invalidations_.size() == kept) invalidations_.pop_front();
    invalidations_.push_back(stale);
    if (observer_) observer_->invalidated(root, stale);
  }
  void readers_gone() {
    ++waits_;
    note({"wait_for_readers", {}, {}});
    if (observer_) observer_->readers_gone();
  }
  /// Hardware acted on a page: what the observer did, for the trace.
  void hardware(std::string_view what, std::uint64_t page, Entry old, Entry next) {
    note({what, {}, {page, old, next}});
  }

 private:
  static constexpr std::size_t kept = 1024;
  static constexpr std::size_t trace_length = 64;

  struct Event {
    std::string_view what;  // a literal
    std::string text;
    std::array<std::optional<std::uint64_t>, 3> values;

    Event() = default;
    Event(std::string_view literal, std::string_view remark, std::array<std::optional<std::uint64_t>, 3> numbers)
        : what{literal}, text{remark}, values{numbers} {}
  };

  static std::string_view word(const Access& access) {
    switch (access.kind) {
      case Access::Kind::load: return "load";
      case Access::Kind::store: return "store";
      case Access::Kind::exchange: return "exchange";
      case Access::Kind::compare_exchange: return access.won ? "compare_exchange" : "compare_exchange, lost";
    }
    return "?";
  }

  void note(Event event) {
    events_[noted_ % trace_length] = std::move(event);
    ++noted_;
  }

  std::string trace() const {
    std::string text;
    auto const append = [&text](std::string_view piece) { text += piece; };
    for (auto at = noted_ < trace_length ? 0 : noted_ - trace_length; at < noted_; ++at) {
      auto const& event = events_[at % trace_length];
      text += "  ";
      text += event.what;
      if (!event.text.empty()) text += " " + event.text;
      for (auto const& value : event.values) {
        if (!value) break;
        text += " ";
        print_hex(append, *value);
      }
      text += "\n";
    }
    return text;
  }

  Observer* observer_ = nullptr;
  std::optional<Violation> violation_;
  std::deque<Stale> invalidations_;
  std::array<Event, trace_length> events_;
  std::size_t noted_ = 0;
  std::size_t shootdowns_ = 0, publishes_ = 0, waits_ = 0, stores_ = 0;
};

/// An InvalidationHook that tells the recorder: a handle, to be copied freely.
class RecordingHook {
 public:
  explicit RecordingHook(Recorder& recorder) : recorder_{&recorder} {}

  void operator()(HostPhys root, const Stale& stale) noexcept { recorder_->invalidated(root, stale); }
  void publish() noexcept { recorder_->published(); }
  void wait_for_readers() noexcept { recorder_->readers_gone(); }

 private:
  Recorder* recorder_;
};
static_assert(InvalidationHook<RecordingHook>);

}  // namespace slat::testing
