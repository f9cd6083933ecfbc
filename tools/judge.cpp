#include "tools/judge.hpp"

#include <algorithm>
#include <optional>
#include <vector>

#include "tools/describe.hpp"
#include "tools/runs.hpp"
#include "tools/words.hpp"

namespace slat::tool {

using testing::Fault;

namespace {

bool usable(const Leaf& leaf) { return leaf.valid() && leaf.decoded.fault == Fault::none; }
bool some(Prot rights, Prot wanted) { return (rights & wanted) != Prot::none; }

/// The runs that the guest can write, by host address.
class Writable {
 public:
  explicit Writable(const std::vector<Run>& runs) {
    for (auto const& run : runs)
      if (usable(run.first) && some(run.first.rights, Prot::w)) runs_.push_back(&run);
    std::sort(runs_.begin(), runs_.end(), [](const Run* a, const Run* b) { return a->host() < b->host(); });
    for (auto const* run : runs_)
      furthest_.push_back(furthest_.empty() || end_of(*furthest_.back()) < end_of(*run) ? run : furthest_.back());
  }

  /// A run that overlaps these host addresses: of those that begin before their end, the one that reaches furthest.
  const Run* find(HostPhys begin, std::uint64_t bytes) const {
    auto const after =
        std::partition_point(runs_.begin(), runs_.end(), [&](const Run* run) { return run->host() < begin + bytes; });
    if (after == runs_.begin()) return nullptr;
    auto const* const run = furthest_[static_cast<std::size_t>(after - runs_.begin()) - 1];
    return end_of(*run) > begin ? run : nullptr;
  }

 private:
  static HostPhys end_of(const Run& run) { return run.host() + run.range.size; }

  std::vector<const Run*> runs_;
  std::vector<const Run*> furthest_;  // among a run and those before it
};

/// Where `holds` is true of a leaf and of its neighbours in the guest, as one.
template <class Holds>
std::vector<Run> stretches(const std::vector<Run>& runs, Holds holds) {
  std::vector<Run> out;
  for (auto const& run : runs) {
    if (!holds(run.first)) continue;
    if (!out.empty() && out.back().range.end() == run.range.begin)
      out.back().range.size += run.range.size;
    else
      out.push_back(run);
  }
  return out;
}

}  // namespace

void judge(Gathered& gathered) {
  auto const runs = runs_of(gathered, false);
  Writable const writable{runs};
  for (auto const& table : gathered.tables) {
    auto const* const run = writable.find(table.at, table.entries * sizeof(Entry));
    if (run == nullptr) continue;
    auto const text = [&] {
      return "the guest can write the table at " + hex(table.at.raw()) + ", by way of " +
             range(run->range.begin.raw(), run->range.size);
    };
    auto const& leaf = run->first;
    gathered.findings.add(Weight::wrong, "writable-table", text, run->range, leaf.level, leaf.where, leaf.entry);
  }
  auto const& scheme = gathered.scheme;
  auto const add = [&](Weight weight, const char* rule, const Run& stretch, auto text) {
    auto const& leaf = stretch.first;
    gathered.findings.add(weight, rule, text, stretch.range, leaf.level, leaf.where, leaf.entry);
  };
  auto const executable = [](const Leaf& leaf) { return usable(leaf) && some(leaf.rights, Prot::x); };
  // x86 fetches from uncacheable memory only what is executed: [intel/vol3] "Code Fetches in Uncacheable Memory". On
  // Arm it is the execute-never bits alone that keep a fetch away: [arm/a-profile] B2, "Device memory".
  auto const fetches_speculate = scheme.family() == testing::Family::arm;
  for (auto const& stretch :
       stretches(runs, [&](auto& leaf) { return executable(leaf) && is_device(scheme, leaf.decoded.type); }))
    add(fetches_speculate ? Weight::wrong : Weight::note, "device-executable", stretch, [&] {
      return memory_name(scheme, stretch.first.decoded.type) + " memory is executable" +
             (fetches_speculate ? ": a speculative fetch may reach a device" : "");
    });
  for (auto const& stretch :
       stretches(runs, [&](auto& leaf) { return executable(leaf) && some(leaf.rights, Prot::w); }))
    add(Weight::note, "write-execute", stretch, [] { return std::string{"memory is writable and executable"}; });
  gathered.second = second_opinion(gathered, scheme);
}

Stats stats_of(const Gathered& gathered) {
  Stats out;
  for (auto const& table : gathered.tables) {
    ++out.tables[table.level];
    auto const granule = gathered.scheme.shape().granule();
    out.table_bytes += std::max(granule, table.entries * sizeof(Entry));
  }
  std::optional<GuestPhys> end;
  for (auto const& leaf : gathered.leaves) {
    if (!leaf.valid()) {
      ++out.invalid;
      continue;
    }
    auto const bytes = leaf.range.size;
    ++out.leaves[leaf.level];
    if (end && *end < leaf.range.begin) {
      ++out.holes;
      out.hole_bytes += leaf.range.begin - *end;
    }
    end = leaf.range.end();
    if (!usable(leaf)) {
      out.faulty += bytes;
      continue;
    }
    out.mapped += bytes;
    auto const writable = some(leaf.rights, Prot::w);
    auto const executable = some(leaf.rights, Prot::x);
    if (writable) out.writable += bytes;
    if (executable) out.executable += bytes;
    if (writable && executable) out.both += bytes;
    if (is_device(gathered.scheme, leaf.decoded.type)) out.device += bytes;
    if (sets_accessed(gathered.scheme) && leaf.decoded.is_accessed) out.accessed += bytes;
    if (sets_dirty(gathered.scheme) && leaf.decoded.is_dirty) out.dirty += bytes;
  }
  return out;
}

}  // namespace slat::tool
