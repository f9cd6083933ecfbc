#pragma once

// What an edit owes, and how it is paid.
//
//   edit:  stores ... ──► publish ──► hook ──► mend broken slots ──► publish ──► wait for readers ──► release frames
//
// A slot that must break is written `broken(next)`: invalid to hardware, and itself the note of what it will become.
// The marks in the words beside the tables lead the mending.

#include <utility>

#include <slat/mm/concepts.hpp>
#include <slat/mm/frame_list.hpp>
#include <slat/mm/live_access.hpp>
#include <slat/mm/owed.hpp>
#include <slat/mm/run.hpp>
#include <slat/mm/stale.hpp>
#include <slat/mm/walk.hpp>

namespace slat::detail {

/// The debts of one PageTable's open edit. The writer's, but for what Walk has.
template <TableFormat F, FrameSource Frames, InvalidationHook Hook>
class Ledger : public Walk<F, Frames> {
  using Walk = detail::Walk<F, Frames>;
  using Live = LiveAccess<Frames>;

 public:
  using Walk::broken, Walk::format, Walk::frames, Walk::geometry, Walk::load, Walk::root, Walk::word;

  Ledger(F format_of_entries, Frames& source, Hook user_hook, HostPhys root_table)
      : Walk{std::move(format_of_entries), source, root_table}, hook{std::move(user_hook)} {}

  Hook hook;

  Stale stale;           // what this edit owes
  Stale stale_before;    // what it owed when the present call began
  FrameList unlinked;    // tables to release once the invalidation returned
  Owed* owed = nullptr;  // page sources to pay then
  unsigned edits = 0;    // open scopes; the outermost settles
  unsigned breaks = 0;   // slots broken by this call since it last settled
  Run* run = nullptr;    // the one that is open
  bool in_hook = false;
  bool mends = false;  // slots wait, broken, for the invalidation
  bool unpublished = false;
  bool ever_linked = false;  // so hardware that has the root may have found something in it

  /// Remembers, at the start of a call, what earlier calls of the same edit owe.
  void begin_call() {
    close_run();
    if (!stale.empty() || !stale_before.empty()) stale_before = stale;
    breaks = 0;
  }

  /// Pays all debts, in the one order that is right.
  void settle() {
    settle([] {});
  }
  /// The same. `between()` is called where the invalidation has returned, if there was one: hardware can set no mark
  /// any more in what was unlinked, and nothing that waits is mended or released yet.
  template <class Between>
  void settle(Between between) {
    if (in_hook) return;  // a call from inside the hook was refused: it owes nothing
    close_run();
    if (unpublished) publish();
    if (!stale.empty()) {
      tell_of_stale();
      in_hook = true;
      between();
      in_hook = false;
      if (mends) {
        mend(this->top(), {GuestPhys{0}, geometry().input_size()});
        publish();
        mends = false;
        breaks = 0;
      }
      stale.clear();
      stale_before.clear();
    }
    if (!unlinked.empty() || owed != nullptr) {
      wait_for_readers();
      unlinked.release_all(*frames, geometry().table_bytes());
      Owed::pay_all(owed);
    }
  }

  /// Does for a run what each of its changes would have done.
  void close_run() {
    if (run != nullptr) account(*std::exchange(run, nullptr));
  }

  void publish() {
    ever_linked = true;
    unpublished = false;
    tell_of_stores();
  }

 protected:
  void tell_of_stores() {
    in_hook = true;
    hook.publish();
    in_hook = false;
  }
  void tell_of_stale() {
    in_hook = true;
    hook(root, std::as_const(stale));
    in_hook = false;
  }

  void wait_for_readers() {
    if constexpr (requires { hook.wait_for_readers(); }) {
      in_hook = true;
      hook.wait_for_readers();
      in_hook = false;
    }
  }

  void owe(const Slot& slot, bool table, bool only_rights) {
    stale.add(slot.span, table ? Stale::unknown_level : slot.level, table, only_rights);
  }

  void mark_path(const Slot& slot) {
    mends = true;
    auto table = root;
    for (Level level = geometry().root;; --level) {
      word(table) |= Word::broken_below;
      if (level == slot.level) return;
      table = format.address(level, load(frames->view(table) + geometry().index(slot.span.begin, level)));
    }
  }

 private:
  // Out of line: hardly any call has a run to close.
  [[gnu::noinline]] void account(Run& done) {
    auto const count = done.count();
    auto const bytes = count << geometry().page_bits;
    done.end = done.slot;
    if (count == 0) return;
    word(done.table) += count * static_cast<std::uint64_t>(done.gain);
    if (done.stores) unpublished = true;
    if (done.debt != Debt::none) stale.add({done.begin, bytes}, 0, false, done.debt == Debt::rights);
    done.first = done.slot;
    done.begin = done.begin + bytes;
  }

  // Every slot that waits lies in what is stale, and marks lead to it.
  void mend(Place place, GuestRange span) {
    word(place.table) &= ~Word::broken_below;
    auto const mend_in = [&](GuestRange part) {
      this->each(place, part, [&](const Slot& slot, Entry e, GuestRange) {
        if (broken(slot.level, e)) {
          Live::store(*frames, slot.entry, format.mended(e));
          unpublished = true;
        } else if (is_marked(slot, e)) {
          mend(this->below(slot, e), slot.span);
        }
        return true;
      });
    };
    if (stale.everything()) return mend_in(span);
    for (auto const& known : stale.ranges()) mend_in(span.clamp_to(known.range));
  }
  bool is_marked(const Slot& slot, Entry e) const {
    if (format.kind(slot.level, e) != Kind::table) return false;
    return (word(format.address(slot.level, e)) & Word::broken_below) != 0;
  }
};

}  // namespace slat::detail
