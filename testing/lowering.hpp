#pragma once

// slat's own invalidation, on CPUs of which every step is an event: what arch/ makes of a Stale is judged instruction
// by instruction. CPU 0 edits the tables; the others run the guest, come and go.
//
//   Cpus<Format> cpus{recorder, format, seed};
//   PageTable<Format, RecordingFrames, RecordingHook>::create(format, frames, RecordingHook{recorder, &cpus});
//   cpus.start(table.root());  ...  cpus.stir();  ...  cpus.stop();

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include <slat/arch/aarch64/tlb.hpp>
#include <slat/arch/x86_64/asid.hpp>
#include <slat/arch/x86_64/eptp.hpp>
#include <slat/arch/x86_64/npt.hpp>
#include <slat/arch/x86_64/shootdown.hpp>
#include <slat/arch/x86_64/vmcb.hpp>
#include <slat/testing/random.hpp>
#include <slat/testing/recorder.hpp>

namespace slat::testing {

inline constexpr std::size_t cpu_count = 3;

/// Runs `body` as if on another CPU.
template <class Body>
void on_cpu(Recorder& recorder, std::size_t cpu, Body body) {
  auto const here = recorder.cpu();
  recorder.run_on(static_cast<std::uint8_t>(cpu));
  body();
  recorder.run_on(here);
}

/// One cpu_count of CPUs that run a guest on this format.
template <class Format>
class Cpus;

// ---- Arm

/// Executes the steps of arch/aarch64/tlbi.hpp on the present CPU.
class RecordedInstructions {
 public:
  using Vttbrs = std::array<std::uint64_t, cpu_count>;

  RecordedInstructions(Recorder& recorder, Vttbrs& vttbrs) : recorder_{&recorder}, vttbrs_{&vttbrs} {}

  void operator()(const aarch64::Step& step) {
    using enum aarch64::Step::What;
    switch (step.what) {
      case select:
        saved_ = vttbr();
        if (saved_ >> 48 != step.operand >> 48) load(step.operand);
        return recorder_->record(What::isb);
      case restore: return load(saved_);
      case dsb_ish: return recorder_->record(What::dsb_ish);
      case dsb_ishst: return recorder_->record(What::dsb_ishst);
      case dsb_nsh: return recorder_->record(What::dsb_nsh);
      case isb: return recorder_->record(What::isb);
      case ipas2e1is: return recorder_->record(What::tlbi_ipas2e1is, {step.operand});
      case ipas2e1: return recorder_->record(What::tlbi_ipas2e1, {step.operand});
      case ripas2e1is: return recorder_->record(What::tlbi_ripas2e1is, {step.operand});
      case vmalle1is: return recorder_->record(What::tlbi_vmalle1is);
      case vmalle1: return recorder_->record(What::tlbi_vmalle1);
      case vmalls12e1is: return recorder_->record(What::tlbi_vmalls12e1is);
      case vmalls12e1: return recorder_->record(What::tlbi_vmalls12e1);
      case alle1is: return recorder_->record(What::tlbi_alle1is);
    }
  }
  void load(std::uint64_t value) {
    vttbr() = value;
    recorder_->record(What::vttbr, {value});
  }

 private:
  std::uint64_t& vttbr() { return (*vttbrs_)[recorder_->cpu()]; }

  Recorder* recorder_;
  Vttbrs* vttbrs_;
  std::uint64_t saved_ = 0;
};

template <aarch64::Granule G>
class Cpus<aarch64::Stage2<G>> final : public Lowering {
 public:
  Cpus(Recorder& recorder, const aarch64::Stage2<G>&, std::uint64_t seed)
      : recorder_{&recorder}, random_{seed}, tlb_{target(random_), vmid, options(random_), {recorder, vttbrs_}} {}

  void invalidate(HostPhys root, const Stale& stale) noexcept override { tlb_(root, stale); }
  void publish() noexcept override { tlb_.publish(); }
  /// A fault was spurious: the present CPU forgets the page.
  void forget_here(GuestPhys at) { tlb_.forget_here(root_, at); }

  void start(HostPhys root) {
    root_ = root;
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) load(cpu, aarch64::vttbr_el2(root, vmid));
  }
  void stir() {
    auto const cpu = random_.below(cpu_count);
    load(cpu, vttbrs_[cpu] == 0 ? aarch64::vttbr_el2(root_, vmid) : 0);
  }
  void stop() {
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) load(cpu, 0);
  }

 private:
  static constexpr std::uint16_t vmid = 7;

  static aarch64::TlbiTarget target(Random& random) {
    aarch64::Features cpu;
    cpu.ttl = random.once_in(2);
    cpu.tlbi_range = random.once_in(2);
    return {G, cpu};
  }
  static aarch64::TlbiOptions options(Random& random) {
    return {
        .most = random.once_in(4) ? 4u : 512u, .tables_by_vmid = random.once_in(4), .repeat_last = random.once_in(4)};
  }
  void load(std::size_t cpu, std::uint64_t value) {
    on_cpu(*recorder_, cpu, [&] {
      RecordedInstructions{*recorder_, vttbrs_}.load(value);
      recorder_->record(What::isb);
    });
  }

  Recorder* recorder_;
  Random random_;
  RecordedInstructions::Vttbrs vttbrs_{};
  aarch64::Tlb<RecordedInstructions> tlb_;
  HostPhys root_{};
};

// ---- x86: how a CPU enters and what it then has to forget is Intel's or AMD's; all else is one protocol

/// INVEPT, at once.
class EptTags {
 public:
  EptTags(Recorder& recorder, const x86_64::Ept& format, Random& random) : recorder_{&recorder}, format_{format} {
    (random.once_in(4) ? features_.invept_all : features_.invept_single) = true;
  }
  bool invalidate(HostPhys root) {
    auto const operands = x86_64::invept_operands(features_, x86_64::eptp(format_, root));
    if (operands) recorder_->record(What::invept, {operands->type, operands->descriptor[0]});
    return bool{operands};
  }
  void enter(HostPhys root) { recorder_->record(What::enter, {root.raw(), 0}); }

 private:
  Recorder* recorder_;
  x86_64::Ept format_;
  x86_64::EptFeatures features_{};
};

/// A fresh ASID, or a flush of the old one, with the next VMRUN.
class NptTags {
 public:
  NptTags(Recorder& recorder, const x86_64::Npt& format, Random& random) : recorder_{&recorder}, format_{format} {
    x86_64::NptFeatures const features{.flush_by_asid = random.once_in(2), .asids = random.once_in(2) ? 2u : 8u};
    for (std::uint32_t cpu = 0; cpu != cpu_count; ++cpu) allocators_[cpu] = x86_64::AsidAllocator{cpu, features};
  }
  bool invalidate(HostPhys) {
    allocators_[recorder_->cpu()].start_over();
    return true;
  }
  void enter(HostPhys root) {
    auto& asid = asids_[recorder_->cpu()];
    switch (allocators_[recorder_->cpu()].enter(asid, x86_64::nested_cr3(format_, root))) {
      case x86_64::TlbControl::everything: recorder_->record(What::flush_all); break;
      case x86_64::TlbControl::this_asid: recorder_->record(What::flush_asid, {asid.value}); break;
      default: break;
    }
    recorder_->record(What::enter, {root.raw(), asid.value});
  }

 private:
  Recorder* recorder_;
  x86_64::Npt format_;
  std::array<x86_64::AsidAllocator, cpu_count> allocators_{{{0, {}}, {0, {}}, {0, {}}}};
  std::array<x86_64::Asid, cpu_count> asids_{};
};

template <class Format, class Tags>
class X86Cpus : public Lowering {
 public:
  X86Cpus(Recorder& recorder, const Format& format, std::uint64_t seed)
      : recorder_{&recorder}, random_{seed}, tags_{recorder, format, random_}, waits_for_loaded_{random_.once_in(2)} {}

  void invalidate(HostPhys root, const Stale& stale) noexcept override {
    with([&](auto& shootdown) { typename std::remove_reference_t<decltype(shootdown)>::Hook{shootdown}(root, stale); });
  }
  // The table's contract has walkers that are not coherent, too.
  void publish() noexcept override { recorder_->record(What::publish); }

  void start(HostPhys root) {
    root_ = root;
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) {
      with([&](auto& shootdown) { on_cpu(*recorder_, cpu, [&] { shootdown.load(cpu, root); }); });
      loaded_[cpu] = true;
      if (cpu != 0) enter(cpu);
    }
  }
  void stir() {
    auto const cpu = random_.below(cpu_count);
    if (inside_[cpu])
      leave(cpu);
    else if (random_.once_in(4))
      reload(cpu);
    else
      enter(cpu);
    if (cpu == 0) leave(0);
  }
  void stop() {
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) {
      leave(cpu);
      if (loaded_[cpu]) reload(cpu);
    }
  }

 private:
  /// What Shootdown asks of a hypervisor.
  struct Machine {
    X86Cpus* cpus;
    std::size_t this_cpu() noexcept { return cpus->recorder_->cpu(); }
    bool invalidate(HostPhys root) noexcept { return cpus->tags_.invalidate(root); }
    void kick(std::size_t cpu) noexcept { cpus->kicked_[cpu] = true; }
    void relax() noexcept { cpus->answer_kicks(); }
  };
  template <x86_64::Presence When>
  using Shootdown = x86_64::Shootdown<When, Machine, cpu_count>;

  template <class Body>
  void with(Body body) {
    if (waits_for_loaded_)
      body(loaded_kind_);
    else
      body(entered_kind_);
  }
  void enter(std::size_t cpu) {
    if (!loaded_[cpu]) return;
    on_cpu(*recorder_, cpu, [&] {
      with([&](auto& shootdown) { inside_[cpu] = shootdown.enter(cpu); });
      if (inside_[cpu]) tags_.enter(root_);
    });
  }
  void leave(std::size_t cpu) {
    if (!inside_[cpu]) return;
    on_cpu(*recorder_, cpu, [&] {
      recorder_->record(What::leave);
      inside_[cpu] = false;
      with([&](auto& shootdown) { shootdown.leave(cpu); });
    });
  }
  void reload(std::size_t cpu) {
    on_cpu(*recorder_, cpu,
           [&] { with([&](auto& shootdown) { loaded_[cpu] ? shootdown.unload(cpu) : shootdown.load(cpu, root_); }); });
    loaded_[cpu] = !loaded_[cpu];
  }
  /// They leave the guest, answer, and are back in it as soon as they can be.
  void answer_kicks() {
    for (std::size_t cpu = 0; cpu != cpu_count; ++cpu) {
      if (!std::exchange(kicked_[cpu], false)) continue;
      auto const was_inside = inside_[cpu];
      leave(cpu);
      on_cpu(*recorder_, cpu, [&] { with([&](auto& shootdown) { shootdown.answer(cpu); }); });
      if (was_inside) enter(cpu);
    }
  }

  Recorder* recorder_;
  Random random_;
  Tags tags_;
  bool waits_for_loaded_;
  Shootdown<x86_64::Presence::loaded> loaded_kind_{Machine{this}};
  Shootdown<x86_64::Presence::entered> entered_kind_{Machine{this}};
  HostPhys root_{};
  std::array<bool, cpu_count> loaded_{}, inside_{}, kicked_{};
};

template <>
class Cpus<x86_64::Ept> final : public X86Cpus<x86_64::Ept, EptTags> {
  using X86Cpus::X86Cpus;
};
template <>
class Cpus<x86_64::Npt> final : public X86Cpus<x86_64::Npt, NptTags> {
  using X86Cpus::X86Cpus;
};

}  // namespace slat::testing
