#pragma once

// What a sequence of invalidation steps has really taken out of the TLBs of an Arm machine. Written from the manual's
// description of the instructions, and shares nothing with the code that emits them. [arm/a-profile] D8, "TLB
// maintenance instructions"; TLBI IPAS2E1IS; TLBI RIPAS2E1IS.

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <slat/arch/aarch64/tlbi.hpp>

namespace slat::test {

class TlbiJudge {
 public:
  TlbiJudge(aarch64::Granule granule, std::uint64_t vttbr) : page_bits_{aarch64::page_bits(granule)}, vttbr_{vttbr} {}

  void operator()(const aarch64::Step& step) {
    using enum aarch64::Step::What;
    switch (step.what) {
      case select: selected_ = step.operand == vttbr_; break;
      case restore: selected_ = synchronised_ = false; break;
      case isb: synchronised_ = true; break;
      case dsb_ish:
        published_ = true;
        by_address_waits_ = false;
        if (combined_waits_) ++completed_;
        combined_waits_ = false;
        break;
      case ipas2e1is: drop(step.operand & ((1ull << 40) - 1), 12, 1, hint_of(step.operand >> 44)); break;
      case ripas2e1is: range(step.operand); break;
      case vmalls12e1is:
        everything_ = true;
        combined();
        break;
      case vmalle1is:
        if (by_address_waits_) complain("combined entries may be filled from stage-2 entries that are about to go");
        combined();
        break;
      default: break;
    }
  }

  /// The first of `stale` that may still be used, or another flaw; empty when there is none. `times` is how often the
  /// last invalidation has to be made.
  std::string verdict(const Stale& stale, unsigned times) {
    if (combined_waits_) complain("nobody waited for the last invalidation");
    if (completed_ < times)
      complain(completed_ == 0 ? "combined entries are left" : "the invalidation is not repeated");
    if (!synchronised_) complain("the host goes on before it is back in its own regime");
    if (stale.everything() && !everything_) complain("not everything is gone");
    if (!everything_)
      for (auto const& range : stale.ranges()) left(range);
    return complaint_;
  }

 private:
  static constexpr unsigned no_hint = ~0u;

  struct Dropped {
    std::uint64_t begin, end;
    unsigned level;  // as slat counts, or no_hint
  };

  void complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what;
  }
  void before_tlbi() {
    if (!published_) complain("a walk may still find what was stored before, or a load be done after");
    if (!selected_) complain("an invalidation for another guest, or in the host's regime");
  }
  void combined() {
    before_tlbi();
    combined_waits_ = true;
  }
  // TTL[3:2] is the granule, 0 for no hint, and TTL[1:0] the manual's level.
  unsigned hint_of(std::uint64_t ttl) const { return (ttl >> 2) == 0 ? no_hint : 3 - static_cast<unsigned>(ttl & 3); }
  void drop(std::uint64_t number, unsigned unit, std::uint64_t pages, unsigned level) {
    before_tlbi();
    by_address_waits_ = true;
    dropped_.push_back({number << unit, (number << unit) + (pages << page_bits_), level});
  }
  void range(std::uint64_t operand) {
    auto const scale = static_cast<unsigned>(operand >> 44 & 3);
    auto const num = operand >> 39 & 31;
    auto const ttl = static_cast<unsigned>(operand >> 37 & 3);
    drop(operand & ((1ull << 37) - 1), page_bits_, (num + 1) << (5 * scale + 1), ttl == 0 ? no_hint : 3 - ttl);
  }

  /// An address drops the whole leaf around it; with a hint, only one of that level; with none, table pointers too.
  void left(const Stale::Range& stale) {
    bool const known = !stale.tables && stale.level != Stale::unknown_level;
    auto const leaf = std::uint64_t{1} << (page_bits_ + (known ? stale.level * (page_bits_ - 3) : 0));
    std::vector<Dropped> parts;
    for (auto const& one : dropped_)
      if (one.level == no_hint || (known && one.level == stale.level))
        parts.push_back({one.begin & ~(leaf - 1), (one.end + leaf - 1) & ~(leaf - 1), one.level});
    std::sort(parts.begin(), parts.end(), [](auto const& a, auto const& b) { return a.begin < b.begin; });
    auto at = stale.range.begin.raw();
    auto const end = at + stale.range.size;
    for (auto const& part : parts)
      if (part.begin <= at && part.end > at) at = part.end;
    if (at < end) complain(stale.tables ? "table pointers are left" : "leaves are left");
  }

  unsigned page_bits_;
  std::uint64_t vttbr_;
  std::vector<Dropped> dropped_;
  bool published_ = false;         // a barrier came after the stores
  bool selected_ = false;          // the guest's VMID, and out of the host's regime
  bool synchronised_ = false;      // by an ISB, since the last restore
  bool by_address_waits_ = false;  // an invalidation by address has no barrier after it yet
  bool combined_waits_ = false;    // nor has one of combined entries
  bool everything_ = false;
  unsigned completed_ = 0;  // invalidations of combined entries that were waited for
  std::string complaint_;
};

}  // namespace slat::test
