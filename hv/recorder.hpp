#pragma once

// Writes down how long something took, in a ring of events:
//
//   auto span = recorder.begin(Event::Kind::map, range);
//   ...
//   span.failed();    // if it did; at its end the span is an event

#include <algorithm>
#include <cstdint>
#include <limits>

#include <slat/mm/address.hpp>
#include <slat/mm/stale.hpp>

#include "hv/event_ring.hpp"

namespace hv {

/// A copyable handle. All CPUs may use it at once.
class Recorder {
 public:
  using Ring = EventRing<32768>;
  /// How an architecture tells time and CPUs apart.
  struct Clock {
    std::uint64_t (*now)();
    std::uint8_t (*cpu)();
  };

  /// Records nothing.
  Recorder() = default;
  /// `ring` is open, and outlives this.
  Recorder(Ring& ring, Clock clock) : ring_{&ring}, clock_{clock} {}

  class Span {
   public:
    Span(const Recorder& recorder, const Event& event) : recorder_{recorder}, event_{event} {
      if (recorder_.ring_ != nullptr) event_.begin = recorder_.clock_.now();
    }
    Span(const Span&) = delete;
    Span& operator=(const Span&) = delete;
    ~Span() {
      if (recorder_.ring_ == nullptr) return;
      constexpr std::uint64_t most = std::numeric_limits<std::uint32_t>::max();
      event_.ticks = static_cast<std::uint32_t>(std::min(recorder_.clock_.now() - event_.begin, most));
      event_.cpu = recorder_.clock_.cpu();
      recorder_.ring_->add(event_);
    }
    void ended(std::uint8_t outcome) { event_.outcome = outcome; }
    void failed() { ended(Event::failure); }

   private:
    const Recorder& recorder_;
    Event event_;
  };

  Span begin(Event::Kind kind, slat::GuestRange range) const {
    return {*this, {.address = range.begin.raw(), .pages = pages(range.size), .kind = kind}};
  }
  Span fault(slat::GuestPhys at, std::uint8_t wanted) const {
    return {*this, {.address = at.raw(), .kind = Event::Kind::fault, .wanted = wanted}};
  }
  Span shootdown(const slat::Stale& stale) const {
    Event event{.kind = Event::Kind::shootdown};
    std::uint64_t bytes = 0;
    for (auto const& part : stale.ranges()) {
      event.address = bytes == 0 ? part.range.begin.raw() : std::min(event.address, part.range.begin.raw());
      bytes += part.range.size;
    }
    event.pages = pages(bytes);
    return {*this, event};
  }

 private:
  static std::uint32_t pages(std::uint64_t bytes) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(bytes >> 12, std::numeric_limits<std::uint32_t>::max()));
  }

  Ring* ring_ = nullptr;
  Clock clock_{};
};

/// Whatever else `Hook` can do, this can, and records its shootdowns.
template <class Hook>
class RecordedHook : public Hook {
 public:
  RecordedHook(Hook hook, Recorder recorder) : Hook{hook}, recorder_{recorder} {}

  void operator()(slat::HostPhys root, const slat::Stale& stale) noexcept {
    auto const span = recorder_.shootdown(stale);
    Hook::operator()(root, stale);
  }

 private:
  Recorder recorder_;
};

}  // namespace hv
