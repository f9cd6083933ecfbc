#pragma once

// A TLB that may keep everything the architecture lets it keep, beside hardware that walks, reads and writes whenever
// it hurts: the judge of every store, invalidation and release that a page table makes.
//
//   HostileTlb tlb{recorder, frames, ArmReader{features}};
//   tlb.attach(table.root());
//   tlb.begin(Change::unmap(range));  table.unmap(range);  tlb.commit();  tlb.finish_edit();
//   EXPECT_FALSE(recorder.violation()) << recorder.violation()->text;
//
// What may be cached is, at any time, all that the live tables say, and what they said before until an invalidation
// covers it: leaves, and table pointers with all that an unlinked table leads to. Only the second part is stored, so
// the size of the address space costs nothing. No page is left out: a stale block is stale in every page of it.
//
// An invalidation takes a leaf away when its range covers all of the leaf, and names its level, an unknown level, or
// tables; it takes a table pointer away when it names tables. Whatever is stale and stays is a violation, so that after
// each invalidation only the live tables are cached.
//
// Which CPUs have what, and how far its invalidation has come, is kept in invalidations.hpp: only what a CPU may use is
// a violation.
//
// Not modelled: nT (FEAT_BBM level 1), and tables whose entries restrict rights on x86: both are reported as such.
// Stores through view() into a live table are seen only by check_tables().

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <slat/testing/at_rest.hpp>
#include <slat/testing/broken_slots.hpp>
#include <slat/testing/cache_rules.hpp>
#include <slat/testing/contiguous_sets.hpp>
#include <slat/testing/diary.hpp>
#include <slat/testing/frame_rules.hpp>
#include <slat/testing/hardware.hpp>
#include <slat/testing/intent.hpp>
#include <slat/testing/invalidations.hpp>
#include <slat/testing/judge.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/recording_frames.hpp>
#include <slat/testing/stale_set.hpp>
#include <slat/testing/trace_keeper.hpp>

namespace slat::testing {

struct TlbOptions {
  std::uint64_t seed = 1;
  unsigned period = 8;            // hardware acts before one access in so many; 0: never
  bool waits_for_readers = true;  // frames may go only after the hook's wait_for_readers
  bool keep_narrower = false;     // keep entries that may linger because they allow less, for faults()
  bool needs_publish = true;      // stores are seen by walkers only once the mapper has published them
};

template <class Reader>
class HostileTlb final : public Observer {
  using Tree = LiveTree<Reader>;
  using State = typename Tree::State;

 public:
  HostileTlb(Recorder& recorder, RecordingFrames& frames, const Reader& reader, TlbOptions options = {})
      : recorder_{&recorder},
        frames_{&frames},
        tree_{frames, reader},
        intent_{reader.shape().input_size()},
        judge_{reader, intent_, change_},
        diary_{reader.shape().granule()},
        invalidations_{recorder,
                       stale_,
                       Reader::family,
                       reader.shape().page_bits,
                       options.needs_publish,
                       [this] { return !tree_.attached() || tree_.empty(); },
                       [this](const StaleTable& table) { forget(table, State::invalidated); }},
        frame_rules_{recorder, frames, tree_, stale_, invalidations_, options.waits_for_readers},
        hardware_{recorder, frames, tree_, stale_, invalidations_, options.seed, options.period},
        keep_narrower_{options.keep_narrower},
        needs_publish_{options.needs_publish} {
    recorder.listen(this);
    recorder.speak_of(Reader::family);
  }
  ~HostileTlb() override {
    if (recorder_->observer() == this) recorder_->listen(nullptr);
  }

  const Reader& reader() const { return tree_.reader(); }
  const Intent& intent() const { return intent_; }
  const Change& change() const { return change_; }
  std::size_t live_tables() const { return tree_.live_tables(); }
  const StaleSet& stale() const { return stale_; }
  /// How to read A/D marks where software keeps some of them: the format's own age(). Without it, hardware's bits.
  void read_age_with(std::function<Age(Level, Entry)> age) { at_rest_.read_age_with(std::move(age)); }
  /// Without a declared meaning (tests that drive frames by hand), stores are not held to one.
  void judge_stores(bool on) { judging_ = on; }

  bool attached() const { return tree_.attached(); }
  /// Whether a walk may read this word: in a table that is live, or that a cached pointer may reach.
  bool may_be_walked(HostPhys where) const {
    auto const state = tree_.table(where).state;
    return state == State::live || state == State::cached;
  }
  /// Whether hardware that uses the entry at `where` could leave `next` there.
  bool may_mark(HostPhys where, Entry next) const {
    if (!may_be_walked(where)) return false;
    auto const& reader = tree_.reader();
    auto const level = tree_.place(where).level;
    auto const now = *tree_.entry_at(where);
    auto const used = reader.accessed(level, now);
    return next == used || next == reader.written(level, used) || next == reader.written(level, now);
  }
  void attach(HostPhys root) {
    trace_.attach(root);
    invalidations_.attach(root);
    auto visit = Visit{*this, Place{tree_.shape().root + 1, {}}, Decoded{}};
    tree_.attach(root, visit);
  }

  // ---- operations

  /// An operation begins that may touch `change.range` and nothing else.
  void begin(Change change) {
    ++call_;
    change_ = std::move(change);
    trace_.change(change_);
  }
  /// It succeeded.
  void commit() {
    recorder_->keep(What::commit);
    diary_.commit(change_);
    for (auto const& piece : change_.after) intent_.assign(piece);
    if (!change_.range.empty()) changed_.push_back(change_.range);
    change_ = {};
  }
  /// It failed, and so did nothing.
  void abandon() {
    recorder_->keep(What::abandon);
    diary_.abandon();
    change_ = {};
  }
  /// The operation's sink was told of marks in `range`.
  void harvested(GuestRange range, Age what) {
    recorder_->keep(What::harvested, {range.begin.raw(), range.size, what.accessed + 2u * what.dirty});
    diary_.report(range, what);
  }

  /// The operation, which takes translations of `range` away, says that its sink was told of all their marks `what`.
  void told(GuestRange range, Age what) {
    recorder_->keep(What::told, {range.begin.raw(), range.size, what.accessed + 2u * what.dirty});
    auto const untold = diary_.untold(range, what);
    if (!untold) return;
    auto const& [page, age] = *untold;
    report(age.dirty ? Offence::lost_dirty : Offence::lost_accessed, hex(page.raw()) + " went, and nobody was told");
  }

  /// The outermost edit has ended, or settled: nothing may be owed any more.
  void finish_edit() {
    recorder_->keep(What::finish);
    settle();
    if (owes_publish_) report(Offence::unpublished, hex(owes_publish_->raw()));
    if (auto const left = broken_.any(); left && judging_)
      report(Offence::broken_left, text(Place{left->first, {left->second, tree_.shape().span(left->first)}}));
    contiguous_.at_rest();
    at_rest_.check_marks(diary_);
    if (judging_ && tree_.attached())
      for (auto const& range : changed_) at_rest_.check_meaning(range);
    changed_.clear();
  }

  /// Looks at every live table: its content is what the recorder was told, and there is some. Slow; between edits.
  void check_tables() {
    if (auto const where = tree_.unseen()) report(Offence::unseen_store, hex(where->raw()));
    if (auto const table = tree_.idle()) report(Offence::table_idle, hex(table->raw()));
  }
  /// Hardware reads or writes a page, by whatever way it may have.
  void use(GuestPhys page, bool write) { hardware_.use(page, write); }
  /// What hardware makes of one address now.
  Found walk(GuestPhys at) const { return tree_.walk(at); }

  /// Whether an access that the tables allow may still fault on this CPU, by an entry cached before rights grew. On Arm
  /// it goes on doing so until the CPU has invalidated that entry; on x86 the fault itself drops it.
  bool faults(std::uint8_t cpu, GuestPhys at, Prot access) {
    auto const here = invalidations_.usable() &
                      invalidations_.contexts().where([&](const Context& context) { return context.cpu == cpu; });
    auto found = false;
    stale_.overlapping({at, 1}, [&](StaleSlot& slot) {
      for (auto& leaf : slot.leaves) {
        if (!leaf.narrower || (leaf.hold.held() & here) == 0 || allows(leaf.was.rights, access)) continue;
        found = true;
        if (Reader::family == Family::arm) continue;
        leaf.hold.stage2 &= ~here;
        leaf.hold.combined &= ~here;
      }
      return true;
    });
    return found;
  }

  // ---- what the recorder says

  void before(HostPhys where) override { hardware_acts(where); }

  void on(const Event& event) override {
    if (asking_ && !tells_what_is_stale(event)) {
      asking_ = false;
      judge_asked();
    }
    if (invalidations_.on(event)) {
      auto const shows = event.what == What::publish || event.what == What::dsb_ish || event.what == What::dsb_ishst;
      if (shows && event.cpu == writer_) {
        unpublished_ = false;
        owes_publish_.reset();
      }
      return;
    }
    auto const& [first, second, third, fourth] = event.values;
    switch (event.what) {
      case What::store: stored(HostPhys{first}, second, third, fourth, true); break;
      case What::exchange:
      case What::compare_exchange: stored(HostPhys{first}, second, third, sizeof(Entry), false); break;
      case What::hook: begin_asked(HostPhys{first}); break;
      case What::asked: asked_.push_back({{GuestPhys{first}, second}, static_cast<Level>(third), fourth != 0}); break;
      case What::asked_everything: asked_everything_ = true; break;
      case What::granted: invalidations_.grant(); break;
      case What::settled: settle(); break;
      case What::mark: tree_.hardware_writes(HostPhys{first}, third); break;
      case What::use: diary_.touch(GuestPhys{first}, HostPhys{second}, third != 0, intent_, change_); break;
      default: frame_rules_.on(event); break;
    }
  }

  void foresee(const Event& event) override { trace_.store(event); }

 private:
  // ---- live stores

  /// Looks at everything that a new table pointer brings into the live tree.
  struct Visit {
    HostileTlb& tlb;
    Place slot;   // that was written
    Decoded was;  // there

    bool table(HostPhys at, Level level, GuestPhys base) {
      if (!tlb.frames_->owns(at)) {
        tlb.report(Offence::table_foreign, hex(at.raw()));
        return false;
      }
      auto const& known = tlb.tree_.table(at);
      if (known.state == State::live) {
        tlb.report(Offence::table_shared, hex(at.raw()));
        return false;
      }
      if (known.state == State::cached && (known.level != level || known.base != base))
        tlb.report(Offence::table_reused, hex(at.raw()));
      return true;
    }
    void operator()(Place place, const Decoded& entry) { tlb.appeared(place, entry, slot, was); }
  };

  void stored(HostPhys where, Entry old, Entry next, std::uint64_t bytes, bool plain) {
    if (bytes != sizeof(Entry) || !where.aligned_to(sizeof(Entry)))
      report(Offence::torn_store, std::to_string(bytes) + " bytes at " + hex(where.raw()));
    if (!frames_->owns(where.down_to(tree_.shape().granule()))) return;
    auto const state = tree_.table(where).state;
    if (state == State::cached) return report(Offence::written_while_cached, hex(where.raw()));
    if (state != State::live) return;
    auto& shadow = tree_.shadow(where);
    if (shadow != old) report(Offence::unseen_store, hex(where.raw()));
    shadow = next;
    if (old == next) return;
    live_store(where, old, next, plain);
    hardware_acts(where);
  }

  void live_store(HostPhys where, Entry old, Entry next, bool plain) {
    auto const place = tree_.place(where);
    auto const was = tree_.decode(place.level, old);
    auto const is = tree_.decode(place.level, next);
    unpublished_ = needs_publish_;
    writer_ = recorder_->cpu();
    if (is.valid()) {
      invalidations_.filled();
      if (needs_publish_) owes_publish_ = where;
    }
    diary_.suspect(place.span);

    if (was.table() && is.table() && was.address == is.address && is.wrong == nullptr) {
      if (is.rights != was.rights) report(Offence::unmodelled, "other rights of a table, in " + text(place));
      return;
    }
    if (was.table()) table_went(place, was.address);
    if (was.leaf()) leaf_went(place, was, is);
    if (!judging_ && was.leaf() && is.leaf() && was.address == is.address && plain) check_plain(place, old, next);
    if (broken_.changes(place, was, is, call_) && judging_)
      report(Offence::needless_break, "rights alone changed in " + text(place));
    appeared(place, is, place, was);
    if (is.table()) {
      Visit visit{*this, place, was};
      tree_.link(is.address, place.level - 1, place.span.begin, visit);
    }
  }

  /// An entry that hardware can now read, in `slot` or in a table that `slot` now leads to.
  void appeared(Place place, const Decoded& entry, Place slot, const Decoded& was) {
    if (entry.wrong != nullptr) report(Offence::malformed, std::string{entry.wrong} + ", in " + text(place));
    if (entry.table()) {
      if (entry.rights != Prot::rwx)
        report(Offence::unmodelled, "an entry for a table that takes rights away, in " + text(place));
      return report(rules_.pointer_conflict(place, entry));
    }
    if (entry.leaf()) frame_rules_.guest_memory().add(entry.address, place.span.size);
    if (entry.leaf()) report(rules_.leaf_conflict(place, entry));
    contiguous_.look(place, entry);
    std::optional<Complaint> complaint;
    if (entry.kind == Decoded::Kind::broken) {
      broken_.appears(place, call_);
      if (!judging_) return;
      auto const may_break =
          was.leaf() && judge_.is_edge(slot) && (tree_.reader().size_breaks() || owed_before(slot.span));
      complaint = judge_.broken(place.span, may_break, [&](GuestRange part) { return translated(was, slot, part); });
    } else if (judging_) {
      complaint = entry.leaf() ? judge_.leaf(place.span, entry) : judge_.absent(place.span);
    }
    if (complaint) complaint->particulars += ", by " + text(place);
    report(complaint);
  }

  // What goes may be cached until it is invalidated.
  void table_went(Place place, HostPhys table) {
    StaleTable gone{.table = table, .frames = {}, .left = {}, .hold = invalidations_.hold()};
    tree_.unlink(table, place.level - 1, frame_rules_.tick(), gone.frames);
    broken_.forget(place.span);
    for (auto const frame : gone.frames) frame_rules_.guest_memory().forget(tree_, frame);
    stale_.slot(place.level, place.span, call_).tables.push_back(std::move(gone));
  }
  void leaf_went(Place place, const Decoded& was, const Decoded& is) {
    frame_rules_.guest_memory().remove(was.address, place.span.size);
    auto const narrower = rules_.covers(is, was) && was.contiguous == is.contiguous;
    if (!narrower || (keep_narrower_ && was.rights != is.rights)) keep_stale(place, was, narrower);
  }
  void keep_stale(Place place, const Decoded& was, bool narrower) {
    auto const [reach, whole] = tree_.cached_as(place, was);
    // One of a contiguous set may be cached as all of it, or by itself.
    if (was.contiguous) keep_stale(stale_.slot(reach.level, reach.span, call_, true), whole, narrower);
    keep_stale(stale_.slot(place.level, place.span, call_), was, narrower);
  }
  void keep_stale(StaleSlot& slot, const Decoded& was, bool narrower) {
    // Again: it is as fresh as the last time it was there.
    std::erase_if(slot.leaves, [&](const StaleLeaf& known) { return known.was == was; });
    slot.leaves.push_back({was, invalidations_.hold(), narrower});
  }

  /// Where hardware could set a mark between the mapper's load and its store, the store must not take it away again.
  /// Where the operation is declared, what is lost is seen itself.
  void check_plain(Place place, Entry old, Entry next) {
    auto const& reader = tree_.reader();
    auto marked = reader.accessed(place.level, old);
    if (allows(tree_.decode(place.level, old).rights, Prot::w)) marked = reader.written(place.level, marked);
    if ((marked & ~old & ~next) != 0) report(Offence::plain_store, text(place) + ", " + hex(marked & ~old & ~next));
  }

  /// Whether hardware found anything in `part` when `slot` held `was`.
  bool translated(const Decoded& was, Place slot, GuestRange part) const {
    if (was.leaf()) return true;
    if (!was.table() || !frames_->owns(was.address)) return false;
    return !tree_.each_leaf(was.address, slot.level - 1, part, [](Place, const Decoded&) { return false; });
  }
  /// Whether earlier calls of the same edit left a debt on `span`. Many debts may have been widened to everything.
  bool owed_before(GuestRange span) const {
    std::size_t earlier = 0;
    auto overlaps = false;
    stale_.each([&](const StaleSlot& slot) {
      if (slot.call == call_) return;
      ++earlier;
      overlaps = overlaps || slot.span.overlaps(span);
    });
    return overlaps || earlier >= Stale::capacity;
  }

  void hardware_acts(HostPhys where) {
    if (!tree_.attached() || !hardware_.takes_a_turn()) return;
    auto const state = tree_.table(where).state;
    auto const seen = state == State::live || state == State::cached;
    hardware_.act(seen ? tree_.place(where).span : change_.range, change_.range);
  }

  // ---- the hook

  /// And, meanwhile, hardware may act.
  static bool tells_what_is_stale(const Event& event) {
    return event.what == What::asked || event.what == What::asked_everything || event.what == What::mark ||
           event.what == What::use;
  }
  void begin_asked(HostPhys root) {
    if (!tree_.attached() || root != tree_.root()) report(Offence::wrong_root, hex(root.raw()));
    asking_ = true;
    asked_.clear();
    asked_everything_ = false;
    auto turns = 4;
    if (tree_.attached())
      stale_.each_until([&](const StaleSlot& slot) {
        hardware_.act(slot.span, change_.range);
        return --turns != 0;
      });
    if (unpublished_) report(Offence::hook_before_publish, "a store has not been published");
  }
  /// The mapper has said all that it thinks is stale.
  void judge_asked() {
    if (asked_everything_) {
      // A table that dies names everything for its root's sake, though the root may be empty by then.
      if (stale_.empty() && tree_.attached() && !tree_.empty())
        report(Offence::over_invalidation, "everything, and nothing was stale");
      return;
    }
    for (auto const& range : asked_) report(rules_.needless(range));
    stale_.each([&](const StaleSlot& slot) { report(rules_.left_out(slot, asked_)); });
  }

  void settle() {
    invalidations_.settle(
        [&](const StaleSlot& slot, const auto& item) { return tree_.attached() && rules_.lingers(slot, item); });
    stale_.each([&](const StaleSlot& slot) {
      for (auto const& table : slot.tables) forget(table, State::invalidated);
    });
    if (!keep_narrower_) return stale_.clear();
    stale_.remove([](const auto& item) {
      if constexpr (requires { item.narrower; }) return !item.narrower || item.hold.held() == 0;
      return true;
    });
  }
  void forget(const StaleTable& table, State next) {
    for (auto const frame : table.frames)
      if (tree_.table(frame).state == State::cached) tree_.table(frame).state = next;
  }

  void report(Offence offence, const std::string& particulars) { recorder_->report(offence, particulars); }
  void report(const std::optional<Complaint>& complaint) {
    if (complaint) report(complaint->offence, complaint->particulars);
  }

  Recorder* recorder_;
  RecordingFrames* frames_;
  Tree tree_;
  Intent intent_;
  Change change_;
  Judge<Reader> judge_;
  Diary diary_;
  StaleSet stale_;
  CacheRules<Reader> rules_{tree_, stale_};
  Invalidations invalidations_;
  FrameRules<Reader> frame_rules_;
  ContiguousSets<Reader> contiguous_{*recorder_, tree_};
  TraceKeeper<Reader> trace_{*recorder_, *frames_, tree_};
  Hardware<Reader> hardware_;
  AtRest<Reader> at_rest_{*recorder_, tree_, intent_, judge_};
  BrokenSlots broken_;
  std::vector<GuestRange> changed_;       // by the edit
  std::optional<HostPhys> owes_publish_;  // an entry that became valid
  std::size_t call_ = 0;
  std::vector<Stale::Range> asked_;  // by the hook that runs
  bool asked_everything_ = false;
  bool asking_ = false;
  bool unpublished_ = false;
  std::uint8_t writer_ = 0;  // the CPU that made the latest store
  bool judging_ = true;
  bool keep_narrower_;
  bool needs_publish_;
};

}  // namespace slat::testing
