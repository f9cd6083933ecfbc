#pragma once

// VMSAv8-64 stage-2 descriptors as a TableFormat: 4K, 16K and 64K granules, 48-bit output addresses.
//
//   63   59 58 57 56 55 54 53 52 51 50  48 47            12 11 10 9  8 7  6 5      2 1    0
//   | 0    |SD|WI| user|  XN | 0|DBM| 0   |  output address |0|AF| SH |S2AP|MemAttr |page|valid|
//
// Arm numbers the levels downwards: its level 3, the pages, is level 0 here, and its level 0 is level 3.
//
// The contiguous bit (52) is never set: what sets it must break whole groups of entries. LPA and LPA2 (output addresses
// above 48 bits, level-0 blocks) are not used either, and such addresses are refused.
//
// [arm/a-profile] D8, "VMSAv8-64 translation table format descriptors" and the sections named below.

#include <slat/arch/aarch64/features.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/result.hpp>

namespace slat::aarch64 {

/// What the caller wants of a stage 2. What the CPU lacks is left out; none of it has to be known in advance.
struct Stage2Options {
  unsigned ipa_bits = 40;         // guest addresses have this many bits
  bool concatenate = true;        // up to 16 root tables side by side, where that saves a level
  bool hardware_accessed = true;  // VTCR_EL2.HA
  bool hardware_dirty = true;     // VTCR_EL2.HD; it needs HA
  bool force_write_back = true;   // HCR_EL2.FWB: normal memory is write-back whatever the guest asks for
};

/// The format for one guest on one machine. VTCR_EL2 and HCR_EL2 must hold what registers.hpp computes from it.
///
/// How it tracks dirty pages, S2AP[1] being the write right:
/// - with hardware dirty state, DBM says "writable" and hardware sets S2AP[1] at the first write: a leaf is born clean;
/// - without, a software bit remembers that the leaf is writable, S2AP[1] is there from the start, so that a writable
/// leaf
///   is dirty by nature, and cleaning it write-protects it.
/// Either way S2AP[1] means "dirty", and where it must go from a dirty leaf a second software bit keeps the mark.
template <Granule G = Granule::k4>
class Stage2 {
 public:
  /// The bits of an entry that have names, as the drawing above shows them.
  /// @{
  static constexpr Entry valid = 1ull << 0;
  static constexpr Entry table_or_page = 1ull << 1;  // 0 is a block; at level 0 it must be 1
  static constexpr Entry s2ap_r = 1ull << 6;
  static constexpr Entry s2ap_w = 1ull << 7;
  static constexpr Entry inner_shareable = 0b11ull << 8;
  static constexpr Entry accessed = 1ull << 10;
  static constexpr Entry dirty_modifier = 1ull << 51;
  static constexpr Entry write_intent = 1ull << 57;    // software: writable, where hardware does not track dirty
  static constexpr Entry software_dirty = 1ull << 58;  // software: was dirty when it lost the write right
  /// @}

  /// The shape of the tree and the features to use. Refused: a granule that the CPU lacks at stage 2; guest addresses
  /// longer than its physical ones, or shorter than VTCR_EL2.T0SZ can say.
  static constexpr Result<Stage2> create(const Features& cpu, const Stage2Options& options) {
    if (!cpu.supports(G)) return Error{Errc::unsupported, Argument::granule, std::uint64_t{1} << bits};
    // T0SZ is at most 39, or 48 with FEAT_TTST (47 for 64K).
    auto const shortest = !cpu.small_tables ? 25u : G == Granule::k64 ? 17u : 16u;
    auto const output_bits = cpu.pa_bits < 48 ? cpu.pa_bits : 48;
    if (options.ipa_bits < shortest || options.ipa_bits > output_bits)
      return Error{Errc::out_of_range, Argument::input_bits, options.ipa_bits};
    return Stage2{cpu, options};
  }

  /// What TableFormat asks for, with what is particular to this format.
  /// @{
  constexpr Geometry geometry() const {
    return {bits, index_bits, geometry_.root_bits, geometry_.root, geometry_.top_leaf};
  }
  constexpr unsigned output_bits() const { return pa_bits_ < 48 ? pa_bits_ : 48; }
  /// What the CPU has, which may be more than output_bits(): VTCR_EL2.PS wants to know.
  constexpr unsigned pa_bits() const { return pa_bits_; }
  /// Whether HCR_EL2.FWB must be set for what leaf() writes.
  constexpr bool forces_write_back() const { return fwb_; }

  /// No write-through, no executable device memory; one kind of execution without the other only with FEAT_XNX.
  constexpr bool supports(const Attr& a) const {
    auto const x = a.prot & Prot::x;
    if (!a.is_known() || a.memory == Memory::write_through) return false;
    if (is_device(a.memory) && x != Prot::none) return false;
    return xnx_ || x == Prot::none || x == Prot::x;
  }
  constexpr Level top_leaf(const Attr&) const { return geometry_.top_leaf; }

  constexpr Entry leaf(Level l, HostPhys pa, const Attr& a) const {
    return pa.raw() | (l == 0 ? table_or_page : 0) | encode(a.memory) | encode(a.prot) | inner_shareable |
           (hardware_accessed_ ? 0 : accessed) | Entry{a.software} << software_shift | valid;
  }
  constexpr Entry table(Level, HostPhys pa) const { return pa.raw() | table_or_page | valid; }

  constexpr Kind kind(Level l, Entry e) const {
    if ((e & valid) != 0) return is_table(l, e) ? Kind::table : Kind::leaf;
    return e == 0 ? Kind::absent : Kind::broken;
  }
  constexpr HostPhys address(Level l, Entry e) const {
    return HostPhys{e & (is_table(l, e) ? output : address_bits(l))};
  }
  constexpr Entry address_bits(Level l) const { return output & ~Entry{0} << (bits + l * index_bits); }
  constexpr Attr attr(Level, Entry e) const {
    auto prot = execution(e);
    if (e & s2ap_r) prot = prot | Prot::r;
    if (e & (s2ap_w | dirty_modifier | write_intent)) prot = prot | Prot::w;
    return {prot, memory(e), static_cast<std::uint16_t>(e >> software_shift & 3)};
  }
  /// Exactly what slat writes: so an entry with the contiguous bit, nT or an unused attribute is not.
  constexpr bool well_formed(Level l, Entry e) const {
    if (e == 0) return true;
    e = mended(e);
    auto const pa = address(l, e);
    if (pa.raw() >> output_bits() != 0) return false;
    if (is_table(l, e)) return e == table(l, pa);
    auto const a = attr(l, e);
    auto const moving = software_dirty | (hardware_accessed_ ? accessed : 0) | (a.allows(Prot::w) ? s2ap_w : 0);
    return l <= geometry_.top_leaf && supports(a) && ((leaf(l, pa, a) ^ e) & ~moving) == 0;
  }

  constexpr Entry child(Level l, Entry e, std::size_t i) const {
    return (e + (Entry{i} << geometry().shift(l - 1))) | (l == 1 ? table_or_page : 0);
  }
  constexpr Entry parent(Level, Entry e) const { return e & ~table_or_page; }
  constexpr Entry recast(Level l, Entry e, const Attr& a) const {
    auto const keeps_right = a.allows(Prot::w) && attr(l, e).allows(Prot::w);
    auto const loses_mark = !a.allows(Prot::w) && (e & s2ap_w) != 0;
    auto const kept = valid | accessed | software_dirty | (keeps_right ? s2ap_w : 0);
    return (leaf(l, address(l, e), a) & ~kept) | (e & kept) | (loses_mark ? software_dirty : 0);
  }

  /// Without hardware's help every leaf counts as accessed.
  constexpr Age age(Level, Entry e) const { return {(e & accessed) != 0, (e & (s2ap_w | software_dirty)) != 0}; }
  constexpr Entry aged(Level, Entry e, Age age) const {
    if (age.accessed) e |= accessed;
    if (age.dirty && (e & s2ap_w) == 0) e |= tracks(e) ? s2ap_w : software_dirty;
    return e;
  }
  constexpr Entry cleared(Level, Entry e, Age age) const {
    return e & ~((age.accessed && hardware_accessed_ ? accessed : 0) | (age.dirty ? s2ap_w | software_dirty : 0));
  }
  constexpr Entry plain(Level, Entry e) const {
    return e & ~(software_dirty | (hardware_accessed_ ? accessed : 0) | (tracks(e) ? s2ap_w : 0));
  }
  constexpr Age hardware_age() const { return {hardware_accessed_, hardware_dirty_}; }
  constexpr Age harvestable() const { return {hardware_accessed_, true}; }

  constexpr bool permits(Level, Entry e, Prot want) const { return allows(effective(e), want); }
  constexpr Entry unprotected(Level, Entry e) const { return e | ((e & write_intent) != 0 ? s2ap_w : 0); }

  /// [arm/a-profile] D8, "Using break-before-make when updating translation table entries": a change of size, address,
  /// memory type or shareability breaks; rights, AF, DBM and software bits change in place, and what may now be cached
  /// too widely is invalidated. FEAT_BBM level 2 lets the size alone change in place.
  constexpr Swap swap(Level l, Entry old, Entry next) const {
    constexpr Entry in_place = s2ap_r | s2ap_w | accessed | dirty_modifier | execute_never | software;
    if (old == 0 || old == next) return Swap::free;
    if (next == 0) return Swap::flush;
    if (is_table(l, old) != is_table(l, next)) return resizes_live_ ? Swap::flush : Swap::break_;
    if (is_table(l, old) || ((old ^ next) & ~in_place) != 0) return Swap::break_;
    // A cached entry that is marked dirty or accessed would never mark memory again.
    auto const loses_mark = (old & ~next & (s2ap_w | accessed)) != 0;
    return loses_mark || !allows(effective(next), effective(old)) ? Swap::flush : Swap::free;
  }
  constexpr bool can_break() const { return true; }
  constexpr Entry broken(Entry e) const { return e & ~valid; }
  constexpr Entry mended(Entry e) const { return e == 0 ? 0 : e | valid; }
  /// @}

 private:
  static constexpr unsigned bits = page_bits(G);
  static constexpr unsigned index_bits = bits - 3;
  static constexpr unsigned software_shift = 55;
  static constexpr Entry software = 0b1111ull << software_shift;
  static constexpr Entry execute_never = 0b11ull << 53;
  static constexpr Entry memattr = 0b1111ull << 2;
  static constexpr Entry output = (1ull << 48) - (1ull << bits);

  constexpr Stage2(const Features& cpu, const Stage2Options& options)
      : geometry_{shape(cpu, options)},
        pa_bits_{cpu.pa_bits},
        hardware_accessed_{options.hardware_accessed && cpu.hardware_accessed},
        hardware_dirty_{hardware_accessed_ && options.hardware_dirty && cpu.hardware_dirty},
        xnx_{cpu.xnx},
        fwb_{options.force_write_back && cpu.fwb},
        resizes_live_{cpu.bbm == 2} {}

  // The lowest root level whose one table, or 16 concatenated ones, hold the input. A CPU with short physical addresses
  // lacks the highest start level; then concatenation is not a choice. [arm/a-profile] D8, "Concatenated translation
  // tables", VTCR_EL2.SL0.
  static constexpr Geometry shape(const Features& cpu, const Stage2Options& options) {
    Level const lowest = G == Granule::k4 && !cpu.small_tables ? 1 : 0;
    Level const highest = G == Granule::k4                              ? (cpu.pa_bits > 42 ? 3 : 2)
                          : cpu.pa_bits > (G == Granule::k16 ? 40 : 42) ? 2
                                                                        : 1;
    constexpr Level largest_block = G == Granule::k4 ? 2 : 1;
    auto const widest = index_bits + (options.concatenate ? 4 : 0);
    auto root = lowest;
    while (root < highest && options.ipa_bits > bits + root * index_bits + widest) ++root;
    auto const root_bits = options.ipa_bits - bits - root * index_bits;
    return {bits, index_bits, root_bits, root, root < largest_block ? root : largest_block};
  }

  static constexpr bool is_table(Level l, Entry e) { return l != 0 && (e & table_or_page) != 0; }
  // True of a leaf whose S2AP[1] hardware sets.
  constexpr bool tracks(Entry e) const { return hardware_dirty_ && (e & dirty_modifier) != 0; }

  // MemAttr[3:0]. With FWB it is no longer combined with the guest's own choice, and write-back has another number.
  constexpr Entry encode(Memory m) const {
    switch (m) {
      case Memory::normal: return fwb_ ? 0b0110ull << 2 : 0b1111ull << 2;
      case Memory::uncached: return 0b0101ull << 2;
      case Memory::device: return 0b0001ull << 2;
      case Memory::write_through:
      case Memory::device_strict: break;
    }
    return 0;
  }
  constexpr Memory memory(Entry e) const {
    for (auto m : {Memory::normal, Memory::uncached, Memory::device})
      if ((e & memattr) == encode(m)) return m;
    return Memory::device_strict;
  }

  constexpr Entry encode(Prot prot) const {
    auto const x = prot & Prot::x;
    Entry const never = x == Prot::x ? 0b00 : x == Prot::none ? 0b10 : x == Prot::x_user ? 0b01 : 0b11;
    return (allows(prot, Prot::r) ? s2ap_r : 0) | never << 53 |
           (!allows(prot, Prot::w) ? 0
            : hardware_dirty_      ? dirty_modifier
                                   : s2ap_w | write_intent);
  }
  // XN[1:0]. Without FEAT_XNX only the upper bit acts.
  constexpr Prot execution(Entry e) const {
    switch (e >> 53 & (xnx_ ? 0b11 : 0b10)) {
      case 0b00: return Prot::x;
      case 0b01: return Prot::x_user;
      case 0b11: return Prot::x_supervisor;
      default: return Prot::none;
    }
  }
  // What hardware allows with the entry as it stands.
  constexpr Prot effective(Entry e) const {
    if (!hardware_accessed_ && (e & accessed) == 0) return Prot::none;
    auto const prot = execution(e) | ((e & s2ap_r) != 0 ? Prot::r : Prot::none);
    return (e & s2ap_w) != 0 || tracks(e) ? prot | Prot::w : prot;
  }

  Geometry geometry_;
  unsigned pa_bits_;
  bool hardware_accessed_;
  bool hardware_dirty_;
  bool xnx_;
  bool fwb_;
  bool resizes_live_;
};

static_assert(TableFormat<Stage2<Granule::k4>>);
static_assert(TableFormat<Stage2<Granule::k16>>);
static_assert(TableFormat<Stage2<Granule::k64>>);

namespace detail {
// Words put together by hand from the register descriptions, for a CPU without and one with the features that matter.
inline constexpr auto plain_stage2 = *Stage2<>::create({.pa_bits = 48, .granule_4k = true}, {});
inline constexpr auto full_stage2 = *Stage2<>::create(
    {.pa_bits = 48, .granule_4k = true, .hardware_accessed = true, .hardware_dirty = true, .xnx = true, .fwb = true},
    {});
static_assert(plain_stage2.leaf(0, HostPhys{0x8000'0000}, rwx) == 0x0200'0000'8000'07FF);
static_assert(plain_stage2.leaf(1, HostPhys{0x8020'0000}, ro) == 0x0040'0000'8020'077D);
static_assert(plain_stage2.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device) == 0x0240'0000'0900'07C7);
static_assert(plain_stage2.table(1, HostPhys{0x8000'1000}) == 0x0000'0000'8000'1003);
static_assert(full_stage2.leaf(0, HostPhys{0x8000'0000}, rwx) == 0x0008'0000'8000'035B);
static_assert(full_stage2.leaf(0, HostPhys{0x8000'0000}, {Prot::r | Prot::x_user}) == 0x0020'0000'8000'035B);
static_assert(full_stage2.leaf(0, HostPhys{0x8000'0000}, {Prot::r | Prot::x_supervisor}) == 0x0060'0000'8000'035B);
}  // namespace detail

}  // namespace slat::aarch64
