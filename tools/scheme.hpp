#pragma once

// Whose tables these are, how deep they are, and where they begin: all that is needed before the first entry is read.
// It comes from control registers (VTCR_EL2, EPTP, nCR3), as words.
//
// Entries are read by the readers of testing/, which know the architecture and nothing of slat's own formats: so the
// tables may be any hypervisor's.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include <slat/testing/arm_reader.hpp>
#include <slat/testing/ept_reader.hpp>
#include <slat/testing/npt_reader.hpp>

namespace slat::tool {

using testing::ArmReader;
using testing::EptReader;
using testing::NptReader;

struct Scheme {
  std::variant<ArmReader, EptReader, NptReader> reader;
  HostPhys root;
  // Where a beacon says that the hypervisor keeps a list of areas and a ring of events (hv/area_list.hpp,
  // hv/event_ring.hpp).
  std::optional<HostPhys> areas{}, events{};

  testing::Family family() const {
    return std::visit([](auto& r) { return r.family; }, reader);
  }
  testing::Shape shape() const {
    return std::visit([](auto& r) { return r.shape(); }, reader);
  }
  /// "Arm stage 2", "Intel EPT", "AMD NPT".
  std::string name() const;
  /// "level 3" as the architecture's own manual says: Arm counts from the root, x86 has names.
  std::string level_name(Level level) const;
};

/// What no control register says. Where it is not known, the most that an architecture has is taken, so that nothing is
/// a fault that some processor allows.
struct Extras {
  std::optional<unsigned> pa_bits;
  bool xnx = false;                           // Arm: FEAT_XNX
  unsigned bbm = 0;                           // Arm: FEAT_BBM level
  bool xs = false;                            // Arm: FEAT_XS
  bool mbec = false;                          // EPT: mode-based execute control
  bool no_exec_only = false;                  // EPT: execute-only is a misconfiguration
  bool no_1g = false;                         // x86: no leaves of 1 GiB
  bool no_nx = false;                         // NPT: the host's EFER.NXE is clear
  std::uint64_t pat = 0x0007'0406'0007'0406;  // NPT: the host's IA32_PAT
  bool house_rules = false;                   // also what slat demands of itself
};

/// Each throws Failure for a word that no processor would take.
Scheme arm_scheme(HostPhys root, std::uint64_t vtcr_el2, std::uint64_t hcr_el2, const Extras& extras);
Scheme ept_scheme(std::uint64_t eptp, const Extras& extras);
Scheme npt_scheme(std::uint64_t ncr3, unsigned levels, const Extras& extras);

/// VTCR_EL2 for a granule of `granule` bytes and `ipa_bits` of input, walks starting at Arm's level `start`, or where
/// concatenation lets them start lowest. Throws Failure for what does not exist.
std::uint64_t vtcr_for(std::uint64_t granule, unsigned ipa_bits, std::optional<unsigned> start);

}  // namespace slat::tool
