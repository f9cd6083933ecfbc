#pragma once

// One SVG picture: shapes with tooltips, texts that know how wide they are, a legend, and one stylesheet with light and
// dark colours. It needs nothing outside of itself: no script, no font, no other file.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace slat::tool {

/// Text as XML and HTML take it, between tags and in attributes alike. What XML has no characters for becomes '?'.
std::string escaped(std::string_view text);
/// A number of bytes for people: "64 KiB", "1.2 GiB".
std::string bytes_text(std::uint64_t bytes);
/// "1 table", "3 tables".
std::string count_text(std::uint64_t count, std::string_view noun);
/// A coordinate, to a tenth.
std::string coordinate(double value);

struct Box {
  double x, y, width, height;
};

class Svg {
 public:
  static constexpr double width = 960, margin = 20, inner = width - 2 * margin;
  static constexpr double font = 12, line = 16;

  /// `name` makes ids unique in a page with several pictures.
  Svg(std::string name, std::string title, std::string description);

  /// How wide a text is at most, in a sans-serif font.
  static double width_of(std::string_view text, double size = font);

  /// The heading, and whose tables these are. What follows begins at y().
  void head(const std::string& headline);
  /// Sentences, broken into lines. Moves y() below them.
  void paragraph(const std::string& text, std::string_view classes = "soft");
  /// Swatches with words, and what they explain before them. Moves y() below them.
  struct Sign {
    std::string classes, words;
  };
  void legend(const std::string& what, const std::vector<Sign>& signs);

  /// `data`: further attributes, as they stand.
  void box(Box at, std::string_view classes, std::string_view tooltip, std::string_view data = {});
  void rule(double x1, double y1, double x2, double y2, std::string_view classes);
  /// `y` is the base line. `anchor`: "start", "middle" or "end".
  void text(double x, double y, std::string_view words, std::string_view classes = {},
            std::string_view anchor = "start");
  /// The first of the wordings that fits into `most`; nothing if none does.
  void fit(double x, double y, double most, const std::vector<std::string>& wordings, std::string_view classes = {},
           std::string_view anchor = "start");

  double y() const { return y_; }
  void move_to(double y) { y_ = y; }
  /// The picture, y() high and a margin.
  std::string finish() const;

 private:
  std::string name_, title_, description_, body_;
  double y_ = margin;
};

/// The stylesheet of all pictures.
std::string_view style_sheet();

}  // namespace slat::tool
