#include "tools/picture/svg.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <utility>

namespace slat::tool {

// Colours for every kind of colour vision: blue against orange, and steps that differ in lightness. A text stands out
// from its ground by 4.5 to 1, an outline by 3 to 1.
std::string_view style_sheet() {
  return R"(
  text { font: 12px sans-serif; fill: #1b1f24; }
  .heading { font: bold 16px sans-serif; }
  .strong { font-weight: bold; }
  .soft { fill: #57606a; }
  .alarm { fill: #a32a00; font-weight: bold; }
  .ground { fill: #ffffff; }
  .rule { stroke: #6e7781; stroke-width: 1; }
  .normal { fill: #d6e6f5; stroke: #4a6fa5; }
  .device { fill: #f5dfb8; stroke: #8a5a00; }
  .mixed { fill: #e4e7eb; stroke: #57606a; }
  .lazy { stroke-dasharray: 6 3; }
  .emulated { stroke-dasharray: 2 2; }
  .bad { fill: #ffdccc; stroke: #c23b00; stroke-width: 3; }
  .full1 { fill: #eef5fb; stroke: #4a6fa5; }
  .full2 { fill: #c9dff3; stroke: #4a6fa5; }
  .full3 { fill: #9cc4e8; stroke: #4a6fa5; }
  .full4 { fill: #6ea8db; stroke: #4a6fa5; }
  .leaf0 { fill: #f7e6a6; stroke: #7a6200; }
  .leaf1 { fill: #f3c39a; stroke: #8f4a10; }
  .leaf2 { fill: #e3b5d3; stroke: #8a3f73; }
  .invalid { fill: #ffffff; stroke: #c23b00; stroke-dasharray: 2 2; }
  .thin { stroke-width: .5; }
  .frame { fill: #f3f5f7; stroke: #6e7781; }
  .mapped { fill: #b9d6f2; stroke: #3f678f; stroke-width: .5; }
  .accessed { fill: #3f86c6; stroke: #244f78; stroke-width: .5; }
  .dirty { fill: #7a2a00; stroke: #4a1a00; stroke-width: .5; }
  .time0 { fill: #fbe5a3; stroke: #7a6200; stroke-width: .5; }
  .time1 { fill: #f6b06a; stroke: #7a4a00; stroke-width: .5; }
  .time2 { fill: #e27a5f; stroke: #70301f; stroke-width: .5; }
  .time3 { fill: #b84a78; stroke: #5c2440; stroke-width: .5; }
  .time4 { fill: #77308c; stroke: #3a1746; stroke-width: .5; }
  .time5 { fill: #30135c; stroke: #180930; stroke-width: .5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .soft { fill: #9aa5b1; }
    .alarm { fill: #ff9d6e; }
    .ground { fill: #0d1117; }
    .rule { stroke: #768390; }
    .normal { fill: #1d3a57; stroke: #79a6dc; }
    .device { fill: #4c390c; stroke: #d9a441; }
    .mixed { fill: #30363d; stroke: #9aa5b1; }
    .bad { fill: #5c1d05; stroke: #ff7b47; }
    .full1 { fill: #12202e; stroke: #79a6dc; }
    .full2 { fill: #1a3957; stroke: #79a6dc; }
    .full3 { fill: #20527f; stroke: #79a6dc; }
    .full4 { fill: #2767a3; stroke: #79a6dc; }
    .leaf0 { fill: #4f430f; stroke: #d8bf4a; }
    .leaf1 { fill: #5f3310; stroke: #e0904a; }
    .leaf2 { fill: #57264a; stroke: #d986bd; }
    .invalid { fill: #0d1117; stroke: #ff7b47; }
    .frame { fill: #161b22; stroke: #768390; }
    .mapped { fill: #234a70; stroke: #6f9ecb; }
    .accessed { fill: #4f9ade; stroke: #a9d0f5; }
    .dirty { fill: #ffb98f; stroke: #ffe2d1; }
    .time0 { fill: #4a2a78; stroke: #9a7fc7; }
    .time1 { fill: #8a3f96; stroke: #c08acb; }
    .time2 { fill: #c25586; stroke: #e39cbd; }
    .time3 { fill: #e8836a; stroke: #f5b9a8; }
    .time4 { fill: #f6b56f; stroke: #fbd9b1; }
    .time5 { fill: #fdeab0; stroke: #fff5d6; }
  }
)";
}

std::string escaped(std::string_view text) {
  std::string out;
  for (auto const c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? '?' : c;
    }
  }
  return out;
}

std::string bytes_text(std::uint64_t bytes) {
  constexpr std::array units{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  std::size_t unit = 0;
  auto value = static_cast<double>(bytes);
  for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
  char text[48];
  std::snprintf(text, sizeof text, value == std::floor(value) ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string count_text(std::uint64_t count, std::string_view noun) {
  return std::to_string(count) + " " + std::string{noun} + (count == 1 ? "" : "s");
}

std::string coordinate(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string_view view{text};
  if (view.ends_with(".0")) view.remove_suffix(2);
  return std::string{view};
}

Svg::Svg(std::string name, std::string title, std::string description)
    : name_{std::move(name)}, title_{std::move(title)}, description_{std::move(description)} {}

double Svg::width_of(std::string_view text, double size) {
  // Bytes that go on with a character have no width of their own. 0.64 em is more than letters have in the middle in
  // the widest of the usual fonts.
  auto const characters =
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
  return 0.64 * size * static_cast<double>(characters);
}

void Svg::head(const std::string& headline) {
  text(margin, y_ + 14, title_, "heading");
  y_ += 24;
  paragraph(headline);
}

void Svg::paragraph(const std::string& text_of_it, std::string_view classes) {
  std::string row;
  auto const flush = [&] {
    text(margin, y_ + font, row, classes);
    y_ += line;
    row.clear();
  };
  for (std::size_t at = 0; at < text_of_it.size();) {
    auto const end = std::min(text_of_it.find(' ', at), text_of_it.size());
    auto const next = text_of_it.substr(at, end - at);
    // Bold letters are wider.
    if (!row.empty() && width_of(row, font * 1.08) + width_of(next, font * 1.08) + font > inner) flush();
    if (!row.empty()) row += ' ';
    row += next;
    at = end + 1;
  }
  if (!row.empty()) flush();
}

void Svg::legend(const std::string& what, const std::vector<Sign>& signs) {
  auto x = margin;
  if (!what.empty()) {
    text(x, y_ + font, what, "strong");
    x += width_of(what, font * 1.08) + 12;
  }
  for (auto const& [classes, words] : signs) {
    auto const wide = 24 + width_of(words) + 14;
    if (x + wide > width - margin && x > margin) {
      x = margin;
      y_ += line + 4;
    }
    box({x, y_ + 1, 16, 13}, classes, words, "data-legend=\"\"");
    text(x + 22, y_ + font, words);
    x += wide;
  }
  y_ += line + 6;
}

void Svg::box(Box at, std::string_view classes, std::string_view tooltip, std::string_view data) {
  ((body_ += "<rect class=\"") += classes) += "\" x=\"";
  ((body_ += coordinate(at.x)) += "\" y=\"") += coordinate(at.y);
  ((body_ += "\" width=\"") += coordinate(at.width)) += "\" height=\"";
  (body_ += coordinate(at.height)) += '"';
  if (!data.empty()) (body_ += ' ') += data;
  ((body_ += "><title>") += escaped(tooltip)) += "</title></rect>\n";
}

void Svg::rule(double x1, double y1, double x2, double y2, std::string_view classes) {
  ((body_ += "<line class=\"") += classes) += "\" x1=\"";
  ((body_ += coordinate(x1)) += "\" y1=\"") += coordinate(y1);
  ((body_ += "\" x2=\"") += coordinate(x2)) += "\" y2=\"";
  (body_ += coordinate(y2)) += "\"/>\n";
}

void Svg::text(double x, double y, std::string_view words, std::string_view classes, std::string_view anchor) {
  body_ += "<text";
  if (!classes.empty()) ((body_ += " class=\"") += classes) += '"';
  ((body_ += " x=\"") += coordinate(x)) += "\" y=\"";
  (body_ += coordinate(y)) += '"';
  if (anchor != "start") ((body_ += " text-anchor=\"") += anchor) += '"';
  ((body_ += '>') += escaped(words)) += "</text>\n";
}

void Svg::fit(double x, double y, double most, const std::vector<std::string>& wordings, std::string_view classes,
              std::string_view anchor) {
  for (auto const& words : wordings) {
    if (words.empty() || width_of(words, classes.empty() ? font : font * 1.08) > most) continue;
    text(x, y, words, classes, anchor);
    return;
  }
}

std::string Svg::finish() const {
  auto const wide = coordinate(width), high = coordinate(std::ceil(y_ + margin));
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + wide + "\" height=\"" + high + "\" viewBox=\"0 0 " +
         wide + " " + high + "\" role=\"img\" aria-labelledby=\"" + name_ + "-title " + name_ +
         "-description\">\n<title id=\"" + name_ + "-title\">" + escaped(title_) + "</title>\n<desc id=\"" + name_ +
         "-description\">" + escaped(description_) + "</desc>\n<style>" + std::string{style_sheet()} +
         "</style>\n<rect class=\"ground\" width=\"" + wide + "\" height=\"" + high + "\"/>\n" + body_ + "</svg>\n";
}

}  // namespace slat::tool
