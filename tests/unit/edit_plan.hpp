#pragma once

// A writer's edits, all known before it begins, so that readers in other threads can tell what an answer may be: what
// some moment between two steps allows, and nothing else.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace slat::test {

struct Step {
  enum class Act : std::uint8_t { map, unmap, protect, split, coalesce, harvest, lift, settle };

  Act act = Act::settle;
  GuestRange range{};
  HostPhys host{};
  Attr attr{};
  std::size_t first = 0, last = 0;  // the steps of its edit: what they broke may stay so until the last has ended
};
/// What translates one page.
struct Meaning {
  HostPhys host;  // of the page
  Attr attr;
};

/// Random steps on two gigabytes of 4K pages, most of them in a few blocks. Immutable once made: any thread may look.
class EditPlan {
 public:
  static constexpr GuestPhys region{2_GiB};
  static constexpr std::size_t variants = 5;  // how many places in the host each page may be mapped to

  EditPlan(std::size_t calls, std::uint64_t seed) : random_{seed} {
    while (steps_.size() <= calls) {
      auto const first = steps_.size();
      auto const last = first + (below(6) == 0 ? 1 + below(4) : 0);
      for (auto k = first; k <= last; ++k) {
        auto step = call();
        if (k != first && below(6) == 0) step = {};
        step.first = first;
        step.last = last;
        steps_.push_back(step);
      }
    }
  }

  /// Steps are counted from 1: after 0 nothing is mapped.
  std::size_t last() const { return steps_.size() - 1; }
  const Step& operator[](std::size_t k) const { return steps_[k]; }

  /// Pages at both ends of what the steps touch, and between.
  static constexpr std::array<unsigned, 9> edges{0, 1, 2, 63, 64, 65, 256, 510, 511};
  static constexpr std::array<unsigned, 4> blocks{0, 1, 2, 511};
  static constexpr std::size_t watched = 2 * blocks.size() * edges.size();
  static constexpr GuestPhys page(std::size_t i) {
    return region + i % 2 * 1_GiB + blocks[i / 2 % blocks.size()] * 2_MiB + edges[i / 2 / blocks.size()] * 4_KiB;
  }
  /// Which of the `variants` a host address belongs to.
  static constexpr std::size_t variant(HostPhys host) { return host.raw() / 16_GiB - 1; }

  /// What `page` means after step `k`.
  std::optional<Meaning> meaning(GuestPhys page, std::size_t k) const {
    std::optional<Attr> attr;
    for (; k != 0; --k) {
      auto const& step = steps_[k];
      if (!step.range.contains(page)) continue;
      if (step.act == Step::Act::unmap) return {};
      if (step.act == Step::Act::protect && !attr) attr = step.attr;
      if (step.act == Step::Act::map) return Meaning{step.host + (page - step.range.begin), attr.value_or(step.attr)};
    }
    return {};
  }

  /// Whether there is a moment, from the end of step `from` to some time during step `to`, at which `right(page,
  /// meaning)` holds of all of a slot. During a step each page is as before or as after.
  template <class Right>
  bool sometime(GuestRange slot, GuestPhys page, std::size_t from, std::size_t to, Right right) const {
    std::array const samples{slot.begin, page, slot.last().down_to(4_KiB)};
    for (auto k = from; k <= to; ++k)
      if (std::ranges::all_of(samples, [&](GuestPhys at) {
            return right(at, meaning(at, k)) || (k != from && right(at, meaning(at, k - 1)));
          }))
        return true;
    return false;
  }
  /// Whether in that time an edit was open of which a step that breaks(step) touched the slot.
  template <class Breaks>
  bool unsettled(GuestRange slot, std::size_t from, std::size_t to, Breaks breaks) const {
    for (auto k = from; k <= to; ++k) {
      if (k == from && steps_[k].last == k) continue;
      for (auto i = steps_[k].first; i <= k; ++i)
        if (breaks(i) && steps_[i].range.overlaps(slot)) return true;
    }
    return false;
  }
  /// After step `k` hardware may still use what stood after this one.
  std::size_t cached_since(std::size_t k) const { return steps_[k].last == k ? k : steps_[k].first - 1; }

  static constexpr bool may_break(Step::Act act) { return act != Step::Act::harvest && act != Step::Act::lift; }

 private:
  Step call() {
    Step step;
    step.range = range();
    auto const dice = below(100);
    step.act = dice < 38   ? Step::Act::map
               : dice < 62 ? Step::Act::unmap
               : dice < 80 ? Step::Act::protect
               : dice < 85 ? Step::Act::split
               : dice < 90 ? Step::Act::coalesce
               : dice < 97 ? Step::Act::harvest
                           : Step::Act::lift;
    // Eager splits, and leaves that no block holds, of a gigabyte would be half a million entries.
    if (step.act == Step::Act::split && step.range.size > 4_MiB) step.act = Step::Act::coalesce;
    if (step.act == Step::Act::lift) step.range.size = 4_KiB;
    auto const skewed = step.range.size <= 4_MiB && below(6) == 0;
    auto const chosen = skewed ? variants - 1 : below(variants - 1);
    step.host = HostPhys{(chosen + 1) * 16_GiB} + (step.range.begin - region) + (skewed ? 4_KiB : 0);
    constexpr std::array attributes{rwx, rw, rx, ro, rw | Memory::uncached};
    step.attr = attributes[below(3) == 0 ? below(attributes.size()) : 0];
    return step;
  }
  GuestRange range() {
    auto const half = region + below(2) * 1_GiB;
    auto const block = half + blocks[below(blocks.size())] * 2_MiB;
    switch (below(16)) {
      case 0: return {region, 2_GiB};
      case 1: return {half, 1_GiB};
      case 2: return {half + 2_MiB, 1_GiB - 4_MiB};
      case 3:
      case 4:
      case 5: return {block, 2_MiB};
      case 6: return {half, (1 + below(3)) * 2_MiB};
      default: {
        auto const from = edges[below(edges.size())], to = edges[below(edges.size())];
        auto const begin = block + std::min(from, to) * 4_KiB;
        return GuestRange::between(begin, block + (std::max(from, to) + 1) * 4_KiB);
      }
    }
  }
  std::size_t below(std::size_t limit) { return random_() % limit; }

  std::mt19937_64 random_;
  std::vector<Step> steps_{Step{}};
};

}  // namespace slat::test
