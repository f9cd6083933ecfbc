#pragma once

// Host pages for lazy areas, and their way back.

#include <cstddef>
#include <optional>

#include <slat/mm/concepts.hpp>
#include <slat/mm/owed.hpp>

namespace slat {

/// Fills a page with zeros, so that no guest sees what another left.
struct ZeroPage {
  /// The whole page, of `bytes` bytes.
  void operator()(Entry* page, std::uint64_t bytes) const noexcept {
    for (std::size_t i = 0; i != bytes / sizeof(Entry); ++i) page[i] = 0;
  }
};

/// Gives out pages of guest RAM from `Frames`, and takes them back only after the invalidation of the edit that
/// unmapped them. `Prepare(page, bytes)` makes a page fit for a guest (zeroed; cleaned to the point of coherency where
/// it must be).
///
/// A source feeds one table at a time; several may share their frames. A set that dies without clear() leaves its pages
/// out: nobody else knows them.
///
/// Threads: the writer's, as the table that it feeds. Pinned; it outlives every set that names it.
template <FrameSource Frames, class Prepare = ZeroPage>
class PageSource : public Owed {
 public:
  /// `granule` is the page size of the table that it feeds: a set refuses to map an area whose source has another.
  /// `page_bytes` is what a fault populates where alignment allows: a power of two, at least the granule.
  PageSource(Frames& frames, std::uint64_t granule, std::uint64_t page_bytes, Prepare prepare = {})
      : Owed{[](Owed& self) noexcept { static_cast<PageSource&>(self).pay(); }},
        frames_{&frames},
        granule_{granule},
        page_bytes_{page_bytes},
        prepare_{prepare} {}

  /// In bytes, as they were given.
  /// @{
  std::uint64_t granule() const { return granule_; }
  std::uint64_t page_bytes() const { return page_bytes_; }
  /// @}
  /// Pages out, in granules.
  std::uint64_t in_use() const { return in_use_; }

  /// All pages that are out belong to one table: its edits pay for them. False when they belong to another than
  /// `root`'s.
  bool feeds(HostPhys root) {
    if (in_use_ == 0) root_ = root;
    return root_ == root;
  }
  /// `bytes` is granule() or page_bytes(). feeds() has been asked.
  std::optional<HostPhys> take(std::uint64_t bytes) {
    auto const page = frames_->allocate(bytes);
    if (!page) return {};
    prepare_(frames_->view(*page), bytes);
    in_use_ += bytes / granule_;
    return page;
  }
  /// For a page that was taken and never mapped.
  void give_back(HostPhys page, std::uint64_t bytes) {
    in_use_ -= bytes / granule_;
    frames_->release(page, bytes);
  }
  /// For a page, or a granule-aligned part of one, that the open edit unmaps. `bytes` is a power of two and `page` is
  /// aligned to it.
  void owe(HostPhys page, std::uint64_t bytes) {
    unsigned order = 0;
    while (granule_ << order < bytes) ++order;
    frames_->word(page) = head_;
    head_ = page.raw() | order;  // the low bits of a granule's address are free
  }

 private:
  void pay() noexcept {
    while (head_ != end) {
      auto const order = head_ & (granule_ - 1);
      HostPhys const page{head_ & ~(granule_ - 1)};
      head_ = frames_->word(page);
      give_back(page, granule_ << order);
    }
  }

  static constexpr std::uint64_t end = ~std::uint64_t{0};
  Frames* frames_;
  std::uint64_t granule_;
  std::uint64_t page_bytes_;
  [[no_unique_address]] Prepare prepare_;
  std::uint64_t in_use_ = 0;
  HostPhys root_{};
  std::uint64_t head_ = end;
};

}  // namespace slat
