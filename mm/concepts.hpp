#pragma once

// The seams: what a table format, a source of frames and an invalidation hook owe to the walker, a line each.

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>
#include <slat/mm/geometry.hpp>
#include <slat/mm/stale.hpp>

namespace slat {

/// One descriptor. Every format so far has 64-bit entries, written by one store.
using Entry = std::uint64_t;

/// Absent entries are 0. A broken one is invalid to hardware and remembers, for software, what it will become.
enum class Kind : std::uint8_t { absent, broken, leaf, table };

/// What hardware demands before `next` may replace `old` in a live slot.
enum class Swap : std::uint8_t {
  free,    // nothing that may be cached is wrong afterwards: write it
  flush,   // write it, then invalidate
  break_,  // write it broken, invalidate, then mend it
};

/// An entry format: a small copyable value that carries the geometry and the CPU's features, with pure functions.
/// "Leaf" and "table" arguments may be broken ones wherever the comment does not say live.
template <class F>
concept TableFormat =
    std::copyable<F> && requires(const F& f, Level l, Entry e, HostPhys pa, const Attr& a, Age age, std::size_t i) {
      /// The shape of the tree on this CPU, for this guest.
      { f.geometry() } -> std::convertible_to<Geometry>;
      /// Host addresses have this many bits; more is refused, never truncated.
      { f.output_bits() } -> std::same_as<unsigned>;
      /// Whether the attributes can be expressed (rights, memory type, software bits) on this CPU.
      { f.supports(a) } -> std::same_as<bool>;
      /// The highest level at which a leaf with these attributes is allowed, at most geometry().top_leaf.
      { f.top_leaf(a) } -> std::same_as<Level>;

      /// A live leaf, whole: not dirty, and not accessed where hardware sets the accessed bit. Where the write right is
      /// the dirty bit and hardware does not manage it, a writable leaf is dirty by nature.
      { f.leaf(l, pa, a) } -> std::same_as<Entry>;
      /// A live pointer to a table of level `l - 1`.
      { f.table(l, pa) } -> std::same_as<Entry>;
      /// One of the four kinds. What a broken entry will be is kind(l, mended(e)).
      { f.kind(l, e) } -> std::same_as<Kind>;
      /// Where a leaf or table points.
      { f.address(l, e) } -> std::same_as<HostPhys>;
      /// The bits in which a live leaf holds its address, in place. Two leaves that differ in no others translate alike
      /// but for where they lead: one is the other plus the distance, and both are recast and swapped alike.
      { f.address_bits(l) } -> std::same_as<Entry>;
      /// A leaf's attributes as the caller asked for them: write protection for dirty tracking does not show.
      { f.attr(l, e) } -> std::same_as<Attr>;
      /// Reserved bits clear, address inside the output size, memory type and rights legal. For audit().
      { f.well_formed(l, e) } -> std::same_as<bool>;

      /// The leaf at level `l - 1` that translates as part `i` of the leaf `e` of level `l` does, A/D and all.
      { f.child(l, e, i) } -> std::same_as<Entry>;
      /// The leaf at level `l` of which `e`, a leaf of level `l - 1`, would be part 0. `e` has an address that fits.
      { f.parent(l, e) } -> std::same_as<Entry>;
      /// The leaf `e` with other attributes: same address and size, no A/D lost, write protection kept where it tracks.
      { f.recast(l, e, a) } -> std::same_as<Entry>;

      /// Accessed and dirty, wherever this format keeps them (a bit, a write right, a software bit).
      { f.age(l, e) } -> std::same_as<Age>;
      /// The leaf with marks added.
      { f.aged(l, e, age) } -> std::same_as<Entry>;
      /// The leaf with marks taken away, so that their next setting can be seen (by hardware, or as a write fault).
      { f.cleared(l, e, age) } -> std::same_as<Entry>;
      /// The leaf without all that hardware may set beside us, and without the software dirty bit: equal results are
      /// equal translations. A write right taken away for dirty tracking stays visible here.
      { f.plain(l, e) } -> std::same_as<Entry>;
      /// Which marks hardware sets by itself.
      { f.hardware_age() } -> std::same_as<Age>;
      /// Which marks harvest() can report and clear.
      { f.harvestable() } -> std::same_as<Age>;

      /// Whether hardware lets this access through the live leaf `e` as it stands.
      { f.permits(l, e, Prot{}) } -> std::same_as<bool>;
      /// The leaf with the write protection of dirty tracking lifted.
      { f.unprotected(l, e) } -> std::same_as<Entry>;

      /// What the architecture demands for a slot to go from `old` to `next`, both absent or live. When one of them is
      /// a table, the answer is for a change of size only: the table translates exactly as the leaf does. Table to
      /// another table is `break_` in every format that can break.
      { f.swap(l, e, e) } -> std::same_as<Swap>;
      /// Whether swap() can ever answer `break_` on this CPU.
      { f.can_break() } -> std::same_as<bool>;
      /// A live entry made invalid to hardware and still readable to software, and back.
      { f.broken(e) } -> std::same_as<Entry>;
      { f.mended(e) } -> std::same_as<Entry>;
    };

/// Where tables live. `bytes` is a power of two and is also the alignment; only a root is more than one granule.
/// All calls come from the writer, but for view(), which readers use too.
template <class T>
concept FrameSource = requires(T& frames, const T& reader, HostPhys pa, std::uint64_t bytes) {
  /// Frames with undefined content, or nothing.
  { frames.allocate(bytes) } noexcept -> std::same_as<std::optional<HostPhys>>;
  /// Takes back granules that allocate() gave, in whatever blocks: a part of one, or neighbours given one by one.
  { frames.release(pa, bytes) } noexcept;
  /// The entries of the table at `pa`, readable and writable by this CPU.
  { reader.view(pa) } noexcept -> std::same_as<Entry*>;
  /// One word per granule, outside the granule itself: the owner's, from allocate() to release().
  { frames.word(pa) } noexcept -> std::same_as<std::uint64_t&>;
};
// Optional, where a test or a strange machine wants to see every access to a live entry: load(const Entry*),
// store(Entry*, Entry), exchange(Entry*, Entry), compare_exchange(Entry*, Entry& expected, Entry). And owns(pa), with
// which audit() checks an address before it follows it.

/// The user's invalidation hook, an object per table. It cannot fail and must not touch the set or the table.
template <class T>
concept InvalidationHook = requires(T& hook, HostPhys root, const Stale& stale) {
  /// Returns when no CPU can use what `stale` names. `stale` is never empty. Called once per edit, with the writer's
  /// lock held: a CPU that waits for that lock must go on answering shootdowns.
  { hook(root, stale) } noexcept;
  /// Makes earlier stores visible to every table walker (Arm: DSB ISHST; x86: nothing to do).
  { hook.publish() } noexcept;
};
// Optional: wait_for_readers(), which returns when every query() begun before it has ended. Without it the caller keeps
// readers out of edits that unlink tables.

}  // namespace slat
