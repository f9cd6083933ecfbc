#pragma once

// The live tree: how one slot goes from one entry to the next while hardware looks on.

#include <optional>
#include <utility>

#include <slat/mm/concepts.hpp>
#include <slat/mm/plain_stores.hpp>

namespace slat::detail {

/// How the next entry of a slot relates to the old one.
enum class Step : std::uint8_t {
  replace,  // another translation, or none
  recast,   // the same leaf with other attributes: its A/D marks are carried over
  divide,   // a table that translates as the leaf did: its A/D marks go into the children
  unite,    // a leaf that translates as the table did, and already has the marks
};
constexpr bool changes_size_only(Step step) { return step == Step::divide || step == Step::unite; }
constexpr bool carries_age(Step step) { return step == Step::recast || step == Step::divide; }

/// State and slot primitives of one PageTable. The writer's, but for what Walk has.
template <TableFormat F, FrameSource Frames, InvalidationHook Hook>
class Tree : public PlainStores<F, Frames, Hook> {
  using PlainStores = detail::PlainStores<F, Frames, Hook>;
  using Live = LiveAccess<Frames>;

 public:
  using PlainStores::breaks, PlainStores::broken, PlainStores::format, PlainStores::frames, PlainStores::geometry;
  using PlainStores::load, PlainStores::meaning, PlainStores::mended, PlainStores::PlainStores, PlainStores::stale;
  using PlainStores::stale_before, PlainStores::unlinked, PlainStores::unpublished, PlainStores::word;

  FrameList* reserve = nullptr;  // of the transaction that is committing: planned for, not linked yet

  /// Writes `next` (0, or a valid entry) into `slot`, by the step that hardware allows, and notes what is owed for it.
  /// `has`: the A/D marks that are in `next` already.
  void put(const Slot& slot, Entry next, Step step, Age has = {}) {
    Entry const old = load(slot);
    if (!slot.live)
      put_aside(slot, old, next, step, has);
    else if (old == 0 || broken(slot.level, old))
      fill(slot, old, next, step, has);
    else
      change(slot, old, next, step, has);
    if (old == 0 && next != 0) ++word(slot.table);
    if (old != 0 && next == 0) --word(slot.table);
  }

  /// Puts `table`, which was made of the leaf `block` in `slot`.
  void divide(const Slot& slot, Entry block, HostPhys table) {
    put(slot, format.table(slot.level, table), Step::divide, format.age(slot.level, block));
  }

  /// Whether `next` may only follow a live `old` by way of broken, an invalidation, and mending. Beside what the format
  /// demands, a debt on the same addresses demands it: hardware may still hold what this edit took away before.
  bool must_break(const Slot& slot, Entry old, Entry next, Step step) const {
    if (!format.can_break()) return false;
    bool const from_table = format.kind(slot.level, old) == Kind::table;
    bool const tables = from_table || format.kind(slot.level, next) == Kind::table;
    if (tables && !changes_size_only(step)) return true;
    if (format.swap(slot.level, old, next) == Swap::break_) return true;
    if (from_table && (word(format.address(slot.level, old)) & Word::broken_below) != 0) return true;
    if (!tables && same_translation(format, slot.level, old, next)) return false;
    return (changes_size_only(step) ? stale_before : stale).overlaps(slot.span);
  }

  /// Takes marks from the leaf `e` in `slot`, so that their next setting is seen again.
  void clear_age(const Slot& slot, Entry e, Age what) {
    if (!slot.live) {
      *slot.entry = format.cleared(slot.level, e, what);
    } else if (broken(slot.level, e)) {
      Live::store(*frames, slot.entry, format.broken(format.cleared(slot.level, format.mended(e), what)));
    } else {
      Entry next;
      do next = format.cleared(slot.level, e, what);
      while (!Live::compare_exchange(*frames, slot.entry, e, next));
      if (format.swap(slot.level, e, next) != Swap::free) owe(slot, false, true);
      unpublished = true;
    }
  }

  // ---- frames ----

  /// A frame from the reserve, with undefined content. What was planned is always there.
  HostPhys take() { return reserve->pop(*frames); }

  /// Gives back at once what hardware never saw.
  void release_subtree(HostPhys table, Level level) {
    this->each_table_below(table, level, [&](Entry e) { release_subtree(format.address(level, e), level - 1); });
    frames->release(table, geometry().table_bytes());
  }

 private:
  using PlainStores::mark_path, PlainStores::owe;

  /// `next` with the A/D marks that the leaf `old` has by now.
  Entry carried(const Slot& slot, Entry old, Entry next, Step step, Age has) {
    if (!carries_age(step) || next == 0 || old == 0) return next;
    Age const age = format.age(slot.level, mended(slot.level, old));
    if (step == Step::recast) return format.aged(slot.level, next, age);
    if ((has | age) != has) age_subtree(format.address(slot.level, next), slot.level - 1, age);
    return next;
  }
  /// Only for tables that hardware has not seen.
  void age_subtree(HostPhys table, Level level, Age age) {
    Entry* const entries = frames->view(table);
    for (std::size_t i = 0; i != geometry().entries(level); ++i) {
      Kind const kind = meaning(level, entries[i]);
      if (kind == Kind::leaf) entries[i] = format.aged(level, entries[i], age);
      if (kind == Kind::table) age_subtree(format.address(level, entries[i]), level - 1, age);
    }
  }

  // Nothing is live here: stores are plain and owe nothing, and a table that goes was never linked.
  void put_aside(const Slot& slot, Entry old, Entry next, Step step, Age has) {
    *slot.entry = carried(slot, old, next, step, has);
    if (meaning(slot.level, old) == Kind::table) release_subtree(format.address(slot.level, old), slot.level - 1);
  }

  // From absent or broken, in a live table. Where the edit owes an invalidation the entry waits for it, broken.
  void fill(const Slot& slot, Entry old, Entry next, Step step, Age has) {
    next = carried(slot, old, next, step, has);
    bool const waits = next != 0 && format.can_break() && (old != 0 || stale.overlaps(slot.span));
    Live::store(*frames, slot.entry, waits ? format.broken(next) : next);
    unpublished = true;
    if (waits) mark_path(slot);
    if (meaning(slot.level, old) == Kind::table) release_subtree(format.address(slot.level, old), slot.level - 1);
  }

  // From a live entry.
  void change(const Slot& slot, Entry old, Entry next, Step step, Age has) {
    bool const from_table = format.kind(slot.level, old) == Kind::table;
    if (next == 0) {
      Live::store(*frames, slot.entry, 0);
      owe(slot, from_table, false);
    } else if (must_break(slot, old, next, step)) {
      // The exchange returns the last A/D marks that hardware could set.
      Entry const waiting = format.broken(next);
      old = Live::exchange(*frames, slot.entry, waiting);
      Entry const aged = format.broken(carried(slot, old, next, step, has));
      if (aged != waiting) Live::store(*frames, slot.entry, aged);
      owe(slot, from_table, false);
      mark_path(slot);
      ++breaks;
    } else {
      Entry const wanted = next;
      if (format.hardware_age() == Age{}) {
        next = carried(slot, old, wanted, step, has);
        Live::store(*frames, slot.entry, next);
      } else {
        do next = carried(slot, old, wanted, step, has);
        while (!Live::compare_exchange(*frames, slot.entry, old, next));
      }
      if (format.swap(slot.level, old, next) != Swap::free)
        owe(slot, from_table, !from_table && step == Step::recast && same_translation(format, slot.level, old, next));
    }
    unpublished = true;
    if (from_table) unlink_subtree(format.address(slot.level, old), slot.level - 1);
  }

  // Cached table pointers may still lead into these: they wait for the invalidation. What hangs below a broken slot was
  // never linked, and does not.
  void unlink_subtree(HostPhys table, Level level) {
    this->nothing_is_near();
    this->each_table_below(table, level, [&](Entry e) {
      if (broken(level, e))
        release_subtree(format.address(level, e), level - 1);
      else
        unlink_subtree(format.address(level, e), level - 1);
    });
    unlinked.push(*frames, table);
  }
};

}  // namespace slat::detail
