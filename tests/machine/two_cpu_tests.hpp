#pragma once

// A second CPU uses a page over and over while this one changes it. Once the change has returned, no access of the
// other CPU may go by the old translation: of the rounds that it counts only the one under way may still end.

#include <atomic>

#include "hv/spin_lock.hpp"
#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// What the second CPU does about a right that its guest lacks.
enum class WhenDenied : bool { stop, try_again };

template <class Rig>
class SecondCpu {
 public:
  /// Not a large power of two away from what the tests map: a direct-mapped TLB, such as an emulator's, would forget
  /// the one whenever it needs the other, and show no missing invalidation.
  static constexpr GuestPhys mailbox{0x4407'0000};

  /// Has the second CPU run `what` on the page at `at`, until it has done so a few times.
  SecondCpu(Rig& rig, const std::byte* what, GuestPhys at, WhenDenied denied = WhenDenied::stop)
      : rig_{rig}, what_{what}, at_{at}, denied_{denied}, mail_{rig.host_page()} {
    expect(rig.set.map({mailbox, Rig::page, rw, Linear{mail_}}, rig.table));
    bool const runs = rig.run_on_second_cpu([](void* self) { static_cast<SecondCpu*>(self)->run(); }, this);
    expect(runs, "there is no second CPU");
    expect(wait_for_rounds(100), "the second CPU does not run");
  }

  std::uint64_t rounds() const { return rig_.host_word(mail_); }
  std::uint64_t last_read() const { return rig_.host_word(mail_ + 8); }
  /// Has it stop after the round under way.
  void stop() {
    rig_.host_word(mail_ + 16) = 1;
    while (!has_stopped_.load()) wait_for_rounds(1);
  }
  /// The access that was refused, after the second CPU stopped for it.
  const Seen& stopped() const { return stopped_; }

  /// Waits until the second CPU ended so many more rounds. False when it stopped at a fault before.
  bool wait_for_rounds(std::uint64_t more) const {
    auto const until = rounds() + more;
    for (typename Rig::Deadline deadline; rounds() < until;) {
      if (has_stopped_.load()) return false;
      expect(!deadline.passed(), "the second CPU stands still");
    }
    return true;
  }

  hv::SpinLock& writer() { return writer_; }

  std::uint64_t faults() const { return faults_.load(); }
  /// Waits until it has faulted once more than `before`: then it is at the writer's lock, or past it.
  void wait_for_fault(std::uint64_t before) const {
    for (typename Rig::Deadline deadline; faults() == before;)
      expect(!deadline.passed(), "the second CPU does not fault");
  }

 private:
  // What a hypervisor does with a fault: resolve under the writer's lock, and retry where that is the answer.
  void run() {
    typename Rig::Actor actor{rig_};
    auto seen = actor.act(what_, at_, 0, mailbox);
    while (!seen.worked() && resolve(seen)) seen = actor.go_on();
    stopped_ = seen;
    has_stopped_.store(true);
  }

  /// Whether it may go on.
  bool resolve(const Seen& seen) {
    faults_.fetch_add(1);
    hv::SpinLock::Held const held{writer_};
    auto const resolution = rig_.set.resolve(seen.at, seen.wanted, rig_.table);
    if (!resolution) return false;
    if (*resolution == Resolution::denied) return denied_ == WhenDenied::try_again;
    if (*resolution != Resolution::spurious) return false;
    rig_.forget_here(seen.at);
    return true;
  }

  Rig& rig_;
  const std::byte* what_;
  GuestPhys at_;
  WhenDenied denied_;
  HostPhys mail_;
  hv::SpinLock writer_;
  std::atomic<std::uint64_t> faults_{0};
  Seen stopped_;
  std::atomic<bool> has_stopped_{false};
};

template <class Rig>
void two_cpus_unmap(Rig& rig) {
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page(1)}}, rig.table));
  SecondCpu<Rig> second{rig, stub_read_on, data};
  {
    hv::SpinLock::Held const held{second.writer()};
    expect(rig.set.unmap(data, Rig::page, rig.table));
  }
  expect(!second.wait_for_rounds(2), "the other CPU still reads an unmapped page", second.last_read());
  expect(second.stopped().faulted(Fault::absent), "the other CPU stopped for another reason");
}

template <class Rig>
void two_cpus_protect(Rig& rig) {
  expect(rig.set.map({data, Rig::page, rw, Linear{rig.host_page()}}, rig.table));
  SecondCpu<Rig> second{rig, stub_write_on, data};
  {
    hv::SpinLock::Held const held{second.writer()};
    expect(rig.set.protect(
        data, Rig::page, [](Attr a) { return a - Prot::w; }, rig.table));
  }
  expect(!second.wait_for_rounds(2), "the other CPU still writes a write-protected page");
  expect(second.stopped().faulted(Fault::denied), "the other CPU stopped for another reason");
}

template <class Rig>
void two_cpus_remap(Rig& rig) {
  auto const before = rig.host_page(1);
  expect(rig.set.map({data, Rig::page, rw, Linear{before}}, rig.table));
  SecondCpu<Rig> second{rig, stub_read_on, data};
  for (std::uint64_t value = 2; value != 20; ++value) {
    auto const after = rig.host_page(value);
    {
      hv::SpinLock::Held const held{second.writer()};
      expect(rig.set.map({data, Rig::page, rw, Linear{after}}, rig.table, true));
    }
    expect(second.wait_for_rounds(2), "the other CPU lost the page");
    auto const seen = second.last_read();
    expect(seen == value, "the other CPU still reads the old page", seen);
  }
}

/// Live migration in small: what the other CPU writes is copied whenever a harvest reports it, and in the end the copy
/// is the page.
template <class Rig>
void two_cpus_harvest(Rig& rig) {
  auto const host = rig.host_page();
  expect(rig.set.map({data, Rig::page, rw, Linear{host}}, rig.table));
  SecondCpu<Rig> second{rig, stub_write_on, data};
  std::uint64_t copy = 0;
  auto const collect = [&] {
    bool dirty = false;
    hv::SpinLock::Held const held{second.writer()};
    expect(rig.set.harvest(
        {data, Rig::page}, [&](GuestRange) { dirty = true; }, rig.table));
    if (dirty) copy = rig.host_word(host);
  };
  for (unsigned round = 0; round != 50; ++round) {
    collect();
    expect(second.wait_for_rounds(2), "the other CPU lost the page");
  }
  second.stop();
  collect();
  auto const last = rig.host_word(host);
  expect(copy == last, "a write of the other CPU was never harvested", last);
}

/// The other CPU goes on using a block while it is split and made whole again, 20 times.
template <class Rig>
void two_cpus_split(Rig& rig) {
  expect(rig.set.map({data, Rig::block, rw, Linear{rig.host_memory(Rig::block, 1)}}, rig.table));
  SecondCpu<Rig> second{rig, stub_read_on, data + Rig::page};
  for (unsigned round = 0; round != 20; ++round) {
    {
      hv::SpinLock::Held const held{second.writer()};
      expect(round % 2 == 0 ? rig.table.split({data, Rig::block}) : rig.table.coalesce({data, Rig::block}));
    }
    expect(second.wait_for_rounds(2), "the other CPU lost the block");
    expect(second.last_read() == 1, "the other CPU reads something else");
  }
}

/// Write protection of all that a guest has, of three sizes and in several areas, under its feet: one shootdown.
template <class Rig>
void two_cpus_protect_all(Rig& rig) {
  constexpr GuestPhys far_away{0xc000'0000};
  auto const two_pages = rig.host_memory(2 * Rig::page);
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{two_pages}}, rig.table));
  expect(rig.set.map({data + Rig::block, Rig::block, rwx, Linear{rig.host_memory(Rig::block)}}, rig.table));
  expect(rig.set.map({far_away, 1_GiB, rw, Linear{two_pages.down_to(1_GiB)}}, rig.table));
  SecondCpu<Rig> second{rig, stub_write_on, data};
  auto const before = rig.shootdowns();
  auto const kicks_before = rig.kicks();
  {
    hv::SpinLock::Held const held{second.writer()};
    expect(rig.set.protect(
        GuestPhys{0}, 4_GiB, [](Attr a) { return a - Prot::w; }, rig.table));
  }
  auto const shootdowns = rig.shootdowns() - before;
  auto const kicks = rig.kicks() - kicks_before;
  expect(shootdowns == 1, "protecting the whole guest was not one shootdown", shootdowns);
  expect(kicks <= 1, "protecting the whole guest interrupted the other CPU more than once", kicks);
  expect(!second.wait_for_rounds(2), "the other CPU still writes a write-protected page");
  expect(second.stopped().faulted(Fault::denied), "the other CPU stopped for another reason");
}

/// The other CPU faults on the table and waits for its writer's lock. The one that holds it protects more, and its
/// shootdowns must reach the one that waits.
template <class Rig>
void two_cpus_fault(Rig& rig) {
  auto const other = data + Rig::page;
  expect(rig.set.map({data, 2 * Rig::page, rw, Linear{rig.host_memory(2 * Rig::page)}}, rig.table));
  SecondCpu<Rig> second{rig, stub_write_on, data, WhenDenied::try_again};
  auto const protect = [&](GuestPhys at, bool may_write) {
    expect(rig.set.protect(
        at, Rig::page, [=](Attr a) { return may_write ? a | Prot::w : a - Prot::w; }, rig.table));
  };
  for (unsigned round = 0; round != 20; ++round) {
    {
      hv::SpinLock::Held const held{second.writer()};
      auto const faults = second.faults();
      protect(data, false);
      second.wait_for_fault(faults);
      auto const shootdowns = rig.shootdowns();
      protect(other, false);
      expect(rig.shootdowns() == shootdowns + 1, "taking a right was no shootdown");
      protect(data, true);
      protect(other, true);
    }
    expect(second.wait_for_rounds(2), "the other CPU stopped");
  }
}

}  // namespace slat::test
