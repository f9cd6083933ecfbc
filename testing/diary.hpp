#pragma once

// Which guest pages hardware has used and written, as far as anybody should know: what the accessed and dirty bits in
// the tables, and the harvests, are held to.

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

#include <slat/testing/intent.hpp>

namespace slat::testing {

class Diary {
 public:
  explicit Diary(std::uint64_t page_size) : page_size_{page_size} {}

  /// Hardware used `host` as the page at `page`. It counts when that is what the page means now, or will mean: an
  /// access through what the operation gives up is lost with it, and rightly.
  void touch(GuestPhys page, HostPhys host, bool write, const Intent& intent, const Change& change) {
    auto const inside = change.range.contains(page);
    if (means(intent.at(page), page, host)) note(marks_, page, write);
    if (inside && change.discards && means(change.at(page), page, host)) note(during_, page, write);
  }

  /// The entry that translates these may have been rewritten: look again at the end of the edit.
  void suspect(GuestRange range) {
    for (auto at = marks_.lower_bound(range.begin.raw()); at != marks_.end() && range.contains(GuestPhys{at->first});
         ++at)
      due_.insert(at->first);
  }

  /// A harvest has told of these. The telling counts from the end of the edit on, and so covers what hardware does
  /// until then by way of entries that it cached marked.
  void report(GuestRange range, Age what) {
    reports_.emplace_back(range, what);
    suspect(range);
  }

  /// A page of `range` that hardware used in a way that `what` names, and nobody was told of.
  std::optional<std::pair<GuestPhys, Age>> untold(GuestRange range, Age what) const {
    for (auto at = marks_.lower_bound(range.begin.raw()); at != marks_.end() && range.contains(GuestPhys{at->first});
         ++at) {
      auto const& [page, age] = *at;
      auto const told = reported(GuestPhys{page});
      Age const lost{age.accessed && what.accessed && !told.accessed, age.dirty && what.dirty && !told.dirty};
      if (lost != Age{}) return std::pair{GuestPhys{page}, lost};
    }
    return std::nullopt;
  }

  void commit(const Change& change) {
    if (change.discards) {
      auto at = marks_.lower_bound(change.range.begin.raw());
      while (at != marks_.end() && change.range.contains(GuestPhys{at->first})) at = marks_.erase(at);
      for (auto const& [page, age] : during_) marks_[page] = marks_[page] | age;
    }
    during_.clear();
  }
  void abandon() { during_.clear(); }

  /// Calls body(page, what hardware did and nobody was told) for each suspect; it answers what the table says.
  template <class Body>
  void settle(Body body) {
    for (auto const page : due_) {
      auto const found = marks_.find(page);
      if (found == marks_.end()) continue;
      auto& age = found->second;
      auto const told = reported(GuestPhys{page});
      Age const table = body(GuestPhys{page}, Age{age.accessed && !told.accessed, age.dirty && !told.dirty});
      // What was reported is owed again only if the table says so again.
      age.accessed = age.accessed && (!told.accessed || table.accessed);
      age.dirty = age.dirty && (!told.dirty || table.dirty);
      if (age == Age{}) marks_.erase(found);
    }
    due_.clear();
    reports_.clear();
  }

 private:
  Age reported(GuestPhys page) const {
    Age told;
    for (auto const& [range, what] : reports_)
      if (range.contains(page)) told = told | what;
    return told;
  }
  static bool means(const Piece& piece, GuestPhys page, HostPhys host) {
    return piece.meaning && piece.meaning->host + (page - piece.range.begin) == host;
  }
  void note(std::map<std::uint64_t, Age>& marks, GuestPhys page, bool write) {
    auto const key = page.down_to(page_size_).raw();
    marks[key] = marks[key] | Age{true, write};
    due_.insert(key);
  }

  std::uint64_t page_size_;
  std::map<std::uint64_t, Age> marks_;
  std::map<std::uint64_t, Age> during_;
  std::set<std::uint64_t> due_;
  std::vector<std::pair<GuestRange, Age>> reports_;
};

}  // namespace slat::testing
