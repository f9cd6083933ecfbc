#pragma once

// A machine that any mapper can be run beside: it is told, event by event, what the mapper does to memory and to the
// CPUs, and says what hardware may make of it.
//
//   Machine machine{ArmReader{features}};
//   machine.allocate(root);
//   machine.tell(What::root, root);
//   machine.store(root, entry);                    // what the mapper writes, it writes here, too
//   machine.tell(What::dsb_ishst);
//   machine.tell(What::tlbi_ipas2e1is, operand);   // on CPU 0, or the one of machine.on(cpu)
//   machine.finish();                              // nothing may be owed now
//   if (auto const& violation = machine.violation()) puts(violation->text.c_str());
//
// docs/hostile-mmu.md goes through one example step by step.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <slat/testing/hostile_tlb.hpp>
#include <slat/testing/trace.hpp>

namespace slat::testing {

template <class Reader>
class Machine {
 public:
  explicit Machine(const Reader& reader, const MachineOptions& options = {})
      : reader_{reader},
        options_{options},
        frames_{recorder_, reader.shape().granule(), options.frames, options.base},
        tlb_{recorder_,
             frames_,
             reader,
             {.seed = options.seed,
              .period = options.period,
              .waits_for_readers = options.waits_for_readers,
              .needs_publish = options.needs_publish || Reader::family == Family::arm}} {
    recorder_.keep_all();
    if (!options.poison) frames_.give_zeros();
    tlb_.judge_stores(false);
  }
  explicit Machine(const Trace<Reader>& trace) : Machine{trace.reader, trace.options} {}

  const std::optional<Violation>& violation() const { return recorder_.violation(); }
  Offence offence() const { return violation() ? violation()->offence : Offence::none; }
  /// All that has happened, to be saved, replayed and shrunk.
  Trace<Reader> trace() const { return {reader_, options_, recorder_.kept()}; }
  Recorder& recorder() { return recorder_; }
  const HostileTlb<Reader>& tlb() const { return tlb_; }

  /// The CPU that does what is told from here on.
  Machine& on(std::uint8_t cpu) {
    recorder_.run_on(cpu);
    return *this;
  }

  // What mappers do most.
  void allocate(HostPhys frame, std::uint64_t bytes = 0) {
    tell(What::allocate, frame.raw(), bytes == 0 ? reader_.shape().granule() : bytes);
  }
  void release(HostPhys frame, std::uint64_t bytes = 0) {
    tell(What::release, frame.raw(), bytes == 0 ? reader_.shape().granule() : bytes);
  }
  /// What allocate() gave holds anything; this fills it with zeros.
  void zero(HostPhys frame, std::uint64_t bytes = 0) {
    tell(What::zero, frame.raw(), bytes == 0 ? reader_.shape().granule() : bytes);
  }
  /// Into a table. One that no hardware sees may be filled so, too.
  void store(HostPhys at, Entry value, std::uint64_t bytes = sizeof(Entry)) {
    tell(What::store, at.raw(), 0, value, bytes);
  }
  /// Atomically. Returns what was there.
  Entry exchange(HostPhys at, Entry value) {
    auto const old = load(at);
    tell(What::exchange, at.raw(), old, value);
    return old;
  }
  Entry load(HostPhys at) const { return has(at) ? *entry(at) : 0; }
  /// Hardware uses a page, by whatever way it has.
  void use(GuestPhys page, bool write) { tlb_.use(page, write); }
  /// No edit is open: nothing stale may be left.
  void finish() { tell(What::finish); }

  template <class... Values>
  void tell(What what, Values... values) {
    apply({what, recorder_.cpu(), {raw(values)...}});
  }

  /// Any event. False when it cannot be, such as a store outside the frames: nothing has happened then.
  bool apply(const Event& event) {
    if (event.what != What::piece && announced_) begin();
    auto const here = recorder_.cpu();
    recorder_.run_on(event.cpu);
    auto const done = act(event);
    recorder_.run_on(here);
    return done;
  }

 private:
  static std::uint64_t raw(std::integral auto value) { return static_cast<std::uint64_t>(value); }
  template <class Space>
  static std::uint64_t raw(Address<Space> at) {
    return at.raw();
  }

  bool act(const Event& event) {
    auto const& [first, second, third, fourth] = event.values;
    HostPhys const at{first};
    GuestRange const range{GuestPhys{first}, second};
    switch (event.what) {
      case What::root: return attach(at);
      case What::allocate: return frames_.place(at, second);
      case What::release: frames_.release(at, second); return true;
      case What::zero:
        for (std::uint64_t i = 0; i < second; i += sizeof(Entry))
          if (!has(at + i)) return false;
        recorder_.keep(event.what, event.values);
        for (std::uint64_t i = 0; i < second; i += sizeof(Entry)) write_unseen(at + i, 0);
        return true;
      case What::word:
        if (!has(at)) return false;
        recorder_.keep(event.what, event.values);
        write_unseen(at, second);
        return true;
      case What::store: return store(at, third, fourth, event);
      case What::exchange:
      case What::compare_exchange:
        if (has(at)) frames_.exchange(entry(at), third);
        return has(at);
      case What::mark:
        if (!has(at) || !tlb_.may_mark(at, third)) return false;
        recorder_.record(event);
        return true;
      case What::change:
        if (!possible(range)) return false;
        announced_ = Change{range, {}, third != 0};
        return true;
      case What::piece:
        if (!announced_ || !possible(range)) return false;
        announced_->after.push_back(
            {range, fourth == 0 ? std::nullopt : std::optional{unpacked(HostPhys{third}, fourth)}});
        return true;
      case What::commit:
        if (!std::exchange(open_, false)) return false;
        tlb_.commit();
        return true;
      case What::abandon:
        if (!std::exchange(open_, false)) return false;
        tlb_.abandon();
        return true;
      case What::harvested:
        if (!possible(range)) return false;
        tlb_.harvested(range, {(third & 1) != 0, (third & 2) != 0});
        return true;
      case What::told:
        if (!possible(range)) return false;
        tlb_.told(range, {(third & 1) != 0, (third & 2) != 0});
        return true;
      case What::finish: tlb_.finish_edit(); return true;
      case What::use: return reachable(first) && record(event);
      case What::asked: return possible(range) && record(event);
      default: return record(event);
    }
  }
  bool record(const Event& event) {
    recorder_.record(event);
    return true;
  }

  /// Said to be unseen by hardware, and judged if it is not.
  void write_unseen(HostPhys at, Entry value) {
    if (tlb_.may_be_walked(at)) recorder_.report(Offence::written_while_cached, hex(at.raw()));
    *entry(at) = value;
  }

  bool attach(HostPhys root) {
    if (!root.aligned_to(reader_.shape().granule())) return false;
    auto const bytes = reader_.shape().root_entries() * sizeof(Entry);
    for (std::uint64_t at = 0; at < bytes; at += reader_.shape().granule())
      if (!frames_.inside(root + at) || !frames_.owns((root + at).down_to(reader_.shape().granule()))) return false;
    if (tlb_.attached()) {
      recorder_.report(Offence::unmodelled, "a second root at " + hex(root.raw()));
      return false;
    }
    if (auto const flaw = reader_.root_flaw(root); flaw.found()) recorder_.report(Offence::malformed, flaw.rule);
    tlb_.attach(root);
    return true;
  }

  bool store(HostPhys at, Entry value, std::uint64_t bytes, const Event& event) {
    if (!has(at.down_to(sizeof(Entry))) || bytes == 0 || bytes > sizeof(Entry)) return false;
    auto* const word = entry(at.down_to(sizeof(Entry)));
    if (bytes == sizeof(Entry) && at.aligned_to(sizeof(Entry))) {
      frames_.store(word, value);
      return true;
    }
    auto const shift = 8 * at.offset_in(sizeof(Entry));
    auto const mask = (bytes == sizeof(Entry) ? ~Entry{0} : (Entry{1} << 8 * bytes) - 1) << shift;
    auto const old = *word;
    *word = (old & ~mask) | (value << shift & mask);
    recorder_.record({What::store, event.cpu, {at.raw(), old, *word, bytes}});
    return true;
  }

  /// The pieces of a change must be the whole of its range, in order: else it is no change at all.
  void begin() {
    auto change = *std::exchange(announced_, std::nullopt);
    auto next = change.range.begin;
    for (auto const& piece : change.after) {
      if (piece.range.begin != next || piece.range.empty()) return;
      next = piece.range.end();
    }
    if (next != change.range.end() || open_) return;
    open_ = true;
    tlb_.judge_stores(true);
    tlb_.begin(std::move(change));
  }

  bool reachable(std::uint64_t guest) const { return guest < reader_.shape().input_size(); }
  bool possible(GuestRange range) const {
    return !range.wraps() && range.aligned_to(reader_.shape().granule()) &&
           (range.empty() || reachable(range.last().raw()));
  }
  bool has(HostPhys at) const {
    return at.aligned_to(sizeof(Entry)) && frames_.inside(at) && frames_.owns(at.down_to(frames_.granule()));
  }
  Entry* entry(HostPhys at) const {
    return frames_.view(at.down_to(frames_.granule())) + at.offset_in(frames_.granule()) / sizeof(Entry);
  }

  Reader reader_;
  MachineOptions options_;
  Recorder recorder_;
  RecordingFrames frames_;
  HostileTlb<Reader> tlb_;
  std::optional<Change> announced_;
  bool open_ = false;  // a change is under way
};

/// The violation that a trace leads to, and after how many of its events; or nothing.
struct Replayed {
  std::optional<Violation> violation;
  std::size_t events = 0;
};
template <class Reader>
Replayed replay(const Trace<Reader>& trace) {
  Machine<Reader> machine{trace};
  std::size_t count = 0;
  for (auto const& event : trace.events) {
    ++count;
    machine.apply(event);
    if (machine.violation()) break;
  }
  return {machine.violation(), count};
}

/// The fewest events that still lead to the same offence: none of them can be left out. Tries kinds of events first,
/// then halves and ever smaller parts; a trace without a violation comes back as it is.
template <class Reader>
Trace<Reader> shrink(Trace<Reader> trace) {
  auto const [violation, events] = replay(trace);
  if (!violation) return trace;
  trace.events.resize(events);
  auto const offends = [&](const Trace<Reader>& tried) {
    auto const again = replay(tried).violation;
    return again && again->offence == violation->offence;
  };
  // With frames of zeros, the zeros of a table need no events.
  auto plain = trace;
  plain.options.poison = false;
  if (offends(plain)) trace = std::move(plain);
  // All of one kind at once: what they say of each other (a change and its pieces) goes together.
  for (auto const& kind : what_words) {
    auto tried = trace;
    std::erase_if(tried.events, [&](const Event& event) { return event.what == kind.what; });
    if (tried.events.size() != trace.events.size() && offends(tried)) trace = std::move(tried);
  }
  for (auto part = (trace.events.size() + 1) / 2; part != 0;) {
    auto shorter = false;
    for (std::size_t at = 0; at < trace.events.size();) {
      auto tried = trace;
      auto const begin = tried.events.begin() + static_cast<std::ptrdiff_t>(at);
      tried.events.erase(begin, begin + static_cast<std::ptrdiff_t>(std::min(part, tried.events.size() - at)));
      if (offends(tried)) {
        trace = std::move(tried);
        shorter = true;
      } else {
        at += part;
      }
    }
    if (part != 1)
      part = (part + 1) / 2;
    else if (!shorter)
      part = 0;
  }
  return trace;
}

}  // namespace slat::testing
