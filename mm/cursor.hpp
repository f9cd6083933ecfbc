#pragma once

// Page after page.
//
//   Cursor next{table, 0x4000'0000_gpa};
//   for (auto const page : pages) SLAT_TRY(next.map(page, rwx));   // one edit: one publish(), no walk but one a table

#include <slat/mm/page_table.hpp>

namespace slat {

/// A place in a table from which pages are mapped, unmapped or protected in ascending order, one a call, for little
/// more than the loads and stores that it takes. Each call is all or nothing, has the errors of the table's own for
/// that page, and steps to the next page if it succeeds.
///
/// It is an edit for as long as it lives: what the calls owe is paid at its end, or by settle(). The table's other
/// calls may come in between. Pinned, and the table with it.
template <class Table>
class Cursor {
  using Format = typename Table::Format;

 public:
  /// Opens an edit on `table`; the first call is for the page at `at`.
  explicit Cursor(Table& table, GuestPhys at) : table_{table}, edit_{table.edit()} { seek(at); }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() { close(); }

  /// The page whose turn it is.
  GuestPhys at() const { return run_.begin + (run_.count() << geometry().page_bits); }
  /// The next call is for the page at `at`, wherever that is.
  void seek(GuestPhys at) {
    close();
    run_ = {.begin = at};
  }
  /// As Edit::settle().
  void settle() { edit_.settle(); }

  /// already_mapped over anything present.
  [[gnu::always_inline]] Result<> map(HostPhys to, const Attr& attr) {
    Entry* const slot = run_.slot;
    if (!goes_on({Verb::map, attr}) || !leaf_.fits(to) || tree().load(slot) != 0) [[unlikely]]
      return one(Map{page(), to, attr});
    store(slot, leaf_.leaf(to));
    return {};
  }
  /// A hole is skipped.
  [[gnu::always_inline]] Result<> unmap() {
    Entry* const slot = run_.slot;
    if (!goes_on({Verb::unmap, {}}) || tree().format.kind(0, tree().load(slot)) != Kind::leaf) [[unlikely]]
      return one(Unmap{page()});
    store(slot, 0);
    return {};
  }
  /// A hole is skipped.
  [[gnu::always_inline]] Result<> protect(const Attr& attr) {
    Entry* const slot = run_.slot;
    if (goes_on({Verb::protect, attr})) [[likely]]
      if (Entry const e = tree().load(slot); recast_.alike(e) && recast(slot, e)) [[likely]]
        return {};
    return one(Protect{page(), attr});
  }

 private:
  enum class Verb : std::uint8_t { none, map, unmap, protect };

  /// What the pages of a run get: a number that is quick to compare.
  class Purpose {
   public:
    constexpr Purpose() = default;
    constexpr Purpose(Verb verb, const Attr& attr) : bits_{std::uint64_t{attr.bits()} << 8 | std::uint64_t(verb)} {}
    friend constexpr bool operator==(Purpose, Purpose) = default;

   private:
    std::uint64_t bits_ = 0;  // no verb's
  };

  auto& tree() const { return table_.tree_; }
  Geometry geometry() const { return table_.geometry(); }
  GuestRange page() const { return {at(), geometry().page_size()}; }

  bool goes_on(Purpose purpose) const { return run_.slot != run_.end && purpose_ == purpose; }
  /// `slot` is run_.slot. It was loaded once: after a store to the table it would be loaded again.
  void store(Entry* slot, Entry next) {
    run_.slot = slot + 1;
    tree().store(slot, next);
  }

  /// The page by a call of its own; then those after it may be a run.
  template <class Change>
  [[gnu::noinline]] Result<> one(const Change& change) {
    close();
    SLAT_TRY(table_.not_at_once(change));
    run_ = {.begin = change.range.end()};
    open(change);
    return {};
  }

  void open(const Map& like) {
    auto& leaf = tree().attributes;
    detail::Run next;
    if (!find(next) || !(leaf.know(like.host, like.attr) || leaf.learn(tree().format, like.attr))) return;
    // Where something is owed, more may be wanted than a store.
    if (tree().stale.overlaps(geometry().slot(next.begin, 1))) return;
    leaf_ = leaf;
    next.gain = 1;
    start(next, {Verb::map, like.attr});
  }
  void open(const Unmap&) {
    detail::Run next;
    if (!find(next)) return;
    // The last entry takes its table with it.
    auto const others = tree().used(next.table) - 1;
    if (others < static_cast<std::uint64_t>(next.end - next.slot)) next.end = next.slot + others;
    next.gain = -1;
    next.debt = detail::Debt::all;
    start(next, {Verb::unmap, {}});
  }
  void open(const Protect& like) {
    detail::Run next;
    if (!find(next)) return;
    Entry const e = tree().load(next.slot);
    if (e == 0 || !recast_.find(tree().format, 0, e, like.attr)) return;
    next.stores = recast_.change() != 0;
    next.debt = recast_.debt();
    plain_ = next.stores && tree().format.hardware_age() == Age{};
    start(next, {Verb::protect, like.attr});
  }
  bool find(detail::Run& run) { return table_.page().find(page(), run); }
  void start(const detail::Run& run, Purpose purpose) {
    run_ = run;
    purpose_ = purpose;
    tree().open_run(run_);
  }
  [[gnu::always_inline]] bool recast(Entry* slot, Entry e) {
    if (plain_) [[likely]] {
      store(slot, e ^ recast_.change());
      return true;
    }
    if (run_.stores && !tree().store_recast(slot, e, e ^ recast_.change())) return false;
    run_.slot = slot + 1;
    return true;
  }

  void close() {
    if (tree().run == &run_) tree().close_run();
  }

  Table& table_;
  typename Table::Edit edit_;
  detail::Run run_;
  Purpose purpose_;
  detail::Attributes<Format> leaf_;
  detail::Recast<Format> recast_;
  bool plain_ = false;  // a store does: hardware does not write beside us
};

}  // namespace slat
