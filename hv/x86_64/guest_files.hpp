#pragma once

// What every kind of x86 guest is loaded with: its files, what goes where in its RAM, how its CPU starts. The kinds are
// linux_guest.hpp and multiboot_guest.hpp.
//
//   0         9f000    1M                              RAM                       3G                 4G
//   |  RAM    | (RAM, told to nobody)  |  RAM          |   nothing               | the machine's own devices |

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include <slat/mm/address.hpp>

#include "hv/file_bytes.hpp"
#include "hv/x86_64/vcpu.hpp"

namespace hv {

using namespace slat::literals;

/// Where a PC's RAM ends below 1 MiB, and goes on.
inline constexpr std::uint64_t low_ram_end = 0x9'f000;
inline constexpr std::uint64_t high_ram = 1_MiB;
/// Where the devices begin that a guest has for itself: local APIC, I/O APIC, HPET.
inline constexpr slat::GuestRange device_area{slat::GuestPhys{3_GiB}, 1_GiB};

/// What the guest is loaded from, and with.
struct GuestFiles {
  FileBytes kernel;
  FileBytes initrd;  // the RAM disk, the module
  std::string_view command_line;
};

/// Why something is not done, in words.
struct Refusal {
  std::string_view words;
};

/// A `T`, or the sentence that says why there is none.
template <class T>
class OrRefusal {
 public:
  OrRefusal(T value) : value_{value} {}
  OrRefusal(Refusal why) : why_{why} {}

  explicit operator bool() const { return value_.has_value(); }
  const T& operator*() const { return *value_; }
  const T* operator->() const { return &*value_; }
  std::string_view words() const { return why_.words; }

 private:
  std::optional<T> value_;
  Refusal why_{};
};

inline constexpr Refusal does_not_fit{"the guest's files do not fit into its RAM"};

/// Bytes that go into guest RAM before the guest starts, and zeros behind them.
struct Piece {
  slat::GuestPhys at;
  FileBytes bytes;
  std::uint64_t zeros = 0;

  constexpr std::uint64_t size() const { return bytes.size() + zeros; }
};

/// All of a guest that is ready to be copied into its RAM and started.
class LoadedGuest {
 public:
  static constexpr std::size_t most_pieces = 24;

  Start start;
  Registers registers;

  /// False when there are too many.
  bool add(const Piece& piece) {
    if (count_ == pieces_.size()) return false;
    pieces_[count_++] = piece;
    return true;
  }
  std::span<const Piece> pieces() const { return std::span{pieces_}.first(count_); }

 private:
  std::array<Piece, most_pieces> pieces_{};
  std::size_t count_ = 0;
};

/// Bytes that no file has: tables and parameters, made before the guest starts. Too large for a stack.
struct LoadBuffers {
  alignas(8) std::array<std::byte, 6 * 4096> page_tables{};
  alignas(8) std::array<std::byte, 4096> parameters{};
  std::array<std::byte, 4096> command_line{};
};

/// `text` with a zero behind it, in `into`. Nothing when it is too long for that.
inline std::optional<FileBytes> zero_terminated(std::string_view text, std::span<std::byte> into) {
  if (text.size() >= into.size()) return std::nullopt;
  for (std::size_t i = 0; i != text.size(); ++i) into[i] = static_cast<std::byte>(text[i]);
  into[text.size()] = std::byte{0};
  return into.first(text.size() + 1);
}

}  // namespace hv
