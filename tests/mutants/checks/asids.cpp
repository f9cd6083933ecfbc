// Virtual CPUs that migrate between CPUs with few ASIDs and change their nested tables, beside TLBs that forget nothing
// by themselves: none may run under a number under which something else, or older, is cached.

#include <array>
#include <map>
#include <tuple>
#include <vector>

#include <slat/arch/x86_64/asid.hpp>

#include <slat/testing/random.hpp>

#include "mutants/check.hpp"

namespace slat::test {
using testing::Random;
using x86_64::TlbControl;

const char* const check_name = "asids";

namespace {

constexpr std::size_t cpu_count = 2, guest_count = 5;

class Asids {
 public:
  explicit Asids(std::uint64_t seed) : random_{seed} {}

  std::string step() {
    auto const guest = random_.below(guest_count);
    if (random_.once_in(5)) {
      // Its tables changed, and only it may have used them.
      ++guests_[guest].version;
      x86_64::AsidAllocator::flush(guests_[guest].asid);
    }
    if (random_.once_in(20)) {
      // The tables of all changed, and each CPU was told.
      for (auto& one : guests_) ++one.version;
      for (auto& allocator : allocators_) allocator.start_over();
    }
    return run(random_.below(cpu_count), guest);
  }

 private:
  // What is cached under one number: by whom, through which tables, as they were when.
  using Cached = std::tuple<std::size_t, std::uint64_t, std::uint64_t>;
  struct Guest {
    x86_64::Asid asid;
    std::uint64_t version = 0;
  };

  std::string run(std::size_t cpu, std::size_t guest) {
    auto& [asid, version] = guests_[guest];
    auto const nested_cr3 = 0x1000 + 0x1000 * random_.below(2);
    auto& tlb = tlbs_[cpu];
    switch (allocators_[cpu].enter(asid, nested_cr3)) {
      case TlbControl::everything: tlb.clear(); break;
      case TlbControl::this_asid: tlb[asid.value].clear(); break;
      default: break;
    }
    if (asid.value == 0) return "a guest has the host's number";
    auto& cached = tlb[asid.value];
    Cached const own{guest, nested_cr3, version};
    for (auto const& one : cached)
      if (one != own) return "a virtual CPU runs under an ASID under which something else is cached";
    cached.assign(1, own);
    return {};
  }

  Random random_;
  std::array<x86_64::AsidAllocator, cpu_count> allocators_{
      x86_64::AsidAllocator{0, {.flush_by_asid = true, .asids = 8}}, x86_64::AsidAllocator{1, {.asids = 6}}};
  std::array<Guest, guest_count> guests_{};
  std::array<std::map<std::uint32_t, std::vector<Cached>>, cpu_count> tlbs_;
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed != 20; ++seed) {
    Asids asids{seed};
    for (auto i = 0; i != 200 && outcome.violation.empty(); ++i) {
      ++outcome.operations;
      outcome.violation = asids.step();
    }
  }
  return outcome;
}

}  // namespace slat::test
