#pragma once

// A format out of a fuzzer's bytes: any granule, depth and set of features that create() accepts, each in a byte of its
// own, so that a mutation changes one of them.

#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>

namespace slat::test {

/// Ends the run: libFuzzer keeps the input that led here.
[[noreturn]] inline void fail(const std::string& why) {
  std::fprintf(stderr, "FUZZ: %s\n", why.c_str());
  std::abort();
}

namespace detail {

/// Roots above this, sixteen tables of 64 KiB say, take long to look at and show nothing that others do not.
inline constexpr std::uint64_t largest_root = 64_KiB;

template <aarch64::Granule G, class Use>
void with_stage2(FuzzedDataProvider& bytes, Use use) {
  aarch64::Features cpu{.granule_4k = true, .granule_16k = true, .granule_64k = true};
  cpu.pa_bits = bytes.PickValueInArray({36u, 40u, 42u, 44u, 48u, 52u});
  cpu.bbm = bytes.ConsumeBool() ? 2 : 0;
  cpu.hardware_accessed = bytes.ConsumeBool();
  cpu.hardware_dirty = cpu.hardware_accessed && bytes.ConsumeBool();
  cpu.xnx = bytes.ConsumeBool();
  cpu.fwb = bytes.ConsumeBool();
  aarch64::Stage2Options options;
  options.ipa_bits = bytes.ConsumeIntegralInRange(32u, 48u);
  options.concatenate = bytes.ConsumeBool();
  auto const format = aarch64::Stage2<G>::create(cpu, options);
  if (format && format->geometry().root_bytes() <= largest_root) use(*format);
}

template <class Use>
void with_ept(FuzzedDataProvider& bytes, Use use) {
  x86_64::EptFeatures cpu{.pa_bits = bytes.PickValueInArray({36u, 39u, 46u, 52u}), .four_levels = true};
  cpu.five_levels = true;
  cpu.leaf_2m = bytes.ConsumeBool();
  cpu.leaf_1g = cpu.leaf_2m && bytes.ConsumeBool();
  cpu.execute_only = bytes.ConsumeBool();
  cpu.accessed_dirty = bytes.ConsumeBool();
  cpu.mode_based_execute = bytes.ConsumeBool();
  // A CPU that breaks slots has L1TF, too: an absent entry points above all memory, for which 52 bits leave no room.
  cpu.pschange_mc_no = cpu.pa_bits == 52 || bytes.ConsumeBool();
  x86_64::EptOptions options;
  options.levels = bytes.ConsumeBool() ? 5 : 4;
  options.small_executable = bytes.ConsumeBool();
  options.suppress_ve = bytes.ConsumeBool();
  if (auto const format = x86_64::Ept::create(cpu, options)) use(*format);
}

template <class Use>
void with_npt(FuzzedDataProvider& bytes, Use use) {
  x86_64::NptFeatures cpu{.pa_bits = bytes.PickValueInArray({36u, 40u, 48u, 52u}), .nested_paging = true};
  cpu.five_levels = true;
  cpu.leaf_1g = bytes.ConsumeBool();
  cpu.no_execute = bytes.ConsumeBool();
  x86_64::NptOptions options;
  options.levels = bytes.ConsumeBool() ? 5 : 4;
  options.pat = bytes.ConsumeBool() ? x86_64::pat_with_write_combining : x86_64::pat_at_reset;
  if (auto const format = x86_64::Npt::create(cpu, options)) use(*format);
}

}  // namespace detail

/// Calls use(format), or not at all where the bytes ask for what there is not.
template <class Use>
void with_format(FuzzedDataProvider& bytes, Use use) {
  using aarch64::Granule;
  switch (bytes.ConsumeIntegralInRange(0, 4)) {
    case 0: return detail::with_stage2<Granule::k4>(bytes, use);
    case 1: return detail::with_stage2<Granule::k16>(bytes, use);
    case 2: return detail::with_stage2<Granule::k64>(bytes, use);
    case 3: return detail::with_ept(bytes, use);
    default: return detail::with_npt(bytes, use);
  }
}

/// Any attributes, those that the format refuses included; mostly the plain ones.
inline Attr some_attr(FuzzedDataProvider& bytes) {
  auto const choice = bytes.ConsumeIntegral<std::uint8_t>();
  switch (choice & 7) {
    case 0: return ro;
    case 1: return rx;
    case 2: return rw;
    case 3: return rw | Memory::uncached;
    case 4: return rw | Memory::device;
    case 5:
      return {Prot(bytes.ConsumeIntegralInRange(0, 15)), Memory(bytes.ConsumeIntegralInRange(0, 4)),
              static_cast<std::uint8_t>(choice >> 3 & 3)};
    case 6: return {Prot::rwx, Memory::normal, static_cast<std::uint8_t>(choice >> 3 & 3)};
    default: return rwx;
  }
}

}  // namespace slat::test
