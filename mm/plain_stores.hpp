#pragma once

// What no more than a store is wanted for, in a live table: whoever knows that much of a slot goes no longer way.

#include <utility>

#include <slat/mm/concepts.hpp>
#include <slat/mm/fill.hpp>
#include <slat/mm/ledger.hpp>
#include <slat/mm/recast.hpp>

namespace slat::detail {

/// A live table of pages, and one of level 1, with an address that each is for: whoever unlinks a table says nowhere.
struct Near {
  static constexpr GuestPhys nowhere{~std::uint64_t{0}};
  GuestPhys at = nowhere, above_at = nowhere;
  HostPhys pages{}, above{};
  std::uint64_t no_page_bits;  // those that are clear in the address of every page
};

/// The stores, and what was learnt that led to them. The writer's, but for what Walk has.
template <TableFormat F, FrameSource Frames, InvalidationHook Hook>
class PlainStores : public Ledger<F, Frames, Hook> {
  using Ledger = detail::Ledger<F, Frames, Hook>;
  using Live = LiveAccess<Frames>;

 public:
  using Ledger::edits, Ledger::format, Ledger::frames, Ledger::geometry, Ledger::load, Ledger::stale;
  using Ledger::unlinked, Ledger::unpublished, Ledger::word;

  PlainStores(F format_of_entries, Frames& source, Hook user_hook, HostPhys root_table)
      : Ledger{std::move(format_of_entries), source, std::move(user_hook), root_table} {
    near.no_page_bits = ~(geometry().input_size() - geometry().page_size());
  }

  Near near;                 // where the last walk for a page was
  Attributes<F> attributes;  // of the last page that was mapped
  Recast<F> recasting_page;  // what became of the last page that was recast alone
  Recast<F> recasting;       // and of the last leaf beside others

  void nothing_is_near() { near.at = near.above_at = Near::nowhere; }

  /// From nothing to a leaf, in a live table, where the edit owes nothing yet.
  [[gnu::always_inline]] void give(const Slot& slot, Entry leaf) {
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
    if (!this->fits(*table)) {
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
  /// What Tree::put(..., Step::recast) does, for a page `e` which `recasting_page` is about. False, and nothing is
  /// done, if hardware was faster.
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

  /// The same for many leaves, where a store is all that each of them wants. Returns how many bytes of
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

 private:
  using Ledger::tell_of_stale, Ledger::tell_of_stores;

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
};

}  // namespace slat::detail
