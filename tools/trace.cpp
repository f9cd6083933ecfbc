#include "tools/trace.hpp"

#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "tools/words.hpp"

namespace slat::tool {

namespace {

using hv::Event;
using Object = nlohmann::ordered_json;

constexpr int the_process = 1;

std::string access_name(std::uint8_t wanted) {
  constexpr std::array names{"read", "write", "fetch at user level", "fetch at supervisor level"};
  std::string out;
  for (unsigned i = 0; i != names.size(); ++i)
    if ((wanted >> i & 1) != 0) out += (out.empty() ? "" : ", ") + std::string{names[i]};
  return out.empty() ? "none" : out;
}

/// What a row or the whole is called.
Object name_of(const char* what, int cpu, const std::string& name) {
  return {{"ph", "M"}, {"pid", the_process}, {"tid", cpu}, {"name", what}, {"args", {{"name", name}}}};
}

Object arguments_of(const Event& event) {
  Object out;
  auto const bytes = std::uint64_t{event.pages} << 12;
  // More do not fit into an event.
  auto const or_more = event.pages == std::numeric_limits<std::uint32_t>::max();
  if (event.kind == Event::Kind::fault) {
    out["address"] = hex(event.address);
    out["access"] = access_name(event.wanted);
  } else if (event.kind == Event::Kind::shootdown) {
    out["stale"] = event.pages == 0 ? "everything" : or_more ? "16T or more" : size(bytes);
    if (event.pages != 0) out["from"] = hex(event.address);
  } else {
    out["range"] = or_more ? "16T or more from " + hex(event.address) + " on" : range(event.address, bytes);
  }
  out["outcome"] = outcome_name(event);
  out["number"] = event.number;
  return out;
}

/// Colours and filters go by it.
const char* category_of(Event::Kind kind) {
  return kind == Event::Kind::fault ? "fault" : kind == Event::Kind::shootdown ? "shootdown" : "edit";
}

}  // namespace

const char* kind_name(Event::Kind kind) {
  constexpr std::array names{"none", "fault", "map", "split", "populate", "unmap", "shootdown"};
  return names.at(static_cast<std::size_t>(kind));
}

const char* outcome_name(const Event& event) {
  constexpr std::array names{"mapped", "spurious", "busy", "emulated", "denied", "unknown"};
  if (event.outcome == Event::failure) return "failed";
  if (event.kind != Event::Kind::fault) return "done";
  return event.outcome < names.size() ? names[event.outcome] : "not known to this program";
}

void write_trace(std::ostream& out, const Scheme& scheme, const Events& events) {
  // A line for each event, not one value for all: there may be millions.
  out << "{\"displayTimeUnit\": \"ns\",\n \"otherData\": "
      << Object{{"tables", scheme.name()},
                {"root", hex(scheme.root.raw())},
                {"events", events.list.size()},
                {"lost", events.lost},
                {"ticks_per_second", events.ticks_per_second}}
      << ",\n \"traceEvents\": [\n"
      << name_of("process_name", 0, "hypervisor, " + scheme.name());
  std::set<int> cpus;
  for (auto const& event : events.list) cpus.insert(event.cpu);
  for (auto const cpu : cpus) out << ",\n" << name_of("thread_name", cpu, "CPU " + std::to_string(cpu));
  for (auto const& event : events.list) {
    // Whole nanoseconds of both ends: what lay within another still does.
    auto const begin = std::round(events.since_first(event.begin));
    auto const end = std::round(events.since_first(event.begin + event.ticks));
    out << ",\n"
        << Object{{"ph", "X"},
                  {"pid", the_process},
                  {"tid", event.cpu},
                  {"ts", begin / 1000},  // microseconds
                  {"dur", (end - begin) / 1000},
                  {"name", kind_name(event.kind)},
                  {"cat", category_of(event.kind)},
                  {"args", arguments_of(event)}};
  }
  out << "\n]}\n";
}

}  // namespace slat::tool
