#pragma once

// Host pages for lazy areas: addresses without memory behind them, of two sizes. The next one to be given out is known
// in advance, and no page comes back before a shootdown after it was given up.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include <slat/mm/address.hpp>
#include <slat/mm/concepts.hpp>

#include <slat/testing/recorder.hpp>

namespace slat::test {
using namespace slat::testing;

class GuestPages {
 public:
  static constexpr std::size_t small_pages = 48;
  static constexpr std::size_t large_pages = 2;

  GuestPages(Recorder& recorder, std::uint64_t granule, std::uint64_t large)
      : recorder_{&recorder},
        granule_{granule},
        large_{large},
        pages_((large_pages * large + small_pages * granule) / granule),
        words_(pages_.size()) {
    for (std::size_t i = 0; i != large_pages; ++i) free_large_.push_back(base_ + i * large);
    for (std::size_t i = 0; i != small_pages; ++i) free_small_.push_back(base_ + large_pages * large + i * granule);
  }
  GuestPages(const GuestPages&) = delete;
  GuestPages& operator=(const GuestPages&) = delete;

  // The seam to the page sources.
  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    auto const page = next(bytes);
    if (!page) return page;
    (bytes == granule_ ? free_small_ : free_large_).pop_back();
    each(*page, bytes, [this](Page& granule) {
      granule = {.out = true};
      ++out_;
    });
    fresh_ = page;
    return page;
  }
  void release(HostPhys page, std::uint64_t bytes) noexcept {
    each(page, bytes, [this, page](Page& granule) {
      if (!granule.out) flaw_ = "a page came back twice: " + hex(page.raw());
      if (granule.given_up == recorder_->shootdowns())
        flaw_ = "a page came back before the shootdown: " + hex(page.raw());
      if (granule.given_up == kept && page != fresh_)
        flaw_ = "a page came back that nobody gave up: " + hex(page.raw());
      if (granule.given_up != kept) --pending_;
      granule = {};
      --out_;
    });
    if (page >= base_ + large_pages * large_) return free_small_.push_back(page);
    auto const whole = page.down_to(large_);
    auto is_whole = true;
    each(whole, large_, [&](const Page& granule) { is_whole = is_whole && !granule.out; });
    if (is_whole) free_large_.push_back(whole);
  }
  /// No page is ever looked into: PageSource is told to leave them as they are.
  Entry* view(HostPhys) const noexcept { return nullptr; }
  std::uint64_t& word(HostPhys page) noexcept { return words_[index(page)]; }

  // The seam to the test.
  /// What allocate(bytes) will answer.
  std::optional<HostPhys> next(std::uint64_t bytes) const {
    auto const& free = bytes == granule_ ? free_small_ : free_large_;
    if (failing_ || free.empty()) return std::nullopt;
    return free.back();
  }
  void fail(bool failing) { failing_ = failing; }
  std::uint64_t large() const { return large_; }
  /// Granules out, and those of them that were given up and still wait for their shootdown.
  std::size_t out() const { return out_; }
  std::size_t pending() const { return pending_; }
  /// A call is about to give these up, if it succeeds: they may come back after the next shootdown.
  void give_up(HostPhys host, std::uint64_t bytes) {
    each(host, bytes, [this](Page& granule) {
      if (granule.given_up == kept) ++pending_;
      granule.given_up = recorder_->shootdowns();
    });
  }
  /// A call has ended: what it took and did not give back is in use.
  void end_call() { fresh_.reset(); }
  /// It did not succeed.
  void keep(HostPhys host, std::uint64_t bytes) {
    each(host, bytes, [this](Page& granule) {
      if (granule.given_up != kept) --pending_;
      granule.given_up = kept;
    });
  }
  const std::string& flaw() const { return flaw_; }

 private:
  static constexpr std::size_t kept = std::numeric_limits<std::size_t>::max();
  struct Page {
    bool out = false;
    std::size_t given_up = kept;  // after so many shootdowns
  };

  std::size_t index(HostPhys page) const { return static_cast<std::size_t>((page - base_) / granule_); }
  template <class Body>
  void each(HostPhys page, std::uint64_t bytes, Body body) {
    for (auto i = index(page); i != index(page + bytes); ++i) body(pages_[i]);
  }

  Recorder* recorder_;
  std::uint64_t granule_;
  std::uint64_t large_;
  HostPhys base_{0x4'0000'0000};
  std::vector<Page> pages_;
  std::vector<std::uint64_t> words_;
  std::vector<HostPhys> free_small_, free_large_;
  std::optional<HostPhys> fresh_;  // taken by the present call
  std::size_t out_ = 0;
  std::size_t pending_ = 0;
  bool failing_ = false;
  std::string flaw_;
};
static_assert(FrameSource<GuestPages>);

/// For PageSource: a page without memory is fit as it is.
struct LeaveAsIs {
  void operator()(Entry*, std::uint64_t) const noexcept {}
};

}  // namespace slat::test
