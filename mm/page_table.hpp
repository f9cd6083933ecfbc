#pragma once

// A second-stage translation table of any format.
//
//   auto table = PageTable<aarch64::Stage2<>, FramePool, aarch64::Tlb>::create(format, pool, tlb);
//   table->map({0x4000'0000_gpa, 1_GiB}, 0x8000'0000_hpa, rwx);
//   table->protect({0x4020'0000_gpa, 64_MiB}, rx);             // one shootdown
//   auto edit = table->edit();                                 // or: one for all until the scope ends

#include <concepts>
#include <span>

#include <slat/mm/committer.hpp>
#include <slat/mm/leaf.hpp>
#include <slat/mm/planner.hpp>
#include <slat/mm/single_page.hpp>
#include <slat/mm/table_audit.hpp>
#include <slat/mm/transaction.hpp>

namespace slat {

template <class Table>
class Cursor;

/// A tree of tables, from its root down, and all that may be done to it. Every call is all or nothing: what can fail
/// fails before the first live store, and a call that returns an error has changed nothing. Every call is an edit: the
/// hook runs at most once, at its end, and frames are released after it; edit() makes a wider one.
///
/// Threads: one writer at a time, under the caller's lock. query() may run in any thread beside the writer where the
/// hook has wait_for_readers(), else only while no edit unlinks tables. Hardware walks beside everything. A hook must
/// not call back: it gets Errc::busy.
template <TableFormat F, FrameSource Frames, InvalidationHook Hook>
class PageTable {
  using Tree = detail::Tree<F, Frames, Hook>;

 public:
  /// Its entry format.
  using Format = F;

  /// An empty table with its root, the one frame it holds on to. `frames` outlives it. no_memory: the root, whose bytes
  /// are format.geometry().root_bytes(), could not be had. unsupported: more levels than any architecture has.
  static Result<PageTable> create(F format, Frames& frames, Hook hook) {
    Geometry const geometry = format.geometry();
    if (geometry.root > Tree::highest) return Error{Errc::unsupported, Argument::levels, geometry.root + 1};
    auto const root = frames.allocate(geometry.root_bytes());
    if (!root) return Error{Errc::no_memory, Argument::frames, geometry.root_bytes() / geometry.table_bytes()};
    if (root->raw() >> format.output_bits() != 0) {
      frames.release(*root, geometry.root_bytes());
      return misplaced(*root);
    }
    Entry* const entries = frames.view(*root);
    for (std::size_t i = 0; i != geometry.root_bytes() / sizeof(Entry); ++i) entries[i] = 0;
    frames.word(*root) = 0;
    return PageTable{Tree{std::move(format), frames, std::move(hook), *root}};
  }

  /// The source is left without a table and may only be destroyed or assigned to. No edit may be open on either.
  /// @{
  PageTable(PageTable&& from) noexcept : tree_{std::move(from.tree_)}, alive_{std::exchange(from.alive_, false)} {}
  PageTable& operator=(PageTable&& from) noexcept {
    if (this == &from) return *this;
    destroy();
    std::destroy_at(&tree_);
    std::construct_at(&tree_, std::move(from.tree_));
    alive_ = std::exchange(from.alive_, false);
    return *this;
  }
  /// @}
  PageTable(const PageTable&) = delete;
  /// Unlinks everything, invalidates everything once if anything was ever mapped, then releases all frames.
  ~PageTable() { destroy(); }

  /// Where the root is: what VTTBR_EL2, EPTP or N_CR3 is made of. It stays there.
  HostPhys root() const { return tree_.root; }
  /// What it was created with, and the shape that this gives it.
  /// @{
  const F& format() const { return tree_.format; }
  Geometry geometry() const { return tree_.geometry(); }
  /// @}
  /// The table's own copy.
  Hook& hook() { return tree_.hook; }

  // ---- changes ----
  //
  // Errors: misaligned, invalid_param (size 0 where something is to be mapped; past 2^64), out_of_range (of the guest's
  // or the host's addresses, or of a frame's), unsupported (attributes), no_memory (with the frames needed), busy.

  /// With the largest leaves that fit. already_mapped, naming the leaf in the way, over anything present.
  [[gnu::always_inline]] Result<> map(GuestRange range, HostPhys to, const Attr& attr) {
    if (page().map(range, to, attr)) [[likely]]
      return {};
    return not_at_once(Map{range, to, attr});
  }
  /// The same over whatever is there.
  [[gnu::always_inline]] Result<> replace(GuestRange range, HostPhys to, const Attr& attr) {
    if (page().map(range, to, attr)) [[likely]]
      return {};
    return not_at_once(Replace{range, to, attr});
  }
  /// map() for many runs that ascend and do not overlap (the pages of a snapshot, say): all or none, with one
  /// publish(). invalid_param, naming the run, where one begins before the end of the one before it.
  Result<> map_many(std::span<const Map> runs) {
    Transaction transaction{*this};
    SLAT_TRY(transaction.ready());
    auto const simple = SLAT_TRY(transaction.plan(runs));
    page().give(runs.first(simple));
    for (auto const& run : runs.subspan(simple)) transaction.commit(run);
    return {};
  }
  /// Takes away what is there; holes are skipped.
  [[gnu::always_inline]] Result<> unmap(GuestRange range) {
    if (page().unmap(range)) [[likely]]
      return {};
    return not_at_once(Unmap{range});
  }
  /// New rights, memory type and software bits for what is there; holes are skipped.
  [[gnu::always_inline]] Result<> protect(GuestRange range, const Attr& attr) {
    if (page().protect(range, attr)) [[likely]]
      return {};
    return not_at_once(Protect{range, attr});
  }
  /// Pages instead of blocks, ahead of time; translations stay the same.
  Result<> split(GuestRange range) { return apply(Split{range}); }
  /// Blocks instead of full tables of equal, contiguous leaves; translations stay the same. Needs no memory.
  Result<> coalesce(GuestRange range) { return apply(Coalesce{range}); }

  /// One of Map, Replace, Unmap, Protect, Split, Coalesce.
  template <class Change>
  [[gnu::noinline]] Result<> apply(const Change& change) {
    Transaction transaction{*this};
    SLAT_TRY(transaction.ready());
    SLAT_TRY(transaction.reserve_for(change));
    transaction.carry_out(change);
    return {};
  }

  /// Table frames that apply(change) would take now: with that many it succeeds, with one fewer it is no_memory.
  template <class Change>
    requires(!std::convertible_to<const Change&, std::span<const Map>>)
  Result<std::uint64_t> frames_needed(const Change& change) const {
    return detail::Planner{tree_}(change);
  }
  /// The same for map_many(runs).
  Result<std::uint64_t> frames_needed(std::span<const Map> runs) const {
    return detail::Planner{tree_}.in_turn(runs, [](auto&) { return 0u; });
  }

  /// Reports each run of pages that were written (or accessed, as `what` says) to `sink(GuestRange)`, and clears the
  /// marks. A leaf only partly in the range is reported for the part and keeps its mark. Never splits or allocates. The
  /// report is true once the edit has ended. The sink may read; changes that it asks of the table are busy.
  /// unsupported: accessed marks, where hardware does not set them.
  template <class Sink>
  Result<> harvest(GuestRange range, Age what, Sink&& sink) {
    SLAT_TRY(ready());
    SLAT_TRY(check_marks(range, what));
    Edit const scope{tree_};
    tree_.begin_call();
    detail::Runs runs{sink};
    tree_.in_hook = true;  // the sink may read, and change nothing
    detail::Committer{tree_}.harvest(range, what, runs);
    runs.finish();
    tree_.in_hook = false;
    return {};
  }

  /// unmap(), which also reports each run of pages that went written (or accessed, as `what` says) to
  /// `sink(GuestRange)`: with every mark that hardware could set until the one invalidation had returned. The report is
  /// true, and what the call gave up may be reused or copied, as soon as it returns: in a wider edit it pays at once
  /// what the edit owes, as Edit::settle() does. A leaf that is cut is reported for the part that goes, and keeps its
  /// marks for the rest. The sink runs inside the edit: changes that it asks of the table are busy. Errors as unmap();
  /// unsupported: accessed marks, where hardware does not set them.
  template <class Sink>
  Result<> unmap(GuestRange range, Age what, Sink&& sink) {
    Transaction transaction{*this};
    SLAT_TRY(transaction.ready());
    SLAT_TRY(check_marks(range, what));
    SLAT_TRY(transaction.reserve_for(Unmap{range}));
    detail::Runs runs{sink};
    transaction.carry_out(detail::UnmapTelling<decltype(runs)>{range, what, runs});
    return {};
  }

  /// Lifts write protection that tracks dirtiness from the leaf around `at`, so that the guest may go on writing. False
  /// when there is none. Rights only grow: no shootdown, but this CPU may have cached the old ones.
  Result<bool> lift_protection(GuestPhys at) {
    SLAT_TRY(ready());
    if (at.raw() >= tree_.geometry().input_size()) return Error{Errc::out_of_range, Argument::start, at.raw()};
    auto const [place, e] = tree_.find(at);
    auto const slot = tree_.slot(place, at);
    if (e == 0 || tree_.format.kind(slot.level, e) != Kind::leaf) return false;
    Entry const next = tree_.format.unprotected(slot.level, e);
    if (next == e) return false;
    Edit const scope{tree_};
    tree_.begin_call();
    tree_.put(slot, next, detail::Step::recast);
    return true;
  }

  // ---- scopes ----

  /// From here to the end of the scope all calls owe together: one shootdown. Its settle() pays at once and goes on.
  /// What may not be done meanwhile is said in transaction.hpp, as all of it is.
  using Edit = slat::Edit<Tree>;
  /// Opens a scope, or joins the one that is open.
  [[nodiscard]] Edit edit() { return Edit{tree_}; }

  /// Several changes that succeed or fail together: plan() each, then commit() each in the same order.
  using Transaction = slat::Transaction<PageTable>;

  // ---- reading back ----
  //
  // Reading trusts the table. Bytes that anything else may have written are audit()ed first, with frames that have
  // owns().

  /// What translates `at`. A broken slot is answered as broken and not descended below. An address past the input size
  /// is absent, with an empty range.
  [[gnu::always_inline]] Leaf query(GuestPhys at) const {
    if (tree_.is_outside(at)) return {};
    auto const [place, e] = tree_.find(at);
    // Most are pages, for which all that depends on the level is a constant.
    if (place.level == 0) [[likely]]
      return decode(tree_.slot({place.table, 0, true}, at), e, Kind::leaf);
    return decode(tree_.slot(place, at), e, Kind::leaf);
  }

  /// Calls visit(const Leaf&) for every leaf that `range` touches, in order. A leaf that hardware cannot reach, because
  /// it or a slot above it is broken, has kind broken.
  template <class Visit>
  void visit(GuestRange range, Visit&& visit) const {
    auto const all = GuestRange{GuestPhys{0}, tree_.geometry().input_size()};
    if (auto const part = range.clamp_to(all); !part.empty()) walk(tree_.top(), part, visit);
  }
  /// The same for the whole table.
  template <class Visit>
  void visit(Visit&& each_leaf) const {
    visit(GuestRange{GuestPhys{0}, tree_.geometry().input_size()}, each_leaf);
  }

  /// The whole table as text, a line for each run of equal leaves.
  template <TextSink Out>
  void dump(Out& out) const {
    Dump<Out> lines{out};
    visit(lines);
    lines.finish();
  }

  /// Tables in use, the root among them, without those that an open edit still owes.
  std::uint64_t tables() const { return tree_.count_tables(tree_.root, tree_.geometry().root); }

  /// Checks the table's own bookkeeping (every flaw that does not concern areas). A broken slot counts as what it will
  /// be. Not from inside a hook or a sink, where a change is half done.
  Audit audit() {
    tree_.close_run();
    return detail::TableAudit{tree_}.run();
  }

  /// busy from inside the hook.
  Result<> ready() const {
    if (tree_.in_hook) return Error{Errc::busy};
    return {};
  }

 private:
  template <class Table>
  friend class Cursor;
  friend class slat::Transaction<PageTable>;

  explicit PageTable(Tree tree) : tree_{std::move(tree)} {}

  // What is one page's and looks like the last call is done before it comes to a transaction, or to a call: whoever
  // changes page after page pays for little more than the entry.
  detail::SinglePage<Tree> page() { return detail::SinglePage<Tree>{tree_}; }
  template <class Change>
  [[gnu::noinline]] Result<> not_at_once(const Change& change) {
    return page().after_walk(change) ? Result<>{} : apply(change);
  }

  void destroy() {
    if (!alive_) return;
    alive_ = false;
    GuestRange const all{GuestPhys{0}, tree_.geometry().input_size()};
    if (tree_.ever_linked) {
      Edit const scope{tree_};
      detail::Committer{tree_}(Unmap{all});
      tree_.stale.add_everything();
    }
    tree_.frames->release(tree_.root, tree_.geometry().root_bytes());
  }

  /// Whether these marks of a range can be told.
  Result<> check_marks(GuestRange range, Age what) const {
    SLAT_TRY(detail::Planner{tree_}.check_range(range));
    Age const can = tree_.format.harvestable();
    if ((what.accessed && !can.accessed) || (what.dirty && !can.dirty))
      return Error{Errc::unsupported, Argument::attributes, what.accessed ? 1u : 2u, range};
    return {};
  }

  static Error misplaced(HostPhys frame) { return {Errc::out_of_range, Argument::host, frame.raw()}; }

  [[gnu::always_inline]] Leaf decode(const detail::Slot& slot, Entry e, Kind as) const {
    auto const& format = tree_.format;
    auto const level = slot.level;
    if (e == 0) return {Kind::absent, level, slot.span, {}, {}, {}, 0};
    Entry const meant = tree_.mended(level, e);
    Kind const kind = meant != e ? Kind::broken : as;
    if (format.kind(level, meant) == Kind::table) return {kind, level, slot.span, {}, {}, {}, e};
    return {kind, level, slot.span, format.address(level, meant), format.attr(level, meant), format.age(level, meant),
            e};
  }

  template <class Visit>
  void walk(detail::Place place, GuestRange range, Visit& visit) const {
    tree_.each(place, range, [&](const detail::Slot& slot, Entry e, GuestRange part) {
      switch (tree_.meaning(slot.level, e)) {
        case Kind::table: walk(tree_.below(slot, e), part, visit); break;
        case Kind::leaf: visit(decode(slot, e, slot.live ? Kind::leaf : Kind::broken)); break;
        default: break;
      }
      return true;
    });
  }

  Tree tree_;
  bool alive_ = true;
};

}  // namespace slat
