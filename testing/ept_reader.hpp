#pragma once

// EPT entries as the processor reads them: [intel/vol3] EPT.

#include <slat/testing/reader.hpp>

namespace slat::testing {

struct EptFeatures {
  unsigned levels;          // 4 or 5
  unsigned output_bits;     // MAXPHYADDR
  Level top_leaf;           // 2 with 1 GiB leaves
  bool execute_only;        // IA32_VMX_EPT_VPID_CAP[0]
  bool mode_based_execute;  // bit 10 is execution by the user level, bit 2 by the supervisor level
  bool accessed_dirty;      // EPTP[6]
  bool page_size_erratum;   // no IA32_ARCH_CAPABILITIES.PSCHANGE_MC_NO
};

class EptReader {
 public:
  constexpr explicit EptReader(const EptFeatures& features) : has_{features} {}

  constexpr Shape shape() const { return {12, has_.levels == 5 ? 57u : 48u, has_.levels - 1}; }
  constexpr bool sets_accessed() const { return has_.accessed_dirty; }
  constexpr bool sets_dirty() const { return has_.accessed_dirty; }
  constexpr bool can_break() const { return has_.page_size_erratum; }
  constexpr bool size_breaks() const { return false; }
  constexpr bool pointers_conflict() const { return false; }
  /// Only the erratum: the size may not change together with address or type.
  constexpr bool conflict(const Decoded& a, Level a_level, const Decoded& b, Level b_level) const {
    return has_.page_size_erratum && a_level != b_level && (a.address != b.address || a.type != b.type);
  }

  constexpr Entry accessed(Level level, Entry entry) const {
    return has_.accessed_dirty && decode(level, entry).valid() ? entry | 1u << 8 : entry;
  }
  constexpr Entry written(Level level, Entry entry) const {
    return has_.accessed_dirty && decode(level, entry).leaf() ? entry | 1u << 9 : entry;
  }

  /// The type in bits 2:0; whether the guest's PAT has a say (bit 3) is the mapper's choice.
  constexpr bool is(Memory memory, std::uint8_t type) const {
    switch (memory) {
      case Memory::normal: return (type & 7) == 6;
      case Memory::write_through: return (type & 7) == 4;
      case Memory::uncached: return (type & 7) == 1;
      case Memory::device:
      case Memory::device_strict: return (type & 7) == 0;
    }
    return false;
  }

  constexpr Decoded decode(Level level, Entry entry) const {
    Decoded out;
    if (field(entry, 2, 0) == 0 && !(has_.mode_based_execute && bit(entry, 10))) {
      out.kind = entry == 0 ? Decoded::Kind::absent : Decoded::Kind::broken;
      // Bit 51 is above all memory: what a processor with L1TF may read there is nothing.
      if (entry != 0 && !bit(entry, 51)) out.wrong = "B2.6: an entry that is not present points at memory";
      if (entry != 0 && !bit(entry, 63)) out.wrong = "B1.1: a broken entry may be a #VE for the guest";
      return out;
    }
    auto const is_leaf = level == 0 || (level <= 2 && bit(entry, 7));
    auto const low = is_leaf ? shape().shift(level) : 12;
    out.kind = is_leaf ? Decoded::Kind::leaf : Decoded::Kind::table;
    out.address = HostPhys{field(entry, 51, low) << low};
    out.rights = (bit(entry, 0) ? Prot::r : Prot::none) | (bit(entry, 1) ? Prot::w : Prot::none) | executable(entry);
    if (auto const* const wrong = fault(level, entry, is_leaf, out)) out.wrong = wrong;
    if (!is_leaf) return out;
    out.type = static_cast<std::uint8_t>(field(entry, 6, 3));
    out.is_accessed = has_.accessed_dirty && bit(entry, 8);
    // Without A/D bits hardware keeps no diary, and the write right is what is left of one.
    out.is_dirty = has_.accessed_dirty ? bit(entry, 9) : bit(entry, 1);
    return out;
  }

 private:
  constexpr Prot executable(Entry entry) const {
    if (!has_.mode_based_execute) return bit(entry, 2) ? Prot::x : Prot::none;
    return (bit(entry, 2) ? Prot::x_supervisor : Prot::none) | (bit(entry, 10) ? Prot::x_user : Prot::none);
  }

  constexpr const char* fault(Level level, Entry entry, bool is_leaf, const Decoded& out) const {
    if (out.address.raw() >> has_.output_bits != 0) return "B1.2: address bits above MAXPHYADDR";
    if (!bit(entry, 0) && bit(entry, 1)) return "B1.2: writable and not readable";
    if (!bit(entry, 0) && !has_.execute_only) return "B1.2: execute-only is not supported";
    if (!is_leaf) {
      if (level >= 3 && field(entry, 7, 3) != 0) return "B1.2: bits 7:3 of this level are reserved";
      if (field(entry, 6, 3) != 0) return "B1.2: bits 6:3 of a table entry are reserved";
      if (out.rights != Prot::rwx) return "a table entry must grant all, the leaf decides (a rule of slat)";
      return nullptr;
    }
    auto const type = field(entry, 5, 3);
    if (level > has_.top_leaf) return "B1.2: no leaf of this size on this processor";
    if (level != 0 && field(entry, shape().shift(level) - 1, 12) != 0)
      return "B1.2: address bits below the page size are reserved";
    if (type == 2 || type == 3 || type == 7) return "B1.2: reserved memory type";
    if (type == 0 && (out.rights & Prot::x) != Prot::none) return "device memory is executable";
    return nullptr;
  }

  EptFeatures has_;
};

}  // namespace slat::testing
