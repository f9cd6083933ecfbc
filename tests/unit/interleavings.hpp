#pragma once

// Every order in which a few processes can take their steps, on a machine whose CPUs have store buffers and hold on to
// what they may.
//
//   struct World { Stepped<int> x{0}; };
//   Interleavings all;
//   EXPECT_EQ(all.explore<World>([](World& world, auto& add) {
//     add([&] { world.x.store(1); });
//     add([&] { if (world.x.load() == 2) Interleavings::fail("out of nothing"); });
//   }), "");
//
// A step is one access to a Stepped, which stands for a std::atomic. A store goes into its process's buffer, from where
// it reaches memory at any later time, in order; the process itself sees it at once. A sequentially consistent load
// waits until the sequentially consistent stores before it have arrived, and no other load does. A read-modify-write
// that releases waits for all stores before it, and what it writes goes into the buffer too: nothing comes between what
// it has found and that, but later loads need not wait for it. x86 promises more, C++ does not: so a memory order that
// is too weak shows.
//
// A run takes one order from the beginning to the end; the next one differs from it in the last choice that has another
// side. Where memory, buffers and all that each process has seen are as they were once before, what follows is known.

#include <ucontext.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

namespace slat::test {

class Interleavings {
  static constexpr std::size_t stack_size = std::size_t{1} << 16;
  static constexpr std::uint64_t most_runs = 2'000'000;

 public:
  using Cell = std::size_t;

  /// All orders; or those in which a process that could go on is interrupted by another so many times at most. Few are
  /// enough for most flaws, and orders grow fast with them.
  explicit Interleavings(unsigned most_interruptions = ~0u) : most_interruptions_{most_interruptions} {}

  /// Nothing, or what went wrong, with the steps that led to it. Each run has a World of its own.
  template <class World, class Setup>
  std::string explore(Setup setup) {
    for (runs_ = 1; runs_ <= most_runs; ++runs_) {
      current_ = this;
      cells_.clear();
      processes_.clear();
      notes_.clear();
      wrong_.reset();
      World world;
      auto add = [this](std::function<void()> body) { processes_.emplace_back(std::move(body)); };
      setup(world, add);
      run();
      current_ = nullptr;
      if (wrong_) return *wrong_ + " in run " + std::to_string(runs_) + story();
      while (!path_.empty() && path_.back().taken + 1 == path_.back().count) path_.pop_back();
      if (path_.empty()) return "";
      ++path_.back().taken;
    }
    return "too many orders";
  }

  std::uint64_t runs() const { return runs_; }

  // ---- what processes call ----

  /// Ends the exploration.
  static void fail(const std::string& why) {
    current_->wrong_ = why;
    current_->yield();
  }
  /// The turn of a waiting loop: goes on once a process has changed something since this one looked.
  static void wait() {
    auto& self = *current_;
    auto& me = self.me();
    me.waits = true;
    self.yield();
    me.waits = me.news = false;
    me.remember(1);
  }
  /// A promise: what this process does from here on depends on the place that it has reached and on `value`, and on
  /// nothing else that it has seen. Saves orders.
  static void know(std::uint64_t place, std::uint64_t value) { current_->me().seen = mix(mix(0, place), value); }
  /// Which process this is, in the order of add().
  static std::size_t number() { return current_->running_; }

  // ---- what Stepped is made of ----

  static Cell add_cell(std::uint64_t value) {
    current_->cells_.push_back(value);
    return current_->cells_.size() - 1;
  }
  static std::uint64_t load(Cell cell, std::memory_order order) {
    auto& self = *current_;
    if (!self.inside_) return self.cells_[cell];
    self.yield();
    if (order == std::memory_order_seq_cst)
      for (auto const& store : self.me().buffer)
        if (store.consistent) {
          self.empty_buffer(self.me());
          break;
        }
    auto value = self.cells_[cell];
    for (auto const& store : self.me().buffer)
      if (store.cell == cell) value = store.value;
    self.me().remember(value);
    self.note("reads", cell, value);
    return value;
  }
  static void store(Cell cell, std::uint64_t value, std::memory_order order) {
    auto& self = *current_;
    if (!self.inside_) return self.write(cell, value);
    self.yield();
    self.note("will write", cell, value);
    self.me().remember(value);
    self.me().buffer.push_back({cell, value, order == std::memory_order_seq_cst, false});
  }
  /// `change(old)` is the new value, or nothing. Without the buffer it is there at once.
  template <class Change>
  static std::uint64_t modify(Cell cell, std::memory_order order, Change change, bool buffered = true) {
    auto& self = *current_;
    auto const releases = order != std::memory_order_relaxed && order != std::memory_order_acquire;
    if (self.inside_) {
      self.yield();
      auto waits = releases;
      for (auto const& store : self.me().buffer) waits = waits || store.cell == cell;
      if (waits) self.empty_buffer(self.me());
      self.settle(cell);
    }
    auto const old = self.cells_[cell];
    std::optional<std::uint64_t> const next = change(old);
    if (next && self.inside_ && buffered && releases && *next != old)
      self.me().buffer.push_back({cell, *next, order == std::memory_order_seq_cst, true});
    else if (next)
      self.write(cell, *next);
    if (self.inside_) {
      self.me().remember(old);
      self.note("finds", cell, old);
      if (next) self.note("for which it writes", cell, *next);
    }
    return old;
  }

 private:
  struct Store {
    Cell cell;
    std::uint64_t value;
    bool consistent;  // sequentially
    bool exchanged;   // of a read-modify-write: the first in its buffer, since that was empty
  };
  struct Process {
    explicit Process(std::function<void()> what) : body{std::move(what)} {}

    std::function<void()> body;
    ucontext_t context{};
    std::deque<Store> buffer;
    std::uint64_t seen = 0;  // all that it has seen, which is all that it knows
    bool waits = false;
    bool news = true;  // something changed since it looked
    bool done = false;

    bool ready() const { return !done && (!waits || news); }
    void remember(std::uint64_t value) { seen = mix(seen, value); }
  };
  struct Choice {
    std::size_t taken, count;
  };
  // A process's step, or its oldest store's way to memory.
  struct Move {
    std::size_t process;
    bool drain;
  };

  // Of zeros too there must be more or fewer.
  static std::uint64_t mix(std::uint64_t hash, std::uint64_t value) {
    hash = (hash + value + 0x632B'E59B'D9B4'E019) * 0x9E37'79B9'7F4A'7C15;
    return hash ^ hash >> 29;
  }

  Process& me() { return processes_[running_]; }

  void run() {
    while (stacks_.size() < processes_.size()) stacks_.push_back(std::make_unique<char[]>(stack_size));
    for (std::size_t i = 0; i != processes_.size(); ++i) {
      auto& process = processes_[i];
      getcontext(&process.context);
      process.context.uc_stack.ss_sp = stacks_[i].get();
      process.context.uc_stack.ss_size = stack_size;
      process.context.uc_link = &home_;
      makecontext(&process.context, &Interleavings::start, 0);
    }
    // Up to the first access of each, which is nobody else's business.
    for (std::size_t i = 0; i != processes_.size(); ++i) go({i, false});
    std::size_t at = 0;
    bool known = false;
    interruptions_ = 0;
    last_ = 0;
    for (std::vector<Move> moves; !wrong_;) {
      moves.clear();
      bool const goes_on = processes_[last_].ready();
      for (std::size_t i = 0; i != processes_.size(); ++i) {
        auto const may_run = i == last_ || !goes_on || interruptions_ < most_interruptions_;
        if (may_run && processes_[i].ready()) moves.push_back({i, false});
        if (!processes_[i].buffer.empty()) moves.push_back({i, true});
      }
      if (moves.empty()) break;
      std::size_t chosen = 0;
      if (moves.size() > 1 && at < path_.size()) {
        chosen = path_[at++].taken;
      } else if (moves.size() > 1 && !known) {
        known = !states_.insert(state()).second;
        if (!known) {
          path_.push_back({0, moves.size()});
          ++at;
        }
      }
      auto const [next, drain] = moves[chosen];
      if (!drain && goes_on && next != last_ && most_interruptions_ != ~0u) ++interruptions_;
      if (!drain) last_ = next;
      go(moves[chosen]);
    }
    for (auto const& process : processes_)
      if (!wrong_ && !process.done) wrong_ = "all wait for each other";
  }

  void go(Move move) {
    running_ = move.process;
    if (move.drain) return drain(me());
    inside_ = true;
    swapcontext(&home_, &me().context);
    inside_ = false;
  }
  void yield() { swapcontext(&me().context, &home_); }
  static void start() {
    auto& process = current_->me();
    process.body();
    process.done = true;
  }

  void write(Cell cell, std::uint64_t value) {
    if (cells_[cell] != value)
      for (auto& process : processes_) process.news = true;
    cells_[cell] = value;
  }
  void drain(Process& process) {
    auto const store = process.buffer.front();
    process.buffer.pop_front();
    settle(store.cell);
    write(store.cell, store.value);
    note("has written", store.cell, store.value);
  }
  void empty_buffer(Process& process) {
    while (!process.buffer.empty()) drain(process);
  }
  // What has been exchanged for the cell's value comes before anything else that is written there.
  void settle(Cell cell) {
    for (auto& process : processes_)
      if (!process.buffer.empty() && process.buffer.front().exchanged && process.buffer.front().cell == cell)
        drain(process);
  }

  std::uint64_t state() const {
    auto hash = most_interruptions_ == ~0u ? 0 : mix(interruptions_, last_);
    for (auto const value : cells_) hash = mix(hash, value);
    for (auto const& process : processes_) {
      hash = mix(hash, process.seen);
      hash = mix(hash, process.waits * 4u + process.news * 2u + process.done);
      for (auto const& store : process.buffer)
        hash = mix(mix(hash, store.cell * 4 + store.consistent * 2u + store.exchanged + 1), store.value);
      hash = mix(hash, 7);
    }
    return hash;
  }
  struct Note {
    std::size_t process;
    const char* what;
    Cell cell;
    std::uint64_t value;
  };
  void note(const char* what, Cell cell, std::uint64_t value) { notes_.push_back({running_, what, cell, value}); }
  std::string story() const {
    std::string text;
    for (auto const& [process, what, cell, value] : notes_)
      text += "\n  " + std::to_string(process) + " " + what + " cell " + std::to_string(cell) + ": " +
              std::to_string(value);
    return text;
  }

  static inline Interleavings* current_ = nullptr;

  ucontext_t home_{};
  std::vector<std::uint64_t> cells_;
  std::deque<Process> processes_;
  std::vector<std::unique_ptr<char[]>> stacks_;
  std::vector<Choice> path_;
  std::unordered_set<std::uint64_t> states_;
  std::optional<std::string> wrong_;
  std::vector<Note> notes_;
  std::uint64_t runs_ = 0;
  std::size_t running_ = 0;
  unsigned most_interruptions_;
  unsigned interruptions_ = 0;
  std::size_t last_ = 0;
  bool inside_ = false;
};

/// What a std::atomic is to a process of an Interleavings. Belongs to a World.
template <class T>
class Stepped {
 public:
  explicit Stepped(T value) : cell_{Interleavings::add_cell(static_cast<std::uint64_t>(value))} {}
  Stepped(const Stepped&) = delete;
  Stepped& operator=(const Stepped&) = delete;

  T load(std::memory_order order = std::memory_order_seq_cst) const {
    return static_cast<T>(Interleavings::load(cell_, order));
  }
  void store(T value, std::memory_order order = std::memory_order_seq_cst) {
    Interleavings::store(cell_, static_cast<std::uint64_t>(value), order);
  }
  T fetch_add(T more, std::memory_order order = std::memory_order_seq_cst) {
    return modify(order, [&](std::uint64_t old) { return std::optional{old + static_cast<std::uint64_t>(more)}; });
  }
  // For lines of interrupts, which are no memory: what stood before them has arrived, and so have they.
  T fetch_or(T more) {
    return modify(
        std::memory_order_seq_cst,
        [&](std::uint64_t old) { return std::optional{old | static_cast<std::uint64_t>(more)}; }, false);
  }
  T fetch_and(T mask) {
    return modify(
        std::memory_order_seq_cst,
        [&](std::uint64_t old) { return std::optional{old & static_cast<std::uint64_t>(mask)}; }, false);
  }
  bool compare_exchange_weak(T& expected, T value, std::memory_order order, std::memory_order) {
    auto const wanted = expected;
    expected = modify(order, [&](std::uint64_t found) {
      return found == static_cast<std::uint64_t>(wanted) ? std::optional{static_cast<std::uint64_t>(value)}
                                                         : std::nullopt;
    });
    return expected == wanted;
  }

 private:
  template <class Change>
  T modify(std::memory_order order, Change change, bool buffered = true) {
    return static_cast<T>(Interleavings::modify(cell_, order, change, buffered));
  }

  Interleavings::Cell cell_;
};

}  // namespace slat::test
