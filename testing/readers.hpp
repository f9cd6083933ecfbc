#pragma once

// Which reader goes with which format, and the feature values that it starts from, with slat's own rules on top of the
// architecture's: nothing else of a format is used by the oracle, apart from age(), where marks are software's.

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>

#include <slat/testing/arm_reader.hpp>
#include <slat/testing/ept_reader.hpp>
#include <slat/testing/npt_reader.hpp>

namespace slat::testing {

template <aarch64::Granule G>
constexpr ArmReader reader_for(const aarch64::Stage2<G>& format) {
  auto const geometry = format.geometry();
  auto const small = format.leaf(0, HostPhys{0}, rw);
  // FEAT_BBM level 2 shows in nothing but the rule: tests pin what is found here for every format they run on.
  auto const resizes = format.swap(1, format.parent(1, small), format.table(1, HostPhys{0})) != Swap::break_;
  return ArmReader{{
      .granule_bits = geometry.page_bits,
      .input_bits = geometry.input_bits(),
      .root = geometry.root,
      .output_bits = format.output_bits(),
      .fwb = format.forces_write_back(),
      .xnx = format.supports({Prot::r | Prot::x_user}),
      .ha = format.hardware_age().accessed,
      .hd = format.hardware_age().dirty,
      .bbm = resizes ? 2u : 0u,
      .house_rules = true,
  }};
}

constexpr EptReader reader_for(const x86_64::Ept& format) {
  auto const geometry = format.geometry();
  return EptReader{{
      .levels = geometry.root + 1,
      .output_bits = format.output_bits(),
      .top_leaf = geometry.top_leaf,
      .execute_only = format.supports({Prot::x}),
      .mode_based_execute = format.supports({Prot::r | Prot::x_user}),
      .accessed_dirty = format.hardware_age().dirty,
      .page_size_erratum = format.can_break(),
      .house_rules = true,
      .l1tf = format.output_bits() < 52,  // else there is no address above memory
  }};
}

constexpr NptReader reader_for(const x86_64::Npt& format) {
  auto const geometry = format.geometry();
  return NptReader{{
      .levels = geometry.root + 1,
      .output_bits = format.output_bits(),
      .top_leaf = geometry.top_leaf,
      .no_execute = format.supports({Prot::r}),
      .pat = format.pat(),
      .house_rules = true,
  }};
}

}  // namespace slat::testing
