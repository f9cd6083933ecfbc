#pragma once

// The CPU's log of the pages whose D bit it sets: at every harvest it says what the D bits say.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "hv/x86_64/page_log.hpp"
#include "tests/machine/x86_64/small_guest.hpp"

namespace slat::test {

template <class Rig>
class PageLogTest {
 public:
  static constexpr std::size_t pages = 1200;  // of which every other is written: the log overflows once
  using Pages = std::array<bool, pages>;
  static constexpr GuestPhys from = data + Rig::page;

  explicit PageLogTest(Rig& rig) : rig_{rig}, guest_{rig, {}, &log} {
    // A page off from any larger leaf.
    expect(rig.set.map({from, pages * Rig::page, rw, Linear{rig.host_memory(pages * Rig::page)}}, rig.table));
  }

  /// The guest writes `count` pages, `stride` apart; what the log says of that, and how often it was full.
  Pages write(std::size_t first, std::size_t count, std::size_t stride) {
    guest_.start(small_guest_write);
    auto& registers = guest_.cpu.registers();
    registers.rsi = (from + first * Rig::page).raw();
    registers.rcx = count;
    registers.rdx = stride * Rig::page;
    Pages logged{};
    times_full = 0;
    for (;;) {
      auto const exit = guest_.run();
      guest_.cpu.drain_log([&](GuestPhys page) {
        expect(page >= from && page < from + pages * Rig::page, "a page that the guest did not write is in the log");
        auto const number = (page - from) / Rig::page;
        expect(!logged[number], "a page is twice in the log");
        logged[number] = true;
      });
      if (exit.why == hv::Why::halt) return logged;
      expect(exit.why == hv::Why::log_full, "the guest came back for another reason");
      ++times_full;
    }
  }

  Pages dirty() const {
    Pages result{};
    for (std::size_t i = 0; i != pages; ++i)
      result[i] = (entry_at(rig_.table, from + i * Rig::page, 0) & x86_64::Ept::dirty) != 0;
    return result;
  }
  Pages harvested() {
    Pages result{};
    expect(rig_.set.harvest(
        {from, pages * Rig::page},
        [&](GuestRange range) {
          for (std::size_t i = 0; i != pages; ++i)
            if (range.contains(from + i * Rig::page)) result[i] = true;
        },
        rig_.table));
    return result;
  }

  unsigned times_full = 0;

 private:
  static inline constinit hv::vmx::PageLog log{};
  Rig& rig_;
  SmallGuest<Rig> guest_;
};

template <class Rig>
void page_log(Rig& rig) {
  using Test = PageLogTest<Rig>;
  auto const count = [](const typename Test::Pages& pages) { return std::ranges::count(pages, true); };
  Test test{rig};
  auto const logged = test.write(0, Test::pages / 2, 2);
  expect(count(logged) == Test::pages / 2, "not every written page is in the log");
  expect(test.times_full == 1, "a full log is no exit");
  expect(test.dirty() == logged, "the log is not what the D bits say");
  expect(test.harvested() == logged, "the harvest is not what the log says");
  expect(count(test.dirty()) == 0, "a harvested page is still dirty");
  auto const again = test.write(4, 1, 1);
  expect(again[4] && count(again) == 1, "a write after the harvest is not in the log");
  expect(count(test.write(4, 1, 1)) == 0, "a page that is still dirty is in the log again");
  expect(test.harvested() == again, "not exactly the written page is reported");
}

/// The second CPU writes some pages over and over while this one harvests them, and never leaves the guest but for
/// that. Each page is reported as often as it is logged: its D bit was set once for each.
template <class Rig>
class LoggedVictim {
 public:
  static constexpr std::size_t pages = 64;
  static constexpr GuestPhys from = data + Rig::page;
  static constexpr GuestPhys mailbox{0x6030'7000};
  using Counts = std::array<std::uint64_t, pages>;

  explicit LoggedVictim(Rig& rig) : rig_{rig}, mail_{rig.host_page()} {
    expect(rig.set.map({from, pages * Rig::page, rw, Linear{rig.host_memory(pages * Rig::page)}}, rig.table));
    expect(rig.set.map({mailbox, Rig::page, rw, Linear{mail_}}, rig.table));
    bool const runs = rig.run_on_second_cpu([](void* self) { static_cast<LoggedVictim*>(self)->run(); }, this);
    expect(runs, "there is no second CPU");
    wait_for_rounds(2);
  }

  void wait_for_rounds(std::uint64_t more) const {
    auto const until = rounds() + more;
    for (typename Rig::Deadline deadline; rounds() < until;) expect(!deadline.passed(), "the second CPU stands still");
  }
  void stop() {
    rig_.host_word(mail_ + 8) = 1;
    for (typename Rig::Deadline deadline; !stopped_.load();) expect(!deadline.passed(), "the second CPU does not stop");
  }

  /// How often each page was in the log; once it has stopped.
  const Counts& logged() const { return logged_; }

 private:
  std::uint64_t rounds() const { return rig_.host_word(mail_); }

  void run() {
    typename Rig::Actor const actor{rig_};
    SmallGuest<Rig> guest{rig_, {}, &log};
    constexpr std::uint64_t interrupts_on = 1u << 9;
    guest.start(small_guest_write_on, interrupts_on);
    auto& registers = guest.cpu.registers();
    registers.rsi = from.raw();
    registers.rcx = pages;
    registers.rdx = Rig::page;
    registers.rdi = mailbox.raw();
    for (auto why = hv::Why::interrupt; why != hv::Why::halt;) {
      why = guest.run().why;
      expect(why == hv::Why::interrupt || why == hv::Why::halt, "the second CPU came back for another reason");
      guest.cpu.drain_log([&](GuestPhys page) {
        if (page != mailbox) ++logged_[(page - from) / Rig::page];
      });
    }
    stopped_.store(true);
  }

  static inline constinit hv::vmx::PageLog log{};
  Rig& rig_;
  HostPhys mail_;
  Counts logged_{};
  std::atomic<bool> stopped_{false};
};

template <class Rig>
void two_cpus_page_log(Rig& rig) {
  using Victim = LoggedVictim<Rig>;
  constexpr unsigned rounds = 50;
  Victim victim{rig};
  typename Victim::Counts reported{};
  auto const harvest = [&] {
    expect(rig.set.harvest(
        {Victim::from, Victim::pages * Rig::page},
        [&](GuestRange range) {
          for (std::size_t i = 0; i != Victim::pages; ++i)
            if (range.contains(Victim::from + i * Rig::page)) ++reported[i];
        },
        rig.table));
  };
  for (unsigned round = 0; round != rounds; ++round) {
    harvest();
    // One round may have begun before the harvest.
    victim.wait_for_rounds(2);
  }
  victim.stop();
  harvest();
  expect(victim.logged() == reported, "the log and the harvests differ");
  for (auto const count : reported) expect(count == rounds + 1, "a write after a harvest was not noticed", count);
}

}  // namespace slat::test
