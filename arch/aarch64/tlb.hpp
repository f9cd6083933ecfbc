#pragma once

// The only instructions of the library: steps of an invalidation executed on an Arm CPU at EL2, and the hook that a
// PageTable calls. What is done, and in which order, tlbi.hpp decides.

#include <cstdint>
#include <utility>

#include <slat/arch/aarch64/tlbi.hpp>
#include <slat/mm/concepts.hpp>

namespace slat::aarch64 {

/// Executes one step after the other. A copy of it executes one invalidation, and holds what `select` put aside; so
/// CPUs may invalidate at once. A hypervisor that counts, or leaves a step out to see a test fail, wraps it.
class Instructions {
 public:
  /// One step. A `select` is followed by its `restore` in the same copy.
  void operator()(const Step& step) {
    switch (step.what) {
      case Step::What::select: return select(step.operand);
      case Step::What::restore: return restore();
      case Step::What::dsb_ish: asm volatile("dsb ish" ::: "memory"); return;
      case Step::What::dsb_ishst: asm volatile("dsb ishst" ::: "memory"); return;
      case Step::What::dsb_nsh: asm volatile("dsb nsh" ::: "memory"); return;
      case Step::What::isb: asm volatile("isb" ::: "memory"); return;
      case Step::What::ipas2e1is: asm volatile("tlbi ipas2e1is, %0" ::"r"(step.operand) : "memory"); return;
      case Step::What::ipas2e1: asm volatile("tlbi ipas2e1, %0" ::"r"(step.operand) : "memory"); return;
      // RIPAS2E1IS, by number: assemblers know the name from Armv8.4 on only.
      case Step::What::ripas2e1is: asm volatile("sys #4, c8, c0, #2, %0" ::"r"(step.operand) : "memory"); return;
      case Step::What::vmalle1is: asm volatile("tlbi vmalle1is" ::: "memory"); return;
      case Step::What::vmalle1: asm volatile("tlbi vmalle1" ::: "memory"); return;
      case Step::What::vmalls12e1is: asm volatile("tlbi vmalls12e1is" ::: "memory"); return;
      case Step::What::vmalls12e1: asm volatile("tlbi vmalls12e1" ::: "memory"); return;
      case Step::What::alle1is: asm volatile("tlbi alle1is" ::: "memory"); return;
    }
  }

 private:
  static constexpr std::uint64_t e2h = 1ull << 34;
  static constexpr std::uint64_t tge = 1ull << 27;

  // TLBI ...E1 acts on the VMID in VTTBR_EL2, and on the host's own translations while HCR_EL2 has both E2H and TGE.
  // Interrupts wait: a handler must not run in this state. [arm/a-profile] HCR_EL2.TGE.
  void select(std::uint64_t vttbr) {
    asm volatile("mrs %0, daif" : "=r"(daif_));
    asm volatile("msr daifset, #0xf" ::: "memory");
    asm volatile("mrs %0, vttbr_el2" : "=r"(vttbr_));
    asm volatile("mrs %0, hcr_el2" : "=r"(hcr_));
    if (vttbr_ >> 48 != vttbr >> 48) asm volatile("msr vttbr_el2, %0" ::"r"(vttbr) : "memory");
    if ((hcr_ & (e2h | tge)) == (e2h | tge)) asm volatile("msr hcr_el2, %0" ::"r"(hcr_ & ~tge) : "memory");
    asm volatile("isb" ::: "memory");
  }
  // No ISB of its own: one follows as a step, and an interrupt that comes first synchronises too.
  void restore() {
    asm volatile("msr hcr_el2, %0" ::"r"(hcr_) : "memory");
    asm volatile("msr vttbr_el2, %0" ::"r"(vttbr_) : "memory");
    asm volatile("msr daif, %0" ::"r"(daif_) : "memory");
  }

  std::uint64_t daif_ = 0;
  std::uint64_t vttbr_ = 0;
  std::uint64_t hcr_ = 0;
};

/// The hook of one VM's table: broadcast, no other CPU has to do anything. The VMID is the VM's owner's business
/// (VmidAllocator); 0 says that no CPU can hold anything of this VM, so that there is nothing to invalidate.
/// Calls may come from any CPU at once; the VMID changes under the lock that its users hold.
template <class Execute = Instructions>
class Tlb {
 public:
  /// `vmid` is what VTTBR_EL2 holds while the guest runs, or 0. `execute` is copied for each invalidation.
  Tlb(const TlbiTarget& target, std::uint16_t vmid, const TlbiOptions& options = {}, Execute execute = {})
      : target_{target}, options_{options}, vmid_{vmid}, execute_{std::move(execute)} {}

  /// Returns when no CPU of the inner shareable domain can use what `stale` names.
  void operator()(HostPhys root, const Stale& stale) noexcept {
    if (vmid_ == 0) return publish();
    shootdown(target_, options_, vttbr_el2(root, vmid_), stale, execute_);
  }
  /// DSB ISHST: walkers see earlier stores.
  void publish() noexcept { Execute{execute_}({Step::What::dsb_ishst}); }

  /// A fault was spurious: the tables allow the access already. This CPU forgets the page, and the guest retries.
  void forget_here(HostPhys root, GuestPhys at) noexcept {
    aarch64::forget_here(target_, vttbr_el2(root, vmid_), at, execute_);
  }
  /// A fault was a TLB conflict abort (status 0x30). This CPU forgets the VM, and the guest retries.
  void resolve_conflict(HostPhys root) noexcept { aarch64::resolve_conflict(vttbr_el2(root, vmid_), execute_); }
  /// VMIDs began a new generation.
  void forget_all_guests() noexcept { aarch64::forget_all_guests(options_, execute_); }

  /// The VM's number, and its change, under the lock that the VMID's users hold.
  /// @{
  std::uint16_t vmid() const { return vmid_; }
  void assign(std::uint16_t vmid) { vmid_ = vmid; }
  /// @}

 private:
  TlbiTarget target_;
  TlbiOptions options_;
  std::uint16_t vmid_;
  Execute execute_;
};

static_assert(InvalidationHook<Tlb<>>);

}  // namespace slat::aarch64
