#include "tools/record.hpp"

#include <algorithm>
#include <cstring>
#include <span>
#include <string>

#include "tools/failure.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

using hv::AreaList;
using hv::EventRingHeader;

/// A structure as it stands in memory.
template <class T>
T read_one(HostMemory& memory, HostPhys at, const char* what) {
  T out{};
  if (!memory.read(at, std::as_writable_bytes(std::span{&out, 1})))
    throw Failure{std::string{what} + " should be at " + hex(at.raw()) + ", where the source has no memory"};
  return out;
}

[[noreturn]] void refuse(HostPhys at, const std::string& why) { throw Failure{"at " + hex(at.raw()) + " " + why}; }

bool makes_sense(const AreaList::Area& area) {
  Attr const attr{Prot{area.rights}, Memory{area.memory}, area.software};
  return area.bytes != 0 && area.bytes - 1 <= ~area.begin && attr.is_known() &&
         area.backing != AreaList::Backing::none && area.backing <= AreaList::Backing::device;
}

bool makes_sense(const hv::Event& event) {
  using Kind = hv::Event::Kind;
  return event.kind != Kind::none && event.kind <= Kind::shootdown && event.begin <= ~std::uint64_t{event.ticks};
}

}  // namespace

std::optional<Areas> areas_of(HostMemory& memory, const Scheme& scheme) {
  if (!scheme.areas) return std::nullopt;
  auto const at = *scheme.areas;
  auto const list = read_one<AreaList>(memory, at, "a list of areas");
  if (list.magic != AreaList::the_magic || list.version != AreaList::the_version ||
      list.area_bytes != sizeof(AreaList::Area))
    refuse(at, "is no list of areas of a version that is known here");
  if (list.checksum != AreaList::sum_of(list.count, reinterpret_cast<const std::uint8_t*>(list.areas.data())))
    refuse(at, "is a list of areas that is being written, or damaged");
  Areas out;
  auto const listed = std::min<std::uint64_t>(list.count, AreaList::most);
  out.left_out = list.count - listed;
  for (auto const& area : std::span{list.areas}.first(listed)) {
    if (!makes_sense(area)) refuse(at, "is a list of areas of which one makes no sense");
    out.list.push_back({{GuestPhys{area.begin}, area.bytes},
                        {Prot{area.rights}, Memory{area.memory}, area.software},
                        area.backing,
                        HostPhys{area.host}});
  }
  std::sort(out.list.begin(), out.list.end(),
            [](const Area& a, const Area& b) { return a.range.begin < b.range.begin; });
  return out;
}

std::optional<Events> events_of(HostMemory& memory, const Scheme& scheme) {
  // A ring in a file may be cut behind the events that it has.
  constexpr std::uint64_t most = 1 << 22;
  if (!scheme.events) return std::nullopt;
  auto const at = *scheme.events;
  auto const header = read_one<EventRingHeader>(memory, at, "a ring of events");
  if (header.magic != EventRingHeader::the_magic || header.version != EventRingHeader::the_version ||
      header.event_bytes != sizeof(hv::Event) || header.capacity == 0 || header.capacity > most ||
      header.ticks_per_second == 0)
    refuse(at, "is no ring of events of a version that is known here");
  auto const there = std::min(header.count, header.capacity);
  Events out{.list = std::vector<hv::Event>(there), .ticks_per_second = header.ticks_per_second};
  if (there != 0 && !memory.read(at + sizeof header, std::as_writable_bytes(std::span{out.list})))
    throw Failure{"the ring of events at " + hex(at.raw()) + " is cut off: the source has not all of its " +
                  std::to_string(there) + " events"};
  // A slot that has another's number is being written, or was when this event came. 0 is no number.
  auto const first = header.count - there + 1;
  std::erase_if(out.list, [&, i = std::uint64_t{0}](const hv::Event& event) mutable {
    auto const slot = i++;
    auto const number = first + (slot + header.capacity - (first - 1) % header.capacity) % header.capacity;
    return event.number == 0 || event.number != static_cast<std::uint32_t>(number) || !makes_sense(event);
  });
  out.lost = header.count - out.list.size();
  std::sort(out.list.begin(), out.list.end(), [](const hv::Event& a, const hv::Event& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.ticks != b.ticks ? a.ticks > b.ticks : a.number > b.number;
  });
  return out;
}

double Events::since_first(std::uint64_t ticks) const {
  return static_cast<double>(ticks - list.front().begin) * 1e9 / static_cast<double>(ticks_per_second);
}

}  // namespace slat::tool
