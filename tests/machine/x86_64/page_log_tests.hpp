#pragma once

// The CPU's log of the pages whose D bit it sets: at every harvest it says what the D bits say.

#include <algorithm>
#include <array>
#include <cstddef>

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
      if (exit.why == hv::Why::hypercall) return logged;
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

}  // namespace slat::test
