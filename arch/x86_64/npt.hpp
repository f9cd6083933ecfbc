#pragma once

// AMD's nested page table entries as a TableFormat: 4 and 5 levels, leaves of 4K, 2M and 1G.
//
//   63  62 57   56   55 54 53 52 51        12 11  9  8    7     6  5   4   3   2  1  0
//   |NX|  0  |strict|  0  | user| address   |  0  | 0|leaf,PAT| D| A|PCD|PWT| U| W| P|
//
// Bit 7 says "leaf" above level 0; there the third bit of the PAT index is bit 12, which no address of a large leaf
// needs. Of a page it is bit 7. Hardware ignores bits 58:52 and 11:9, and everything in an entry whose P is clear.
//
// Every access of a guest is a user's to this walk, so U is set at every level; and it is a read at least, so the read
// right cannot be withheld. User and supervisor execution are one: GMET would tell them apart, and is not used. What an
// entry cannot say is refused.
//
// A guest's own PAT is not shut out, as IPAT does for EPT: its type and the leaf's are combined. Over normal memory it
// has any that it asks for, with write-combining kept coherent. Over a device it has uncacheable or, if it asks for
// that, write-combining; never anything that is cached. So a device that does not bear write-combining is not for a
// guest that may ask for it.
//
// [amd/vol2] "Nested paging", "Combining memory types, MTRRs", "Long-mode page translation", "Page-attribute table
// mechanism".

#include <cstdint>

#include <slat/arch/x86_64/features.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/result.hpp>

namespace slat::x86_64 {

/// IA32_PAT after a reset: write-back, write-through, UC-, uncacheable, and the same again. It has no write-combining,
/// so Memory::uncached is refused under it.
inline constexpr std::uint64_t pat_at_reset = 0x0007'0406'0007'0406;
/// The same for who knows of four entries only, with write-combining in the fifth: for a host whose PAT is its own to
/// choose.
inline constexpr std::uint64_t pat_with_write_combining = 0x0007'0401'0007'0406;

/// What the caller wants of nested tables, and how the host is set up that will walk them.
struct NptOptions {
  unsigned levels = 4;               // as deep as the host's own tables: 5 with CR4.LA57
  std::uint64_t pat = pat_at_reset;  // the host's IA32_PAT, on every CPU: a nested leaf chooses from it, not from G_PAT
  bool no_execute = true;            // the host's EFER.NXE. Without it, nothing but what may be executed can be mapped
};

/// The format for one guest on one machine. Hardware sets A in every entry that it uses and D in the leaf of a write,
/// unasked; nothing ever breaks.
class Npt {
 public:
  /// The bits of an entry that have names, as the drawing above shows them.
  /// @{
  static constexpr Entry present = 1ull << 0;
  static constexpr Entry writable = 1ull << 1;
  static constexpr Entry user = 1ull << 2;
  static constexpr Entry accessed = 1ull << 5;
  static constexpr Entry dirty = 1ull << 6;
  static constexpr Entry large = 1ull << 7;
  static constexpr Entry strict = 1ull << 56;  // software: asked for as device_strict. The PAT has one strong UC
  static constexpr Entry no_execute = 1ull << 63;
  /// @}

  /// Refused: a depth that the CPU lacks, or any without nested paging; a PAT with no write-back among its first four
  /// types, from which the entries of tables choose.
  static constexpr Result<Npt> create(const NptFeatures& cpu, const NptOptions& options) {
    auto const has_depth = cpu.nested_paging && (options.levels == 4 || (options.levels == 5 && cpu.five_levels));
    if (!has_depth) return Error{Errc::unsupported, Argument::levels, options.levels};
    if (index_of(write_back, options.pat) > 3) return Error{Errc::unsupported, Argument::attributes, options.pat};
    return Npt{cpu, options};
  }

  /// What TableFormat asks for, with what is particular to this format.
  /// @{
  constexpr Geometry geometry() const { return {12, 9, 9, root_, top_leaf_}; }
  constexpr unsigned output_bits() const { return pa_bits_; }
  /// The host's IA32_PAT that leaves choose their type from.
  constexpr std::uint64_t pat() const { return pat_; }
  /// Whether the host's EFER.NXE must be set for what leaf() writes.
  constexpr bool uses_no_execute() const { return no_execute_; }

  /// The read right cannot be withheld, nor execution without no_execute, nor one kind of it; no executable device
  /// memory.
  constexpr bool supports(const Attr& a) const {
    auto const x = a.prot & Prot::x;
    if (!a.is_known() || !a.allows(Prot::r) || index(a.memory) == no_index) return false;
    if (x == Prot::none) return no_execute_;
    return x == Prot::x && !is_device(a.memory);
  }
  constexpr Level top_leaf(const Attr&) const { return top_leaf_; }

  constexpr Entry leaf(Level l, HostPhys pa, const Attr& a) const {
    return pa.raw() | (l == 0 ? 0 : large) | encode(l, a.memory) | encode(a.prot) |
           Entry{a.software} << software_shift | user | present;
  }
  constexpr Entry table(Level, HostPhys pa) const {
    return pa.raw() | encode(0, Memory::normal) | user | writable | present;
  }

  constexpr Kind kind(Level l, Entry e) const {
    if ((e & present) != 0) return is_table(l, e) ? Kind::table : Kind::leaf;
    return e == 0 ? Kind::absent : Kind::broken;
  }
  constexpr HostPhys address(Level l, Entry e) const {
    return HostPhys{e & (is_table(l, e) ? output : address_bits(l))};
  }
  constexpr Entry address_bits(Level l) const { return output & ~Entry{0} << (12 + 9 * l); }
  constexpr Attr attr(Level l, Entry e) const {
    return {rights(e), memory(l, e), static_cast<std::uint16_t>(e >> software_shift & 3)};
  }
  /// Exactly what slat writes: so no reserved bit, and one spelling of each memory type.
  constexpr bool well_formed(Level l, Entry e) const {
    if (e == 0) return true;
    e = mended(e);
    auto const pa = address(l, e);
    if (pa.raw() >> output_bits() != 0) return false;
    if (is_table(l, e)) return (e & ~accessed) == table(l, pa);
    auto const a = attr(l, e);
    return l <= top_leaf_ && supports(a) && ((leaf(l, pa, a) ^ e) & ~marks) == 0;
  }

  // Between a page and the leaf above it the third PAT bit changes its place.
  constexpr Entry child(Level l, Entry e, std::size_t i) const {
    if (l == 1) e = (e & ~(large | large_pat)) | (e & large_pat) >> pat_move;
    return e + (Entry{i} << geometry().shift(l - 1));
  }
  constexpr Entry parent(Level l, Entry e) const {
    return l == 1 ? (e & ~page_pat) | (e & page_pat) << pat_move | large : e;
  }
  constexpr Entry recast(Level l, Entry e, const Attr& a) const {
    constexpr auto kept = present | marks;
    return (leaf(l, address(l, e), a) & ~kept) | (e & kept);
  }

  constexpr Age age(Level, Entry e) const { return {(e & accessed) != 0, (e & dirty) != 0}; }
  constexpr Entry aged(Level, Entry e, Age age) const { return e | encode(age); }
  constexpr Entry cleared(Level, Entry e, Age age) const { return e & ~encode(age); }
  constexpr Entry plain(Level, Entry e) const { return e & ~marks; }
  constexpr Age hardware_age() const { return {true, true}; }
  constexpr Age harvestable() const { return {true, true}; }

  constexpr bool permits(Level, Entry e, Prot want) const { return allows(rights(e), want); }
  constexpr Entry unprotected(Level, Entry e) const { return e; }

  /// [amd/vol2] "TLB management": a right that is gained needs nothing, since what may still be cached of less faults,
  /// and a fault that is found spurious is answered by a flush on its own CPU. All else is flushed.
  constexpr Swap swap(Level l, Entry old, Entry next) const {
    if (old == 0 || old == next) return Swap::free;
    if (next == 0 || is_table(l, old) || is_table(l, next)) return Swap::flush;
    auto const gained = ((writable | marks) & next & ~old) | (no_execute & old & ~next);
    return ((old ^ next) & ~(gained | software)) == 0 ? Swap::free : Swap::flush;
  }
  constexpr bool can_break() const { return false; }
  /// Nothing asks for them. L1TF, for which EPT inverts the address, is not AMD's.
  constexpr Entry broken(Entry e) const { return e & ~present; }
  constexpr Entry mended(Entry e) const { return e == 0 ? e : e | present; }
  /// @}

 private:
  static constexpr unsigned pcd_pwt_shift = 3;
  static constexpr unsigned page_pat_shift = 7;
  static constexpr unsigned large_pat_shift = 12;
  static constexpr Entry page_pat = 1ull << page_pat_shift;
  static constexpr Entry large_pat = 1ull << large_pat_shift;
  static constexpr unsigned pat_move = large_pat_shift - page_pat_shift;
  static constexpr Entry marks = accessed | dirty;
  static constexpr unsigned software_shift = 52;
  static constexpr Entry software = 0b11ull << software_shift | strict;
  static constexpr Entry output = (1ull << 52) - (1ull << 12);
  // Types as IA32_PAT spells them.
  static constexpr std::uint8_t uncacheable = 0, write_combining = 1, write_through = 4, write_back = 6;
  static constexpr std::uint8_t no_index = 8;

  constexpr Npt(const NptFeatures& cpu, const NptOptions& options)
      : root_{options.levels - 1},
        top_leaf_{cpu.leaf_1g ? 2u : 1u},
        pa_bits_{cpu.pa_bits < 52 ? cpu.pa_bits : 52},
        pat_{options.pat},
        write_back_{index_of(write_back, options.pat)},
        write_through_{index_of(write_through, options.pat)},
        write_combining_{index_of(write_combining, options.pat)},
        uncacheable_{index_of(uncacheable, options.pat)},
        no_execute_{cpu.no_execute && options.no_execute} {}

  static constexpr bool is_table(Level l, Entry e) { return l != 0 && (e & large) == 0; }

  // Where a type stands in the PAT first.
  static constexpr std::uint8_t index_of(std::uint8_t type, std::uint64_t pat) {
    std::uint8_t i = 0;
    while (i != no_index && type_at(i, pat) != type) ++i;
    return i;
  }
  static constexpr std::uint8_t type_at(unsigned i, std::uint64_t pat) {
    return static_cast<std::uint8_t>(pat >> 8 * i & 0xFF);
  }
  constexpr std::uint8_t index(Memory m) const {
    switch (m) {
      case Memory::normal: return write_back_;
      case Memory::write_through: return write_through_;
      case Memory::uncached: return write_combining_;
      case Memory::device:
      case Memory::device_strict: break;
    }
    return uncacheable_;
  }
  constexpr Entry encode(Level l, Memory m) const {
    auto const i = Entry{index(m)};
    return (i & 3) << pcd_pwt_shift | (i >> 2 & 1) << (l == 0 ? page_pat_shift : large_pat_shift) |
           (m == Memory::device_strict ? strict : 0);
  }
  constexpr Memory memory(Level l, Entry e) const {
    auto const high = e >> (l == 0 ? page_pat_shift : large_pat_shift) & 1;
    switch (type_at(static_cast<unsigned>(high << 2 | (e >> pcd_pwt_shift & 3)), pat_)) {
      case write_back: return Memory::normal;
      case write_through: return Memory::write_through;
      case write_combining: return Memory::uncached;
      default: return (e & strict) != 0 ? Memory::device_strict : Memory::device;
    }
  }

  static constexpr Entry encode(Prot prot) {
    return (allows(prot, Prot::w) ? writable : 0) | (allows(prot, Prot::x) ? 0 : no_execute);
  }
  static constexpr Prot rights(Entry e) {
    auto const prot = (e & writable) != 0 ? Prot::rw : Prot::r;
    return (e & no_execute) != 0 ? prot : prot | Prot::x;
  }
  static constexpr Entry encode(Age age) { return (age.accessed ? accessed : 0) | (age.dirty ? dirty : 0); }

  Level root_, top_leaf_;
  unsigned pa_bits_;
  std::uint64_t pat_;
  std::uint8_t write_back_, write_through_, write_combining_, uncacheable_;  // indices, no_index for what the PAT lacks
  bool no_execute_;
};

static_assert(TableFormat<Npt>);

namespace detail {
// Words put together by hand from the manual's tables: P 1, W 2, U 4, PWT 8, PCD 10, large 80; the PAT bit 80 or 1000.
inline constexpr auto plain_npt = *Npt::create({.nested_paging = true, .no_execute = true}, {});
inline constexpr auto combining_npt =
    *Npt::create({.nested_paging = true, .no_execute = true}, {.pat = pat_with_write_combining});
static_assert(plain_npt.leaf(0, HostPhys{0x8000'0000}, rwx) == 0x0000'0000'8000'0007);
static_assert(plain_npt.leaf(1, HostPhys{0x8020'0000}, ro) == 0x8000'0000'8020'0085);
static_assert(plain_npt.leaf(0, HostPhys{0x0900'0000}, rw | Memory::device) == 0x8000'0000'0900'001F);
static_assert(plain_npt.table(1, HostPhys{0x8000'1000}) == 0x0000'0000'8000'1007);
static_assert(combining_npt.leaf(0, HostPhys{0x8000'3000}, rw | Memory::uncached) == 0x8000'0000'8000'3087);
static_assert(combining_npt.leaf(1, HostPhys{0x8000'0000}, rw | Memory::uncached) == 0x8000'0000'8000'1087);
static_assert(combining_npt.child(1, 0x8000'0000'8000'1087, 3) == 0x8000'0000'8000'3087);
}  // namespace detail

}  // namespace slat::x86_64
