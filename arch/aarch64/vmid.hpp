#pragma once

// VMIDs: few numbers for many guests. They are given out once; when none is left a new generation begins, for which all
// CPUs forget everything, and in which each guest gets a number again when it next runs.

#include <array>
#include <cstddef>
#include <cstdint>

namespace slat::aarch64 {

/// What a VM remembers between runs. A new one belongs to no generation.
struct Vmid {
  std::uint64_t generation = 0;  // in which `value` was given out
  std::uint16_t value = 0;       // 0 is never given out: it belongs to the host
  friend constexpr bool operator==(Vmid, Vmid) = default;
};

/// Gives VMIDs to VMs on a machine of at most `Cpus` CPUs. A value without locks of its own: all calls, and the
/// invalidation that one of them may demand, are made under the user's lock, which every CPU takes before it enters.
template <std::size_t Cpus>
class VmidAllocator {
  static_assert(Cpus < 255, "more CPUs may run at once than there are 8-bit VMIDs");

 public:
  /// `bits` is Features::vmid_bits, or 8; VTCR_EL2.VS must agree.
  constexpr explicit VmidAllocator(unsigned bits) : count_{std::uint32_t{1} << bits} {}

  /// Called on `cpu` before it loads VTTBR_EL2: `vm` keeps its VMID while that is good, and gets a new one else. True
  /// demands, before any CPU enters a guest again, an invalidation of all guests' translations on all CPUs.
  [[nodiscard]] constexpr bool enter(std::size_t cpu, Vmid& vm) {
    auto const good = vm.generation == generation_ || renew(vm);
    auto const roll = !good && next_ == count_;
    if (roll) roll_over();
    if (!good) take(vm);
    running_[cpu] = vm;
    return roll;
  }
  /// Called on `cpu` once VTTBR_EL2 no longer holds the VMID: a loaded one is walked by speculation, running or not.
  constexpr void leave(std::size_t cpu) { running_[cpu] = {}; }

  /// Whether any CPU may hold translations of `vm`. Where not, there is nothing to invalidate.
  constexpr bool may_be_cached(const Vmid& vm) const {
    return vm.value != 0 && (vm.generation == generation_ || is_reserved(vm));
  }

 private:
  // VMIDs that were in use when the generation began were not stopped: they stay with their VMs.
  constexpr void roll_over() {
    ++generation_;
    next_ = 1;
    reserved_ = running_;
    skip_reserved();
  }
  constexpr bool is_reserved(const Vmid& vm) const {
    for (auto const& kept : reserved_)
      if (vm.value != 0 && kept == vm) return true;
    return false;
  }
  constexpr bool renew(Vmid& vm) {
    if (!is_reserved(vm)) return false;
    auto const old = vm;
    vm.generation = generation_;
    // Where it still runs, it must be known by its new generation when the next one begins.
    for (auto& running : running_)
      if (running == old) running = vm;
    return true;
  }
  constexpr void take(Vmid& vm) {
    vm = {generation_, static_cast<std::uint16_t>(next_++)};
    skip_reserved();
  }
  constexpr void skip_reserved() {
    for (bool again = true; again && next_ != count_;) {
      again = false;
      for (auto const& kept : reserved_) again = again || kept.value == next_;
      if (again) ++next_;
    }
  }

  std::uint64_t generation_ = 1;
  std::uint32_t count_;
  std::uint32_t next_ = 1;
  std::array<Vmid, Cpus> running_{};
  std::array<Vmid, Cpus> reserved_{};
};

}  // namespace slat::aarch64
