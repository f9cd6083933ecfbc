#include "tools/gather.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <unordered_set>
#include <utility>

#include "tools/words.hpp"

namespace slat::tool {

namespace {

using testing::Decoded;
using testing::Fault;

/// "A4.3: reserved MemAttr" is a rule and a text.
struct Complaint {
  std::string_view rule, text;

  explicit Complaint(std::string_view words) : rule{words.substr(0, words.find(':'))}, text{words} {
    if (rule.size() + 2 <= words.size()) text.remove_prefix(rule.size() + 2);
  }
};

template <class Reader>
class Gatherer {
 public:
  Gatherer(HostMemory& memory, const Scheme& scheme, const Reader& reader, const Limits& limits)
      : memory_{memory}, reader_{reader}, shape_{reader.shape()}, limits_{limits}, out_{scheme, {}, {}, {}, {}, 0} {}

  Gathered run() && {
    if (auto const flaw = reader_.root_flaw(out_.scheme.root); flaw.found()) {
      complain(flaw.rule != nullptr ? flaw.rule : "root: hardware refuses it", everything(), shape_.root,
               out_.scheme.root, 0);
      if (flaw.fault != Fault::none) {
        ++out_.left_out;
        return std::move(out_);
      }
    }
    out_.tables.push_back({out_.scheme.root, shape_.root, GuestPhys{0}, shape_.root_entries(), 0, Prot::rwx});
    // Root tables that lie side by side are one, and a pointer to any of them leads back; so does one to the page that
    // a smaller one is in.
    for (std::uint64_t at = 0; at < shape_.root_entries() * sizeof(Entry); at += shape_.granule())
      seen_.insert(out_.scheme.root.down_to(shape_.granule()).raw() + at);
    // Level by level, so that all tables of one can be asked for at once.
    for (std::size_t first = 0; first != out_.tables.size();) {
      auto const end = out_.tables.size();
      std::vector<HostPhys> begins;
      for (auto i = first; i != end; ++i) begins.push_back(out_.tables[i].at);
      memory_.expect(begins, out_.tables[first].entries * sizeof(Entry));
      for (; first != end; ++first) visit(first);
    }
    if (cut_ != 0)
      add(
          "limit",
          [&] {
            return std::to_string(cut_) + " tables were left out: more than " + std::to_string(limits_.tables) +
                   " (see --most-tables)";
          },
          everything(), shape_.root, out_.scheme.root, 0);
    std::sort(out_.leaves.begin(), out_.leaves.end(),
              [](const Leaf& a, const Leaf& b) { return a.range.begin < b.range.begin; });
    return std::move(out_);
  }

 private:
  GuestRange everything() const { return {GuestPhys{0}, shape_.input_size()}; }

  /// Words that begin with their rule.
  void complain(std::string_view words, GuestRange range, Level level, HostPhys where, Entry entry,
                Weight weight = Weight::wrong) {
    Complaint const complaint{words};
    out_.findings.add(
        weight, complaint.rule, [&] { return std::string{complaint.text}; }, range, level, where, entry);
  }
  void add(std::string_view rule, auto text, GuestRange range, Level level, HostPhys where, Entry entry) {
    out_.findings.add(Weight::wrong, rule, text, range, level, where, entry);
  }

  void visit(std::size_t index) {
    auto table = out_.tables[index];
    out_.words.emplace_back();  // tables are visited in order
    entries_.resize(table.entries);
    if (!memory_.read(table.at, std::as_writable_bytes(std::span{entries_}))) {
      add(
          "missing-table",
          [&] { return "the source has no memory at " + hex(table.at.raw()) + ", where a table should be"; },
          {table.base, shape_.span(table.level) * table.entries}, table.level, table.at, 0);
      ++out_.left_out;
      return;
    }
    table.present = true;
    auto joined = false;
    for (std::size_t i = 0; i != entries_.size(); ++i) {
      auto const entry = entries_[i];
      if (entry == 0) continue;
      GuestRange const range{table.base + i * shape_.span(table.level), shape_.span(table.level)};
      auto const where = table.at + i * sizeof(Entry);
      auto const decoded = reader_.decode(table.level, entry);
      joined = joined || decoded.contiguous;
      if (decoded.wrong != nullptr) {
        auto const trap = limits_.traps && decoded.leaf() && decoded.fault == Fault::misconfigured;
        complain(decoded.wrong, range, table.level, where, entry, trap ? Weight::note : Weight::wrong);
      }
      if (decoded.table()) {
        ++table.tables;
        if (decoded.fault != Fault::none || !follow(table, index, range, where, entry, decoded)) ++out_.left_out;
        continue;
      }
      ++(decoded.leaf() ? table.leaves : table.invalid);
      out_.leaves.push_back({range, table.level, where, entry, decoded, table.rights & decoded.rights});
    }
    if (joined) judge_sets(table);
    out_.tables[index] = table;
    out_.words[index] = entries_;
  }

  /// Whether the table that the entry leads to will be read.
  bool follow(const Table& table, std::size_t index, GuestRange range, HostPhys where, Entry entry,
              const Decoded& decoded) {
    auto const at = decoded.address;
    if (seen_.contains(at.raw())) {
      auto const is_loop = on_the_way(index, at);
      auto const text = [&] {
        return "table " + hex(at.raw()) + (is_loop ? " is on the way to itself" : " is used a second time") +
               "; it is not followed again";
      };
      add(is_loop ? "loop" : "shared-table", text, range, table.level, where, entry);
      return false;
    }
    if (out_.tables.size() >= limits_.tables) {
      ++cut_;
      return false;
    }
    seen_.insert(at.raw());
    auto const level = table.level - 1;
    out_.tables.push_back({at, level, range.begin, shape_.table_entries(), index, table.rights & decoded.rights});
    return true;
  }

  bool on_the_way(std::size_t index, HostPhys at) const {
    for (;; index = out_.tables[index].parent) {
      auto const& table = out_.tables[index];
      if (at < table.at + table.entries * sizeof(Entry) && table.at < at + shape_.granule()) return true;
      if (table.parent == index) return false;
    }
  }

  /// What the contiguous bit joins.
  void judge_sets(const Table& table) {
    auto const size = std::size_t{reader_.contiguous_entries(table.level)};
    for (std::size_t i = 0; size > 1 && i < entries_.size(); i += size) {
      auto const set = std::span{entries_}.subspan(i, std::min(size, entries_.size() - i));
      auto const span = shape_.span(table.level);
      auto const first = table.base + i * span;
      auto const* const wrong = reader_.contiguous_fault(table.level, set, first);
      if (wrong == nullptr) continue;
      complain(wrong, {first, span * set.size()}, table.level, table.at + i * sizeof(Entry), set[0]);
    }
  }

  HostMemory& memory_;
  const Reader& reader_;
  testing::Shape shape_;
  Limits limits_;
  Gathered out_;
  std::unordered_set<std::uint64_t> seen_;
  std::vector<Entry> entries_;
  std::uint64_t cut_ = 0;
};

}  // namespace

Gathered gather(HostMemory& memory, const Scheme& scheme, const Limits& limits) {
  return std::visit([&](auto& reader) { return Gatherer{memory, scheme, reader, limits}.run(); }, scheme.reader);
}

}  // namespace slat::tool
