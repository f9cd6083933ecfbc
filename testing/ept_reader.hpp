#pragma once

// EPT entries as the processor reads them: [intel/vol3] "EPT translation mechanism", whose tables "Format of an EPT ...
// Entry" give each bit of each level, and "EPT misconfigurations".

#include <slat/testing/reader.hpp>

namespace slat::testing {

struct EptFeatures {
  unsigned levels;             // 4 or 5
  unsigned output_bits;        // MAXPHYADDR
  Level top_leaf;              // 2 with 1 GiB leaves, 1 with 2 MiB
  bool execute_only;           // IA32_VMX_EPT_VPID_CAP[0]
  bool mode_based_execute;     // bit 10 is execution by the user level, bit 2 by the supervisor level
  bool accessed_dirty;         // EPTP[6]
  bool page_size_erratum;      // no IA32_ARCH_CAPABILITIES.PSCHANGE_MC_NO
  bool verify_paging = false;  // the "guest-paging verification" control: bit 57 of a leaf
  bool paging_write = false;   // the "EPT paging-write control": bit 58 of a leaf
  bool shadow_stack = false;   // EPTP[7]: bit 60 of a leaf
  bool sub_page = false;       // the "sub-page write permissions for EPT" control: bit 61 of a 4K leaf
  bool ve = false;             // the "EPT-violation #VE" control: bit 63 of a leaf
  bool house_rules = false;    // also what only slat demands
  bool l1tf = false;           // also what a CPU with the L1 terminal fault demands of entries that are not present
};

class EptReader {
 public:
  static constexpr Family family = Family::intel;

  constexpr explicit EptReader(const EptFeatures& features) : has_{features} {}

  constexpr const EptFeatures& features() const { return has_; }
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

  /// "Accessed and dirty flags for EPT": the first in every entry that is used, the second in the leaf.
  constexpr Entry accessed(Level level, Entry entry) const {
    return has_.accessed_dirty && decode(level, entry).usable() ? entry | 1u << 8 : entry;
  }
  constexpr Entry written(Level level, Entry entry) const {
    auto const decoded = decode(level, entry);
    return has_.accessed_dirty && decoded.leaf() && decoded.usable() ? entry | 1u << 9 : entry;
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

  /// `special` has, of the bits that are on: 0 verify guest paging, 1 paging-write access, 2 supervisor shadow stack, 3
  /// sub-page write permissions, 4 suppress #VE.
  constexpr Decoded decode(Level level, Entry entry) const {
    Decoded out;
    if (entry == 0) return out;
    if (field(entry, 2, 0) == 0 && !(has_.mode_based_execute && bit(entry, 10))) {
      // Nothing else in it is looked at.
      out.kind = Decoded::Kind::broken;
      if (has_.house_rules && !bit(entry, 63))
        out.wrong = "H4: a violation at a broken entry may be a #VE in the guest";
      // What a processor with L1TF may read there is nothing, if that is above all memory.
      if (has_.l1tf && (entry & addresses()) >> has_.output_bits == 0)
        out.wrong = "B2.6: an entry that is not present points at memory";
      return out;
    }
    auto const is_leaf = level == 0 || (level <= 2 && bit(entry, 7));
    auto const low = is_leaf ? shape().shift(level) : 12;
    out.kind = is_leaf ? Decoded::Kind::leaf : Decoded::Kind::table;
    out.address = HostPhys{field(entry, 51, low) << low};
    out.rights = (bit(entry, 0) ? Prot::r : Prot::none) | (bit(entry, 1) ? Prot::w : Prot::none) | executable(entry);
    out.judge(flaw(level, entry, is_leaf, out));
    if (!is_leaf) return out;
    out.type = static_cast<std::uint8_t>(field(entry, 6, 3));
    out.special = special(level, entry);
    out.is_accessed = has_.accessed_dirty && bit(entry, 8);
    // Without A/D bits hardware keeps no diary, and the write right is what is left of one.
    out.is_dirty = has_.accessed_dirty ? bit(entry, 9) : bit(entry, 1);
    return out;
  }

  /// "Extended-page-table pointer (EPTP)": bits 11:0 are not part of the address.
  constexpr Flaw root_flaw(HostPhys root) const {
    if (root.raw() >> has_.output_bits != 0) return {"B1.4: the root is above MAXPHYADDR", Fault::misconfigured};
    if (!root.aligned_to(shape().granule())) return {"B1.4: the root is not aligned to 4K", Fault::misconfigured};
    return {};
  }

  template <class ReadWord>
  constexpr Walk walk(ReadWord&& read_word, HostPhys root, GuestPhys address) const {
    return walk_tables(*this, read_word, root, address);
  }

  /// There is no contiguous bit.
  constexpr unsigned contiguous_entries(Level) const { return 1; }
  constexpr const char* contiguous_fault(Level, std::span<const Entry>, GuestPhys) const { return nullptr; }

 private:
  static constexpr Entry addresses() { return (1ull << 52) - 0x1000; }

  constexpr Prot executable(Entry entry) const {
    if (!has_.mode_based_execute) return bit(entry, 2) ? Prot::x : Prot::none;
    return (bit(entry, 2) ? Prot::x_supervisor : Prot::none) | (bit(entry, 10) ? Prot::x_user : Prot::none);
  }
  constexpr std::uint8_t special(Level level, Entry entry) const {
    auto const on = [&](bool control, unsigned n) { return control && bit(entry, n) ? 1u : 0u; };
    return static_cast<std::uint8_t>(on(has_.verify_paging, 57) | on(has_.paging_write, 58) << 1 |
                                     on(has_.shadow_stack, 60) << 2 | on(has_.sub_page && level == 0, 61) << 3 |
                                     on(has_.ve, 63) << 4);
  }

  constexpr Flaw flaw(Level level, Entry entry, bool is_leaf, const Decoded& out) const {
    if (auto const* const wrong = misconfiguration(level, entry, is_leaf)) return {wrong, Fault::misconfigured};
    if (!has_.house_rules) return {};
    if (!is_leaf && out.rights != Prot::rwx) return {"H3: a table entry must grant all, the leaf decides"};
    if (is_leaf && field(entry, 5, 3) == 0 && (out.rights & Prot::x) != Prot::none)
      return {"H1: device memory is executable"};
    return {};
  }

  constexpr const char* misconfiguration(Level level, Entry entry, bool is_leaf) const {
    if ((entry & addresses()) >> has_.output_bits != 0) return "B1.2: address bits above MAXPHYADDR";
    if (!bit(entry, 0) && bit(entry, 1)) return "B1.2: writable and not readable";
    if (!bit(entry, 0) && !has_.execute_only) return "B1.2: execute-only is not supported";
    if (!is_leaf) {
      if (level >= 3 && field(entry, 7, 3) != 0) return "B1.2: bits 7:3 of this level are reserved";
      return field(entry, 6, 3) != 0 ? "B1.2: bits 6:3 of a table entry are reserved" : nullptr;
    }
    auto const type = field(entry, 5, 3);
    if (level > has_.top_leaf && level != 0) return "B1.2: no leaf of this size on this processor";
    if (level != 0 && field(entry, shape().shift(level) - 1, 12) != 0)
      return "B1.2: address bits below the page size are reserved";
    return type == 2 || type == 3 || type == 7 ? "B1.2: reserved memory type" : nullptr;
  }

  EptFeatures has_;
};

}  // namespace slat::testing
