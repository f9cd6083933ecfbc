#pragma once

// What a guest may do with a page, what kind of memory it is, and two bits that belong to the user.
//
//   Attr ram = rwx;   Attr uart = rw | Memory::device;   attr - Prot::w;   attr.allows(Prot::w)

#include <bit>
#include <cstdint>

namespace slat {

/// Rights. Execution has two: by the guest's user level (EL0, ring 3) and by its supervisor level. Only CPUs with
/// FEAT_XNX or mode-based execute control tell them apart; elsewhere a format refuses one without the other.
enum class Prot : std::uint8_t {
  none = 0,
  r = 1,
  w = 2,
  x_user = 4,
  x_supervisor = 8,
  x = x_user | x_supervisor,
  rw = r | w,
  rx = r | x,
  rwx = r | w | x,
};

/// Rights as sets: what either has, what both have, what only the first has.
/// @{
constexpr Prot operator|(Prot a, Prot b) { return Prot(std::uint8_t(a) | std::uint8_t(b)); }
constexpr Prot operator&(Prot a, Prot b) { return Prot(std::uint8_t(a) & std::uint8_t(b)); }
constexpr Prot operator-(Prot a, Prot b) { return Prot(std::uint8_t(a) & ~std::uint8_t(b)); }
/// @}
/// Whether all of `want` is in `have`.
constexpr bool allows(Prot have, Prot want) { return (have & want) == want; }

/// Memory types, strongest caching first. What a format lacks, it refuses.
enum class Memory : std::uint8_t {
  normal,         // write-back cacheable RAM
  write_through,  // x86: WT
  uncached,       // Arm: Normal Non-cacheable; x86: WC
  device,         // Arm: Device-nGnRE; x86: UC. Never executable
  device_strict,  // Arm: Device-nGnRnE; x86: UC. Never executable
};
/// Whether the type is one of the two for devices.
constexpr bool is_device(Memory memory) { return memory == Memory::device || memory == Memory::device_strict; }

/// The attributes of an area or of a leaf. Four bytes without padding, which are compared as one word.
struct Attr {
  Prot prot = Prot::none;          // what the guest may do
  Memory memory = Memory::normal;  // how it is cached
  std::uint16_t software = 0;      // 0 to 3, kept in the entry for the user; hardware and slat ignore it

  /// Whether every bit means something: a number may be cast to any of the members.
  constexpr bool is_known() const {
    return (prot | Prot::rwx) == Prot::rwx && memory <= Memory::device_strict && software <= 3;
  }
  /// Whether the guest has all these rights.
  constexpr bool allows(Prot want) const { return slat::allows(prot, want); }
  /// All of it as one number.
  constexpr std::uint32_t bits() const { return std::bit_cast<std::uint32_t>(*this); }
  /// Compares all of it.
  friend constexpr bool operator==(Attr a, Attr b) { return a.bits() == b.bits(); }
  /// The same with rights added or taken away, or with another memory type.
  /// @{
  friend constexpr Attr operator|(Attr a, Prot p) { return {a.prot | p, a.memory, a.software}; }
  friend constexpr Attr operator-(Attr a, Prot p) { return {a.prot - p, a.memory, a.software}; }
  friend constexpr Attr operator|(Attr a, Memory m) { return {a.prot, m, a.software}; }
  /// @}
};

/// Normal memory that the guest may read; read and write; read and execute; all three.
/// @{
inline constexpr Attr ro{Prot::r}, rw{Prot::rw}, rx{Prot::rx}, rwx{Prot::rwx};
/// @}

/// Hardware's two diaries about a leaf.
struct Age {
  bool accessed = false;  // used since that was last cleared
  bool dirty = false;     // written since that was last cleared
  friend constexpr bool operator==(Age, Age) = default;
  /// What either says.
  friend constexpr Age operator|(Age a, Age b) { return {a.accessed || b.accessed, a.dirty || b.dirty}; }
};

}  // namespace slat
