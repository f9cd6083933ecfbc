#pragma once

// What an inspector needs to know of a guest that has ended, as an ELF core: the beacon, the areas, every frame of
// tables, and the events up to the very end. `slat VERB --core FILE --beacon` reads it.

#include <cstddef>
#include <cstdint>
#include <span>

#include <slat/mm/frame_pool.hpp>

#include "hv/area_list.hpp"
#include "hv/beacon.hpp"
#include "hv/core_file.hpp"
#include "hv/recorder.hpp"

namespace hv {

/// What the hypervisor keeps for an inspector. Memory is at its own address.
struct Said {
  Recorder::Ring& events;  // by itself, for it is large and begins as zeros
  Beacon beacon{};
  AreaList areas{};

  /// Where beacon.publish() is to lead.
  Beacon::Words lead_here(Beacon::Words words) const {
    words.areas = reinterpret_cast<std::uint64_t>(&areas);
    words.events = reinterpret_cast<std::uint64_t>(&events);
    return words;
  }
};

/// Lists the areas of `set` as they are now.
template <class Set>
void publish_areas(AreaList& list, const Set& set) {
  list.publish(set.iter(), [](auto const& area) {
    using Backing = AreaList::Backing;
    auto const base = area.backend().base();
    return AreaList::Area{.begin = area.start().raw(),
                          .bytes = area.size(),
                          .host = base ? base->raw() : 0,
                          .rights = static_cast<std::uint8_t>(area.flags().prot),
                          .memory = static_cast<std::uint8_t>(area.flags().memory),
                          .software = static_cast<std::uint8_t>(area.flags().software),
                          .backing = base                                 ? Backing::linear
                                     : area.backend().source() != nullptr ? Backing::lazy
                                                                          : Backing::device};
  });
}

/// `Out` is `bool open()`, `bool operator()(std::span<const std::byte>)`, which is called in order, and `bool close()`.
template <class Out>
class Snapshot {
 public:
  /// EM_AARCH64, EM_X86_64. All that is given outlives this. Unless it is wanted, nothing is written.
  Snapshot(Out& out, bool wanted, std::uint16_t elf_machine, const Said& said, const slat::FramePool& tables)
      : out_{out}, wanted_{wanted}, elf_machine_{elf_machine}, said_{said}, tables_{tables} {}

  /// As they are now, while nobody changes them. False when they cannot be written, or are in too many pieces for a
  /// core.
  bool take_tables() {
    if (!wanted_) return true;
    if (!out_.open()) return false;
    // What follows, the end of it all, makes a few more.
    event_bytes_ = Recorder::Ring::bytes_for(said_.events.count() + 16);
    auto const each_of_now = [this](auto&& piece) {
      piece(slat::HostPhys{reinterpret_cast<std::uint64_t>(&said_.beacon)}, sizeof said_.beacon);
      piece(slat::HostPhys{reinterpret_cast<std::uint64_t>(&said_.areas)}, sizeof said_.areas);
      tables_.visit_used(piece);
    };
    auto const each = [&](auto&& piece) {
      each_of_now(piece);
      piece(slat::HostPhys{reinterpret_cast<std::uint64_t>(&said_.events)}, event_bytes_);
    };
    if (!write_core_header([this](std::span<const std::byte> bytes) { put(bytes); }, elf_machine_, each)) return false;
    each_of_now([this](slat::HostPhys at, std::uint64_t bytes) { put(at, bytes); });
    return whole_;
  }
  /// Once, after that. False when something could not be written.
  bool take_events() {
    if (!wanted_) return true;
    put(slat::HostPhys{reinterpret_cast<std::uint64_t>(&said_.events)}, event_bytes_);
    return out_.close() && whole_;
  }

 private:
  void put(slat::HostPhys at, std::uint64_t bytes) {
    put(std::span{reinterpret_cast<const std::byte*>(at.raw()), bytes});
  }
  void put(std::span<const std::byte> bytes) { whole_ = whole_ && out_(bytes); }

  Out& out_;
  bool wanted_;
  bool whole_ = true;
  std::uint16_t elf_machine_;
  const Said& said_;
  const slat::FramePool& tables_;
  std::uint64_t event_bytes_ = 0;
};

}  // namespace hv
