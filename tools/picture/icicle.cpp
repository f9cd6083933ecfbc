// The tree of tables as an icicle: the root on top, below each table what its entries lead to. A table is as wide as
// the tables and the runs of leaves below it are many: a last-level table of a device is not lost beside a gigabyte of
// RAM. Neighbours that would be narrower than a few pixels are one box, which says how many they are.

#include <algorithm>
#include <array>
#include <span>

#include "tools/picture/pictures.hpp"
#include "tools/picture/svg.hpp"
#include "tools/text.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

std::string leaves_text(std::uint64_t count) { return std::to_string(count) + (count == 1 ? " leaf" : " leaves"); }

constexpr double row_height = 62, tree_left = Svg::margin + 128, narrowest = 3;

/// Neighbours in one row: tables of one level, or leaves, or where there is room for no more than one box, both.
struct Item {
  std::size_t first = 0, last = 0;  // of the gathered tables
  std::span<const Leaf* const> leaves{};
  double weight = 0, width = 0;

  bool is_table() const { return first != last; }
};

class Icicle {
 public:
  Icicle(Svg& svg, const Gathered& gathered)
      : svg_{svg}, gathered_{gathered}, shape_{gathered.scheme.shape()}, top_{svg.y()} {
    for (auto const& leaf : gathered.leaves)
      if (leaf.valid()) leaves_[leaf.level].push_back(&leaf);
    auto const& tables = gathered.tables;
    weights_.resize(tables.size());
    for (std::size_t i = tables.size(); i-- != 0;) {
      weights_[i] = std::max(1.0, weights_[i] + (tables[i].leaves != 0));
      if (i != 0) weights_[tables[i].parent] += weights_[i];
    }
  }

  void draw() {
    for (Level row = 0; row != shape_.root + 2; ++row) name_row(row);
    draw_tables({.first = 0, .last = 1}, tree_left, Svg::width - Svg::margin);
    svg_.move_to(top_ + row_height * (shape_.root + 2) + 6);
  }

 private:
  double y_of(Level table_level) const { return top_ + row_height * (shape_.root - table_level); }

  /// Tables of a level, and leaves of the one above it.
  void name_row(Level row) {
    auto base = top_ + row_height * row + 18;
    auto const say = [&](const std::string& words, std::string_view classes) {
      svg_.fit(Svg::margin, base, tree_left - Svg::margin - 8, {words}, classes);
      base += Svg::line;
    };
    if (row <= shape_.root) {
      Level const level = shape_.root - row;
      auto const count = std::count_if(gathered_.tables.begin(), gathered_.tables.end(),
                                       [&](const Table& table) { return table.level == level; });
      say(gathered_.scheme.level_name(level), "strong");
      say(count_text(static_cast<std::uint64_t>(count), "table"), "soft");
    }
    if (row == 0) return;
    Level const level = shape_.root - row + 1;
    if (leaves_[level].empty()) return;
    say(std::to_string(leaves_[level].size()) + " x " + bytes_text(shape_.span(level)), "soft");
  }

  /// What the entries of these tables lead to, in order.
  std::vector<Item> below(const Item& group) const {
    auto const& tables = gathered_.tables;
    auto const level = tables[group.first].level;
    // Tables were found level by level: those below neighbours are neighbours.
    auto const child_of = [&](std::size_t parent) {
      return static_cast<std::size_t>(
          std::partition_point(tables.begin() + 1, tables.end(), [&](const Table& t) { return t.parent < parent; }) -
          tables.begin());
    };
    auto const& tail = tables[group.last - 1];
    auto const leaf_at = [&](GuestPhys begin) {
      return std::partition_point(leaves_[level].begin(), leaves_[level].end(),
                                  [&](const Leaf* leaf) { return leaf->range.begin < begin; });
    };
    std::vector<Item> out;
    auto at = leaf_at(tables[group.first].base);
    auto const add_leaves = [&](GuestPhys end) {
      auto const to = leaf_at(end);
      if (to > at) out.push_back({.leaves = {at, to}, .weight = 1});
      at = std::max(at, to);
    };
    for (auto child = child_of(group.first), end = child_of(group.last); child != end; ++child) {
      add_leaves(tables[child].base);
      out.push_back({.first = child, .last = child + 1, .weight = weights_[child]});
    }
    add_leaves(tail.base + tail.entries * shape_.span(level));
    return out;
  }

  /// Neighbours of a kind as one, until each is `least` of the whole weight or more.
  static std::vector<Item> joined(const std::vector<Item>& items, double least) {
    std::vector<Item> out;
    for (auto const& item : items) {
      if (!out.empty() && out.back().is_table() == item.is_table() && out.back().weight < least) {
        out.back().last = item.last;
        if (!item.is_table()) out.back().leaves = {out.back().leaves.data(), item.leaves.data() + item.leaves.size()};
        out.back().weight += item.weight;
      } else {
        out.push_back(item);
      }
    }
    return out;
  }

  /// As many as have room, with their widths.
  static std::vector<Item> fitted(std::vector<Item> items, double width) {
    auto const most = static_cast<std::size_t>(std::max(1.0, width / narrowest));
    double weight = 0;
    for (auto const& item : items) weight += item.weight;
    auto out = joined(items, weight * narrowest / width);
    if (out.size() > most) {
      // Tables and leaves by turns: first the ones, then the others.
      std::stable_partition(items.begin(), items.end(), [](const Item& item) { return item.is_table(); });
      for (auto least = weight * narrowest / width; (out = joined(items, least)).size() > most && out.size() > 2;)
        least *= 2;
    }
    if (out.size() > most) {
      out.front().leaves = out.back().leaves;
      out.resize(1);
    }
    weight = 0;
    for (auto const& item : out) weight += item.weight;
    auto const spare = width - narrowest * static_cast<double>(out.size());
    for (auto& item : out) item.width = narrowest + spare * item.weight / weight;
    return out;
  }

  void draw_below(const Item& group, double x, double end) {
    auto const items = below(group);
    if (items.empty()) return;
    auto const level = gathered_.tables[group.first].level;
    for (auto const& item : fitted(items, end - x)) {
      if (item.is_table())
        draw_tables(item, x, x + item.width);
      else
        draw_leaves(item, level, x, x + item.width);
      x += item.width;
    }
  }

  void draw_box(double y, double x, double end, std::string classes, const std::string& tooltip,
                const std::string& data, const std::vector<std::vector<std::string>>& lines) {
    auto const wide = end - x;
    if (wide < 8) classes += " thin";
    auto const inset = wide < 8 ? 0.2 : 0.8;
    svg_.box({x + inset, y + 0.8, wide - 2 * inset, row_height - 1.6}, classes, tooltip, data);
    auto base = y + 18;
    for (auto const& line : lines) {
      svg_.fit(x + 5, base, wide - 10, line);
      base += Svg::line;
    }
  }

  void draw_tables(const Item& group, double x, double end) {
    auto const tables = std::span{gathered_.tables}.subspan(group.first, group.last - group.first);
    auto const& table = tables.front();
    Table sum{};
    auto missing = 0u;
    for (auto const& one : tables) {
      sum.entries += one.entries;
      sum.leaves += one.leaves;
      sum.tables += one.tables;
      sum.invalid += one.invalid;
      missing += !one.present;
    }
    auto const used = sum.leaves + sum.tables;
    auto const percent = 100 * static_cast<double>(used) / static_cast<double>(sum.entries);
    auto const classes = missing == tables.size() ? "invalid"
                         : percent <= 25          ? "full1"
                         : percent <= 50          ? "full2"
                         : percent <= 75          ? "full3"
                                                  : "full4";
    auto const name = gathered_.scheme.level_name(table.level);
    auto const is_one = tables.size() == 1;
    auto const count = count_text(tables.size(), "table");
    auto const full = std::to_string(used) + " of " + std::to_string(sum.entries) + " used";
    auto const& tail = tables.back();
    auto const end_of_guest = tail.base + tail.entries * shape_.span(table.level);
    auto tooltip = is_one ? name + " table at " + hex(table.at.raw()) : name + ": " + count;
    tooltip += ", guest " + range(table.base.raw(), end_of_guest - table.base) + ", entries " + full + " (" +
               coordinate(percent) + "%): " + count_text(sum.tables, "table") + ", " + leaves_text(sum.leaves);
    if (sum.invalid != 0) tooltip += ", " + std::to_string(sum.invalid) + " neither valid nor 0";
    if (missing != 0) tooltip += ", " + std::to_string(missing) + " not in the source";
    auto data =
        "data-level=\"" + std::to_string(table.level) + "\" data-tables=\"" + std::to_string(tables.size()) + '"';
    if (!group.leaves.empty()) {
      tooltip += "; beside them " + std::to_string(group.leaves.size()) + " leaves of " +
                 bytes_text(shape_.span(group.leaves.front()->level));
      data += " data-beside=\"" + std::to_string(group.leaves.size()) + '"';
    }
    if (missing == tables.size())
      draw_box(y_of(table.level), x, end, classes, tooltip, data,
               {{is_one ? hex(table.at.raw()) : count, "!"}, {"not in the source", "missing"}});
    else
      draw_box(y_of(table.level), x, end, classes, tooltip, data,
               {{is_one ? "table " + hex(table.at.raw()) : count,
                 is_one ? hex(table.at.raw()) : std::to_string(tables.size())},
                {full, coordinate(percent) + "%"},
                {"guest " + hex(table.base.raw())}});
    draw_below(group, x, end);
  }

  void draw_leaves(const Item& item, Level level, double x, double end) {
    auto const begin = item.leaves.front()->range.begin;
    auto const bytes = item.leaves.back()->range.end() - begin;
    auto const count = std::to_string(item.leaves.size()), size = bytes_text(shape_.span(level));
    auto const mapped = bytes_text(item.leaves.size() * shape_.span(level));
    auto const kind = std::min<Level>(level, 2);
    draw_box(
        y_of(level) + row_height, x, end, "leaf" + std::to_string(kind),
        leaves_text(item.leaves.size()) + " of " + size + " within guest " + range(begin.raw(), bytes) + ": " + mapped,
        "data-level=\"" + std::to_string(level) + "\" data-leaves=\"" + count + '"',
        {{count + " x " + size, count}, {mapped}, {"guest " + hex(begin.raw())}});
  }

  Svg& svg_;
  const Gathered& gathered_;
  testing::Shape shape_;
  double top_;
  std::array<std::vector<const Leaf*>, 5> leaves_;
  std::vector<double> weights_;
};

}  // namespace

std::string draw_tree(const Gathered& gathered) {
  Svg svg{
      "tree", "Tree of tables",
      "An icicle: the root table on top, and below each table the tables and leaves that its entries lead to. Tables "
      "are coloured by how many of their entries are used, leaves by their size."};
  svg.head(headline(gathered.scheme));
  auto const shape = gathered.scheme.shape();
  auto const leaves =
      std::count_if(gathered.leaves.begin(), gathered.leaves.end(), [](const Leaf& leaf) { return leaf.valid(); });
  svg.paragraph(count_text(gathered.tables.size(), "table") + " and " +
                leaves_text(static_cast<std::uint64_t>(leaves)) +
                ". A box is as wide as the tables and the runs of leaves below it are many.");
  for (auto const& [rule, count] : gathered.findings.counts())
    if (rule == "missing-table" || rule == "shared-table" || rule == "loop" || rule == "limit")
      svg.paragraph("! " + std::to_string(count) + " of '" + rule + "', and what is below is left out: see slat check",
                    "alarm");
  if (leaves == 0) svg.paragraph("Nothing is mapped.", "strong");
  if (gathered.tables.empty()) {
    svg.paragraph("There are no tables: hardware refuses the root.", "alarm");
    return svg.finish();
  }
  svg.move_to(svg.y() + 4);
  svg.legend("Entries used of a table", {{"full1", "up to 25%"},
                                         {"full2", "up to 50%"},
                                         {"full3", "up to 75%"},
                                         {"full4", "more"},
                                         {"invalid", "not in the source"}});
  std::vector<Svg::Sign> sizes;
  for (Level level = 0; level <= std::min<Level>(shape.root, 2); ++level)
    sizes.push_back({"leaf" + std::to_string(level), bytes_text(shape.span(level))});
  svg.legend("Leaves of", sizes);
  svg.move_to(svg.y() + 6);
  Icicle{svg, gathered}.draw();
  return svg.finish();
}

}  // namespace slat::tool
