#pragma once

// Nested page table entries as the processor reads them: [amd/vol2] "Nested paging", over the entries of "Long-mode
// page translation".

#include <slat/testing/reader.hpp>

namespace slat::testing {

struct NptFeatures {
  unsigned levels;           // 4 or 5
  unsigned output_bits;      // physical address bits
  Level top_leaf;            // 2 with 1 GiB leaves
  bool no_execute;           // the host's EFER.NXE
  std::uint64_t pat;         // the host's IA32_PAT
  bool house_rules = false;  // also what only slat demands
};

class NptReader {
 public:
  static constexpr Family family = Family::amd;

  constexpr explicit NptReader(const NptFeatures& features) : has_{features} {}

  constexpr const NptFeatures& features() const { return has_; }
  constexpr Shape shape() const { return {12, has_.levels == 5 ? 57u : 48u, has_.levels - 1}; }
  constexpr bool sets_accessed() const { return true; }
  constexpr bool sets_dirty() const { return true; }
  constexpr bool can_break() const { return false; }
  constexpr bool size_breaks() const { return false; }
  constexpr bool pointers_conflict() const { return false; }
  constexpr bool conflict(const Decoded&, Level, const Decoded&, Level) const { return false; }

  constexpr Entry accessed(Level level, Entry entry) const {
    return decode(level, entry).usable() ? entry | 1u << 5 : entry;
  }
  constexpr Entry written(Level level, Entry entry) const {
    auto const decoded = decode(level, entry);
    return decoded.leaf() && decoded.usable() ? entry | 1u << 6 : entry;
  }

  /// The type that the PAT has where the entry points: 0 UC, 1 WC, 4 WT, 6 WB.
  constexpr bool is(Memory memory, std::uint8_t type) const {
    switch (memory) {
      case Memory::normal: return type == 6;
      case Memory::write_through: return type == 4;
      case Memory::uncached: return type == 1;
      case Memory::device:
      case Memory::device_strict: return type == 0;
    }
    return false;
  }

  constexpr Decoded decode(Level level, Entry entry) const {
    Decoded out;
    if (!bit(entry, 0)) {
      out.kind = entry == 0 ? Decoded::Kind::absent : Decoded::Kind::broken;
      return out;
    }
    auto const is_leaf = level == 0 || (level <= 2 && bit(entry, 7));
    auto const low = is_leaf ? shape().shift(level) : 12;
    out.kind = is_leaf ? Decoded::Kind::leaf : Decoded::Kind::table;
    out.address = HostPhys{field(entry, 51, low) << low};
    // A guest's access is a user's, whatever the guest's own level: where U/S is clear it has no right at all.
    if (bit(entry, 2))
      out.rights = Prot::r | (bit(entry, 1) ? Prot::w : Prot::none) | (bit(entry, 63) ? Prot::none : Prot::x);
    auto const index = field(entry, 4, 3) | std::uint64_t{is_leaf && bit(entry, level == 0 ? 7 : 12)} << 2;
    out.type = static_cast<std::uint8_t>(has_.pat >> 8 * index);
    out.judge(flaw(level, entry, is_leaf, out));
    if (!is_leaf) {
      // What a table's own cacheability is has no part in what it translates.
      out.type = 0;
      return out;
    }
    out.is_accessed = bit(entry, 5);
    out.is_dirty = bit(entry, 6);
    return out;
  }

  /// nCR3, which VMRUN checks.
  constexpr Flaw root_flaw(HostPhys root) const {
    if (root.raw() >> has_.output_bits != 0)
      return {"C3: the root is above the physical addresses", Fault::misconfigured};
    if (!root.aligned_to(shape().granule())) return {"C3: the root is not aligned to 4K", Fault::misconfigured};
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
  constexpr Flaw flaw(Level level, Entry entry, bool is_leaf, const Decoded& out) const {
    if (auto const* const wrong = reserved(level, entry, is_leaf)) return {wrong, Fault::misconfigured};
    // A write of IA32_PAT with such a type faults, so no host has one: the features are wrong.
    if (out.type == 2 || out.type == 3 || out.type > 7) return {"C1: the PAT has no memory type there"};
    return has_.house_rules ? house_flaw(entry, is_leaf, out) : Flaw{};
  }

  /// Bits 11:9 and 62:52 are ignored, protection keys among them, and so is G.
  constexpr const char* reserved(Level level, Entry entry, bool is_leaf) const {
    if (has_.output_bits < 52 && field(entry, 51, has_.output_bits) != 0)
      return "C1: address bits above the physical ones are reserved";
    if (!has_.no_execute && bit(entry, 63)) return "C1: bit 63 is reserved without EFER.NXE";
    // Bit 8 of the two top levels "must be zero"; of the lower tables it is ignored.
    if (!is_leaf) return level >= 3 && field(entry, 8, 7) != 0 ? "C1: bits 8:7 of this level are reserved" : nullptr;
    if (level > has_.top_leaf) return "C1: no leaf of this size on this processor";
    // Bit 12 of a large leaf is the third of the PAT index.
    if (level != 0 && field(entry, shape().shift(level) - 1, 13) != 0)
      return "C1: address bits below the page size are reserved";
    return nullptr;
  }

  constexpr Flaw house_flaw(Entry entry, bool is_leaf, const Decoded& out) const {
    if (!bit(entry, 2)) return {"H9: the entry is the supervisor's, which no guest can use"};
    if (!is_leaf && out.rights != Prot::rwx) return {"H3: a table entry must grant all, the leaf decides"};
    if (!is_leaf && out.type != 6) return {"H5: a table is read past the caches"};
    if (is_leaf && (out.type == 0 || out.type == 7) && (out.rights & Prot::x) != Prot::none)
      return {"H1: device memory is executable"};
    return {};
  }

  NptFeatures has_;
};

}  // namespace slat::testing
