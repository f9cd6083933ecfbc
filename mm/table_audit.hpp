#pragma once

// Proves a table's bookkeeping against its entries.

#include <slat/mm/audit.hpp>
#include <slat/mm/tree.hpp>

namespace slat::detail {

/// Walks everything reachable once to check and once to take its own marks away. The writer's.
template <class Tree>
class TableAudit {
 public:
  explicit TableAudit(Tree& tree) : tree_{tree} {}

  Audit run() {
    Audit const found = check(tree_.root, tree_.geometry().root, GuestPhys{0}, true);
    unmark(tree_.root, tree_.geometry().root);
    return found;
  }

 private:
  Audit check(HostPhys table, Level level, GuestPhys begin, bool live) {
    auto const geometry = tree_.geometry();
    GuestRange const span{begin, geometry.span(level) * geometry.entries(level)};
    if (!owns(table)) return {Flaw::table_foreign, span, table.raw()};
    auto& word = tree_.word(table);
    if (!is_count(word)) return {Flaw::wrong_count, span, word};
    if ((word & Word::visited) != 0 || inside_root(table)) return {Flaw::table_shared, span, table.raw()};
    word |= Word::visited;

    Audit found{};
    std::uint64_t used = 0;
    bool broken = false;
    Slot slot{table, level, geometry.slot(begin, level), tree_.frames->view(table), live};
    for (std::size_t i = 0; i != geometry.entries(level) && found; ++i) {
      Entry const e = tree_.load(slot);
      if (e != 0) ++used;
      broken = broken || tree_.broken(level, e);
      found = check(slot, e);
      slot.span.begin = slot.span.end();
      ++slot.entry;
    }
    if (!found) return found;
    if (used != (word & Word::count)) return {Flaw::wrong_count, span, word & Word::count};
    if (used == 0 && table != tree_.root) return {Flaw::table_empty, span, table.raw()};
    if (broken && (word & Word::broken_below) == 0) return {Flaw::wrong_mark, span, table.raw()};
    if (tree_.edits == 0 && (word & Word::broken_below) != 0) return {Flaw::wrong_mark, span, word};
    return {};
  }

  Audit check(const Slot& slot, Entry e) {
    if (e == 0) return {};
    bool const broken = tree_.broken(slot.level, e);
    if (broken && (!slot.live || tree_.edits == 0)) return {Flaw::broken_left, slot.span, e};
    Entry const meant = tree_.mended(slot.level, e);
    if (!tree_.format.well_formed(slot.level, meant)) return {Flaw::reserved_bits, slot.span, e};
    if (tree_.format.kind(slot.level, meant) != Kind::table) return {};
    auto const below = tree_.format.address(slot.level, meant);
    Audit const found = check(below, slot.level - 1, slot.span.begin, slot.live && !broken);
    bool const marked = found && (tree_.word(below) & Word::broken_below) != 0;
    if (marked && slot.live && !broken && (tree_.word(slot.table) & Word::broken_below) == 0)
      return {Flaw::wrong_mark, slot.span, e};
    return found;
  }

  // Follows only what check() had visited, so that a table seen twice is unmarked once and garbage is not followed.
  void unmark(HostPhys table, Level level) {
    if (!owns(table) || !is_count(tree_.word(table)) || (tree_.word(table) & Word::visited) == 0) return;
    tree_.word(table) &= ~Word::visited;
    if (level == 0) return;
    Entry* const entries = tree_.frames->view(table);
    for (std::size_t i = 0; i != tree_.geometry().entries(level); ++i)
      if (tree_.meaning(level, entries[i]) == Kind::table)
        unmark(tree_.format.address(level, tree_.mended(level, entries[i])), level - 1);
  }

  /// Whether a word is that of a live table at all. Whoever else has the frame, the source itself when it is free, may
  /// keep a link in it, in which audit()'s bit is not audit()'s.
  bool is_count(std::uint64_t word) const {
    return (word & ~(Word::visited | Word::broken_below)) <= tree_.geometry().root_bytes() / sizeof(Entry);
  }
  /// Of root tables that lie side by side only the first has the word.
  bool inside_root(HostPhys table) const {
    return table > tree_.root && table - tree_.root < tree_.geometry().root_bytes();
  }

  bool owns(HostPhys table) const {
    if (!table.aligned_to(tree_.geometry().table_bytes())) return false;
    if constexpr (requires { tree_.frames->owns(table); })
      return tree_.frames->owns(table);
    else
      return true;
  }

  Tree& tree_;
};

}  // namespace slat::detail
