#pragma once

// Writes a flattened device tree (Devicetree Specification, "Flattened Devicetree Format") from top to bottom into a
// buffer:
//
//   DeviceTreeWriter tree{buffer};
//   tree.begin("");  tree.cells("#address-cells", {2});  ...  tree.end();
//   auto size = tree.finish();
//
// What does not fit makes finish() answer nothing; until then every call is allowed.

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

namespace hv {

class DeviceTreeWriter {
 public:
  explicit DeviceTreeWriter(std::span<std::byte> into) : into_{into} {
    // Header of ten words (filled in at the end), then an empty memory reservation map.
    zero(header_size + 16);
  }

  void begin(std::string_view name) {
    word(1);
    bytes(name);
    zero(1);
    pad();
  }
  void end() { word(2); }

  /// A property without a value.
  void flag(std::string_view name) { open(name, 0); }
  void cells(std::string_view name, std::initializer_list<std::uint32_t> values) {
    open(name, values.size() * 4);
    for (auto const value : values) word(value);
  }
  /// Numbers of two cells each, as addresses and sizes are.
  void pairs(std::string_view name, std::initializer_list<std::uint64_t> values) {
    open(name, values.size() * 8);
    for (auto const value : values) {
      word(static_cast<std::uint32_t>(value >> 32));
      word(static_cast<std::uint32_t>(value));
    }
  }
  void text(std::string_view name, std::string_view value) { texts(name, {value}); }
  void texts(std::string_view name, std::initializer_list<std::string_view> values) {
    std::size_t size = 0;
    for (auto const value : values) size += value.size() + 1;
    open(name, size);
    for (auto const value : values) {
      bytes(value);
      zero(1);
    }
    pad();
  }

  /// The size of the finished tree.
  std::optional<std::size_t> finish() {
    word(9);
    auto const structure_end = used_;
    bytes({strings_.data(), strings_used_});
    if (overflow_) return std::nullopt;
    auto const total = used_;
    constexpr auto structure = header_size + 16;
    used_ = 0;
    for (auto const field : {std::size_t{0xd00dfeed}, total, structure, structure_end, header_size, std::size_t{17},
                             std::size_t{16}, std::size_t{0}, strings_used_, structure_end - structure})
      word(static_cast<std::uint32_t>(field));
    return total;
  }

 private:
  static constexpr std::size_t header_size = 40;

  void open(std::string_view name, std::size_t size) {
    word(3);
    word(static_cast<std::uint32_t>(size));
    word(static_cast<std::uint32_t>(strings_used_));
    if (name.size() + 1 > strings_.size() - strings_used_) {
      overflow_ = true;
      return;
    }
    name.copy(&strings_[strings_used_], name.size());
    strings_used_ += name.size() + 1;  // the array is zero beyond: that ends the string
  }
  void word(std::uint32_t value) {
    for (int shift = 24; shift >= 0; shift -= 8) byte(static_cast<std::byte>(value >> shift));
  }
  void bytes(std::string_view text) {
    for (char const c : text) byte(static_cast<std::byte>(c));
  }
  void zero(std::size_t count) {
    while (count-- != 0) byte(std::byte{0});
  }
  void pad() { zero(-used_ & 3); }
  void byte(std::byte value) {
    if (used_ == into_.size()) {
      overflow_ = true;
      return;
    }
    into_[used_++] = value;
  }

  std::span<std::byte> into_;
  std::size_t used_ = 0;
  std::array<char, 1024> strings_{};
  std::size_t strings_used_ = 0;
  bool overflow_ = false;
};

}  // namespace hv
