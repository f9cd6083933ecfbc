#pragma once

// Arm stage-2 descriptors as the table walker reads them: VMSAv8-64 with 48-bit descriptors, so without FEAT_LPA's and
// FEAT_LPA2's longer addresses. Where those would have address bits, that is what the complaint says.
//
// Levels count from the page up: the manual's level 3 is 0 here.
//
// [arm/a-profile] D8, "VMSAv8-64 translation table format descriptors": "Table descriptor format", "Block descriptor
// and Page descriptor formats"; and the sections named below. What the manual calls RES0 is 0 for software to write
// and, so far, for hardware to ignore: a complaint without a fault.

#include <algorithm>

#include <slat/testing/reader.hpp>

namespace slat::testing {

struct ArmFeatures {
  unsigned granule_bits;     // 12, 14 or 16
  unsigned input_bits;       // the IPA size
  Level root;                // where walks start: 0 is the manual's level 3
  unsigned output_bits;      // VTCR_EL2.PS in bits, 48 at most
  bool fwb = false;          // HCR_EL2.FWB
  bool xnx = false;          // FEAT_XNX
  bool ha = false;           // VTCR_EL2.HA: hardware sets the access flag
  bool hd = false;           // VTCR_EL2.HD: and, where DBM is set, S2AP[1]
  unsigned bbm = 0;          // FEAT_BBM level; conflict() takes level 1 as 0
  bool xs = false;           // FEAT_XS: bit 11 is FnXS
  bool house_rules = false;  // also what only slat demands
};

class ArmReader {
 public:
  static constexpr Family family = Family::arm;

  constexpr explicit ArmReader(const ArmFeatures& features) : has_{features} {}

  constexpr const ArmFeatures& features() const { return has_; }
  constexpr Shape shape() const { return {has_.granule_bits, has_.input_bits, has_.root}; }
  constexpr bool sets_accessed() const { return has_.ha; }
  constexpr bool sets_dirty() const { return has_.hd; }
  constexpr bool can_break() const { return true; }
  constexpr bool size_breaks() const { return has_.bbm < 2; }
  constexpr bool pointers_conflict() const { return true; }
  /// Same address, same type; the same size too below FEAT_BBM level 2. The contiguous bit makes a size of its own.
  constexpr bool conflict(const Decoded& a, Level a_level, const Decoded& b, Level b_level) const {
    auto const resized = a_level != b_level || a.contiguous != b.contiguous;
    return a.address != b.address || a.type != b.type || (size_breaks() && resized);
  }

  constexpr Entry accessed(Level level, Entry entry) const {
    // There is no access flag in a table descriptor.
    auto const decoded = decode(level, entry);
    return has_.ha && decoded.leaf() && decoded.usable() ? entry | 1ull << 10 : entry;
  }
  constexpr Entry written(Level level, Entry entry) const {
    auto const decoded = decode(level, entry);
    return has_.hd && bit(entry, 51) && decoded.leaf() && decoded.usable() ? entry | 1ull << 7 : entry;
  }

  /// The type code is SH in bits 5:4 and MemAttr in 3:0.
  constexpr bool is(Memory memory, std::uint8_t type) const {
    auto const attributes = type & 0xf;
    switch (memory) {
      // Forced to write-back where FWB lets stage 2 decide alone.
      case Memory::normal:
        return attributes == (has_.fwb ? 0b0110 : 0b1111) && (!has_.house_rules || type >> 4 == 0b11);
      case Memory::uncached: return attributes == 0b0101;
      case Memory::device: return attributes == 0b0001;
      case Memory::device_strict: return attributes == 0b0000;
      case Memory::write_through: return false;
    }
    return false;
  }

  /// `special` is FnXS, where there is FEAT_XS.
  constexpr Decoded decode(Level level, Entry entry) const {
    Decoded out;
    if (entry == 0) return out;
    auto const is_table = level != 0 && bit(entry, 1);
    if (!bit(entry, 0) || (level == 0 && !bit(entry, 1)) || (!is_table && level > top_block())) {
      out.kind = Decoded::Kind::broken;
      // Both are "reserved, treated as invalid".
      if (bit(entry, 0))
        out.wrong = level == 0 ? "A4.1: 0b01 at the last level is reserved" : "A4.7: no block at this level";
      return out;
    }
    auto const low = is_table ? has_.granule_bits : shape().shift(level);
    out.address = HostPhys{field(entry, 47, low) << low};
    if (is_table) {
      out.kind = Decoded::Kind::table;
      // "Hierarchical control of access permissions" is of stage 1: a table takes no right away.
      out.rights = Prot::rwx;
      out.judge(table_flaw(entry));
      return out;
    }
    out.kind = Decoded::Kind::leaf;
    // "Stage 2 data accesses permissions". DBM is ignored while VTCR_EL2.HD is 0.
    auto const write = bit(entry, 7);
    auto const tracked = has_.hd && bit(entry, 51);
    out.rights = (bit(entry, 6) ? Prot::r : Prot::none) | (write || tracked ? Prot::w : Prot::none) | executable(entry);
    out.type = static_cast<std::uint8_t>(field(entry, 9, 8) << 4 | field(entry, 5, 2));
    out.is_accessed = bit(entry, 10);
    out.is_dirty = write;
    out.contiguous = bit(entry, 52);
    out.special = has_.xs && bit(entry, 11) ? 1 : 0;
    out.judge(leaf_flaw(level, entry, out));
    return out;
  }

  /// VTTBR_EL2.BADDR. Tables that are concatenated are aligned to their common size.
  constexpr Flaw root_flaw(HostPhys root) const {
    if (root.raw() >> has_.output_bits != 0) return {"A4.10: the root is out of range", Fault::address_size};
    if (!root.aligned_to(shape().root_entries() * sizeof(Entry))) return {"A4.9: the root is not aligned to its size"};
    return {};
  }

  template <class ReadWord>
  constexpr Walk walk(ReadWord&& read_word, HostPhys root, GuestPhys address) const {
    return walk_tables(*this, read_word, root, address);
  }

  /// "The Contiguous bit": for each granule, at the levels that have leaves.
  constexpr unsigned contiguous_entries(Level level) const {
    if (level > top_block()) return 1;
    if (has_.granule_bits == 12) return 16;
    return has_.granule_bits == 14 && level == 0 ? 128 : 32;
  }

  /// `set` is the aligned set that an entry with the contiguous bit belongs to, `first` the input address of its first.
  /// For a set that breaks the rules, a TLB may give what any of its entries says; without FEAT_BBM also what none of
  /// them says; or a TLB conflict abort.
  constexpr const char* contiguous_fault(Level level, std::span<const Entry> set, GuestPhys first) const {
    auto const joined = [&](Entry entry) { return decode(level, entry).contiguous; };
    if (std::none_of(set.begin(), set.end(), joined)) return nullptr;
    auto const span = shape().span(level);
    auto const size = span * contiguous_entries(level);
    if (set.size() * span != size || !first.aligned_to(size)) return "A4.5: not an aligned set of its level";
    // Some processors answer this with a Translation fault.
    if (first.raw() + size > shape().input_size()) return "A4.5: the set reaches beyond the input size";
    auto complete = true;
    const Entry* like = nullptr;  // the first that is valid
    for (std::size_t i = 0; i != set.size(); ++i) {
      auto const decoded = decode(level, set[i]);
      if (!decoded.valid()) {
        complete = false;
        continue;
      }
      if (!decoded.contiguous) return unlike_set;
      if (!(decoded.address - i * span).aligned_to(size))
        return "A4.5: an output address is out of place in an aligned set";
      if (like == nullptr) like = &set[i];
      if (shared(set[i], level) != shared(*like, level)) return "A4.5: the set's attributes are not the same";
      if (decode(level, *like).address.down_to(size) != decoded.address.down_to(size))
        return "A4.5: the set's output addresses are not contiguous";
    }
    return complete ? nullptr : incomplete_set;
  }

 private:
  /// XN[1:0] is 54:53; without FEAT_XNX only bit 54 acts. "Stage 2 instruction execution permissions".
  constexpr Prot executable(Entry entry) const {
    if (!has_.xnx) return bit(entry, 54) ? Prot::none : Prot::x;
    switch (field(entry, 54, 53)) {
      case 0b00: return Prot::x;
      case 0b01: return Prot::x_user;
      case 0b11: return Prot::x_supervisor;
      default: return Prot::none;
    }
  }
  /// Larger ones come with FEAT_LPA and FEAT_LPA2.
  constexpr unsigned top_block() const { return has_.granule_bits == 12 ? 2 : 1; }
  constexpr bool is_device(Entry entry) const { return has_.fwb ? field(entry, 5, 2) < 4 : field(entry, 5, 4) == 0; }

  /// What members of a contiguous set have in common: not where they go, not what software keeps, and not what hardware
  /// marks in one of them alone.
  constexpr Entry shared(Entry entry, Level level) const {
    auto const address = (1ull << 48) - shape().span(level);
    auto const marks = (has_.ha ? 1ull << 10 : 0) | (has_.hd && bit(entry, 51) ? 1ull << 7 : 0);
    return entry & ~(address | marks | 0xfull << 55);
  }

  /// Of table, block and page descriptors.
  constexpr Flaw address_flaw(Entry entry) const {
    auto const is_64k = has_.granule_bits == 16;
    if (is_64k ? field(entry, 15, 12) != 0 : field(entry, 49, 48) != 0)
      return {
          "A4.8: an address above 48 bits, if this is FEAT_LPA or "
          "FEAT_LPA2, which are not read here"};
    if (field(entry, 50, 48) != 0) return {"A4.1: bits 50:48 are reserved"};
    return {};
  }
  constexpr bool out_of_range(Entry entry) const {
    return has_.output_bits < 48 && field(entry, 47, has_.output_bits) != 0;
  }

  constexpr Flaw table_flaw(Entry entry) const {
    if (out_of_range(entry)) return {"A4.10: the table's address is out of range", Fault::address_size};
    if (auto const flaw = address_flaw(entry); flaw.found()) return flaw;
    if (has_.granule_bits > 12 && field(entry, has_.granule_bits - 1, 12) != 0)
      return {"A4.7: address bits below the granule are reserved"};
    // The attributes there are of stage 1. Bits 58:51 and 11:2 are ignored.
    if (field(entry, 63, 59) != 0) return {"A4.1: bits 63:59 of a table descriptor are reserved at stage 2"};
    return {};
  }

  constexpr Flaw leaf_flaw(Level level, Entry entry, const Decoded& leaf) const {
    if (out_of_range(entry)) return {"A4.10: the output address is out of range", Fault::address_size};
    if (!has_.ha && !leaf.is_accessed)
      return {has_.house_rules ? "H8: the access flag is clear and hardware does not set it" : nullptr,
              Fault::access_flag};
    if (auto const flaw = address_flaw(entry); flaw.found()) return flaw;
    auto const low = shape().shift(level);
    if (level != 0 && (field(entry, low - 1, 17) != 0 || field(entry, 15, 12) != 0))
      return {"A4.7: address bits below the block size are reserved"};
    if (level == 0 && low > 12 && field(entry, low - 1, 12) != 0)
      return {"A4.7: address bits below the granule are reserved"};
    // A processor with FEAT_BBM may take a Translation fault for nT, or not.
    if (level != 0 && bit(entry, 16) && has_.bbm == 0) return {"A4.7: nT (bit 16) is reserved without FEAT_BBM"};
    if (bit(entry, 11) && !has_.xs) return {"A4.1: bit 11 is reserved without FEAT_XS"};
    if (field(entry, 9, 8) == 0b01) return {"A4.1: SH 0b01 is reserved"};
    auto const attributes = field(entry, 5, 2);
    if (has_.fwb && (attributes >= 8 || attributes == 4)) return {"A4.3: reserved MemAttr with FWB"};
    if (!has_.fwb && attributes >= 4 && (attributes & 3) == 0) return {"A4.3: reserved MemAttr"};
    if (!has_.xnx && bit(entry, 53)) return {"A4.2: bit 53 is reserved without FEAT_XNX"};
    return has_.house_rules ? house_flaw(level, entry, leaf) : Flaw{};
  }

  constexpr Flaw house_flaw(Level level, Entry entry, const Decoded& leaf) const {
    if (is_device(entry) && (leaf.rights & Prot::x) != Prot::none) return {"H1: device memory is executable"};
    if (!is_device(entry) && field(entry, 9, 8) != 0b11) return {"H2: memory is not inner shareable"};
    if (bit(entry, 52)) return {"H6: the contiguous bit is set"};
    if (level != 0 && bit(entry, 16)) return {"H7: nT is set"};
    return {};
  }

  ArmFeatures has_;
};

}  // namespace slat::testing
