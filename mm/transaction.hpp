#pragma once

// Scopes: several calls that pay together, and several changes that succeed or fail together.

#include <concepts>
#include <span>
#include <utility>

#include <slat/mm/changes.hpp>
#include <slat/mm/committer.hpp>
#include <slat/mm/frame_list.hpp>
#include <slat/mm/owed.hpp>
#include <slat/mm/planner.hpp>
#include <slat/mm/result.hpp>

namespace slat {

/// From here to the end of the scope all calls owe together: one shootdown. Scopes nest by joining the outermost.
/// Until it ends, nothing that a call gave up (a table frame, the host memory of an unmapped range, a cleaned page)
/// may be reused or copied. Pinned, and the table with it; it must end without waiting for the guest.
template <class Tree>
class Edit {
 public:
  /// What PageTable::edit() does.
  explicit Edit(Tree& tree) : tree_{&tree} { ++tree.edits; }
  Edit(const Edit&) = delete;
  Edit& operator=(const Edit&) = delete;
  ~Edit() {
    if (--tree_->edits == 0) tree_->settle();
  }
  /// Pays at once and goes on: afterwards what earlier calls gave up may be reused (page migration: break, settle,
  /// copy, map).
  void settle() { tree_->settle(); }

 private:
  Tree* tree_;
};

/// Several changes that succeed or fail together: plan each, then commit each in the same order. Planned changes must
/// not depend on each other: no two on the same block, and none that maps in a table which others empty (a Replace
/// does both). What was reserved and not used goes back at the end.
template <class Table>
class Transaction {
 public:
  /// `table` outlives it.
  explicit Transaction(Table& table) : table_{&table}, scope_{table.tree_} {
    if (!table.tree_.in_hook) table.tree_.begin_call();
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction() { reserve_.release_all(*tree().frames, tree().geometry().table_bytes()); }

  /// busy: called from inside the table's own hook.
  Result<> ready() const { return table_->ready(); }

  /// Checks the change and reserves its frames. Errors are those of PageTable's call for it; nothing
  /// is committed after one.
  template <class Change>
    requires(!std::convertible_to<const Change&, std::span<const Map>>)
  Result<> plan(const Change& change) {
    if (table_->page().can(change)) return {};
    return reserve_for(change);
  }
  /// For runs as map_many() takes them, to be committed one by one and in order. Returns how many, from the first on,
  /// no more than a store is wanted for.
  Result<std::size_t> plan(std::span<const Map> runs) {
    std::size_t simple = 0;
    auto const absent = [&](std::span<const Map> rest) {
      auto const count = table_->page().absent(rest);
      if (rest.size() == runs.size()) simple = count;
      return count;
    };
    auto const needed = SLAT_TRY((detail::Planner{tree()}.in_turn(runs, absent)));
    SLAT_TRY(reserve(needed, runs.empty() ? GuestRange{} : runs.back().range));
    return simple;
  }
  /// Does what was planned.
  template <class Change>
  void commit(const Change& change) {
    if (!table_->page().act(change)) carry_out(change);
  }
  /// Whether a range is aligned and inside the input size, whatever is there.
  Result<> check(GuestRange range) const { return detail::Planner{table_->tree_}.check_range(range); }
  /// Has `source` paid after this edit's invalidation.
  void owe(Owed& source) { source.join(tree().owed); }
  /// The one that it is about.
  Table& table() const { return *table_; }

 private:
  friend Table;

  auto& tree() const { return table_->tree_; }

  // The general way, which apply() takes for any change.

  template <class Change>
  Result<> reserve_for(const Change& change) {
    return reserve(SLAT_TRY(table_->frames_needed(change)), change.range);
  }
  template <class Change>
  void carry_out(const Change& change) {
    tree().close_run();
    auto* const outer = std::exchange(tree().reserve, &reserve_);
    detail::Committer{tree()}(change);
    tree().reserve = outer;
  }
  Result<> reserve(std::uint64_t needed, GuestRange range) {
    for (std::uint64_t i = 0; i != needed; ++i) {
      auto const frame = tree().frames->allocate(tree().geometry().table_bytes());
      if (!frame) return Error{Errc::no_memory, Argument::frames, needed, range};
      reserve_.push(*tree().frames, *frame);
      if (!tree().fits(*frame)) return Table::misplaced(*frame);
    }
    return {};
  }

  Table* table_;
  typename Table::Edit scope_;  // ends after the reserve has gone back
  detail::FrameList reserve_;
};

}  // namespace slat
