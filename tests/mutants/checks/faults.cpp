// A guest that touches pages of a lazy area, one instruction at a time and again after each fault, while host pages run
// out and come back, and dirty pages are harvested by write protection.

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>
#include "mutants/check.hpp"
#include "mutants/page_pool.hpp"

namespace slat::test {
using namespace slat::testing;

const char* const check_name = "faults";

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::size_t pages = 16;
constexpr GuestRange ram{GuestPhys{0x1'4000'0000}, pages* page};  // past 4 GiB

class Faults {
  using Source = PageSource<PagePool>;
  using Table = PageTable<aarch64::Stage2<>, RecordingFrames, RecordingHook>;

 public:
  explicit Faults(std::uint64_t seed) : random_{seed} {
    if (!set_.map({ram.begin, ram.size, rwx, Lazy{source_}}, table_)) complaint_ = "the area was refused";
  }

  std::string step() {
    GuestPhys const at{ram.begin + random_.below(pages) * page};
    switch (random_.below(8)) {
      case 0: (void)set_.unmap(at, page, table_); break;
      case 1: (void)set_.map({at, page, rwx, Lazy{source_}}, table_); break;
      case 2:
        (void)set_.harvest(
            ram, [](GuestRange) {}, table_);
        break;
      default: touch(at + random_.below(page), random_.once_in(2) ? Prot::r : Prot::w);
    }
    return complaint_;
  }

 private:
  static constexpr unsigned patience = 8;

  /// Faults until the access is allowed, or the hypervisor knows what else to do.
  void touch(GuestPhys at, Prot access) {
    for (unsigned faults = 0; faults != patience; ++faults) {
      if (allowed(at, access)) return;
      auto const had_page = pool_.next().has_value();
      auto const resolved = set_.resolve(at, access, table_);
      if (!resolved) {
        if (resolved.error().code != Errc::no_memory || had_page) complaint_ = "a fault in RAM was refused";
        return;
      }
      switch (*resolved) {
        case Resolution::mapped:
          if (!allowed(at, Prot::r))
            complaint_ = "a fault was resolved, and its page is still absent: " + hex(at.raw());
          return;
        case Resolution::unknown:
          if (set_.find(at) != nullptr) complaint_ = "a fault in an area was not known";
          return;
        case Resolution::spurious:
        case Resolution::busy: break;
        default: complaint_ = "a fault in RAM was taken for another kind";
      }
    }
    complaint_ = "the guest retries for ever at " + hex(at.raw());
  }
  bool allowed(GuestPhys at, Prot access) {
    auto const leaf = table_.query(at);
    return leaf.kind == Kind::leaf && table_.format().permits(leaf.level, leaf.entry, access);
  }

  Random random_;
  Recorder recorder_;
  RecordingFrames frames_{recorder_, page, 16};
  PagePool pool_{recorder_, HostPhys{0x9'0000'0000}, pages / 2};
  Source source_{pool_, page, page};
  Table table_ = *Table::create(*aarch64::Stage2<>::create({.pa_bits = 48, .granule_4k = true}, {}), frames_,
                                RecordingHook{recorder_});
  MemorySet<Attr, Table, Backends<Table, Source>> set_;
  std::string complaint_;
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed != 8; ++seed) {
    Faults faults{seed};
    for (auto i = 0; i != 100 && outcome.violation.empty(); ++i) {
      ++outcome.operations;
      outcome.violation = faults.step();
    }
  }
  return outcome;
}

}  // namespace slat::test
