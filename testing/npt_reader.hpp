#pragma once

// Nested page table entries as the processor reads them: [amd/vol2] "Nested paging".

#include <slat/testing/reader.hpp>

namespace slat::testing {

struct NptFeatures {
  unsigned levels;       // 4 or 5
  unsigned output_bits;  // physical address bits
  Level top_leaf;        // 2 with 1 GiB leaves
  bool no_execute;       // the host's EFER.NXE
  std::uint64_t pat;     // the host's IA32_PAT
};

class NptReader {
 public:
  constexpr explicit NptReader(const NptFeatures& features) : has_{features} {}

  constexpr Shape shape() const { return {12, has_.levels == 5 ? 57u : 48u, has_.levels - 1}; }
  constexpr bool sets_accessed() const { return true; }
  constexpr bool sets_dirty() const { return true; }
  constexpr bool can_break() const { return false; }
  constexpr bool size_breaks() const { return false; }
  constexpr bool pointers_conflict() const { return false; }
  constexpr bool conflict(const Decoded&, Level, const Decoded&, Level) const { return false; }

  constexpr Entry accessed(Level level, Entry entry) const {
    return decode(level, entry).valid() ? entry | 1u << 5 : entry;
  }
  constexpr Entry written(Level level, Entry entry) const {
    return decode(level, entry).leaf() ? entry | 1u << 6 : entry;
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
    out.rights = Prot::r | (bit(entry, 1) ? Prot::w : Prot::none) | (bit(entry, 63) ? Prot::none : Prot::x);
    auto const index = field(entry, 4, 3) | std::uint64_t{is_leaf && bit(entry, level == 0 ? 7 : 12)} << 2;
    out.type = static_cast<std::uint8_t>(has_.pat >> 8 * index);
    if (auto const* const wrong = fault(level, entry, is_leaf, out)) out.wrong = wrong;
    if (!is_leaf) {
      // What a table's own cacheability is has no part in what it translates.
      out.type = 0;
      return out;
    }
    out.is_accessed = bit(entry, 5);
    out.is_dirty = bit(entry, 6);
    return out;
  }

 private:
  constexpr const char* fault(Level level, Entry entry, bool is_leaf, const Decoded& out) const {
    if (out.address.raw() >> has_.output_bits != 0) return "C1: address bits above the physical ones";
    if (!bit(entry, 2)) return "C1: a guest's access is a user's, and the entry is the supervisor's";
    if (!has_.no_execute && bit(entry, 63)) return "C1: bit 63 is reserved without EFER.NXE";
    if (!is_leaf) {
      if (level >= 3 && field(entry, 8, 7) != 0) return "C1: bits 8:7 of this level are reserved";
      if (out.rights != Prot::rwx) return "a table entry must grant all, the leaf decides (a rule of slat)";
      if (out.type != 6) return "a table is read past the caches (a rule of slat)";
      return nullptr;
    }
    if (level > has_.top_leaf) return "C1: no leaf of this size on this processor";
    if (level != 0 && field(entry, shape().shift(level) - 1, 13) != 0)
      return "C1: address bits below the page size are reserved";
    if (out.type == 2 || out.type == 3 || out.type > 7) return "C1: the PAT has no memory type there";
    if ((out.type == 0 || out.type == 7) && (out.rights & Prot::x) != Prot::none) return "device memory is executable";
    return nullptr;
  }

  NptFeatures has_;
};

}  // namespace slat::testing
