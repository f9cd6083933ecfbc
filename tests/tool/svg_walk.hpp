#pragma once

// What is in an SVG: a walk over its elements that is as strict as tests of pictures need, and where texts lie.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tools/picture/svg.hpp"

namespace slat::test {

struct Element {
  std::string name;
  std::map<std::string, std::string, std::less<>> attributes;
  std::string text;     // its own
  std::string tooltip;  // of its <title>
  std::size_t parent;

  const std::string& operator[](std::string_view key) const {
    static const std::string none;
    auto const at = attributes.find(key);
    return at == attributes.end() ? none : at->second;
  }
  bool has(std::string_view key) const { return attributes.contains(key); }
  bool is(std::string_view word) const {
    return (" " + (*this)["class"] + " ").find(" " + std::string{word} + " ") != std::string::npos;
  }
  double number(std::string_view key) const { return has(key) ? std::stod((*this)[key]) : 0; }
};

/// In the order of their start tags. A complaint of GoogleTest where tags do not match.
inline std::vector<Element> elements_of(std::string_view svg) {
  std::vector<Element> out;
  std::vector<std::size_t> open;
  for (std::size_t at = svg.find('<'); at != svg.npos; at = svg.find('<', at)) {
    auto const end = svg.find('>', at);
    EXPECT_NE(end, svg.npos);
    if (end == svg.npos) break;
    auto tag = svg.substr(at + 1, end - at - 1);
    at = end + 1;
    if (tag.starts_with('/')) {
      EXPECT_FALSE(open.empty());
      if (open.empty()) break;
      EXPECT_EQ(out[open.back()].name, tag.substr(1));
      open.pop_back();
    } else {
      auto const closed = tag.ends_with('/');
      if (closed) tag.remove_suffix(1);
      Element element{std::string{tag.substr(0, tag.find(' '))}, {}, {}, {}, open.empty() ? 0 : open.back()};
      for (auto from = tag.find(' '); from != tag.npos && from + 1 < tag.size();) {
        auto const is = tag.find("=\"", from), quote = tag.find('"', is + 2);
        EXPECT_TRUE(is != tag.npos && quote != tag.npos) << tag;
        if (is == tag.npos || quote == tag.npos) break;
        auto const fresh =
            element.attributes.emplace(tag.substr(from + 1, is - from - 1), tag.substr(is + 2, quote - is - 2));
        EXPECT_TRUE(fresh.second) << "twice: " << tag;
        from = quote + 1;
      }
      out.push_back(element);
      if (!closed) open.push_back(out.size() - 1);
    }
    auto const words = svg.substr(at, std::min(svg.find('<', at), svg.size()) - at);
    if (!open.empty()) out[open.back()].text += words;
  }
  EXPECT_TRUE(open.empty());
  for (auto const& element : out)
    if (element.name == "title") out[element.parent].tooltip = element.text;
  return out;
}

struct Place {
  double x, y, end, bottom;
  bool overlaps(const Place& other) const {
    return x < other.end && other.x < end && y < other.bottom && other.y < bottom;
  }
  bool within(const Place& other) const {
    return x >= other.x && y >= other.y && end <= other.end && bottom <= other.bottom;
  }
};

/// As wide as the letters of DejaVu Sans, the widest of the usual fonts; bold ones are a tenth wider. In em.
inline double width_of(std::string_view text) {
  double sum = 0;
  for (auto const c : text) {
    auto const in = [&](std::string_view set) { return set.find(c) != set.npos; };
    if (in("ijlI|'"))
      sum += 0.295;
    else if (in(" .,:;/"))
      sum += 0.337;
    else if (in("frt-!()[]\""))
      sum += 0.46;
    else if (in("cksvxyz"))
      sum += 0.592;
    else if (in("w"))
      sum += 0.818;
    else if (in("mMW%<>&"))
      sum += 0.989;
    else if (c >= 'A' && c <= 'Z')
      sum += 0.75;
    else
      sum += 0.636;
  }
  return sum;
}

inline Place place_of(const Element& element) {
  if (element.name == "rect") {
    auto const x = element.number("x"), y = element.number("y");
    return {x, y, x + element.number("width"), y + element.number("height")};
  }
  if (element.name == "line")
    return {element.number("x1"), element.number("y1"), element.number("x2"), element.number("y2")};
  auto words = element.text;
  for (auto const* entity : {"&lt;", "&gt;", "&amp;", "&quot;", "&#39;"})
    for (auto at = words.find(entity); at != words.npos; at = words.find(entity))
      words.replace(at, std::strlen(entity), "x");
  auto const size = element.is("heading") ? 16.0 : 12.0;
  auto const is_bold = element.is("heading") || element.is("strong") || element.is("alarm");
  auto const wide = width_of(words) * size * (is_bold ? 1.1 : 1);
  auto const x = element.number("x") - (element["text-anchor"] == "end"      ? wide
                                        : element["text-anchor"] == "middle" ? wide / 2
                                                                             : 0);
  auto const y = element.number("y");
  return {x, y - 0.9 * size, x + wide, y + 0.25 * size};
}

/// Everything in the picture, no text over another, every box with a tooltip; and that it needs nothing from outside.
inline std::vector<Element> expect_sound(const std::string& svg) {
  auto elements = elements_of(svg);
  EXPECT_FALSE(elements.empty());
  if (elements.empty()) return elements;
  auto const& root = elements.front();
  EXPECT_EQ(root["xmlns"], "http://www.w3.org/2000/svg");
  EXPECT_EQ(root["role"], "img");
  EXPECT_EQ(root["viewBox"], "0 0 " + root["width"] + " " + root["height"]);
  auto const& names = root["aria-labelledby"];
  EXPECT_FALSE(root.tooltip.empty());
  Place const whole{0, 0, root.number("width"), root.number("height")};
  std::vector<std::pair<Place, const Element*>> texts;
  std::size_t labels = 0, grounds = 0;
  for (auto const& element : elements) {
    labels += element.has("id") && names.find(element["id"]) != names.npos && !element.text.empty();
    grounds += element.is("ground");
    if (element.name != "rect" && element.name != "text" && element.name != "line") continue;
    auto const place = place_of(element);
    EXPECT_TRUE(place.within(whole)) << element.name << " " << element.text << element.tooltip << " at " << place.x
                                     << " " << place.y << " to " << place.end << " " << place.bottom;
    if (element.name == "rect" && !element.is("ground")) {
      EXPECT_FALSE(element.tooltip.empty());
      EXPECT_GT(element.number("width"), 0);
      EXPECT_GT(element.number("height"), 0);
    }
    if (element.name == "text") texts.push_back({place, &element});
  }
  EXPECT_EQ(labels, 2u);
  EXPECT_EQ(grounds, 1u);
  std::sort(texts.begin(), texts.end(), [](auto& a, auto& b) { return a.first.y < b.first.y; });
  for (std::size_t i = 0; i != texts.size(); ++i)
    for (auto j = i + 1; j != texts.size() && texts[j].first.y < texts[i].first.bottom; ++j)
      EXPECT_FALSE(texts[i].first.overlaps(texts[j].first)) << texts[i].second->text << " | " << texts[j].second->text;
  for (auto const* word : {"href", "<script", "<image", "@import", "url(", "foreignObject"})
    EXPECT_EQ(svg.find(word), svg.npos);
  return elements;
}

}  // namespace slat::test
