#pragma once

// A CPU in a thread of its own that walks the tables as hardware does: by atomic loads of raw entries, marking them by
// compare-exchange, and by whatever it kept of earlier walks until the invalidation that names it.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <vector>

#include <slat/mm/geometry.hpp>
#include <slat/mm/stale.hpp>

#include <slat/testing/reader.hpp>
#include "unit/poisoned_frames.hpp"

namespace slat::test {

/// What a walk ended at. `decoded` says what hardware found.
struct Walked {
  GuestRange span;
  Level level;
  testing::Decoded decoded;
};

template <class Reader>
class WalkingCpu {
 public:
  WalkingCpu(const Reader& reader, const Geometry& geometry, const PoisonedFrames& frames, HostPhys root,
             std::uint64_t seed)
      : reader_{reader}, geometry_{geometry}, frames_{frames}, root_{root}, random_{seed} {}

  /// One access to `page`. A leaf in the answer is one that lets it through, and has the marks that it wants.
  std::optional<Walked> access(GuestPhys page, bool write) {
    if (below(2) == 0)
      for (auto const& leaf : leaves_)
        if (leaf.span.contains(page) && lets(leaf.decoded, write) && marked(leaf.decoded, write)) return leaf;
    return walk(page, write);
  }
  /// Drops what `stale` names, and no more: a leaf where its level may be meant, and pointers to tables where some were
  /// unlinked.
  void invalidate(const Stale& stale) {
    std::erase_if(leaves_, [&](const Walked& leaf) {
      return names(stale, leaf.span, [&](const Stale::Range& range) {
        return range.level == Stale::unknown_level || range.level == leaf.level;
      });
    });
    std::erase_if(pointers_, [&](const Pointer& pointer) {
      return names(stale, pointer.span, [](const Stale::Range& range) { return range.tables; });
    });
  }
  /// What no entry of a live table may be, as far as this CPU has seen; the text is for people.
  const char* wrong() const { return wrong_; }
  std::size_t below(std::size_t limit) { return random_() % limit; }

 private:
  struct Pointer {
    GuestRange span;
    Level level;
    HostPhys table;
  };
  static constexpr std::size_t capacity = 16;

  std::optional<Walked> walk(GuestPhys page, bool write) {
    Pointer at{{}, geometry_.root, root_};
    if (below(2) == 0)
      for (auto const& pointer : pointers_)
        if (pointer.span.contains(page) && below(2) == 0) at = pointer;
    for (;;) {
      std::atomic_ref const entry{frames_.view(at.table)[geometry_.index(page, at.level)]};
      auto old = entry.load(std::memory_order_acquire);
      auto const found = reader_.decode(at.level, old);
      Walked const here{geometry_.slot(page, at.level), at.level, found};
      if (old == PoisonedFrames::poison) wrong_ = "it walks in a table that was released";
      if (found.wrong != nullptr) wrong_ = found.wrong;
      if (!found.valid() || wrong_ != nullptr) return here;
      if (found.leaf() && !lets(found, write)) return {};
      auto next = reader_.accessed(at.level, old);
      if (write && found.leaf()) next = reader_.written(at.level, next);
      // Whoever was faster may have changed everything: look again.
      if (next != old && !entry.compare_exchange_strong(old, next, std::memory_order_acq_rel)) continue;
      if (found.leaf()) {
        Walked const leaf{here.span, here.level, reader_.decode(at.level, next)};
        keep(leaves_, leaf);
        return leaf;
      }
      at = {here.span, at.level - 1, found.address};
      keep(pointers_, at);
    }
  }

  static bool lets(const testing::Decoded& leaf, bool write) { return allows(leaf.rights, write ? Prot::w : Prot::r); }
  bool marked(const testing::Decoded& leaf, bool write) const {
    return (leaf.is_accessed || !reader_.sets_accessed()) && (!write || leaf.is_dirty || !reader_.sets_dirty());
  }
  template <class Which>
  static bool names(const Stale& stale, GuestRange span, Which which) {
    if (stale.everything()) return true;
    for (auto const& range : stale.ranges())
      if (range.range.overlaps(span) && which(range)) return true;
    return false;
  }
  template <class T>
  void keep(std::vector<T>& kept, const T& one) {
    if (kept.size() < capacity)
      kept.push_back(one);
    else
      kept[below(capacity)] = one;
  }

  Reader reader_;
  Geometry geometry_;
  const PoisonedFrames& frames_;
  HostPhys root_;
  std::mt19937_64 random_;
  std::vector<Pointer> pointers_;
  std::vector<Walked> leaves_;
  const char* wrong_ = nullptr;
};

}  // namespace slat::test
