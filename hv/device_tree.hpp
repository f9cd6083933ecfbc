#pragma once

// A reader of flattened device trees (Devicetree Specification, "Flattened Devicetree Format"): as much as it takes to
// find RAM, CPUs and what a boot loader left in /chosen.
//
//   auto tree = DeviceTree::at(blob);
//   for (auto node = tree->root().first_child(); node; node = node.next_sibling())
//     if (node.is("memory")) use(node.property("reg").cells(0, 2));
//
// A damaged blob ends early or finds nothing; it is never read past its end.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace hv {

/// The value of a property; false when there is none.
class Property {
 public:
  Property() = default;
  explicit Property(std::string_view bytes) : bytes_{bytes} {}

  explicit operator bool() const { return bytes_.data() != nullptr; }
  std::size_t cell_count() const { return bytes_.size() / 4; }

  /// `count` big-endian cells (1 or 2) from the cell `first` on, as one number; 0 past the end.
  std::uint64_t cells(std::size_t first, std::size_t count) const {
    if (first + count > cell_count()) return 0;
    std::uint64_t value = 0;
    for (char const byte : bytes_.substr(first * 4, count * 4)) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  }

  /// The first of its NUL-terminated strings.
  std::string_view text() const { return bytes_.substr(0, bytes_.find('\0')); }

  /// Whether `word` is one of its NUL-terminated strings.
  bool lists(std::string_view word) const {
    for (auto rest = bytes_; !rest.empty();) {
      auto const one = rest.substr(0, rest.find('\0'));
      if (one == word) return true;
      rest.remove_prefix(one.size() < rest.size() ? one.size() + 1 : rest.size());
    }
    return false;
  }

 private:
  std::string_view bytes_;
};

/// A tree in memory that outlives it and does not change.
class DeviceTree {
 public:
  class Node;

  /// The tree at the start of `blob`, if there is one and it fits.
  static std::optional<DeviceTree> at(std::span<const std::byte> blob) {
    std::string_view const bytes{reinterpret_cast<const char*>(blob.data()), blob.size()};
    if (word(bytes, 0) != magic || word(bytes, 4) > bytes.size()) return std::nullopt;
    auto const whole = bytes.substr(0, word(bytes, 4));
    DeviceTree tree{part(whole, word(whole, 8), word(whole, 36)), part(whole, word(whole, 12), word(whole, 32))};
    if (tree.structure_.empty()) return std::nullopt;
    return tree;
  }

  /// How long the tree at `header` says it is, 0 when there is none: for a caller who has only an address.
  static std::size_t size_at(const std::byte* header) {
    std::string_view const bytes{reinterpret_cast<const char*>(header), header_size};
    return word(bytes, 0) == magic ? word(bytes, 4) : 0;
  }

  Node root() const;

 private:
  static constexpr std::uint32_t magic = 0xd00dfeed;
  static constexpr std::size_t header_size = 40;
  enum Token : std::uint32_t { begin_node = 1, end_node = 2, property = 3, nop = 4, end = 9 };

  DeviceTree(std::string_view structure, std::string_view strings) : structure_{structure}, strings_{strings} {}

  static std::string_view part(std::string_view bytes, std::size_t from, std::size_t size) {
    return from <= bytes.size() ? bytes.substr(from, size) : std::string_view{};
  }
  static std::uint32_t word(std::string_view bytes, std::size_t at) {
    return static_cast<std::uint32_t>(Property{part(bytes, at, 4)}.cells(0, 1));
  }
  static std::size_t padded(std::size_t n) { return (n + 3) & ~std::size_t{3}; }
  static std::string_view string_at(std::string_view bytes, std::size_t at) {
    return Property{part(bytes, at, std::string_view::npos)}.text();
  }

  /// Past the end of the structure every token is `end`.
  std::uint32_t token(std::size_t at) const { return at + 4 <= structure_.size() ? word(structure_, at) : end; }
  /// Where the token after the one at `at` begins.
  std::size_t after(std::size_t at) const {
    switch (token(at)) {
      case begin_node: return at + 4 + padded(string_at(structure_, at + 4).size() + 1);
      case property: return at + 12 + padded(word(structure_, at + 4));
      default: return at + 4;
    }
  }
  /// The first token at or after `at` that begins or ends a node, or ends the tree.
  std::size_t skip_properties(std::size_t at) const {
    while (token(at) == property || token(at) == nop) at = after(at);
    return at;
  }

  std::string_view structure_;
  std::string_view strings_;
};

/// A place in the tree; false past the last sibling.
class DeviceTree::Node {
 public:
  explicit operator bool() const { return tree_->token(at_) == begin_node; }

  /// With the unit address: "memory@40000000".
  std::string_view name() const { return string_at(tree_->structure_, at_ + 4); }
  /// Whether the name without its unit address is `word`.
  bool is(std::string_view word) const { return name().substr(0, name().find('@')) == word; }

  Property property(std::string_view wanted) const {
    for (auto at = tree_->after(at_);; at = tree_->after(at)) {
      if (tree_->token(at) == nop) continue;
      if (tree_->token(at) != DeviceTree::property) return Property{};
      auto const size = word(tree_->structure_, at + 4);
      if (string_at(tree_->strings_, word(tree_->structure_, at + 8)) == wanted)
        return Property{part(tree_->structure_, at + 12, size)};
    }
  }

  Node first_child() const { return Node{*tree_, tree_->skip_properties(tree_->after(at_))}; }

  Node next_sibling() const {
    auto at = at_;
    for (unsigned depth = 0;;) {
      auto const token = tree_->token(at);
      if (token == end) return Node{*tree_, at};
      if (token == begin_node) ++depth;
      if (token == end_node) --depth;
      at = tree_->after(at);
      if (depth == 0) return Node{*tree_, tree_->skip_properties(at)};
    }
  }

  /// The child of that name (without unit address); false when there is none.
  Node child(std::string_view wanted) const {
    auto node = first_child();
    while (node && !node.is(wanted)) node = node.next_sibling();
    return node;
  }

 private:
  friend DeviceTree;
  Node(const DeviceTree& tree, std::size_t at) : tree_{&tree}, at_{at} {}

  const DeviceTree* tree_;
  std::size_t at_;
};

inline DeviceTree::Node DeviceTree::root() const { return Node{*this, skip_properties(0)}; }

}  // namespace hv
