// The colours of pictures, as the stylesheet has them: texts can be read and shapes seen on a light page and on a dark
// one.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "tools/picture/svg.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;

using Rules = std::map<std::string, std::map<std::string, std::string>>;

/// Selectors of the stylesheet; with `dark`, as on a dark page.
Rules rules_of(bool dark) {
  std::string text{style_sheet()};
  auto const media = text.find("@media (prefers-color-scheme: dark) {");
  EXPECT_NE(media, text.npos);
  if (!dark) text.erase(media);
  Rules out;
  for (auto at = text.find_first_not_of(" \n"); at != text.npos; at = text.find_first_not_of(" \n}", at)) {
    auto const open = text.find('{', at), close = text.find('}', at);
    if (open == text.npos || close == text.npos) break;
    if (text[at] == '@') {
      at = open + 1;
      continue;
    }
    auto& rule = out[text.substr(at, open - at - 1)];
    for (auto from = open + 1; from < close;) {
      auto const colon = text.find(':', from), end = std::min(text.find(';', from), close);
      if (colon > end) break;
      auto const name = text.substr(text.find_first_not_of(' ', from), colon - text.find_first_not_of(' ', from));
      rule[name] = text.substr(colon + 2, end - colon - 2);
      from = end + 1;
    }
    at = close + 1;
  }
  return out;
}

/// WCAG 2.1, "contrast ratio".
double contrast(const std::string& a, const std::string& b) {
  auto const luminance = [](const std::string& colour) {
    EXPECT_EQ(colour.size(), 7u) << colour;
    double sum = 0;
    for (std::size_t i = 0; i != 3; ++i) {
      auto const part = std::stoi(colour.substr(1 + 2 * i, 2), nullptr, 16) / 255.0;
      sum += std::array{0.2126, 0.7152, 0.0722}[i] *
             (part <= 0.04045 ? part / 12.92 : std::pow((part + 0.055) / 1.055, 2.4));
    }
    return sum;
  };
  auto const [low, high] = std::minmax(luminance(a), luminance(b));
  return (high + 0.05) / (low + 0.05);
}

TEST(ColourTest, TextIsReadableAndShapesAreVisibleInBothThemes) {
  for (auto const dark : {false, true}) {
    auto const rules = rules_of(dark);
    auto const at = [&](const std::string& selector, const std::string& key) { return rules.at(selector).at(key); };
    auto const ground = at(".ground", "fill");
    EXPECT_EQ(contrast(ground, "#ffffff") < 2, !dark);
    for (auto const* text : {"text", ".soft", ".alarm"}) EXPECT_GE(contrast(at(text, "fill"), ground), 4.5) << text;
    EXPECT_GE(contrast(at(".alarm", "fill"), at(".bad", "fill")), 4.5);
    auto shapes = 0;
    for (auto const& [selector, rule] : rules) {
      if (!rule.contains("stroke")) continue;
      ++shapes;
      EXPECT_GE(contrast(rule.at("stroke"), ground), 3) << selector << dark;
      // Boxes carry texts; cells do not.
      if (rule.contains("fill") && (!rule.contains("stroke-width") || selector == ".bad")) {
        EXPECT_GE(contrast(at("text", "fill"), rule.at("fill")), 4.5) << selector << dark;
      }
    }
    EXPECT_EQ(shapes, 23);
    // Steps differ in lightness, for those who see no hues.
    auto const steps = [&](std::vector<std::string> names) {
      for (std::size_t i = 1; i != names.size(); ++i)
        EXPECT_GE(contrast(at(names[i - 1], "fill"), at(names[i], "fill")), 1.2) << names[i] << dark;
    };
    steps({".full1", ".full2", ".full3", ".full4"});
    steps({".frame", ".mapped", ".accessed", ".dirty"});
    steps({".time0", ".time1", ".time2", ".time3", ".time4", ".time5"});
  }
}

}  // namespace
}  // namespace slat::test
