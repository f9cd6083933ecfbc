// A few CPUs that enter and leave more guests than there are VMIDs, beside TLBs that forget nothing by themselves: no
// guest may run under a number under which another's translations are cached.

#include <array>
#include <map>

#include <slat/arch/aarch64/vmid.hpp>

#include <slat/testing/random.hpp>

#include "mutants/check.hpp"

namespace slat::test {
using testing::Random;

const char* const check_name = "vmids";

namespace {

constexpr std::size_t cpu_count = 4, guest_count = 24;

class Vmids {
 public:
  explicit Vmids(std::uint64_t seed) : random_{seed} {}

  std::string step() {
    auto const cpu = random_.below(cpu_count);
    if (running_[cpu] != nobody) {
      running_[cpu] = nobody;
      allocator_.leave(cpu);
      return {};
    }
    auto const guest = random_.below(guest_count);
    if (allocator_.enter(cpu, guests_[guest])) forget_all();
    running_[cpu] = guest;
    return use(guest);
  }

 private:
  static constexpr std::size_t nobody = guest_count;

  // Broadcast; what runs fills again at once, under the number that it was entered with.
  void forget_all() {
    tlb_.clear();
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu)
      if (running_[cpu] != nobody) tlb_[loaded_[cpu]] = running_[cpu];
  }
  std::string use(std::size_t guest) {
    auto const value = guests_[guest].value;
    auto const [known, is_new] = tlb_.try_emplace(value, guest);
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu)
      if (running_[cpu] == guest) loaded_[cpu] = value;
    if (value == 0) return "a guest has the host's number";
    if (known->second != guest) return "a guest runs under a VMID under which another's translations are cached";
    for (auto const& [number, owner] : tlb_)
      if (guests_[owner].value == number && !allocator_.may_be_cached(guests_[owner]))
        return "a guest whose translations are cached would not be invalidated";
    return {};
  }

  Random random_;
  aarch64::VmidAllocator<cpu_count> allocator_{4};
  std::array<aarch64::Vmid, guest_count> guests_{};
  std::array<std::size_t, cpu_count> running_ = [] {
    std::array<std::size_t, cpu_count> all;
    all.fill(nobody);
    return all;
  }();
  std::array<std::uint16_t, cpu_count> loaded_{};
  std::map<std::uint16_t, std::size_t> tlb_;
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed != 20; ++seed) {
    Vmids vmids{seed};
    for (auto i = 0; i != 200 && outcome.violation.empty(); ++i) {
      ++outcome.operations;
      outcome.violation = vmids.step();
    }
  }
  return outcome;
}

}  // namespace slat::test
