#include "tools/runs.hpp"

#include "tools/describe.hpp"

namespace slat::tool {

namespace {

bool alike(const Leaf& a, const Leaf& b, Entry software, bool marks) {
  if (a.level != b.level || a.decoded.kind != b.decoded.kind) return false;
  // What an invalid entry holds is its owner's secret.
  if (!a.valid()) return true;
  auto expected = a.decoded;
  expected.address = b.decoded.address;
  if (!marks) {
    expected.is_accessed = b.decoded.is_accessed;
    expected.is_dirty = b.decoded.is_dirty;
  }
  return expected == b.decoded && a.rights == b.rights && ((a.entry ^ b.entry) & software) == 0;
}

}  // namespace

std::vector<Run> runs_of(const Gathered& gathered, bool marks) {
  auto const software = software_mask(gathered.scheme);
  std::vector<Run> out;
  for (auto const& leaf : gathered.leaves) {
    if (!out.empty()) {
      auto& run = out.back();
      auto const side_by_side =
          run.range.end() == leaf.range.begin && (!leaf.valid() || run.host() + run.range.size == leaf.decoded.address);
      if (side_by_side && alike(run.first, leaf, software, marks)) {
        run.range.size += leaf.range.size;
        ++run.count;
        continue;
      }
    }
    out.push_back({leaf.range, 1, leaf});
  }
  return out;
}

}  // namespace slat::tool
