#include "tools/beacon.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "tools/failure.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

using hv::Beacon;

enum class Sight : std::uint8_t { unpublished, beacon };

/// From the first magic on; empty without one. Memory is large, and the C library's search is fast.
std::span<std::byte> from_magic(std::span<std::byte> bytes) {
  auto const& magic = Beacon::the_magic;
  auto* const found = static_cast<std::byte*>(memmem(bytes.data(), bytes.size(), magic.data(), magic.size()));
  return found == nullptr ? std::span<std::byte>{} : bytes.subspan(static_cast<std::size_t>(found - bytes.data()));
}

/// What the 128 bytes are that begin with the magic.
Sight look(std::span<const std::byte> bytes, Beacon::Words& words) {
  Beacon beacon;
  std::memcpy(static_cast<void*>(&beacon), bytes.data(), sizeof beacon);
  auto const sum = Beacon::sum_of(reinterpret_cast<const std::uint8_t*>(bytes.data()));
  if (beacon.version != Beacon::the_version || beacon.bytes != sizeof beacon || beacon.checksum != sum)
    return Sight::unpublished;
  words = beacon.words;
  return Sight::beacon;
}

/// Every beacon in the first `limit` bytes of each range, and where one was not whole.
struct Scan {
  std::vector<FoundBeacon> found;
  std::optional<HostPhys> unpublished;
  std::uint64_t bytes = 0;
};

Scan scan(HostMemory& memory, std::uint64_t limit) {
  constexpr std::uint64_t step = 1 << 20;
  Scan out;
  std::vector<std::byte> bytes;
  for (auto const& extent : memory.extents()) {
    // Each step sees the first half of a beacon that the next one begins with.
    auto const skip = -extent.begin & (alignof(Beacon) - 1);
    for (auto offset = skip; offset < std::min(limit, extent.bytes); offset += step) {
      auto const part = std::min(step + alignof(Beacon), extent.bytes - offset);
      auto const at = extent.begin + offset;
      bytes.resize(part);
      if (!memory.read(HostPhys{at}, bytes)) break;
      for (auto rest = std::span{bytes}; (rest = from_magic(rest)).size() >= sizeof(Beacon); rest = rest.subspan(1)) {
        auto const here = HostPhys{at + (part - rest.size())};
        if (!here.aligned_to(alignof(Beacon))) continue;
        Beacon::Words words;
        auto const sight = look(rest.first(sizeof(Beacon)), words);
        if (sight == Sight::beacon) out.found.push_back({here, words});
        if (sight == Sight::unpublished && !out.unpublished) out.unpublished = here;
      }
      out.bytes += part;
    }
  }
  return out;
}

bool same(const Beacon::Words& a, const Beacon::Words& b) { return std::memcmp(&a, &b, sizeof a) == 0; }

}  // namespace

FoundBeacon find_beacon(HostMemory& memory, std::uint64_t limit) {
  auto const seen = scan(memory, limit);
  if (seen.found.empty())
    throw Failure{"no beacon in " + hex(seen.bytes) + " bytes of memory" +
                  (seen.unpublished ? " but one at " + hex(seen.unpublished->raw()) +
                                          " that is not published, of another version, or damaged"
                                    : "") +
                  ": let the hypervisor run until it has one, look further with --scan, or give --format and --root"};
  for (auto const& other : seen.found)
    if (!same(other.words, seen.found.front().words))
      throw Failure{"beacons that differ at " + hex(seen.found.front().at.raw()) + " and " + hex(other.at.raw()) +
                    ": choose with --beacon-at"};
  return seen.found.front();
}

FoundBeacon beacon_at(HostMemory& memory, HostPhys at) {
  std::array<std::byte, sizeof(Beacon)> bytes{};
  Beacon::Words words;
  if (!memory.read(at, bytes)) throw Failure{"--beacon-at " + hex(at.raw()) + ": the source has no memory there"};
  if (from_magic(bytes).size() != bytes.size() || look(bytes, words) != Sight::beacon)
    throw Failure{"--beacon-at " + hex(at.raw()) + ": there is no beacon"};
  return {at, words};
}

namespace {

Scheme tables_of(const FoundBeacon& beacon, Extras extras) {
  auto const& words = beacon.words;
  auto const has = [&](std::uint64_t flag) { return (words.flags & flag) != 0; };
  if (words.pa_bits < 32 || words.pa_bits > 56)
    throw Failure{"the beacon at " + hex(beacon.at.raw()) + " says " + std::to_string(words.pa_bits) +
                  " bits for a physical address: 32 to 56 are possible"};
  extras.pa_bits = std::min(52u, words.pa_bits);
  extras.xnx = has(Beacon::xnx);
  extras.bbm = has(Beacon::bbm2) ? 2u : 0u;
  extras.no_exec_only = has(Beacon::no_execute_only);
  extras.no_1g = has(Beacon::no_1g);
  extras.no_nx = has(Beacon::no_nx);
  switch (words.format) {
    case Beacon::Format::arm_stage2: return arm_scheme(HostPhys{words.root}, words.control, words.host, extras);
    case Beacon::Format::ept: extras.mbec = (words.host >> 22 & 1) != 0; return ept_scheme(words.control, extras);
    case Beacon::Format::npt:
      extras.pat = words.host;
      return npt_scheme(words.control, has(Beacon::five_levels) ? 5 : 4, extras);
    case Beacon::Format::none: break;
  }
  throw Failure{"the beacon at " + hex(beacon.at.raw()) + " has format " +
                std::to_string(static_cast<std::uint32_t>(words.format)) + ", which this version does not know"};
}

}  // namespace

Scheme scheme_of(const FoundBeacon& beacon, Extras extras) {
  auto scheme = tables_of(beacon, extras);
  if (beacon.words.areas != 0) scheme.areas = HostPhys{beacon.words.areas};
  if (beacon.words.events != 0) scheme.events = HostPhys{beacon.words.events};
  return scheme;
}

}  // namespace slat::tool
