// Which pages are in use: one cell for a page, or for as many pages as are needed to show all of the guest's memory in
// a few thousand cells. On the left what hardware marked, on the right when a page faulted in first.

#include <algorithm>
#include <array>
#include <cstdio>
#include <limits>
#include <optional>
#include <span>

#include "tools/describe.hpp"
#include "tools/picture/pictures.hpp"
#include "tools/picture/svg.hpp"
#include "tools/runs.hpp"
#include "tools/text.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

constexpr std::uint64_t cells_of_row = 64, close_enough = 2 << 20;
constexpr std::size_t most_stretches = 12, times = 6;
constexpr double cell_height = 12, heat_left = Svg::margin + 146;

struct Cell {
  std::uint64_t mapped = 0, accessed = 0, dirty = 0, faulted = 0;  // bytes; faults
  double first = 0;                                                // nanoseconds, of the first fault

  std::size_t state() const { return dirty != 0 ? 3 : accessed != 0 ? 2 : mapped != 0 ? 1 : 0; }
};

struct Stretch {
  std::uint64_t begin, last;
  std::vector<Cell> cells{};
};

std::uint64_t row_count(const Stretch& stretch, std::uint64_t row) { return (stretch.last - stretch.begin) / row + 1; }

class HeatMap {
 public:
  HeatMap(const Gathered& gathered, const Told& told)
      : gathered_{gathered},
        events_{told.events && !told.events->list.empty() ? &*told.events : nullptr},
        marks_accessed_{sets_accessed(gathered.scheme)},
        marks_dirty_{sets_dirty(gathered.scheme)} {
    find_stretches(told);
    choose_cells();
    fill_marks();
    if (events_ != nullptr) fill_faults();
  }

  std::string draw(const Told& told) {
    Svg svg{"heat", "Heat map of the guest's pages",
            "Cells for the pages of guest-physical memory: mapped, accessed and dirty as hardware marks them, and when "
            "each faulted in first."};
    svg.head(headline(gathered_.scheme));
    if (stretches_.empty()) {
      svg.paragraph("Nothing is mapped, but perhaps devices.", "strong");
      return svg.finish();
    }
    svg.paragraph("One cell is " + bytes_text(cell_) + ", a row " + bytes_text(cell_ * cells_of_row) +
                  ". A cell shows the most that any of its pages is" +
                  (events_ != nullptr ? ", and its earliest fault. Devices are left out." : ". Devices are left out."));
    if (left_out_ != 0)
      svg.paragraph(std::to_string(left_out_) + (left_out_ == 1 ? " more stretch" : " more stretches") +
                    " of memory, of " + bytes_text(left_out_bytes_) + ", not shown: these are the largest.");
    if (!marks_accessed_) svg.paragraph("This hardware, as it is set up, marks no page as accessed.");
    if (!marks_dirty_) svg.paragraph("This hardware, as it is set up, marks no page as dirty.");
    if (untracked_ != 0)
      svg.paragraph("Writes to " + bytes_text(untracked_) + " leave no mark: whether these are dirty is not known.");
    say_events(svg, told);
    svg.move_to(svg.y() + 4);
    std::vector<Svg::Sign> marks{{"frame", "not mapped"}, {"mapped", "mapped"}};
    if (marks_accessed_) marks.push_back({"accessed", "accessed"});
    if (marks_dirty_) marks.push_back({"dirty", "dirty: written to"});
    svg.legend("Marks of hardware", marks);
    if (!bounds_.empty()) {
      std::vector<Svg::Sign> bins{{"frame", "none known"}};
      for (std::size_t i = 0; i != bounds_.size(); ++i)
        bins.push_back({"time" + std::to_string(shade(i)), "to " + milliseconds(bounds_[i])});
      svg.legend("First fault, ms", bins);
    }
    draw_cells(svg);
    return svg.finish();
  }

 private:
  /// Three digits or so.
  static std::string milliseconds(double nanoseconds) {
    auto const value = nanoseconds / 1e6;
    char text[32];
    std::snprintf(text, sizeof text, "%.*f", value < 1 ? 3 : value < 100 ? 2 : 0, value);
    return text;
  }
  /// Of so many bins, spread over all colours.
  std::size_t shade(std::size_t bin) const {
    return bounds_.size() == 1 ? 0 : bin * (times - 1) / (bounds_.size() - 1);
  }

  /// A device of a gigabyte would leave no room for RAM, and its pages mean nothing here.
  bool is_ram(const Leaf& leaf) const { return leaf.valid() && !is_device(gathered_.scheme, leaf.decoded.type); }

  /// Whether hardware marks a write: on Arm, a leaf with DBM, or one that allows none.
  bool is_tracked(const Leaf& leaf) const {
    constexpr unsigned dbm = 51;
    return gathered_.scheme.family() != testing::Family::arm || !leaf.decoded.is_dirty || testing::bit(leaf.entry, dbm);
  }

  void find_stretches(const Told& told) {
    std::vector<Stretch> all;
    for (auto const& run : runs_of(gathered_, false))
      if (is_ram(run.first)) all.push_back({run.range.begin.raw(), run.range.last().raw()});
    if (told.areas)
      for (auto const& area : told.areas->list)
        if (area.backing != hv::AreaList::Backing::device && !slat::is_device(area.attr.memory))
          all.push_back({area.range.begin.raw(), area.range.last().raw()});
    std::sort(all.begin(), all.end(), [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
    for (auto const& one : all) {
      if (stretches_.empty() ||
          (one.begin > stretches_.back().last && one.begin - stretches_.back().last > close_enough))
        stretches_.push_back(one);
      else
        stretches_.back().last = std::max(stretches_.back().last, one.last);
    }
    if (stretches_.size() <= most_stretches) return;
    std::stable_sort(stretches_.begin(), stretches_.end(),
                     [](const Stretch& a, const Stretch& b) { return a.last - a.begin > b.last - b.begin; });
    for (auto i = most_stretches; i != stretches_.size(); ++i, ++left_out_)
      left_out_bytes_ += stretches_[i].last - stretches_[i].begin + 1;
    stretches_.resize(most_stretches);
    std::sort(stretches_.begin(), stretches_.end(),
              [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
  }

  /// As small as there is room for: whole rows, at round addresses.
  void choose_cells() {
    std::uint64_t const most_rows = events_ != nullptr ? 33 : 52;  // half a megabyte at most
    for (cell_ = gathered_.scheme.shape().granule();; cell_ *= 2) {
      auto const row = cell_ * cells_of_row;
      std::vector<Stretch> aligned;
      std::uint64_t rows = 0;
      for (auto const& stretch : stretches_) {
        Stretch const round{stretch.begin & ~(row - 1), stretch.last | (row - 1)};
        if (!aligned.empty() && round.begin <= aligned.back().last)
          aligned.back().last = round.last;
        else
          aligned.push_back(round);
      }
      for (auto const& stretch : aligned) rows += row_count(stretch, row);
      if (rows > most_rows) continue;
      stretches_ = std::move(aligned);
      for (auto& stretch : stretches_) stretch.cells.resize(row_count(stretch, row) * cells_of_row);
      return;
    }
  }

  Stretch* stretch_at(std::uint64_t address) {
    auto const at = std::partition_point(stretches_.begin(), stretches_.end(),
                                         [&](const Stretch& stretch) { return stretch.last < address; });
    return at != stretches_.end() && at->begin <= address ? &*at : nullptr;
  }

  void fill_marks() {
    for (auto const& leaf : gathered_.leaves) {
      if (!is_ram(leaf)) continue;
      auto last = leaf.range.last().raw();
      auto const tracked = is_tracked(leaf);
      if (marks_dirty_ && !tracked) untracked_ += leaf.range.size;
      auto* const stretch = stretch_at(leaf.range.begin.raw());
      if (stretch == nullptr) continue;
      last = std::min(last, stretch->last);
      for (auto at = leaf.range.begin.raw();;) {
        auto const end = std::min(last, at | (cell_ - 1));
        auto& cell = stretch->cells[(at - stretch->begin) / cell_];
        auto const bytes = end - at + 1;
        cell.mapped += bytes;
        if (marks_accessed_ && leaf.decoded.is_accessed) cell.accessed += bytes;
        if (marks_dirty_ && tracked && leaf.decoded.is_dirty) cell.dirty += bytes;
        if (end == last) break;
        at = end + 1;
      }
    }
  }

  void fill_faults() {
    std::vector<double> firsts;
    for (auto const& event : events_->list) {
      if (event.kind != hv::Event::Kind::fault || static_cast<Resolution>(event.outcome) != Resolution::mapped)
        continue;
      ++faults_;
      auto* const stretch = stretch_at(event.address);
      if (stretch == nullptr) continue;
      auto& cell = stretch->cells[(event.address - stretch->begin) / cell_];
      // Events come by their begin.
      if (cell.faulted++ == 0) firsts.push_back(cell.first = events_->since_first(event.begin));
    }
    // As many cells of each colour: most faults come close together.
    for (std::size_t i = 1; i <= times && !firsts.empty(); ++i) {
      auto const bound = firsts[(firsts.size() * i - 1) / times];
      if (bounds_.empty() || bounds_.back() < bound) bounds_.push_back(bound);
    }
  }

  void say_events(Svg& svg, const Told& told) {
    if (!told.events)
      return svg.paragraph("There are no events: " + told.no_events + ". So when pages faulted in is not known.");
    auto words = "Of " + count_text(told.events->list.size(), "event") + ", " + count_text(faults_, "fault") +
                 " had a page mapped.";
    if (told.events->lost != 0) words += " " + count_text(told.events->lost, "older event") + " are lost.";
    svg.paragraph(words + " Times are counted from the first event that is there.");
  }

  void draw_cells(Svg& svg) {
    auto const two = !bounds_.empty();
    auto const wide = two ? 5.8 : 12.0, gap = 22.0;
    auto const left = heat_left, right = left + wide * static_cast<double>(cells_of_row) + gap;
    svg.move_to(svg.y() + 8);
    svg.text(left - 10, svg.y() + 12, "guest address", "soft", "end");
    svg.text(left, svg.y() + 12, "marks", "strong");
    if (two) svg.text(right, svg.y() + 12, "first faults", "strong");
    svg.move_to(svg.y() + 24);
    for (auto const& stretch : stretches_) {
      auto const row = cell_ * cells_of_row;
      auto const rows = row_count(stretch, row);
      auto const title = range(stretch.begin, stretch.last - stretch.begin + 1) + ": a cell is " + bytes_text(cell_);
      auto const height = cell_height * static_cast<double>(rows), all = wide * static_cast<double>(cells_of_row);
      svg.box({left - 1, svg.y() - 1, all + 2, height + 2}, "frame", title);
      if (two) svg.box({right - 1, svg.y() - 1, all + 2, height + 2}, "frame", title);
      for (std::uint64_t i = 0; i != rows; ++i) {
        auto const y = svg.y() + cell_height * static_cast<double>(i);
        if (i % 2 == 0) svg.text(left - 10, y + 10, hex(stretch.begin + i * row), {}, "end");
        auto const cells = std::span{stretch.cells}.subspan(i * cells_of_row, cells_of_row);
        draw_row(
            svg, cells, stretch.begin + i * row, left, y, wide, [](const Cell& cell) { return cell.state(); },
            [](std::size_t state) {
              return std::array{"", "mapped", "accessed", "dirty"}[state];
            },
            marks_words);
        if (two)
          draw_row(
              svg, cells, stretch.begin + i * row, right, y, wide, [&](const Cell& cell) { return bin_of(cell); },
              [&](std::size_t bin) { return "time" + std::to_string(shade(bin - 1)); }, fault_words);
      }
      svg.move_to(svg.y() + height + 16);
    }
    svg.move_to(svg.y() - 8);
  }

  std::size_t bin_of(const Cell& cell) const {
    if (cell.faulted == 0) return 0;
    return static_cast<std::size_t>(std::lower_bound(bounds_.begin(), bounds_.end(), cell.first) - bounds_.begin()) + 1;
  }

  static std::string marks_words(std::span<const Cell> cells) {
    Cell sum;
    for (auto const& cell : cells) sum.mapped += cell.mapped, sum.accessed += cell.accessed, sum.dirty += cell.dirty;
    return size(sum.mapped) + " mapped" + (sum.accessed != 0 ? ", " + size(sum.accessed) + " accessed" : "") +
           (sum.dirty != 0 ? ", " + size(sum.dirty) + " dirty" : "");
  }
  static std::string fault_words(std::span<const Cell> cells) {
    std::uint64_t faults = 0;
    for (auto const& cell : cells) faults += cell.faulted;
    return count_text(faults, "fault") + ", the first at " + milliseconds(cells.front().first) + " ms";
  }

  /// Neighbours that look alike are one shape; what is 0 has none.
  void draw_row(Svg& svg, std::span<const Cell> cells, std::uint64_t begin, double x, double y, double wide,
                auto kind_of, auto classes_of, auto words_of_cells) const {
    for (std::size_t from = 0, to; from != cells.size(); from = to) {
      auto const kind = kind_of(cells[from]);
      for (to = from + 1; to != cells.size() && kind_of(cells[to]) == kind;) ++to;
      if (kind == 0) continue;
      svg.box({x + wide * static_cast<double>(from), y, wide * static_cast<double>(to - from), cell_height},
              classes_of(kind), hex(begin + from * cell_) + ": " + words_of_cells(cells.subspan(from, to - from)),
              to - from == 1 ? "" : "data-n=\"" + std::to_string(to - from) + '"');
    }
  }

  const Gathered& gathered_;
  const Events* events_;
  bool marks_accessed_, marks_dirty_;
  std::vector<Stretch> stretches_;
  std::uint64_t cell_ = 0, left_out_ = 0, left_out_bytes_ = 0, faults_ = 0;
  std::uint64_t untracked_ = 0;  // bytes
  std::vector<double> bounds_;   // of the bins of time, the last time in each
};

}  // namespace

std::string draw_heat(const Gathered& gathered, const Told& told) { return HeatMap{gathered, told}.draw(told); }

}  // namespace slat::tool
