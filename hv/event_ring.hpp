#pragma once

// The last things that a hypervisor did with a guest's memory, and how long each took: faults, edits of the tables,
// shootdowns. A ring of fixed size in its own memory, for an inspector from outside, to which a beacon leads. The
// oldest events make room for new ones, and how many there were is known.
//
//   constinit hv::EventRing<32768> ring{};
//   ring.open(ticks_per_second);
//   ring.add({.begin = before, .ticks = ..., .address = at, .kind = hv::Event::Kind::fault, ...});
//
// Freestanding, and includes nothing of slat. docs/inspector.md has the layout.

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace hv {

/// 32 bytes, little-endian.
struct Event {
  enum class Kind : std::uint8_t {
    none,
    fault,      // a stage-2 fault, from the hypervisor's learning of it until it was decided
    map,        // an area was mapped
    split,      // leaves were made the smallest
    populate,   // a page was mapped before the guest asked for it
    unmap,      // everything was unmapped
    shootdown,  // until no CPU could use what had become stale
  };
  static constexpr std::uint8_t failure = 0xff;

  std::uint64_t begin = 0;   // on the ring's clock
  std::uint32_t ticks = 0;   // how long it took; the most that fits, if longer
  std::uint32_t number = 0;  // of this event, from 1 on, the low 32 bits; written last, and 0 until then: one for which
                             // these bits are 0 is lost
  std::uint64_t address = 0;  // guest-physical
  std::uint32_t pages = 0;    // of 4 KiB: an edit's, from `address` on; a shootdown's in all, 0 for everything.
                              // As many as fit, if more
  Kind kind = Kind::none;
  std::uint8_t cpu = 0;
  std::uint8_t outcome = 0;  // `failure`; else of a fault slat::Resolution as a number, of others 0
  std::uint8_t wanted = 0;   // of a fault, the access: 1 read, 2 write, 4 fetch at user level, 8 at supervisor level
};
static_assert(sizeof(Event) == 32 && offsetof(Event, number) == 12 && offsetof(Event, kind) == 28);

/// What comes before the events.
struct EventRingHeader {
  static constexpr std::array<std::uint8_t, 16> the_magic{'\x7f', 's', 'l', 'a', 't',  '-',  'e',    'v',
                                                          'e',    'n', 't', 's', '\r', '\n', '\x1a', 0};
  static constexpr std::uint32_t the_version = 1;

  std::array<std::uint8_t, 16> magic{};  // all is 0 until it is open, so that a ring takes no room in an image
  std::uint32_t version = 0;
  std::uint32_t event_bytes = 0;
  std::uint64_t capacity = 0;
  std::uint64_t ticks_per_second = 0;
  std::uint64_t count = 0;  // of all events that there were; number n is at (n - 1) % capacity
  std::array<std::uint64_t, 2> reserved{};
};
static_assert(sizeof(EventRingHeader) == 64 && offsetof(EventRingHeader, count) == 40);

/// Events may be added by all CPUs at once, and read from outside at any time: a slot whose number is not the one that
/// belongs there is being written, or its event is lost.
template <std::size_t Capacity>
class alignas(64) EventRing {
 public:
  static constexpr std::size_t capacity = Capacity;

  /// Before the first event.
  void open(std::uint64_t ticks_per_second) {
    header_.version = EventRingHeader::the_version;
    header_.event_bytes = sizeof(Event);
    header_.capacity = Capacity;
    header_.ticks_per_second = ticks_per_second;
    header_.magic = EventRingHeader::the_magic;
  }

  /// Its number is given here. It is counted and lost where the ring has turned while another CPU wrote the same slot.
  void add(Event event) {
    auto const number = std::atomic_ref{header_.count}.fetch_add(1, std::memory_order_relaxed) + 1;
    auto& slot = events_[(number - 1) % Capacity];
    std::atomic_ref const published{slot.number};
    if (static_cast<std::uint32_t>(number) == 0) return;
    // A slot without a number is its first writer's, or that of whoever took the number away: nobody else writes it.
    if (number > Capacity && published.exchange(0, std::memory_order_acquire) == 0) return;
    std::atomic_thread_fence(std::memory_order_release);
    slot.begin = event.begin;
    slot.ticks = event.ticks;
    slot.address = event.address;
    slot.pages = event.pages;
    slot.kind = event.kind;
    slot.cpu = event.cpu;
    slot.outcome = event.outcome;
    slot.wanted = event.wanted;
    published.store(static_cast<std::uint32_t>(number), std::memory_order_release);
  }

  /// How many there were.
  std::uint64_t count() const {
    return std::atomic_ref{const_cast<std::uint64_t&>(header_.count)}.load(std::memory_order_relaxed);
  }
  /// How many bytes of this object hold the first `events`, at most `capacity`, that there were.
  static constexpr std::size_t bytes_for(std::uint64_t events) {
    return sizeof(EventRingHeader) + sizeof(Event) * (events < Capacity ? events : Capacity);
  }

 private:
  EventRingHeader header_{};
  std::array<Event, Capacity> events_{};
  static_assert(sizeof(EventRingHeader) % alignof(Event) == 0, "the events follow at once");
};

}  // namespace hv
