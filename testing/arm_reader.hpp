#pragma once

// Arm stage-2 descriptors as the table walker reads them: [arm/a-profile] D8, VMSAv8-64 with 48-bit descriptors.

#include <slat/testing/reader.hpp>

namespace slat::testing {

struct ArmFeatures {
  unsigned granule_bits;  // 12, 14 or 16
  unsigned input_bits;    // the IPA size
  Level root;             // where walks start: 0 is the manual's level 3
  unsigned output_bits;   // 48 at most
  bool fwb;               // HCR_EL2.FWB
  bool xnx;               // FEAT_XNX
  bool ha;                // VTCR_EL2.HA: hardware sets the access flag
  bool hd;                // VTCR_EL2.HD: and, where DBM is set, S2AP[1]
  unsigned bbm;           // FEAT_BBM level
};

class ArmReader {
 public:
  constexpr explicit ArmReader(const ArmFeatures& features) : has_{features} {}

  constexpr Shape shape() const { return {has_.granule_bits, has_.input_bits, has_.root}; }
  constexpr bool sets_accessed() const { return has_.ha; }
  constexpr bool sets_dirty() const { return has_.hd; }
  constexpr bool can_break() const { return true; }
  constexpr bool size_breaks() const { return has_.bbm < 2; }
  constexpr bool pointers_conflict() const { return true; }
  /// Same address, same type; the same size too below FEAT_BBM level 2.
  constexpr bool conflict(const Decoded& a, Level a_level, const Decoded& b, Level b_level) const {
    return a.address != b.address || a.type != b.type || (size_breaks() && a_level != b_level);
  }

  constexpr Entry accessed(Level level, Entry entry) const {
    // There is no access flag in a table descriptor.
    return has_.ha && decode(level, entry).leaf() ? entry | 1ull << 10 : entry;
  }
  constexpr Entry written(Level level, Entry entry) const {
    return has_.hd && bit(entry, 51) && decode(level, entry).leaf() ? entry | 1ull << 7 : entry;
  }

  constexpr bool is(Memory memory, std::uint8_t type) const {
    switch (memory) {
      // Inner shareable; forced to write-back where FWB lets stage 2 decide alone.
      case Memory::normal: return type == (0b11 << 4 | (has_.fwb ? 0b0110 : 0b1111));
      case Memory::uncached: return (type & 0xf) == 0b0101;
      case Memory::device: return (type & 0xf) == 0b0001;
      case Memory::device_strict: return (type & 0xf) == 0b0000;
      case Memory::write_through: return false;
    }
    return false;
  }

  constexpr Decoded decode(Level level, Entry entry) const {
    Decoded out;
    if (!bit(entry, 0)) {
      out.kind = entry == 0 ? Decoded::Kind::absent : Decoded::Kind::broken;
      return out;
    }
    if (level == 0 && !bit(entry, 1)) {
      out.kind = Decoded::Kind::broken;  // reserved: faults
      out.wrong = "A4.1: 0b01 at the last level is reserved";
      return out;
    }
    auto const is_table = level != 0 && bit(entry, 1);
    auto const low = is_table ? has_.granule_bits : shape().shift(level);
    out.kind = is_table ? Decoded::Kind::table : Decoded::Kind::leaf;
    out.address = HostPhys{field(entry, 47, low) << low};
    if (field(entry, 50, 48) != 0) out.wrong = "A4.1: bits 50:48 are reserved";
    if (out.address.raw() >> has_.output_bits != 0) out.wrong = "A4.10: the output address is out of range";
    if (has_.granule_bits > 12 && field(entry, has_.granule_bits - 1, 12) != 0)
      out.wrong = "A4.7: address bits below the granule are reserved";
    if (is_table) return out;

    auto const read = bit(entry, 6);
    auto const write = bit(entry, 7);
    auto const tracked = has_.hd && bit(entry, 51);
    out.rights = (read ? Prot::r : Prot::none) | (write || tracked ? Prot::w : Prot::none) | executable(entry);
    out.type = static_cast<std::uint8_t>(field(entry, 9, 8) << 4 | field(entry, 5, 2));
    out.is_accessed = bit(entry, 10);
    out.is_dirty = write;
    if (auto const* const wrong = leaf_fault(level, entry, out)) out.wrong = wrong;
    return out;
  }

 private:
  /// XN[1:0] is 54:53; without FEAT_XNX only bit 54 acts.
  constexpr Prot executable(Entry entry) const {
    if (!has_.xnx) return bit(entry, 54) ? Prot::none : Prot::x;
    switch (field(entry, 54, 53)) {
      case 0b00: return Prot::x;
      case 0b01: return Prot::x_user;
      case 0b11: return Prot::x_supervisor;
      default: return Prot::none;
    }
  }
  constexpr unsigned top_block() const { return has_.granule_bits == 12 ? 2 : 1; }

  constexpr const char* leaf_fault(Level level, Entry entry, const Decoded& leaf) const {
    auto const attributes = field(entry, 5, 2);
    auto const is_device = has_.fwb ? attributes < 4 : attributes >> 2 == 0;
    if (level > top_block()) return "A4.7: no block at this level";
    // nT is bit 16 of a block; level 1 of FEAT_BBM is used as level 0, so nothing sets it.
    if (level != 0 && field(entry, shape().shift(level) - 1, 12) != 0)
      return "A4.7: address bits below the block size, or nT, are set";
    if (!has_.ha && !bit(entry, 10)) return "A4.6: the access flag is clear and hardware does not set it";
    if (field(entry, 9, 8) == 0b01) return "A4.1: SH 0b01 is reserved";
    if (has_.fwb && (attributes >= 8 || attributes == 4)) return "A4.3: reserved MemAttr with FWB";
    if (!has_.fwb && attributes >= 4 && (attributes & 3) == 0) return "A4.3: reserved MemAttr";
    if (!is_device && field(entry, 9, 8) != 0b11) return "A4.4: memory is not inner shareable";
    if (!has_.xnx && bit(entry, 53)) return "A4.2: bit 53 is reserved without FEAT_XNX";
    if (is_device && (leaf.rights & Prot::x) != Prot::none) return "device memory is executable";
    if (bit(entry, 52)) return "A4.5: the contiguous bit is not modelled";
    return nullptr;
  }

  ArmFeatures has_;
};

}  // namespace slat::testing
