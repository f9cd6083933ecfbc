#pragma once

// A second CPU uses a page over and over while this one changes it. Once the change has returned, no access of the
// other CPU may go by the old translation: of the rounds that it counts only the one under way may still end.

#include <atomic>

#include "hv/aarch64/cpu.hpp"
#include "hv/spin_lock.hpp"
#include "tests/machine/mapping_tests.hpp"

namespace slat::test {

/// The CPU that PSCI starts, and its stack; set up by main().
inline constinit hv::Cpu second_cpu{};

template <class Rig>
class SecondCpu {
 public:
  static constexpr GuestPhys mailbox{0x4400'0000};

  /// Has the second CPU run `what` on the page at `at`, until it has done so a few times.
  SecondCpu(Rig& rig, const std::byte* what, GuestPhys at) : rig_{rig}, mail_{rig.host_page()} {
    expect(rig.set.map({mailbox, Rig::page, rw, Linear{mail_}}, rig.table));
    auto& vcpu = second_cpu.vcpu;
    vcpu.pc = in_stub(Rig::code, what).raw();
    vcpu.x[1] = at.raw();
    vcpu.x[3] = mailbox.raw();
    second_cpu.main = [](hv::Cpu& cpu, void* self) { static_cast<SecondCpu*>(self)->run(cpu); };
    second_cpu.context = this;
    expect(second_cpu.mpidr != 0 && hv::turn_on(second_cpu) == 0, "there is no second CPU");
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
    for (auto const deadline = time() + 30 * frequency(); rounds() < until;) {
      if (has_stopped_.load()) return false;
      expect(time() < deadline, "the second CPU stands still");
    }
    return true;
  }

  hv::SpinLock& writer() { return writer_; }

 private:
  // What a hypervisor does with a fault: resolve under the writer's lock, and retry where that is the answer.
  void run(hv::Cpu& cpu) {
    rig_.enter_stage2(hv::hcr::dc);
    for (;;) {
      auto const seen = Rig::seen(cpu.vcpu, hv::run(cpu.vcpu));
      if (!seen.worked() && resolve(seen)) continue;
      stopped_ = seen;
      has_stopped_.store(true);
      return;
    }
  }

  /// Whether it may go on.
  bool resolve(const Seen& seen) {
    GuestPhys const at{seen.far};  // without stage 1 the virtual address is the guest's physical one
    hv::SpinLock::Held const held{writer_};
    auto const resolution = rig_.set.resolve(at, seen.fault->wanted, rig_.table);
    if (!resolution || *resolution != Resolution::spurious) return false;
    rig_.table.hook().forget_here(rig_.table.root(), at);
    return true;
  }

  static std::uint64_t time() {
    std::uint64_t now;
    asm volatile("isb; mrs %0, cntpct_el0" : "=r"(now));
    return now;
  }
  static std::uint64_t frequency() {
    std::uint64_t hertz;
    asm("mrs %0, cntfrq_el0" : "=r"(hertz));
    return hertz;
  }

  Rig& rig_;
  HostPhys mail_;
  hv::SpinLock writer_;
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
  expect(!second.wait_for_rounds(2), "the other CPU still reads an unmapped page");
  expect(second.stopped().faulted(Kind::translation), "the other CPU stopped for another reason");
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
  expect(second.stopped().faulted(Kind::permission), "the other CPU stopped for another reason");
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
    expect(second.last_read() == value, "the other CPU still reads the old page");
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
  expect(copy == rig.host_word(host), "a write of the other CPU was never harvested");
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

}  // namespace slat::test
