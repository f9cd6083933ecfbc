#pragma once

// One writer that carries out a plan, on a table or on a set, and beside it threads that query and CPUs that walk. The
// hook is what a hypervisor's is: every CPU passes a checkpoint, and readers are waited for by epochs.

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>
#include <slat/mm/page_table.hpp>

#include <slat/testing/epoch_readers.hpp>
#include <slat/testing/readers.hpp>
#include "unit/edit_plan.hpp"
#include "unit/poisoned_frames.hpp"
#include "unit/walking_cpu.hpp"
#include "unit/write_ledger.hpp"

namespace slat::test {

/// What the writer calls.
enum class Writes : std::uint8_t { table, set };

template <class Format>
class BesideWriter {
  using Act = Step::Act;

 public:
  struct Hook {
    BesideWriter* all;
    void operator()(HostPhys, const Stale& stale) noexcept { all->shoot_down(stale); }
    void publish() noexcept {}
    void wait_for_readers() noexcept {
      all->frames_.hold.store(false, std::memory_order_relaxed);
      all->readers_.wait([this] { all->relax(); });
    }
  };
  using Table = PageTable<Format, PoisonedFrames, Hook>;
  using Backend = Backends<Table, PageSource<PoisonedFrames>>;
  using Set = MemorySet<Attr, Table, Backend>;

  BesideWriter(Format format, Writes by, std::size_t calls, std::uint64_t seed)
      : by_{by}, plan_{calls, seed}, frames_{2048}, table_{*Table::create(format, frames_, Hook{this})} {}

  /// Carries out the whole plan beside the others, then takes everything away.
  void run() {
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i != reader_count; ++i) threads.emplace_back([this, i] { read(i); });
    for (std::size_t i = 0; i != cpu_count; ++i) threads.emplace_back([this, i] { walk(i); });
    for (std::size_t k = 1; k <= plan_.last() && !failed_.load(); k = plan_[k].last + 1) edit(k);
    done_.store(true);
    for (auto& thread : threads) thread.join();
    if (failed_.load()) return;

    for (std::size_t i = 0; i != EditPlan::watched; ++i)
      if (written(i, plan_.last()) && !table_.query(EditPlan::page(i)).age.dirty)
        wrong("a write was forgotten", EditPlan::page(i));
    auto const sound = by_ == Writes::set ? set_.audit(table_) : table_.audit();
    EXPECT_TRUE(sound) << name(sound.flaw);
    EXPECT_TRUE(by_ == Writes::set ? set_.clear(table_) : table_.unmap({EditPlan::region, 2_GiB}));
    EXPECT_EQ(frames_.in_use() * 4_KiB, table_.geometry().root_bytes());
    EXPECT_EQ(frames_.lost(), PoisonedFrames::nowhere) << std::hex << "somebody looked for " << frames_.lost().raw();
  }

  // So that a test can say that it has tested something.
  std::uint64_t amid_edits() const { return amid_edits_.load(); }    // answers while a step was under way
  std::uint64_t broken_seen() const { return broken_seen_.load(); }  // of those, broken ones
  std::uint64_t writes_held_to() const { return writes_held_to_; }   // writes of CPUs that a harvest had to report
  std::uint64_t writes_told() const { return writes_told_; }         // that an unmap had to tell of
  std::uint64_t held() const { return held_; }                       // edits beside a reader that was held in a query
  std::uint64_t frames_released() const { return frames_.released(); }

 private:
  static constexpr std::size_t reader_count = 2, cpu_count = 2;
  using Readers = testing::EpochReaders<reader_count>;
  static constexpr auto patience = std::chrono::seconds{60};

  // ---- the writer

  void edit(std::size_t first) {
    auto const last = plan_[first].last;
    reported_.clear();
    began_ = std::chrono::steady_clock::now();
    if (first % 4 == 0) hold_a_reader();
    {
      auto scope = table_.edit();
      for (auto k = first; k <= last; ++k) {
        started_.store(k, std::memory_order_relaxed);
        if (plan_[k].act == Act::settle)
          settle(scope, k);
        else
          perform(k);
        if (k != last) completed_.store(k, std::memory_order_release);
      }
    }
    frames_.hold.store(false, std::memory_order_relaxed);
    completed_.store(last, std::memory_order_release);
    forget_writes(last);
    if (by_ == Writes::set && first % 16 == 0) all_read_the_set(last);
  }

  /// Somewhere in the tables, for as long as the hook does not wait for it; if there are any for it to go down to.
  void hold_a_reader() {
    frames_.hold.store(true, std::memory_order_relaxed);
    auto const before = answers_[0].load(std::memory_order_relaxed);
    wait([&] { return frames_.holds_somebody() || answers_[0].load(std::memory_order_relaxed) >= before + 8; });
    if (frames_.holds_somebody()) ++held_;
  }
  void settle(typename Table::Edit& scope, std::size_t k) {
    scope.settle();
    forget_writes(k);
  }
  void perform(std::size_t k) {
    auto const& step = plan_[k];
    if (step.act == Act::harvest) return harvest(k);
    if (tells(k)) return unmap_and_tell(k);
    auto const done = by_ == Writes::set ? through_set(step) : through_table(step);
    if (!done) wrong("a call failed, step " + std::to_string(k), step.range.begin);
  }
  Result<> through_table(const Step& step) {
    auto const range = step.range;
    switch (step.act) {
      case Act::map: {
        auto const mapped = table_.map(range, step.host, step.attr);
        return mapped || mapped.error() != Errc::already_mapped ? mapped : table_.replace(range, step.host, step.attr);
      }
      case Act::unmap: return table_.unmap(range);
      case Act::protect: return table_.protect(range, step.attr);
      case Act::split: return table_.split(range);
      case Act::coalesce: return table_.coalesce(range);
      default: SLAT_TRY(table_.lift_protection(range.begin)); return {};
    }
  }
  Result<> through_set(const Step& step) {
    auto const [start, size] = step.range;
    switch (step.act) {
      case Act::map: return set_.map({start, size, step.attr, Linear{step.host}}, table_, true);
      case Act::unmap: return set_.unmap(start, size, table_);
      case Act::protect:
        return set_.protect(
            start, size, [&](Attr) { return std::optional{step.attr}; }, table_);
      case Act::split: return table_.split(step.range);
      case Act::coalesce: return set_.coalesce(start, size, table_);
      default: SLAT_TRY(set_.resolve(start, Prot::w, table_)); return {};
    }
  }

  void harvest(std::size_t k) {
    auto const range = plan_[k].range;
    Age const what{table_.format().harvestable().accessed && k % 2 == 0, true};
    std::vector<std::size_t> must;
    for (std::size_t i = 0; i != EditPlan::watched; ++i)
      if (range.contains(EditPlan::page(i)) && written(i, k)) must.push_back(i);
    auto const sink = [&](GuestRange run) { reported_.push_back(run); };
    auto const done = by_ == Writes::set ? set_.harvest(range, sink, table_, what) : table_.harvest(range, what, sink);
    if (!done) wrong("a harvest failed", range.begin);
    for (auto const i : must)
      if (!reported(EditPlan::page(i))) wrong("a harvest forgot a write", EditPlan::page(i));
    writes_held_to_ += must.size();
  }
  /// Every other unmap of a table. What it takes away is broken for a moment, in any format.
  bool tells(std::size_t k) const { return by_ == Writes::table && plan_[k].act == Act::unmap && k % 2 == 0; }
  void unmap_and_tell(std::size_t k) {
    auto const range = plan_[k].range;
    std::vector<GuestRange> told;
    auto const sink = [&](GuestRange run) { told.push_back(run); };
    if (!table_.unmap(range, {table_.format().harvestable().accessed && k % 4 == 0, true}, sink))
      wrong("an unmap failed, step " + std::to_string(k), range.begin);
    // No CPU writes there any more, and what each has written is in the ledger.
    for (std::size_t i = 0; i != EditPlan::watched; ++i) {
      auto const page = EditPlan::page(i);
      if (!range.contains(page) || !written(i, k - 1) || reported(page)) continue;
      if (!within(told, page)) wrong("an unmap forgot a write", page);
      ++writes_told_;
    }
    forget_writes(k);
  }
  bool reported(GuestPhys page) const { return within(reported_, page); }
  static bool within(const std::vector<GuestRange>& runs, GuestPhys page) {
    for (auto const& run : runs)
      if (run.contains(page)) return true;
    return false;
  }
  /// Whether the slot may have been broken in that time.
  bool may_be_broken(GuestRange slot, std::size_t from, std::size_t to) const {
    return plan_.unsettled(slot, from, to, [&](std::size_t k) {
      return table_.format().can_break() ? EditPlan::may_break(plan_[k].act) : tells(k);
    });
  }

  // ---- the hook

  void shoot_down(const Stale& stale) {
    if (done_.load()) return;  // nobody is left
    stale_ = &stale;
    auto const number = requested_.load(std::memory_order_relaxed) + 1;
    requested_.store(number, std::memory_order_release);
    for (auto const& cpu : answered_) wait([&] { return cpu.load(std::memory_order_acquire) == number; });
    // It is not done before each reader has asked at least once in the middle of it, or is held in what it asked
    // before.
    if (frames_.hold.load()) return;
    for (auto const& answers : answers_) {
      auto const before = answers.load(std::memory_order_relaxed);
      wait([&] { return answers.load(std::memory_order_relaxed) >= before + 2; });
    }
  }
  template <class Condition>
  void wait(Condition condition) {
    while (!condition()) relax();
  }
  void relax() {
    if (std::chrono::steady_clock::now() - began_ > patience) {
      std::fprintf(stderr, "the writer has waited too long for the others\n");
      std::abort();
    }
    std::this_thread::yield();
  }

  // ---- readers

  void read(std::size_t self) {
    std::mt19937_64 random{self};
    for (std::uint64_t turn = 0, count = 1; !done_.load(); ++count) {
      PoisonedFrames::looks_left = 2 + static_cast<unsigned>(random() % 2);
      query(EditPlan::page(random() % EditPlan::watched) + random() % 512 * 8, self);
      answers_[self].store(count, std::memory_order_relaxed);
      if (auto const now = turn_.load(std::memory_order_acquire); now != turn) {
        read_set();
        turn = now;
        turns_taken_.fetch_add(1, std::memory_order_release);
      }
      if (count % 4 == 0) std::this_thread::yield();
    }
  }
  void query(GuestPhys at, std::size_t self) {
    auto const from = completed_.load(std::memory_order_acquire);
    Leaf leaf;
    {
      typename Readers::Reading const reading{readers_, self};
      leaf = table_.query(at);
    }
    auto const to = started_.load(std::memory_order_relaxed);
    if (to != from) amid_edits_.fetch_add(1, std::memory_order_relaxed);
    if (leaf.kind == Kind::broken) broken_seen_.fetch_add(1, std::memory_order_relaxed);
    if (leaf.entry == PoisonedFrames::poison) wrong("a query read a table that was released", at, leaf.entry);
    if (leaf.range != table_.geometry().slot(at, leaf.level) || !possible(leaf, at, from, to))
      wrong("a query's answer was never true", at, leaf.entry);
  }
  bool possible(const Leaf& leaf, GuestPhys at, std::size_t from, std::size_t to) const {
    auto const page = at.down_to(4_KiB);
    auto const same = [&](GuestPhys of, const std::optional<Meaning>& meaning) {
      return meaning && meaning->host == leaf.host_of(of) && meaning->attr == leaf.attr;
    };
    switch (leaf.kind) {
      case Kind::absent:
        return plan_.sometime(leaf.range, page, from, to, [](GuestPhys, auto const& meaning) { return !meaning; });
      case Kind::leaf: return plan_.sometime(leaf.range, page, from, to, same);
      case Kind::broken: {
        auto const becomes_table = leaf.attr == Attr{};
        return may_be_broken(leaf.range, from, to) &&
               (becomes_table || plan_.sometime(leaf.range, page, from, to, same));
      }
      case Kind::table: break;
    }
    return false;
  }

  // ---- the set's const members, by all readers at once, while the writer waits

  void all_read_the_set(std::size_t k) {
    turns_taken_.store(0, std::memory_order_relaxed);
    quiet_at_ = k;
    turn_.store(k, std::memory_order_release);
    wait([&] { return turns_taken_.load(std::memory_order_acquire) == reader_count; });
  }
  void read_set() {
    auto const k = quiet_at_;
    for (std::size_t i = 0; i != EditPlan::watched; ++i) {
      auto const page = EditPlan::page(i);
      auto const meaning = plan_.meaning(page, k);
      auto const leaf = table_.query(page);
      auto const* const area = set_.find(page);
      if ((area != nullptr) != meaning.has_value() || set_.overlaps({page, 4_KiB}) != meaning.has_value())
        wrong("an area's being there is wrong", page);
      if (area != nullptr && area->flags() != meaning->attr) wrong("an area's flags are wrong", page);
      if (leaf.kind != (meaning ? Kind::leaf : Kind::absent) || (meaning && leaf.host_of(page) != meaning->host))
        wrong("at rest the table is not what the set says", page, leaf.entry);
    }
    std::size_t count = 0;
    GuestPhys end{0};
    for (auto const& area : set_.iter()) {
      if (area.start() < end) wrong("areas are out of order", area.start());
      end = area.range().end();
      ++count;
    }
    if (count != set_.len() || set_.is_empty() != (count == 0)) wrong("areas are miscounted", end);
    auto const gap = set_.find_free_area(EditPlan::region, 4_KiB, {EditPlan::region, 2_GiB}, 4_KiB);
    if (!gap || (*gap && set_.overlaps({**gap, 4_KiB}))) wrong("a gap that is none", EditPlan::region);
  }

  // ---- CPUs

  using Reader = decltype(testing::reader_for(std::declval<Format>()));
  void walk(std::size_t self) {
    WalkingCpu<Reader> cpu{testing::reader_for(table_.format()), table_.geometry(), frames_, table_.root(), self};
    for (std::uint64_t answered = 0; !done_.load();) {
      if (auto const number = requested_.load(std::memory_order_acquire); number != answered) {
        cpu.invalidate(*stale_);
        answered = number;
        answered_[self].store(answered, std::memory_order_release);
      }
      for (unsigned i = 0; i != 8; ++i) {
        auto const watched = cpu.below(EditPlan::watched);
        if (auto const host = access(cpu, EditPlan::page(watched), cpu.below(2) == 0))
          ledger_.write(self, watched, *host, answered);
      }
      std::this_thread::yield();
    }
  }
  /// Where a write went.
  std::optional<HostPhys> access(WalkingCpu<Reader>& cpu, GuestPhys page, bool write) {
    auto const from = plan_.cached_since(completed_.load(std::memory_order_acquire));
    auto const walked = cpu.access(page, write);
    auto const to = started_.load(std::memory_order_relaxed);
    if (cpu.wrong() != nullptr) wrong(std::string{"a CPU has found what may not be: "} + cpu.wrong(), page);
    if (!walked || cpu.wrong() != nullptr) return {};
    auto const& [span, level, found] = *walked;
    auto const leads_to = [&](GuestPhys of) { return found.address + (of - span.begin); };
    auto right = false;
    if (found.leaf())
      right = plan_.sometime(span, page, from, to, [&](GuestPhys of, const std::optional<Meaning>& meaning) {
        return meaning && meaning->host == leads_to(of) && allows(meaning->attr.prot, found.rights) &&
               testing::reader_for(table_.format()).is(meaning->attr.memory, found.type);
      });
    else if (found.kind == testing::Decoded::Kind::absent)
      right = plan_.sometime(span, page, from, to, [](GuestPhys, auto const& meaning) { return !meaning; });
    else
      right = may_be_broken(span, from, to);
    if (!right) wrong("a CPU has found what was never true", page, leads_to(page).raw());
    if (!found.leaf() || !write || !right) return {};
    return leads_to(page);
  }

  bool written(std::size_t i, std::size_t k) const {
    auto const meaning = plan_.meaning(EditPlan::page(i), k);
    return meaning && ledger_.holds(i, meaning->host);
  }
  /// After step `k`: writes to what is no longer mapped, and those that were reported.
  void forget_writes(std::size_t k) {
    auto const invalidations = requested_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i != EditPlan::watched; ++i) {
      auto const page = EditPlan::page(i);
      auto const meaning = plan_.meaning(page, k);
      ledger_.forget_elsewhere(i, meaning ? std::optional{meaning->host} : std::nullopt);
      if (meaning && reported(page)) ledger_.forget_before(invalidations, i, meaning->host);
    }
  }

  void wrong(const std::string& what, GuestPhys at, std::uint64_t found = 0) {
    if (failed_.exchange(true)) return;
    std::ostringstream text;
    text << what << std::hex << ": at 0x" << at.raw() << ", found 0x" << found << std::dec << ", during steps "
         << completed_.load() << " to " << started_.load();
    ADD_FAILURE() << text.str();
  }

  Writes by_;
  EditPlan plan_;
  PoisonedFrames frames_;
  Readers readers_;
  WriteLedger<cpu_count> ledger_;
  std::vector<GuestRange> reported_;  // by this edit's harvests
  std::uint64_t writes_held_to_ = 0, writes_told_ = 0, held_ = 0;

  std::chrono::steady_clock::time_point began_;  // the present edit
  const Stale* stale_ = nullptr;                 // of the invalidation that is requested
  std::atomic<std::uint64_t> requested_{0};
  std::array<std::atomic<std::uint64_t>, cpu_count> answered_{};
  std::size_t quiet_at_ = 0;
  std::atomic<std::size_t> turn_{0}, turns_taken_{0};
  std::atomic<std::size_t> started_{0}, completed_{0};
  std::array<std::atomic<std::uint64_t>, reader_count> answers_{};
  std::atomic<std::uint64_t> amid_edits_{0}, broken_seen_{0};
  std::atomic<bool> done_{false}, failed_{false};

  Table table_;
  Set set_;
};

}  // namespace slat::test
