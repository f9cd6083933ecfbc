#pragma once

// Host pages for lazy areas that tell which page comes next, and whether one came back too early.

#include <optional>
#include <vector>

#include <slat/mm/concepts.hpp>

#include <slat/testing/recorder.hpp>

namespace slat::test {

/// A FrameSource of 4K pages from `base` on, the lowest free one first. Nobody looks into the pages.
class PagePool {
 public:
  PagePool(const testing::Recorder& recorder, HostPhys base, std::size_t count)
      : recorder_{&recorder}, base_{base}, used_(count), words_(count), page_(512) {}

  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    auto const page = next();
    if (bytes != size || !page) return {};
    used_[index(*page)] = true;
    return page;
  }
  void release(HostPhys page, std::uint64_t bytes) noexcept {
    for (std::uint64_t at = 0; at < bytes; at += size) used_[index(page + at)] = false;
    if (recorder_->shootdowns() < kept_until_) too_early_ = page;
  }
  Entry* view(HostPhys) const noexcept { return page_.data(); }
  std::uint64_t& word(HostPhys page) noexcept { return words_[index(page)]; }

  /// What allocate() would give.
  std::optional<HostPhys> next() const {
    for (std::size_t i = 0; i != used_.size(); ++i)
      if (!used_[i]) return base_ + i * size;
    return {};
  }
  /// No page may come back before so many shootdowns were made.
  void keep_until(std::size_t shootdowns) { kept_until_ = shootdowns; }
  std::optional<HostPhys> too_early() const { return too_early_; }

 private:
  static constexpr std::uint64_t size = 4096;
  std::size_t index(HostPhys page) const { return static_cast<std::size_t>((page - base_) / size); }

  const testing::Recorder* recorder_;
  HostPhys base_;
  std::vector<bool> used_;
  std::vector<std::uint64_t> words_;
  mutable std::vector<Entry> page_;
  std::size_t kept_until_ = 0;
  std::optional<HostPhys> too_early_;
};
static_assert(FrameSource<PagePool>);

}  // namespace slat::test
