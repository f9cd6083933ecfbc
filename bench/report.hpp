#pragma once

// What is said of the rows: one table, and a picture of it.

#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "row.hpp"

namespace slat::bench {

/// A row and what came of it. Times are nanoseconds a unit.
struct Finding {
  RowEntry entry;
  double ns = 0, median = 0, limit = 0, avx2 = 0;
  double instructions = 0;  // 0: not counted
  Facts facts;
  bool steady = true;  // the same facts in every round

  double ratio() const { return ns / limit; }
  double target() const { return static_cast<double>(entry.target) / 1000; }
  bool has_target() const { return entry.target != 0 || entry.instructions != 0 || entry.exact; }

  /// Empty: met.
  std::string missed() const {
    std::string list;
    auto const miss = [&](bool it_does, const char* what) {
      if (it_does) list += (list.empty() ? "" : ", ") + std::string{what};
    };
    miss(entry.target != 0 && ratio() > target(), "ratio");
    auto const counted = instructions != 0 && instructions <= static_cast<double>(entry.instructions);
    miss(entry.instructions != 0 && !counted, "instructions");
    miss(entry.exact && (!steady || *entry.exact != facts), "facts");
    return list;
  }
  std::string verdict() const {
    if (!has_target()) return "";
    return missed().empty() ? "met" : "not: " + missed();
  }
};

inline std::string number(double value, int decimals) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}
/// Three digits or so: 0.298, 1.52, 148.
inline std::string short_number(double value) { return number(value, value < 1 ? 3 : value < 100 ? 2 : 0); }

class Table {
 public:
  explicit Table(bool with_avx2) : with_avx2_{with_avx2} {}

  void head() const {
    line("", "ns", "median", "limit", "ratio", "target", "hooks", "tables", "instructions", "AVX2", "");
  }
  void line(const Finding& f) const {
    auto const either = [](bool is_there, const std::string& text) { return is_there ? text : std::string{"-"}; };
    auto instructions = short_number(f.instructions);
    if (f.entry.instructions != 0) instructions += " <=" + std::to_string(f.entry.instructions);
    line(f.entry.title, short_number(f.ns), short_number(f.median), short_number(f.limit), number(f.ratio(), 2),
         either(f.entry.target != 0, number(f.target(), 2)), std::to_string(f.facts.hook_calls),
         std::to_string(f.facts.tables), either(f.instructions != 0, instructions),
         with_avx2_ ? either(f.avx2 != 0, short_number(f.avx2)) : "none", f.verdict());
  }

 private:
  using Text = const std::string&;
  static void line(Text title, Text ns, Text median, Text limit, Text ratio, Text target, Text hook_calls, Text tables,
                   Text instructions, Text avx2, Text verdict) {
    std::printf("%-44s %6s %6s %6s %6s %6s %6s %6s %12s %6s  %s\n", title.c_str(), ns.c_str(), median.c_str(),
                limit.c_str(), ratio.c_str(), target.c_str(), hook_calls.c_str(), tables.c_str(), instructions.c_str(),
                avx2.c_str(), verdict.c_str());
    std::fflush(stdout);
  }

  bool with_avx2_;
};

/// As XML takes it.
inline std::string escaped(const std::string& text) {
  std::string result;
  for (auto const c : text) result += c == '<' ? "&lt;" : c == '&' ? "&amp;" : std::string{c};
  return result;
}

/// One bar a row, from the limit to the row's time as so many times the limit, on a log scale; the tick is the target.
inline bool draw(const std::string& path, const std::vector<Finding>& findings, const std::string& machine) {
  constexpr int left = 340, width = 640, bar = 14, pitch = 22, top = 64;
  constexpr double lowest = 0.1, highest = 100;
  auto const x = [](double ratio) {
    auto const inside = std::fmin(std::fmax(ratio, lowest), highest);
    return left + width * std::log10(inside / lowest) / std::log10(highest / lowest);
  };
  auto const height = top + pitch * static_cast<int>(findings.size()) + 16;
  auto* const file = std::fopen(path.c_str(), "w");
  if (file == nullptr) return false;
  std::fprintf(file,
               "<svg xmlns='http://www.w3.org/2000/svg' width='%d' height='%d' font-family='sans-serif' "
               "font-size='12'>\n<rect width='100%%' height='100%%' fill='white'/>\n"
               "<text x='10' y='20' font-size='15'>Times the limit (log scale): shorter is better, and the tick is the "
               "target</text>\n"
               "<text x='10' y='38' fill='#555'>%s</text>\n",
               left + width + 90, height, escaped(machine).c_str());
  for (double line = lowest; line < 2 * highest; line *= 10)
    std::fprintf(file,
                 "<line x1='%.1f' x2='%.1f' y1='%d' y2='%d' stroke='%s'/>"
                 "<text x='%.1f' y='%d' text-anchor='middle' fill='#555'>%gx</text>\n",
                 x(line), x(line), top - 4, height - 12, std::fabs(line - 1) < 0.01 ? "#555" : "#ddd", x(line), top - 8,
                 line);
  auto y = top;
  for (auto const& f : findings) {
    auto const from = x(std::fmin(1, f.ratio())), to = x(std::fmax(1, f.ratio()));
    auto const* const colour = !f.missed().empty() ? "#c8503c" : f.entry.target != 0 ? "#3c9a5f" : "#9aa5b1";
    std::fprintf(file,
                 "<text x='%d' y='%d' text-anchor='end'>%s</text>"
                 "<rect x='%.1f' y='%d' width='%.1f' height='%d' fill='%s'/>"
                 "<text x='%.1f' y='%d'>%.2f</text>\n",
                 left - 8, y + bar - 3, escaped(f.entry.title).c_str(), from, y, std::fmax(to - from, 1), bar, colour,
                 std::fmax(to, x(f.target())) + 6, y + bar - 3, f.ratio());
    if (f.entry.target != 0)
      std::fprintf(file, "<rect x='%.1f' y='%d' width='3' height='%d' fill='black'/>\n", x(f.target()) - 1.5, y - 3,
                   bar + 6);
    y += pitch;
  }
  std::fputs("</svg>\n", file);
  return std::fclose(file) == 0;
}

}  // namespace slat::bench
