// The rows of the region index: G13 to G16, and G18. Compiled with general registers only.

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "containers.hpp"
#include "regions.hpp"
#include "row.hpp"

namespace slat::bench {
namespace {

/// The index with `n` regions beside all the containers with the same.
class AgainstContainers : public Row {
 public:
  explicit AgainstContainers(std::uint64_t n) {
    auto const starts = starts_of(n + 1, random_);
    out_ = starts.back();
    std::span const inside{starts.data(), n};
    for (auto const start : inside) regions_.add(start);
    for (unsigned kind = 0; kind != container_kinds; ++kind) {
      containers_.push_back(make_container(kind));
      containers_.back()->fill(inside, region_size);
    }
    for (std::uint64_t i = 0; i != queries_of(n); ++i) at_.push_back(inside[random_.below(n)]);
  }
  void prepare() override {}
  unsigned limits() const override { return container_kinds; }
  Facts facts() const override { return {.bytes = regions_.bytes_each()}; }

 protected:
  Random random_;
  std::uint64_t out_ = 0;
  Regions regions_;
  std::vector<std::unique_ptr<Container>> containers_;
  std::vector<std::uint64_t> at_;
  volatile std::uint64_t sum_ = 0;
};

// G13: the next query needs the last answer.
class FindOneByOne : public AgainstContainers {
 public:
  using AgainstContainers::AgainstContainers;
  void limit(unsigned which) override { sum_ = containers_[which]->find_one_by_one(at_); }
  void subject() override {
    std::uint64_t sum = 0, last = 0;
    for (auto const x : at_) {
      auto const* const found = std::as_const(regions_.index).find(GuestPhys{x + last});
      must(found != nullptr);
      last = found->backend().base;
      sum += last;
    }
    sum_ = sum;
  }
};

// G13: a caller who stays in one area, beside std::map alone.
class FindAgain : public AgainstContainers {
 public:
  using AgainstContainers::AgainstContainers;
  unsigned limits() const override { return 1; }
  void limit(unsigned) override { sum_ = containers_[0]->find_one_by_one(at_); }
  void subject() override {
    auto const& index = std::as_const(regions_.index);
    std::uint64_t sum = 0;
    auto const* last = index.find(GuestPhys{at_[0]});
    for (std::uint64_t i = 0; i != at_.size(); ++i) {
      last = index.find(GuestPhys{at_[0] + i % 512}, last);
      must(last != nullptr);
      sum += last->size();
    }
    sum_ = sum;
  }
};

// G14: the queries are known.
class FindEach : public AgainstContainers {
 public:
  using AgainstContainers::AgainstContainers;
  void limit(unsigned which) override { sum_ = containers_[which]->find_each(at_); }
  void subject() override {
    std::uint64_t sum = 0;
    for (auto const x : at_) {
      auto const* const found = std::as_const(regions_.index).find(GuestPhys{x});
      must(found != nullptr);
      sum += found->size();
    }
    sum_ = sum;
  }
};

// G15: one region goes, the one that went before it comes back. After a turn all is as it was.
class Replace : public AgainstContainers {
 public:
  explicit Replace(std::uint64_t n) : AgainstContainers{n} {
    auto out = out_;
    for (auto& start : at_) {
      while (start == out) start = at_[random_.below(at_.size())];
      out = start;
    }
    at_.back() = out_;  // which no other step erases
  }
  void limit(unsigned which) override { containers_[which]->replace(at_, out_, region_size); }
  void subject() override {
    auto out = out_;
    for (auto const start : at_) {
      regions_.remove(start);
      regions_.add(std::exchange(out, start));
    }
  }
};

// G16: cut and join.
class SplitAndMerge : public AgainstContainers {
 public:
  explicit SplitAndMerge(std::uint64_t n) : AgainstContainers{n} {
    for (auto& x : at_) x += region_size / 2;
  }
  void limit(unsigned which) override { containers_[which]->split_and_merge(at_); }
  void subject() override {
    for (auto const x : at_) {
      regions_.make_room();
      regions_.index.cut(GuestPhys{x});
      auto const seam = regions_.index.seam(GuestPhys{x});
      must(seam);
      regions_.index.join(*seam);
      regions_.index.trim();
    }
  }
};

// G18: one gap in 64 is large enough, beside finding the area where the search begins.
class NextGap : public Row {
 public:
  explicit NextGap(std::uint64_t n) {
    auto starts = starts_of(n, random_);
    for (auto& start : starts) regions_.add(start += start / stride / 64 * wanted);
    for (std::uint64_t i = 0; i != queries_of(n); ++i) at_.push_back(starts[random_.below(n)]);
  }
  void prepare() override {}
  void limit(unsigned) override {
    std::uint64_t last = 0;
    for (auto const x : at_) last = std::as_const(regions_.index).find(GuestPhys{x + last})->backend().base;
    sum_ = last;
  }
  void subject() override {
    std::uint64_t last = 0;
    for (auto const x : at_) {
      auto const found = regions_.index.next_gap(GuestPhys{x + last}, wanted, {GuestPhys{0}, 1ull << 40}, 1);
      must(found);
      last = found->raw() >> 40;  // 0
    }
    sum_ = last;
  }

 private:
  static constexpr std::uint64_t wanted = 2 * stride;
  Random random_;
  Regions regions_;
  std::vector<std::uint64_t> at_;
  volatile std::uint64_t sum_ = 0;
};

/// How far the rows of one kind go, and what they are to reach.
struct Size {
  std::uint64_t n;
  const char* name;
  std::uint64_t find_one_by_one, find_each, replace, split_and_merge;
};
constexpr Size sizes[] = {
    {16, "16", 550, 400, 1000, 1000},     {256, "256", 750, 700, 900, 1200}, {4096, "4096", 650, 600, 750, 650},
    {65536, "65536", 650, 550, 650, 600}, {1 << 20, "1 M", 0, 0, 0, 0},
};

}  // namespace

std::vector<RowEntry> region_rows() {
  std::vector<RowEntry> rows;
  auto const add = [&]<class Kind>(std::in_place_type_t<Kind>, const char* what, const Size& size,
                                   std::uint64_t target) {
    rows.push_back({std::string{what} + ", " + size.name + " areas", queries_of(size.n), target,
                    [n = size.n] { return std::make_unique<Kind>(n); }});
    rows.back().large = size.n > 65536;
  };
  for (auto const& size : sizes)
    add(std::in_place_type<FindOneByOne>, "G13 find, dependent", size, size.find_one_by_one);
  add(std::in_place_type<FindAgain>, "G13 find again by hint", sizes[2], 31);
  for (auto const& size : sizes) add(std::in_place_type<FindEach>, "G14 find, independent", size, size.find_each);
  for (auto const& size : sizes) add(std::in_place_type<Replace>, "G15 erase and insert", size, size.replace);
  for (auto const& size : sizes)
    add(std::in_place_type<SplitAndMerge>, "G16 split and merge", size, size.split_and_merge);
  for (auto& row : set_rows()) rows.push_back(std::move(row));
  for (auto const& size : std::span{sizes}.first(4)) add(std::in_place_type<NextGap>, "G18 next gap", size, 1500);
  return rows;
}

}  // namespace slat::bench
