#pragma once

// Intel EPT entries as a TableFormat: 4 and 5 levels, leaves of 4K, 2M and 1G.
//
//   63  62 60 59 57   56   55 54  53 52 51        12 11 10  9  8  7   6    5  3 2 1 0
//   |SVE|  0 | park |strict|SD|WI| user | address   | 0|XU| D| A|leaf|IPAT| MT  |X|W|R|
//
// Where mode-based execute control is on, X is for the guest's supervisor and XU for its user level. Hardware ignores
// bits 62 and 56:52 and 11 of a leaf, and everything but bit 63 in an entry whose R, W, X and XU are clear: a broken
// one parks them.
//
// Bit 63 says that a violation at this entry is a VM exit even where the "EPT-violation #VE" control would make it a
// #VE in the guest. Absent entries are 0: under that control a guest hears itself of what is not mapped.
//
// [intel/vol3] "EPT translation mechanism", "EPT and memory typing", "Convertible EPT violations".

#include <cstdint>

#include <slat/arch/x86_64/features.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/result.hpp>

namespace slat::x86_64 {

/// What the caller wants of an EPT. The last two are left out where the CPU lacks them.
struct EptOptions {
  unsigned levels = 4;             // 4 or 5
  bool small_executable = false;   // executable leaves are 4K, so that no guest can provoke the page-size erratum
  bool suppress_ve = false;        // a right that lacks is a VM exit whatever secondary control 18 (#VE) says
  bool accessed_dirty = true;      // EPTP[6]
  bool mode_based_execute = true;  // secondary control 22
};

/// The format for one guest on one machine.
///
/// How it tracks dirty pages: by the D bit; or, without A/D bits, by the write right, a software bit remembering that
/// the leaf is writable. There a writable leaf is dirty by nature, cleaning it write-protects it, and where the right
/// must go from a dirty leaf a second software bit keeps the mark. With the #VE control on, `suppress_ve` is what
/// brings the faults of that write protection to the hypervisor.
class Ept {
 public:
  /// The bits of an entry that have names, as the drawing above shows them.
  /// @{
  static constexpr Entry read = 1ull << 0;
  static constexpr Entry write = 1ull << 1;
  static constexpr Entry execute = 1ull << 2;
  static constexpr Entry ignore_pat = 1ull << 6;
  static constexpr Entry large = 1ull << 7;
  static constexpr Entry accessed = 1ull << 8;
  static constexpr Entry dirty = 1ull << 9;
  static constexpr Entry execute_user = 1ull << 10;
  static constexpr Entry write_intent = 1ull << 54;    // software: writable, where there is no D bit
  static constexpr Entry software_dirty = 1ull << 55;  // software: was dirty when it lost the write right
  static constexpr Entry strict = 1ull << 56;          // software: asked for as device_strict. EPT has one UC
  static constexpr Entry suppress_ve = 1ull << 63;     // hardware does not look at it in a live table entry
  /// @}

  /// Refused: a depth that the CPU lacks.
  static constexpr Result<Ept> create(const EptFeatures& cpu, const EptOptions& options) {
    auto const has_depth = (options.levels == 4 && cpu.four_levels) || (options.levels == 5 && cpu.five_levels);
    if (!has_depth) return Error{Errc::unsupported, Argument::levels, options.levels};
    return Ept{cpu, options};
  }

  /// What TableFormat asks for, with what is particular to this format.
  /// @{
  constexpr Geometry geometry() const { return {12, 9, 9, root_, top_leaf_}; }
  constexpr unsigned output_bits() const { return pa_bits_; }
  /// Whether secondary control 22 must be set for what leaf() writes.
  constexpr bool mode_based_execute() const { return mode_based_execute_; }
  /// Whether the CPU can walk the tables through its caches: EPTP[2:0].
  constexpr bool write_back_tables() const { return write_back_tables_; }

  /// A write right without the read right is a misconfiguration, and so is nothing but execution where the CPU lacks
  /// it.
  constexpr bool supports(const Attr& a) const {
    auto const x = a.prot & Prot::x;
    if (!a.is_known() || (is_device(a.memory) && x != Prot::none)) return false;
    if (!mode_based_execute_ && x != Prot::none && x != Prot::x) return false;
    return a.allows(Prot::r) || (execute_only_ && x != Prot::none && !a.allows(Prot::w));
  }
  constexpr Level top_leaf(const Attr& a) const {
    return small_executable_ && (a.prot & Prot::x) != Prot::none ? 0 : top_leaf_;
  }

  constexpr Entry leaf(Level l, HostPhys pa, const Attr& a) const {
    return pa.raw() | (l == 0 ? 0 : large) | encode(a.memory) | encode(a.prot) | Entry{a.software} << software_shift |
           silence();
  }
  constexpr Entry table(Level, HostPhys pa) const { return pa.raw() | read | write | encode(Prot::x) | silence(); }

  constexpr Kind kind(Level l, Entry e) const {
    if (is_live(e)) return is_table(l, e) ? Kind::table : Kind::leaf;
    return e == 0 ? Kind::absent : Kind::broken;
  }
  constexpr HostPhys address(Level l, Entry e) const {
    auto const bits = is_table(l, e) ? output : address_bits(l);
    return HostPhys{(e == 0 || is_live(e) ? e : e ^ output) & bits};
  }
  constexpr Entry address_bits(Level l) const { return output & ~Entry{0} << (12 + 9 * l); }
  constexpr Attr attr(Level, Entry e) const {
    e = mended(e);
    auto prot = rights(e);
    if ((e & write_intent) != 0) prot = prot | Prot::w;
    return {prot, memory(e), static_cast<std::uint16_t>(e >> software_shift & 3)};
  }
  /// Exactly what slat writes, which is never a misconfiguration.
  constexpr bool well_formed(Level l, Entry e) const {
    if (e == 0) return true;
    e = mended(e);
    auto const pa = address(l, e);
    if (pa.raw() >> output_bits() != 0) return false;
    if (is_table(l, e)) return (e & ~(marks() & accessed)) == table(l, pa);
    auto const a = attr(l, e);
    auto const moving = marks() | (accessed_dirty_ ? 0 : software_dirty) | (e & write_intent ? write : 0);
    return l <= top_leaf(a) && supports(a) && ((leaf(l, pa, a) ^ e) & ~moving) == 0;
  }

  constexpr Entry child(Level l, Entry e, std::size_t i) const {
    return on_live(e,
                   [&](Entry live) { return (live + (Entry{i} << geometry().shift(l - 1))) & ~(l == 1 ? large : 0); });
  }
  constexpr Entry parent(Level, Entry e) const {
    return on_live(e, [](Entry live) { return live | large; });
  }
  constexpr Entry recast(Level l, Entry e, const Attr& a) const {
    return on_live(e, [&](Entry live) {
      auto const keeps_right = a.allows(Prot::w) && attr(l, live).allows(Prot::w);
      auto const loses_mark = !accessed_dirty_ && !a.allows(Prot::w) && (live & write) != 0;
      auto const kept = marks() | software_dirty | (keeps_right ? write : 0);
      return (leaf(l, address(l, live), a) & ~kept) | (live & kept) | (loses_mark ? software_dirty : 0);
    });
  }

  /// Without A/D bits every leaf counts as accessed.
  constexpr Age age(Level, Entry e) const {
    auto const live = mended(e);
    if (accessed_dirty_) return {(live & accessed) != 0, (live & dirty) != 0};
    return {true, (live & (write | software_dirty)) != 0};
  }
  constexpr Entry aged(Level, Entry e, Age age) const {
    return on_live(e, [&](Entry live) {
      if (accessed_dirty_) return live | (age.accessed ? accessed : 0) | (age.dirty ? dirty : 0);
      return live | (age.dirty && (live & write) == 0 ? software_dirty : 0);
    });
  }
  constexpr Entry cleared(Level, Entry e, Age age) const {
    return on_live(e, [&](Entry live) {
      if (accessed_dirty_) return live & ~((age.accessed ? accessed : 0) | (age.dirty ? dirty : 0));
      return live & ~(age.dirty ? write | software_dirty : 0);
    });
  }
  constexpr Entry plain(Level, Entry e) const {
    return on_live(e, [&](Entry live) { return live & ~(marks() | software_dirty); });
  }
  constexpr Age hardware_age() const { return {accessed_dirty_, accessed_dirty_}; }
  constexpr Age harvestable() const { return {accessed_dirty_, true}; }

  constexpr bool permits(Level, Entry e, Prot want) const { return allows(rights(e), want); }
  constexpr Entry unprotected(Level, Entry e) const {
    return on_live(e, [](Entry live) { return live | ((live & write_intent) != 0 ? write : 0); });
  }

  /// [intel/vol3] "Guidelines for use of the INVEPT instruction": a right that is gained needs nothing, since the
  /// violation it may still cause drops what was cached; all else is invalidated. Only where a change of size together
  /// with address or type can machine-check (CVE-2018-12207) does anything break, and two leaves of one slot have one
  /// size.
  constexpr Swap swap(Level l, Entry old, Entry next) const {
    if (old == 0 || old == next) return Swap::free;
    if (next != 0 && is_table(l, old) && is_table(l, next)) return pschange_mc_no_ ? Swap::flush : Swap::break_;
    if (next == 0 || is_table(l, old) || is_table(l, next)) return Swap::flush;
    auto const gains = all_rights & next & ~old;
    auto const marked = marks() & next & ~old;
    return ((old ^ next) & ~(gains | marked | software)) == 0 ? Swap::free : Swap::flush;
  }
  constexpr bool can_break() const { return !pschange_mc_no_; }

  /// The address is inverted: a CPU with L1TF speculates past a clear right into whatever the L1 cache holds there. And
  /// that an entry is broken for a moment is never the guest's to hear of.
  constexpr Entry broken(Entry e) const {
    if (!is_live(e)) return e;
    return ((e & ~all_rights) ^ output) | (e & (read | write | execute)) << parked_shift |
           ((e & execute_user) != 0 ? parked_user : 0) | suppress_ve;
  }
  constexpr Entry mended(Entry e) const {
    if (e == 0 || is_live(e)) return e;
    return ((e & ~(parked | suppress_ve)) ^ output) | (e >> parked_shift & (read | write | execute)) |
           ((e & parked_user) != 0 ? execute_user : 0) | silence();
  }
  /// @}

 private:
  static constexpr Entry all_rights = read | write | execute | execute_user;
  static constexpr unsigned software_shift = 52;
  static constexpr Entry software = 0b11ull << software_shift | write_intent | software_dirty | strict;
  static constexpr unsigned parked_shift = 57;
  static constexpr Entry parked_user = 1ull << 60;
  static constexpr Entry parked = 0b111ull << parked_shift | parked_user;
  static constexpr Entry memory_type = 0b111ull << 3 | ignore_pat;
  static constexpr Entry output = (1ull << 52) - (1ull << 12);

  constexpr Ept(const EptFeatures& cpu, const EptOptions& options)
      : root_{options.levels - 1},
        top_leaf_{!cpu.leaf_2m   ? 0u
                  : !cpu.leaf_1g ? 1u
                                 : 2u},
        pa_bits_{cpu.pa_bits < 52 ? cpu.pa_bits : 52},
        execute_only_{cpu.execute_only},
        accessed_dirty_{cpu.accessed_dirty && options.accessed_dirty},
        mode_based_execute_{cpu.mode_based_execute && options.mode_based_execute},
        pschange_mc_no_{cpu.pschange_mc_no},
        write_back_tables_{cpu.write_back_tables},
        small_executable_{options.small_executable},
        suppress_ve_{options.suppress_ve} {}

  static constexpr bool is_live(Entry e) { return (e & all_rights) != 0; }
  static constexpr bool is_table(Level l, Entry e) { return l != 0 && (e & large) == 0; }
  // What hardware sets.
  constexpr Entry marks() const { return accessed_dirty_ ? accessed | dirty : 0; }
  constexpr Entry silence() const { return suppress_ve_ ? suppress_ve : 0; }

  // What a broken leaf becomes is broken too.
  template <class Change>
  constexpr Entry on_live(Entry e, Change change) const {
    return is_live(e) ? change(e) : broken(change(mended(e)));
  }

  // Type in 5:3. With IPAT set the guest's own PAT cannot change it, so that a device stays one.
  static constexpr Entry encode(Memory m) {
    switch (m) {
      case Memory::normal: return 6ull << 3;
      case Memory::write_through: return 4ull << 3;
      case Memory::uncached: return 1ull << 3;
      case Memory::device: return 0ull << 3 | ignore_pat;
      case Memory::device_strict: break;
    }
    return 0ull << 3 | ignore_pat | strict;
  }
  static constexpr Memory memory(Entry e) {
    for (auto m : {Memory::normal, Memory::write_through, Memory::uncached})
      if ((e & memory_type) == encode(m)) return m;
    return (e & strict) != 0 ? Memory::device_strict : Memory::device;
  }

  constexpr Entry encode(Prot prot) const {
    auto const supervisor = mode_based_execute_ ? Prot::x_supervisor : Prot::x;
    return (allows(prot, Prot::r) ? read : 0) | (allows(prot, supervisor) ? execute : 0) |
           (mode_based_execute_ && allows(prot, Prot::x_user) ? execute_user : 0) |
           (!allows(prot, Prot::w) ? 0
            : accessed_dirty_      ? write
                                   : write | write_intent);
  }
  constexpr Prot rights(Entry e) const {
    auto prot = Prot::none;
    if ((e & read) != 0) prot = prot | Prot::r;
    if ((e & write) != 0) prot = prot | Prot::w;
    if ((e & execute) != 0) prot = prot | (mode_based_execute_ ? Prot::x_supervisor : Prot::x);
    if (mode_based_execute_ && (e & execute_user) != 0) prot = prot | Prot::x_user;
    return prot;
  }

  Level root_, top_leaf_;
  unsigned pa_bits_;
  bool execute_only_;
  bool accessed_dirty_;
  bool mode_based_execute_;
  bool pschange_mc_no_;
  bool write_back_tables_;
  bool small_executable_;
  bool suppress_ve_;
};

static_assert(TableFormat<Ept>);

namespace detail {
// Words put together by hand from the manual's tables, for a CPU without and one with A/D bits and mode-based
// execution.
inline constexpr auto plain_ept = *Ept::create({.leaf_2m = true}, {});
inline constexpr auto full_ept =
    *Ept::create({.leaf_2m = true, .accessed_dirty = true, .mode_based_execute = true, .pschange_mc_no = true}, {});
static_assert(plain_ept.leaf(0, HostPhys{0x8000'0000}, rwx) == 0x0040'0000'8000'0037);
static_assert(plain_ept.leaf(1, HostPhys{0x8020'0000}, ro) == 0x0000'0000'8020'00B1);
static_assert(plain_ept.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device) == 0x0040'0000'0900'0043);
static_assert(plain_ept.table(1, HostPhys{0x8000'1000}) == 0x0000'0000'8000'1007);
static_assert(full_ept.leaf(0, HostPhys{0x8000'0000}, rwx) == 0x0000'0000'8000'0437);
static_assert(full_ept.table(1, HostPhys{0x8000'1000}) == 0x0000'0000'8000'1407);
static_assert(full_ept.broken(0x0000'0000'8000'0437) == 0x9E0F'FFFF'7FFF'F030);
}  // namespace detail

}  // namespace slat::x86_64
