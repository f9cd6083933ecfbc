// Areas on the left, what the tables really map on the right, from low addresses to high ones. Heights grow with the
// logarithm of sizes, and gaps are cut: 64 KiB of a device stay readable beside 1 GiB of RAM.

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "tools/describe.hpp"
#include "tools/picture/comparison.hpp"
#include "tools/picture/pictures.hpp"
#include "tools/picture/svg.hpp"
#include "tools/text.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

using Backing = hv::AreaList::Backing;

constexpr std::size_t most_pieces = 40;
constexpr double label_end = Svg::margin + 150, column = label_end + 12, break_height = 26;

/// A box of the map: which lines it says, each in several wordings, the longest first.
struct MapBox {
  std::uint64_t begin, last;
  std::string classes, tooltip, data;
  std::vector<std::vector<std::string>> lines;
  bool is_area, is_alarming;

  double needed() const { return 10 + Svg::line * static_cast<double>(lines.size()); }
};

std::string area_memory(Memory memory) {
  constexpr std::array names{"write-back", "write-through", "uncached", "device", "device, strictly ordered"};
  return names[static_cast<std::size_t>(memory)];
}

MapBox box_of(const Area& area) {
  auto const bytes = bytes_text(area.range.size);
  auto const kind = rights_text(area.attr.prot) + " " + area_memory(area.attr.memory);
  std::string backing = "linear: host memory from " + hex(area.host.raw()) + " on", style, brief = "linear";
  if (area.backing == Backing::lazy) backing = "lazy: a page comes when it is touched", style = " lazy", brief = "lazy";
  if (area.backing == Backing::device)
    backing = "device: never mapped, emulated", style = " emulated", brief = "device, emulated";
  auto const address = range(area.range.begin.raw(), area.range.size);
  return {area.range.begin.raw(),
          area.range.last().raw(),
          (is_device(area.attr.memory) ? "device" : "normal") + style,
          "area " + address + ", " + bytes + ", " + kind + ", " + backing,
          "data-area=\"" + hex(area.range.begin.raw()) + "\"",
          {{kind + ", " + bytes, kind}, {backing, brief}},
          true,
          false};
}

std::string leaves_text(const Scheme& scheme, const Piece& piece) {
  std::string text;
  for (std::size_t level = piece.leaves.size(); level-- != 0;) {
    if (piece.leaves[level] == 0) continue;
    if (!text.empty()) text += ", ";
    text += std::to_string(piece.leaves[level]) + " x " + bytes_text(scheme.shape().span(static_cast<Level>(level)));
  }
  return text;
}

MapBox box_of(const Scheme& scheme, const Piece& piece, const Comparison& all) {
  auto const in_area = piece.segment % 2 == 1;
  auto const whole = in_area ? all.areas[piece.segment / 2].range.size : piece.last - piece.begin + 1;
  auto const leaves = leaves_text(scheme, piece);
  auto const kind =
      piece.is_mixed ? "of several kinds" : rights_text(piece.rights) + " " + memory_name(scheme, piece.type);
  auto const share = std::max(0.1, 100 * static_cast<double>(piece.mapped) / static_cast<double>(whole));
  // All of it takes no words.
  auto const mapped = bytes_text(piece.mapped);
  auto const part = piece.mapped == whole ? mapped
                                          : mapped + " of " + (in_area ? "the area's " : "") + bytes_text(whole) +
                                                " (" + coordinate(std::min(share, 99.9)) + "%)";
  auto const host = piece.is_linear ? "host memory from " + hex(piece.host) + " on" : "host memory is scattered";
  auto const bad = piece.quarrel != Quarrel::none;
  MapBox out{piece.begin,
             piece.last,
             bad ? "bad" : piece.is_mixed ? "mixed" : is_device(scheme, piece.type) ? "device" : "normal",
             {},
             {},
             {},
             false,
             bad};
  auto const quarrel = (piece.is_in_part ? "in part " : "") + std::string{words_of(piece.quarrel)};
  out.tooltip = (bad ? quarrel + ": " : "mapped: ") + range(piece.begin, piece.last - piece.begin + 1) + ", " + part +
                ", " + kind + ", leaves: " + leaves + ", " + host;
  out.data = "data-piece=\"" + hex(piece.begin) + "\"";
  if (bad) out.data += " data-quarrel=\"" + std::to_string(static_cast<unsigned>(piece.quarrel)) + "\"";
  if (bad) out.lines.push_back({"! " + quarrel, "!"});
  out.lines.push_back({kind + ", " + part, kind + ", " + mapped, kind});
  out.lines.push_back({leaves + "; " + host, leaves, "several sizes"});
  return out;
}

/// Where addresses are, down the page.
class Axis {
 public:
  explicit Axis(const std::vector<MapBox>& boxes, double top) {
    for (auto const& box : boxes) {
      cuts_[box.begin];
      if (box.last != std::numeric_limits<std::uint64_t>::max()) cuts_[box.last + 1];
    }
    for (auto const& box : boxes)
      for (auto at = cuts_.find(box.begin); at != cuts_.end() && at->first <= box.last; ++at) at->second.covered = true;
    for (auto at = cuts_.begin(); at != cuts_.end(); ++at) {
      auto const pages = static_cast<double>(size_of(at)) / 4096;
      at->second.height = at->second.covered ? 18 + 3 * std::log2(std::max(1.0, pages)) : break_height;
    }
    // The last cut is where everything ends.
    if (!cuts_.empty() && !cuts_.rbegin()->second.covered) cuts_.rbegin()->second.height = 0;
    for (auto const& box : boxes) {
      auto const from = cuts_.find(box.begin), to = cuts_.upper_bound(box.last);
      double height = 0;
      for (auto at = from; at != to; ++at) height += at->second.height;
      auto const more = (box.needed() - height) / static_cast<double>(std::distance(from, to));
      for (auto at = from; more > 0 && at != to; ++at) at->second.height += more;
    }
    for (auto& [begin, cut] : cuts_) {
      cut.y = top;
      top += cut.height;
    }
    end_ = top;
  }

  struct Cut {
    double y = 0, height = 0;
    bool covered = false;
  };
  const std::map<std::uint64_t, Cut>& cuts() const { return cuts_; }
  double y_of(std::uint64_t begin) const { return cuts_.at(begin).y; }
  double end_of(std::uint64_t last) const {
    auto const after = cuts_.upper_bound(last);
    return after == cuts_.end() ? end_ : after->second.y;
  }
  double end() const { return end_; }
  std::uint64_t size_of(std::map<std::uint64_t, Cut>::const_iterator at) const {
    auto const after = std::next(at);
    return (after == cuts_.end() ? std::numeric_limits<std::uint64_t>::max() : after->first - 1) - at->first + 1;
  }

 private:
  std::map<std::uint64_t, Cut> cuts_;
  double end_ = 0;
};

void summarise(Svg& svg, const Comparison& all, const Told& told) {
  if (!told.areas) {
    svg.paragraph("There is no list of areas: " + told.no_areas +
                  ". So this shows what is mapped, and not what is meant.");
  } else {
    auto words = count_text(all.areas.size() + all.overlapping + told.areas->left_out, "area");
    if (all.overlapping != 0)
      words += "; " + std::to_string(all.overlapping) + " of them overlap others and are not drawn";
    if (told.areas->left_out != 0) words += "; for " + std::to_string(told.areas->left_out) + " the list has no room";
    words += ". The tables map " + bytes_text(all.mapped) + ".";
    if (all.overlapping + told.areas->left_out != 0) words += " What lies in none of the others is not judged.";
    svg.paragraph(words);
  }
  auto agree = true;
  for (std::size_t i = quarrels; --i != 0;) {
    auto const& tally = all.tallies[i];
    if (tally.places == 0) continue;
    svg.paragraph("! " + std::string{words_of(static_cast<Quarrel>(i))} + ": " + count_text(tally.places, "place") +
                      ", " + bytes_text(tally.bytes),
                  "alarm");
    agree = false;
  }
  if (agree && told.areas) svg.paragraph("Areas and tables do not disagree anywhere.", "strong");
  if (all.mapped == 0) svg.paragraph("Nothing is mapped.", "strong");
}

}  // namespace

std::string draw_map(const Gathered& gathered, const Told& told) {
  auto const all = compare(gathered, told.areas, most_pieces);
  Svg svg{"map", "Guest memory map",
          "Areas that the hypervisor means its guest to have, beside what the second-stage tables really map, by "
          "guest-physical address. Heights are compressed and gaps are cut."};
  svg.head(headline(gathered.scheme));
  summarise(svg, all, told);
  svg.move_to(svg.y() + 4);
  svg.legend("Memory", {{"normal", "normal"},
                        {"device", "device"},
                        {"mixed", "several kinds"},
                        {"bad", told.areas ? "! differs from its area" : "! every access faults"}});
  if (told.areas)
    svg.legend("Areas", {{"normal", "linear: all mapped at once"},
                         {"normal lazy", "lazy: mapped when touched"},
                         {"device emulated", "emulated: never mapped"}});
  std::vector<MapBox> boxes;
  boxes.reserve(all.areas.size() + all.pieces.size());
  for (auto const& area : all.areas) boxes.push_back(box_of(area));
  for (auto const& piece : all.pieces) boxes.push_back(box_of(gathered.scheme, piece, all));
  if (boxes.empty()) return svg.finish();

  auto const right = Svg::width - Svg::margin;
  auto const half = (right - column - 16) / 2;
  auto const tables = told.areas ? column + half + 16 : column, tables_width = right - tables;
  svg.move_to(svg.y() + 8);
  svg.text(label_end, svg.y() + 12, "guest address", "soft", "end");
  if (told.areas) svg.text(column, svg.y() + 12, "areas: what is meant", "strong");
  svg.text(tables, svg.y() + 12, "tables: what hardware maps", "strong");
  Axis const axis{boxes, svg.y() + 30};
  for (auto at = axis.cuts().begin(); at != axis.cuts().end(); ++at) {
    auto const& [begin, cut] = *at;
    svg.text(label_end, cut.y + 4, hex(begin), {}, "end");
    svg.rule(label_end + 4, cut.y, column - 2, cut.y, "rule");
    if (cut.covered || cut.height == 0) continue;
    svg.text((column + right) / 2, cut.y + break_height / 2 + 4, "nothing for " + bytes_text(axis.size_of(at)), "soft",
             "middle");
  }
  for (auto const& box : boxes) {
    auto const x = box.is_area ? column : tables, wide = box.is_area ? half : tables_width;
    auto const y = axis.y_of(box.begin), height = axis.end_of(box.last) - y;
    // A frame of three pixels lies half outside.
    svg.box({x + 1.5, y + 1.5, wide - 3, height - 3}, box.classes, box.tooltip, box.data);
    auto base = y + 5 + Svg::font;
    for (auto const& line : box.lines) {
      svg.fit(x + 8, base, wide - 16, line, box.is_alarming && &line == &box.lines.front() ? "alarm" : "");
      base += Svg::line;
    }
  }
  svg.move_to(axis.end() + 8);
  return svg.finish();
}

}  // namespace slat::tool
