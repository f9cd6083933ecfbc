#pragma once

// The live tree: how one slot goes from one entry to the next while hardware looks on.

#include <optional>
#include <utility>

#include <slat/mm/concepts.hpp>
#include <slat/mm/fill.hpp>
#include <slat/mm/ledger.hpp>
#include <slat/mm/recast.hpp>

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

/// A live table of pages, and one of level 1, with an address that each is for: whoever unlinks a table says nowhere.
struct Near {
  static constexpr GuestPhys nowhere{~std::uint64_t{0}};
  GuestPhys at = nowhere, above_at = nowhere;
  HostPhys pages{}, above{};
  std::uint64_t no_page_bits;  // those that are clear in the address of every page
};

/// State and slot primitives of one PageTable. The writer's, but for what Walk has.
template <TableFormat F, FrameSource Frames, InvalidationHook Hook>
class Tree : public Ledger<F, Frames, Hook> {
  using Ledger = detail::Ledger<F, Frames, Hook>;
  using Live = LiveAccess<Frames>;

 public:
  using Ledger::breaks, Ledger::edits, Ledger::stale, Ledger::stale_before, Ledger::unlinked, Ledger::unpublished;
  using Ledger::broken, Ledger::format, Ledger::frames, Ledger::geometry, Ledger::load, Ledger::meaning, Ledger::mended;
  using Ledger::word;

  Tree(F format_of_entries, Frames& source, Hook user_hook, HostPhys root_table)
      : Ledger{std::move(format_of_entries), source, std::move(user_hook), root_table} {
    near.no_page_bits = ~(geometry().input_size() - geometry().page_size());
  }

  FrameList* reserve = nullptr;  // of the transaction that is committing: planned for, not linked yet
  Near near;                     // where the last walk for a page was
  Attributes<F> attributes;      // of the last page that was mapped
  Recast<F> recasting_page;      // what became of the last page that was recast alone
  Recast<F> recasting;           // and of the last leaf beside others

  void nothing_is_near() { near.at = near.above_at = Near::nowhere; }

  // ---- slots ----

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

  // ---- what no more than a store can be wanted for ----

  /// From nothing to a leaf, in a live table, where the edit owes nothing yet.
  void give(const Slot& slot, Entry leaf) {
    Live::store(*frames, slot.entry, leaf);
    ++word(slot.table);
    if (edits != 0) [[unlikely]]
      unpublished = true;
    else
      tell_of_stores();
  }
  /// From a leaf to nothing, in a live table. False, and nothing is done, if that would empty the table.
  [[gnu::always_inline]] bool take_away(const Slot& slot) {
    auto& used = word(slot.table);
    if ((used & Word::count) == 1) return false;
    Live::store(*frames, slot.entry, 0);
    --used;
    owe_at_once(slot.span, slot.level, false, false);
    return true;
  }
  /// From a leaf to the same with other attributes. False, with `e` as it is now, when hardware was faster.
  [[gnu::always_inline]] bool store_recast(Entry* slot, Entry& e, Entry next) {
    if (format.hardware_age() != Age{}) return Live::compare_exchange(*frames, slot, e, next);
    Live::store(*frames, slot, next);
    return true;
  }
  /// Lets a run change slots by itself. Nothing else is near meanwhile, so that all else comes by close_run().
  void open_run(Run& next) {
    this->close_run();
    this->run = &next;
    nothing_is_near();
  }
  /// From nothing to a table with one leaf, for the page at `at`. False, and nothing is done, where something is there,
  /// or no frame is.
  bool give_page(const Slot& above, GuestPhys at, Entry leaf) {
    if (load(above.entry) != 0) return false;
    auto const table = frames->allocate(geometry().table_bytes());
    if (!table) return false;
    if (table->raw() >> format.output_bits() != 0) {
      frames->release(*table, geometry().table_bytes());
      return false;
    }
    Entry* const entries = frames->view(*table);
    detail::fill(entries, entries + geometry().entries(0), 0, 0);
    entries[geometry().index(at, 0)] = leaf;
    word(*table) = 1;
    this->ever_linked = true;
    give(above, format.table(above.level, *table));
    return true;
  }
  /// From a table `pages` of one leaf to nothing, in a live table. False, and nothing is done, if that would empty the
  /// table.
  bool take_away_table(const Slot& above, HostPhys pages) {
    auto& used = word(above.table);
    if ((used & Word::count) == 1 && above.table != this->root) return false;
    Live::store(*frames, above.entry, 0);
    --used;
    near.at = Near::nowhere;
    if (owe_at_once(above.span, Stale::unknown_level, true, false)) {
      this->wait_for_readers();
      frames->release(pages, geometry().table_bytes());
    } else {
      unlinked.push(*frames, pages);
    }
    return true;
  }
  /// Puts `table`, which was made of the leaf `block` in `slot`.
  void divide(const Slot& slot, Entry block, HostPhys table) {
    put(slot, format.table(slot.level, table), Step::divide, format.age(slot.level, block));
  }

  /// put(..., Step::recast) for a page `e` which `recasting_page` is about. False, and nothing is done, if hardware was
  /// faster.
  [[gnu::always_inline]] bool recast_page(const Slot& slot, Entry e) {
    auto const& known = recasting_page;
    if (known.change() == 0) return true;
    if (!store_recast(slot.entry, e, e ^ known.change())) return false;
    if (known.debt() != Debt::none)
      owe_at_once(slot.span, slot.level, false, known.debt() == Debt::rights);
    else if (edits != 0)
      unpublished = true;
    else
      tell_of_stores();
    return true;
  }

  /// put(..., Step::recast) for many leaves, where a store is all that each of them wants. Returns how many bytes of
  /// `range`, which begins in `first` and ends in the same table, are done: it stops at a slot that the range covers in
  /// part, that holds neither a leaf nor nothing, or that must break.
  std::uint64_t recast(const Slot& first, GuestRange range, const Attr& attr) {
    auto const level = first.level;
    auto const shift = geometry().shift(level);
    auto const covered = range.begin == first.span.begin && first.live ? range.size >> shift : 0;
    Entry* slot = first.entry;
    Entry* const end = slot + covered;
    while (slot != end) {
      Entry const e = load(slot);
      if (e == 0) {
        ++slot;
        continue;
      }
      if (!recasting.covers(format, level, e, attr)) break;
      auto const from = slot;
      slot = recast_alike(slot, end);
      if (slot == from) continue;  // hardware was faster
      auto const begin = range.begin + (static_cast<std::uint64_t>(from - first.entry) << shift);
      owe_recast({begin, static_cast<std::uint64_t>(slot - from) << shift}, level);
    }
    return static_cast<std::uint64_t>(slot - first.entry) << shift;
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
  using Ledger::mark_path, Ledger::owe, Ledger::tell_of_stale, Ledger::tell_of_stores;

  /// The debt for one slot. True if it is paid at once: nothing else can be owed.
  [[gnu::always_inline]] bool owe_at_once(GuestRange span, Level level, bool table, bool only_rights) {
    if (edits != 0) [[unlikely]] {
      unpublished = true;
      stale.add(span, level, table, only_rights);
      return false;
    }
    tell_of_stores();
    stale.set(span, level, table, only_rights);
    tell_of_stale();
    stale.clear();
    return true;
  }

  void owe_recast(GuestRange range, Level level) {
    if (recasting.debt() != Debt::none) stale.add(range, level, false, recasting.debt() == Debt::rights);
  }
  /// Recasts leaves from `slot` on as long as they are like the one that `recasting` is about, which the first is, and
  /// returns where they end.
  Entry* recast_alike(Entry* slot, Entry* end) {
    auto const known = recasting;
    if (known.change() == 0) {
      while (slot != end && known.alike(load(slot))) ++slot;
      return slot;
    }
    if (format.hardware_age() == Age{}) {
      // Four at a time: one branch for all of them is what keeps up with the stores.
      Entry const next = known.like() ^ known.change();
      for (; end - slot >= 4; slot += 4) {
        Entry const a = load(slot) ^ known.like(), b = load(slot + 1) ^ known.like();
        Entry const c = load(slot + 2) ^ known.like(), d = load(slot + 3) ^ known.like();
        if (!known.alike_apart(a | b | c | d)) break;
        Live::store(*frames, slot, a ^ next);
        Live::store(*frames, slot + 1, b ^ next);
        Live::store(*frames, slot + 2, c ^ next);
        Live::store(*frames, slot + 3, d ^ next);
      }
    }
    while (slot != end) {
      Entry e = load(slot);
      if (!known.alike(e)) break;
      if (store_recast(slot, e, e ^ known.change())) ++slot;
    }
    unpublished = true;
    return slot;
  }

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
    nothing_is_near();
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
