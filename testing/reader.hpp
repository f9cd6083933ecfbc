#pragma once

// What an architecture's reader says about raw table bytes. Readers are written from the manuals, share nothing with
// the formats under test, and know only what hardware sees: valid entries, and others.
//
// A reader R has, besides the features it was made with:
//   family                                       whose rules it knows
//   Shape shape() const                          the tree
//   Decoded decode(Level, Entry) const           one entry
//   Walk walk(read_word, root, address) const    all that a hardware walk would find: see below
//   Flaw root_flaw(HostPhys) const               what is wrong with where the root is
//   bool sets_accessed() const, sets_dirty()     what hardware marks by itself
//   Entry accessed(Level, Entry) const           the entry as hardware leaves it after using it (leaf or table),
//   Entry written(Level, Entry) const            and the leaf after a write through it
//   bool can_break() const                       whether any change must break in this format on this CPU
//   bool size_breaks() const                     whether a change of size alone must
//   bool pointers_conflict() const               whether two table pointers for one slot must not be cached together
//   bool conflict(a, level, b, level) const      whether two leaves for one address must not be; `a.address` and
//                                                `b.address` are where that one address goes
//   bool is(Memory, code) const                  whether a leaf's type code is what a memory type asks for
//   unsigned contiguous_entries(Level) const     how many entries the contiguous bit joins there; 1: it does not
//   const char* contiguous_fault(Level, set, first) const
//                                                the rule that such a set breaks; `first` is where its first entry is
//                                                used, and incomplete_set is an answer, too
//
// A reader serves the tables of any hypervisor, with or without the rest of testing/:
//
//   ArmReader const reader{{.granule_bits = 12, .input_bits = 40, .root = 2, .output_bits = 44, ...}};
//   auto const walk = reader.walk([&](HostPhys at) { return memory[at.raw() / 8]; }, root, GuestPhys{0x4000'0000});
//   if (walk.fault == Fault::none) use(walk.address, walk.rights); else puts(walk.wrong ? walk.wrong : "not mapped");
//
// Rules are numbered: docs/rules.md names the section of the manual behind each. Those of the architecture always hold.
// Those that begin with H are what slat demands of itself beyond that, and hold where the features ask for
// `house_rules`.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>
#include <slat/mm/concepts.hpp>
#include <slat/mm/geometry.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

/// The bits from `high` down to `low`, shifted down.
constexpr std::uint64_t field(Entry entry, unsigned high, unsigned low) {
  return (entry >> low) & (~std::uint64_t{0} >> (63 - (high - low)));
}
constexpr bool bit(Entry entry, unsigned n) { return (entry >> n & 1) != 0; }

/// Levels count from the page (0) up, as everywhere in slat.
struct Shape {
  unsigned page_bits;
  unsigned input_bits;
  Level root;

  constexpr unsigned index_bits() const { return page_bits - 3; }
  constexpr unsigned shift(Level level) const { return page_bits + level * index_bits(); }
  constexpr std::uint64_t span(Level level) const { return std::uint64_t{1} << shift(level); }
  constexpr std::uint64_t granule() const { return std::uint64_t{1} << page_bits; }
  constexpr std::uint64_t table_entries() const { return granule() / sizeof(Entry); }
  constexpr std::uint64_t root_entries() const { return std::uint64_t{1} << (input_bits - shift(root)); }
  constexpr std::uint64_t input_size() const { return std::uint64_t{1} << input_bits; }
  /// Which entry of its table a walk of `address` takes. Root tables that lie side by side are one.
  constexpr std::uint64_t index(Level level, GuestPhys address) const {
    return address.raw() >> shift(level) & ((level == root ? root_entries() : table_entries()) - 1);
  }
};

/// The complaint of contiguous_fault() about members with the bit beside others without; and about a set in which
/// nothing is wrong but that some entries are not valid: as one is while it is filled or taken away entry by entry.
inline constexpr const char* unlike_set = "A4.5: not all entries of the set have the contiguous bit";
inline constexpr const char* incomplete_set = "A4.5: not all entries of the set are valid";

/// What a walk that comes to an entry does instead of going on. Where a manual leaves it to the processor (a bit that
/// software must write as 0 and that hardware may ignore, a reserved code), it is none, and only a rule is named.
enum class Fault : std::uint8_t {
  none,
  translation,    // nothing there: Translation fault, EPT violation, #NPF with P clear
  address_size,   // Arm: Address size fault
  access_flag,    // Arm: Access flag fault
  misconfigured,  // EPT misconfiguration, #NPF with RSV set; of a root: the guest cannot be entered
};

/// A rule that is broken, and what hardware makes of that.
struct Flaw {
  const char* rule = nullptr;
  Fault fault = Fault::none;

  constexpr bool found() const { return rule != nullptr || fault != Fault::none; }
};

struct Decoded {
  enum class Kind : std::uint8_t { absent, broken, table, leaf };  // broken: invalid, and not 0

  Kind kind = Kind::absent;
  Fault fault = Fault::translation;
  Prot rights = Prot::none;  // of a table: what it leaves to those below
  std::uint8_t type = 0;     // the memory type, as coded
  std::uint8_t special = 0;  // what else the CPU takes from a leaf, as coded: the reader says what
  bool is_accessed = false;
  bool is_dirty = false;
  bool contiguous = false;  // one of a set that may be cached as one
  HostPhys address{};
  const char* wrong = nullptr;  // the rule that the entry breaks

  constexpr bool table() const { return kind == Kind::table; }
  constexpr bool leaf() const { return kind == Kind::leaf; }
  constexpr bool valid() const { return table() || leaf(); }
  /// Valid, and a walk goes on: only such an entry may be cached.
  constexpr bool usable() const { return valid() && fault == Fault::none; }
  friend constexpr bool operator==(const Decoded&, const Decoded&) = default;

  constexpr void judge(const Flaw& flaw) {
    wrong = flaw.rule;
    fault = flaw.fault;
  }
};

/// What a hardware walk of one address finds, apart from the question whether the access has the right.
struct Walk {
  /// An entry that the walk read, and where.
  struct Step {
    Level level;
    HostPhys where;
    Entry entry;
    friend constexpr bool operator==(const Step&, const Step&) = default;
  };
  static constexpr std::size_t most_steps = 5;

  Fault fault = Fault::translation;
  Level level = 0;              // where the walk ended
  HostPhys address{};           // where the address goes, to the byte; when there is no fault
  Prot rights = Prot::rwx;      // what all entries on the way allow; when there is no fault
  Decoded leaf{};               // the entry at which it ended, a leaf or not: type, marks and so on
  const char* wrong = nullptr;  // the first rule found broken on the way, also where hardware goes on
  std::array<Step, most_steps> steps{};
  std::size_t count = 0;

  constexpr std::span<const Step> used() const { return std::span{steps}.first(count); }
};

/// `read_word(HostPhys)` gives the 64-bit word there. An address beyond the input size is translated by nothing.
template <class Reader, class ReadWord>
constexpr Walk walk_tables(const Reader& reader, ReadWord&& read_word, HostPhys root, GuestPhys address) {
  auto const shape = reader.shape();
  auto const flaw = reader.root_flaw(root);
  Walk out;
  out.level = shape.root;
  out.wrong = flaw.rule;
  if (address.raw() >= shape.input_size()) return out;
  if (flaw.fault != Fault::none) {
    out.fault = flaw.fault;
    return out;
  }
  for (auto table = root;; --out.level) {
    auto const where = table + shape.index(out.level, address) * sizeof(Entry);
    Entry const entry = read_word(where);
    out.steps[out.count++] = {out.level, where, entry};
    out.leaf = reader.decode(out.level, entry);
    out.fault = out.leaf.fault;
    if (out.wrong == nullptr) out.wrong = out.leaf.wrong;
    if (out.fault != Fault::none) return out;
    out.rights = out.rights & out.leaf.rights;
    if (out.leaf.leaf()) break;
    table = out.leaf.address;
  }
  out.address = out.leaf.address + address.offset_in(shape.span(out.level));
  return out;
}

}  // namespace slat::testing
