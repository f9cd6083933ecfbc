#pragma once

// What a hypervisor means its guest's memory to be: its areas, as a plain list in its own memory for an inspector from
// outside, to which a beacon leads. What the tables really map may be less: areas that are populated by faults.
//
//   constinit hv::AreaList areas{};
//   areas.publish(set.iter(), [](auto& area) { return hv::AreaList::Area{...}; });
//
// Freestanding, and includes nothing of slat. docs/inspector.md has the layout.

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// Little-endian. It counts only if its checksum is right.
struct alignas(64) AreaList {
  enum class Backing : std::uint8_t {
    none = 0,
    linear = 1,  // host memory side by side from `host` on
    lazy = 2,    // pages of it are mapped when they are touched
    device = 3,  // never mapped: each access is emulated
  };
  struct Area {
    std::uint64_t begin = 0, bytes = 0;  // guest-physical
    std::uint64_t host = 0;              // host-physical, of linear areas
    std::uint8_t rights = 0;             // 1 read, 2 write, 4 and 8 execute at user and supervisor level
    std::uint8_t memory = 0;             // 0 write-back, 1 write-through, 2 uncached, 3 and 4 device
    std::uint8_t software = 0;           // the area's two bits that are its owner's
    Backing backing = Backing::none;
    std::uint32_t reserved = 0;
    friend bool operator==(const Area&, const Area&) = default;
  };
  static constexpr std::array<std::uint8_t, 16> the_magic{'\x7f', 's', 'l', 'a',  't',  '-',    'a', 'r',
                                                          'e',    'a', 's', '\r', '\n', '\x1a', 0,   0};
  static constexpr std::uint32_t the_version = 1;
  static constexpr std::size_t most = 64;

  std::array<std::uint8_t, 16> magic{};  // none until it is published
  std::uint32_t version = the_version;
  std::uint32_t area_bytes = sizeof(Area);
  std::uint64_t count = 0;     // of all areas that there are: those beyond 64 are left out
  std::uint64_t checksum = 0;  // FNV-1a of `count` and of the areas
  std::array<std::uint64_t, 3> reserved{};
  std::array<Area, most> areas{};

  /// FNV-1a with 64 bits, of the number and then of the bytes of as many areas as are listed.
  static constexpr std::uint64_t sum_of(std::uint64_t number, const std::uint8_t* bytes_of_areas) {
    std::uint64_t sum = 0xcbf2'9ce4'8422'2325;
    auto const take = [&sum](std::uint8_t byte) { sum = (sum ^ byte) * 0x0000'0100'0000'01b3; };
    for (unsigned i = 0; i != 64; i += 8) take(static_cast<std::uint8_t>(number >> i));
    auto const bytes = (number < most ? number : most) * sizeof(Area);
    for (std::size_t i = 0; i != bytes; ++i) take(bytes_of_areas[i]);
    return sum;
  }

  /// `area_of` makes an Area of each of `all`. Not while another CPU publishes. Until it returns, an inspector finds a
  /// wrong checksum.
  template <class All, class AreaOf>
  void publish(All&& all, AreaOf area_of) {
    checksum = 0;
    std::uint64_t number = 0;
    for (auto const& area : all) {
      if (number < most) areas[number] = area_of(area);
      ++number;
    }
    count = number;
    magic = the_magic;
    // volatile: nothing here reads it, and that is no reason to leave it out.
    const_cast<volatile std::uint64_t&>(checksum) = sum_of(number, reinterpret_cast<const std::uint8_t*>(areas.data()));
  }
};

static_assert(sizeof(AreaList::Area) == 32 && offsetof(AreaList::Area, rights) == 24);
static_assert(offsetof(AreaList, areas) == 64);

}  // namespace hv
