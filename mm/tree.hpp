#pragma once

// The live tree: how one slot goes from one entry to the next while hardware looks on, and what the edit then owes.
//
//   edit:  stores ... ──► publish ──► hook ──► mend broken slots ──► publish ──► wait for readers ──► release frames
//
// A slot that must break is written `broken(next)`: invalid to hardware, and itself the note of what it will become.
// The marks in the words beside the tables lead the mending.

#include <optional>
#include <utility>

#include <slat/mm/concepts.hpp>
#include <slat/mm/frame_list.hpp>
#include <slat/mm/live_access.hpp>
#include <slat/mm/owed.hpp>
#include <slat/mm/stale.hpp>
#include <slat/mm/walk.hpp>

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
class Tree : public Walk<F, Frames> {
  using Walk = detail::Walk<F, Frames>;
  using Live = LiveAccess<Frames>;

 public:
  using Walk::broken, Walk::format, Walk::frames, Walk::geometry, Walk::load, Walk::meaning, Walk::mended, Walk::root;
  using Walk::word;

  Tree(F format_of_entries, Frames& source, Hook user_hook, HostPhys root_table)
      : Walk{std::move(format_of_entries), source, root_table}, hook{std::move(user_hook)} {}

  Hook hook;

  Stale stale;                   // what this edit owes
  Stale stale_before;            // what it owed when the present call began
  FrameList* reserve = nullptr;  // of the transaction that is committing: planned for, not linked yet
  FrameList unlinked;            // tables to release once the invalidation returned
  Owed* owed = nullptr;          // page sources to pay then
  unsigned edits = 0;            // open scopes; the outermost settles
  unsigned breaks = 0;           // slots broken by this call since it last settled
  bool in_hook = false;
  bool unpublished = false;
  bool ever_linked = false;  // so hardware that has the root may have found something in it

  // ---- slots ----

  /// Writes `next` (0, or a valid entry) into `slot`, by the step that hardware allows, and notes what is owed for it.
  void put(const Slot& slot, Entry next, Step step) {
    Entry const old = load(slot);
    if (!slot.live)
      put_aside(slot, old, next, step);
    else if (old == 0 || broken(slot.level, old))
      fill(slot, old, next, step);
    else
      change(slot, old, next, step);
    if (old == 0 && next != 0) ++word(slot.table);
    if (old != 0 && next == 0) --word(slot.table);
  }

  /// put(..., Step::recast) for many leaves, where a store is all that each of them wants. Returns how many bytes of
  /// `range`, which begins in `first` and ends in the same table, are done: it stops at a slot that the range covers in
  /// part, that holds neither a leaf nor nothing, or that must break.
  std::uint64_t recast(const Slot& first, GuestRange range, const Attr& attr) {
    auto const level = first.level;
    auto const covered = range.begin == first.span.begin && first.live ? range.size / first.span.size : 0;
    auto const all_but_address = ~format.address_bits(level);
    bool const hardware_marks = format.hardware_age() != Age{};
    // Leaves beside each other are mostly alike: what is found out about one holds for those that follow.
    Entry known = ~Entry{0};
    Entry change = 0;
    Debt debt = Debt::none;
    Entry* slot = first.entry;
    Entry* const end = slot + covered;
    Entry* owed_from = slot;
    auto const address = [&](const Entry* of) {
      return range.begin + static_cast<std::uint64_t>(of - first.entry) * first.span.size;
    };
    auto const owe_run = [&] {
      if (debt == Debt::none) return;
      stale.add(GuestRange::between(address(owed_from), address(slot)), level, false, debt == Debt::rights);
    };
    while (slot != end) {
      Entry e = load(slot);
      if ((e & all_but_address) != known) {
        auto const next = recast_of(level, e, attr);
        if (!next) break;
        if (next->debt != debt) {
          owe_run();
          debt = next->debt;
          owed_from = slot;
        }
        known = e & all_but_address;
        change = e ^ next->entry;
        if (change != 0) unpublished = true;
      }
      if (change != 0) {
        if (!hardware_marks)
          Live::store(*frames, slot, e ^ change);
        else if (!Live::compare_exchange(*frames, slot, e, e ^ change))
          continue;
      }
      ++slot;
    }
    owe_run();
    return address(slot) - range.begin;
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
    if (!tables && same_translation(slot.level, old, next)) return false;
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
    frames->release(table, geometry.table_bytes());
  }

  // ---- edits ----

  /// Remembers, at the start of a call, what earlier calls of the same edit owe.
  void begin_call() {
    if (!stale.empty()) stale_before = stale;
    breaks = 0;
  }

  /// Pays all debts, in the one order that is right.
  void settle() {
    if (in_hook) return;  // a call from inside the hook was refused: it owes nothing
    if (unpublished) publish();
    if (!stale.empty()) {
      in_hook = true;
      hook(root, std::as_const(stale));
      in_hook = false;
      if ((word(root) & Word::broken_below) != 0) {
        mend(root, geometry.root);
        publish();
      }
    }
    if (!unlinked.empty() || owed != nullptr) {
      wait_for_readers();
      unlinked.release_all(*frames, geometry.table_bytes());
      Owed::pay_all(owed);
    }
    stale.clear();
    stale_before.clear();
    breaks = 0;
  }

  void publish() {
    ever_linked = true;
    in_hook = true;
    hook.publish();
    in_hook = false;
    unpublished = false;
  }

 private:
  void wait_for_readers() {
    if constexpr (requires { hook.wait_for_readers(); }) {
      in_hook = true;
      hook.wait_for_readers();
      in_hook = false;
    }
  }

  enum class Debt : std::uint8_t { none, rights, all };
  struct Recast {
    Entry entry;
    Debt debt;
  };
  /// What becomes of `e`, a live leaf or nothing, if it may become that by a store, whatever the edit owes.
  std::optional<Recast> recast_of(Level level, Entry e, const Attr& attr) const {
    if (e == 0) return Recast{0, Debt::none};
    if (format.kind(level, e) != Kind::leaf) return {};
    Entry const next = format.recast(level, e, attr);
    bool const rights = same_translation(level, e, next);
    auto const demand = format.swap(level, e, next);
    if (demand == Swap::break_ || (format.can_break() && !rights)) return {};
    return Recast{next, demand == Swap::free ? Debt::none : rights ? Debt::rights : Debt::all};
  }

  bool same_translation(Level level, Entry old, Entry next) const {
    return format.address(level, old) == format.address(level, next) &&
           format.attr(level, old).memory == format.attr(level, next).memory;
  }

  /// `next` with the A/D marks that the leaf `old` has by now.
  Entry carried(const Slot& slot, Entry old, Entry next, Step step) {
    if (!carries_age(step) || next == 0 || old == 0) return next;
    Age const age = format.age(slot.level, mended(slot.level, old));
    if (step == Step::recast) return format.aged(slot.level, next, age);
    age_subtree(format.address(slot.level, next), slot.level - 1, age);
    return next;
  }
  /// Only for tables that hardware has not seen.
  void age_subtree(HostPhys table, Level level, Age age) {
    Entry* const entries = frames->view(table);
    for (std::size_t i = 0; i != geometry.entries(level); ++i) {
      Kind const kind = meaning(level, entries[i]);
      if (kind == Kind::leaf) entries[i] = format.aged(level, entries[i], age);
      if (kind == Kind::table) age_subtree(format.address(level, entries[i]), level - 1, age);
    }
  }

  // Nothing is live here: stores are plain and owe nothing, and a table that goes was never linked.
  void put_aside(const Slot& slot, Entry old, Entry next, Step step) {
    *slot.entry = carried(slot, old, next, step);
    if (meaning(slot.level, old) == Kind::table) release_subtree(format.address(slot.level, old), slot.level - 1);
  }

  // From absent or broken, in a live table. Where the edit owes an invalidation the entry waits for it, broken.
  void fill(const Slot& slot, Entry old, Entry next, Step step) {
    next = carried(slot, old, next, step);
    bool const waits = next != 0 && format.can_break() && (old != 0 || stale.overlaps(slot.span));
    Live::store(*frames, slot.entry, waits ? format.broken(next) : next);
    unpublished = true;
    if (waits) mark_path(slot);
    if (meaning(slot.level, old) == Kind::table) release_subtree(format.address(slot.level, old), slot.level - 1);
  }

  // From a live entry.
  void change(const Slot& slot, Entry old, Entry next, Step step) {
    bool const from_table = format.kind(slot.level, old) == Kind::table;
    if (next == 0) {
      Live::store(*frames, slot.entry, 0);
      owe(slot, from_table, false);
    } else if (must_break(slot, old, next, step)) {
      // The exchange returns the last A/D marks that hardware could set.
      Entry const waiting = format.broken(next);
      old = Live::exchange(*frames, slot.entry, waiting);
      Entry const aged = format.broken(carried(slot, old, next, step));
      if (aged != waiting) Live::store(*frames, slot.entry, aged);
      owe(slot, from_table, false);
      mark_path(slot);
      ++breaks;
    } else {
      Entry const wanted = next;
      if (format.hardware_age() == Age{}) {
        next = carried(slot, old, wanted, step);
        Live::store(*frames, slot.entry, next);
      } else {
        do next = carried(slot, old, wanted, step);
        while (!Live::compare_exchange(*frames, slot.entry, old, next));
      }
      if (format.swap(slot.level, old, next) != Swap::free)
        owe(slot, from_table, !from_table && step == Step::recast && same_translation(slot.level, old, next));
    }
    unpublished = true;
    if (from_table) unlink_subtree(format.address(slot.level, old), slot.level - 1);
  }

  void owe(const Slot& slot, bool table, bool only_rights) {
    stale.add(slot.span, table ? Stale::unknown_level : slot.level, table, only_rights);
  }

  void mark_path(const Slot& slot) {
    auto table = root;
    for (Level level = geometry.root;; --level) {
      word(table) |= Word::broken_below;
      if (level == slot.level) return;
      table = format.address(level, load(frames->view(table) + geometry.index(slot.span.begin, level)));
    }
  }

  // Cached table pointers may still lead into these: they wait for the invalidation. What hangs below a broken slot was
  // never linked, and does not.
  void unlink_subtree(HostPhys table, Level level) {
    this->each_table_below(table, level, [&](Entry e) {
      if (broken(level, e))
        release_subtree(format.address(level, e), level - 1);
      else
        unlink_subtree(format.address(level, e), level - 1);
    });
    unlinked.push(*frames, table);
  }

  void mend(HostPhys table, Level level) {
    word(table) &= ~Word::broken_below;
    Entry* const entries = frames->view(table);
    for (std::size_t i = 0; i != geometry.entries(level); ++i) {
      Entry const e = load(entries + i);
      if (e == 0) continue;
      if (broken(level, e)) {
        Live::store(*frames, entries + i, format.mended(e));
        unpublished = true;
      } else if (level != 0 && format.kind(level, e) == Kind::table) {
        auto const below = format.address(level, e);
        if ((word(below) & Word::broken_below) != 0) mend(below, level - 1);
      }
    }
  }
};

}  // namespace slat::detail
