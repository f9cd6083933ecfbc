#pragma once

// What a hypervisor may leave in its own memory for an inspector from outside, tools/slat: where one guest's tables
// are and what registers they are walked by. On x86 no debugger sees that otherwise. docs/inspector.md has the layout.
//
//   constinit hv::Beacon beacon{};                               // in .data, for its magic is not 0
//   beacon.publish({.format = hv::Beacon::Format::npt, .root = ..., ...});
//
// Freestanding, and of no use to the hypervisor itself: it may lie, and an inspector does not trust it.

#include <array>
#include <cstddef>
#include <cstdint>

namespace hv {

/// 128 bytes, little-endian, aligned to 64. It counts only if its checksum is right.
struct alignas(64) Beacon {
  enum class Format : std::uint32_t { none = 0, arm_stage2 = 1, ept = 2, npt = 3 };
  static constexpr std::array<std::uint8_t, 16> the_magic{'\x7f', 's', 'l', 'a', 't',  '-',  's',    't',
                                                          'a',    'g', 'e', '2', '\r', '\n', '\x1a', 0};
  static constexpr std::uint32_t the_version = 1;

  // In `flags`: what no control register says.
  static constexpr std::uint64_t xnx = 1u << 0;              // Arm: FEAT_XNX
  static constexpr std::uint64_t bbm2 = 1u << 1;             // Arm: FEAT_BBM level 2
  static constexpr std::uint64_t no_execute_only = 1u << 2;  // EPT: execute-only is a misconfiguration
  static constexpr std::uint64_t no_1g = 1u << 3;            // x86: no leaves of 1 GiB
  static constexpr std::uint64_t no_nx = 1u << 4;            // NPT: the host's EFER.NXE is clear
  static constexpr std::uint64_t five_levels = 1u << 5;      // NPT: the host's CR4.LA57

  /// What is said of the tables.
  struct Words {
    Format format = Format::none;
    std::uint32_t pa_bits = 0;  // of a host-physical address
    std::uint64_t root = 0;     // host-physical
    std::uint64_t control = 0;  // VTCR_EL2, EPTP or nCR3
    std::uint64_t host = 0;     // HCR_EL2; the secondary processor-based controls; the host's IA32_PAT
    std::uint64_t flags = 0;
    std::uint64_t areas = 0;   // host-physical, of an AreaList (area_list.hpp); 0 if there is none
    std::uint64_t events = 0;  // host-physical, of an EventRing (event_ring.hpp); 0 if there is none
  };

  std::array<std::uint8_t, 16> magic = the_magic;
  std::uint32_t version = the_version;
  std::uint32_t bytes = 128;
  Words words{};
  std::array<std::uint64_t, 5> reserved{};
  std::uint64_t checksum = 0;  // FNV-1a of all bytes before it; 0 until it is published

  /// FNV-1a with 64 bits, of the first 120 bytes.
  static constexpr std::uint64_t sum_of(const std::uint8_t* bytes_of_beacon) {
    std::uint64_t sum = 0xcbf2'9ce4'8422'2325;
    for (std::size_t i = 0; i != 120; ++i) sum = (sum ^ bytes_of_beacon[i]) * 0x0000'0100'0000'01b3;
    return sum;
  }

  /// Not while another CPU publishes. Until it returns, an inspector finds a wrong checksum.
  void publish(const Words& what) {
    // volatile: nothing here reads it, and that is no reason to leave it out.
    auto& self = *const_cast<volatile Beacon*>(this);
    self.checksum = 0;
    self.words.format = what.format;
    self.words.pa_bits = what.pa_bits;
    self.words.root = what.root;
    self.words.control = what.control;
    self.words.host = what.host;
    self.words.flags = what.flags;
    self.words.areas = what.areas;
    self.words.events = what.events;
    self.checksum = sum_of(reinterpret_cast<const std::uint8_t*>(this));
  }
};

static_assert(sizeof(Beacon) == 128 && offsetof(Beacon, words) == 24 && offsetof(Beacon, checksum) == 120);
static_assert(sizeof(Beacon::Words) == 56);

}  // namespace hv
