// 100 000 random operations beside a model without any structure: for each byte of a small address space its flags, its
// host address, and whether an area begins there.

#include <array>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <random>

#include "unit/planning_mock.hpp"

namespace slat::test {
namespace {

constexpr std::size_t size = 128;
constexpr unsigned operations = 100'000;
constexpr std::uint32_t seed = 20'240'607;

class Model {
 public:
  struct Byte {
    MockFlags flags = 0;
    std::uint64_t host = 0;
    bool starts = false;
    friend bool operator==(const Byte&, const Byte&) = default;
  };
  std::array<Byte, size> bytes{};

  bool overlaps(std::size_t from, std::size_t to) const {
    for (auto i = from; i != to; ++i)
      if (bytes[i].flags != 0) return true;
    return false;
  }
  void map(std::size_t from, std::size_t to, MockFlags flags, std::uint64_t host) {
    unmap(from, to);
    for (auto i = from; i != to; ++i) bytes[i] = {flags, host + (i - from), i == from};
  }
  void unmap(std::size_t from, std::size_t to) {
    if (from == to) return;
    split(to);
    for (auto i = from; i != to; ++i) bytes[i] = {};
  }
  /// `next[old]` is the answer for an area of flags `old`, 0 for none.
  void protect(std::size_t from, std::size_t to, const std::array<MockFlags, 4>& next) {
    if (from == to) return;
    auto const before = bytes;
    auto const answer = [&](std::size_t i) { return i < size ? next[before[i].flags] : MockFlags{0}; };
    if (answer(from) != 0) split(from);
    if (answer(to - 1) != 0) split(to);
    for (auto i = from; i != to; ++i)
      if (answer(i) != 0) bytes[i].flags = answer(i);
    // At the two ends of the range: one again if it was one or has become equal.
    for (auto const seam : {from, to}) {
      auto const inside = seam == from ? from : to - 1;
      if (seam == 0 || seam == size || answer(inside) == 0) continue;
      bool const was_one = before[seam].flags != 0 && !before[seam].starts;
      bool const changed = before[inside].flags != bytes[inside].flags;
      if ((was_one || changed) && equal(seam)) bytes[seam].starts = false;
    }
  }
  std::optional<std::size_t> lowest_gap(std::size_t hint, std::size_t length) const {
    for (auto at = hint; at + length <= size; ++at)
      if (!overlaps(at, at + length)) return at;
    return std::nullopt;
  }

 private:
  void split(std::size_t at) {
    if (at < size && bytes[at].flags != 0) bytes[at].starts = true;
  }
  bool equal(std::size_t seam) const {
    return bytes[seam - 1].flags != 0 && bytes[seam - 1].flags == bytes[seam].flags &&
           bytes[seam - 1].host + 1 == bytes[seam].host;
  }
};

template <class Backend>
Backend with_base(std::uint64_t base) {
  if constexpr (std::same_as<Backend, LinearMock>)
    return {base};
  else
    return {{base}};
}
std::uint64_t base_of(const LinearMock& backend) { return backend.base; }
std::uint64_t base_of(const PlanningMock<size>& backend) { return backend.linear.base; }

template <class Backend>
class MemorySetModel : public ::testing::Test {
 protected:
  using Set = MemorySet<MockFlags, HostTable<size>, Backend>;

  void expect_agreement() {
    std::array<Model::Byte, size> said{};
    std::uint64_t reached = 0;
    for (auto const& area : set_.iter()) {
      ASSERT_GE(area.start().raw(), reached);
      ASSERT_GT(area.size(), 0u);
      reached = area.range().end().raw();
      ASSERT_LE(reached, size);
      for (std::uint64_t i = 0; i != area.size(); ++i)
        said[area.start().raw() + i] = {area.flags(), base_of(area.backend()) + i, i == 0};
    }
    ASSERT_TRUE(said == model_.bytes) << "areas and model differ";
    for (std::size_t i = 0; i != size; ++i) {
      ASSERT_EQ(pt_.cells[i].flags, model_.bytes[i].flags) << i;
      ASSERT_EQ(pt_.cells[i].host, model_.bytes[i].host) << i;
    }
  }

  HostTable<size> pt_;
  Set set_;
  Model model_;
};
using Backends = ::testing::Types<LinearMock, PlanningMock<size>>;
TYPED_TEST_SUITE(MemorySetModel, Backends);

TYPED_TEST(MemorySetModel, AHundredThousandRandomOperationsAgreeWithAFlatArray) {
  std::printf("seed %u\n", seed);
  std::mt19937 random{seed};
  auto const below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  std::size_t most = 0;
  for (unsigned n = 0; n != operations; ++n) {
    auto const from = below(size);
    // Mostly short, at times long, so that the set is at times large and at times small.
    auto const length = std::min(size - from, below(16) == 0 ? below(size + 1) : below(6));
    auto const to = from + length;
    SCOPED_TRACE(n);
    switch (below(9)) {
      case 0:
      case 1:
      case 2:
      case 3: {
        // A multiple of the address space: neighbours mapped apart can still be contiguous.
        auto const flags = static_cast<MockFlags>(1 + below(3));
        auto const host = from + size * below(2);
        bool const replace = below(4) == 0;
        auto const done = this->set_.map({gpa(from), length, flags, with_base<TypeParam>(host)}, this->pt_, replace);
        bool const legal = length != 0 && (replace || !this->model_.overlaps(from, to));
        ASSERT_EQ(static_cast<bool>(done), legal);
        if (legal) this->model_.map(from, to, flags, host);
        break;
      }
      case 4:
      case 5:
        ASSERT_TRUE(this->set_.unmap(gpa(from), length, this->pt_));
        this->model_.unmap(from, to);
        break;
      case 6:
      case 7: {
        std::array<MockFlags, 4> next{};
        for (MockFlags old = 1; old != 4; ++old) next[old] = static_cast<MockFlags>(below(4));
        auto const update = [&](MockFlags old) { return next[old] == 0 ? std::nullopt : std::optional{next[old]}; };
        ASSERT_TRUE(this->set_.protect(gpa(from), length, update, this->pt_));
        this->model_.protect(from, to, next);
        break;
      }
      case 8: {
        if (below(200) == 0) {
          ASSERT_TRUE(this->set_.clear(this->pt_));
          this->model_ = {};
        }
        auto const found = this->set_.find_free_area(gpa(from), length + 1, {gpa(0), size}, 1);
        ASSERT_TRUE(found);
        auto const expected = this->model_.lowest_gap(from, length + 1);
        ASSERT_EQ(found->has_value(), expected.has_value());
        if (expected) {
          ASSERT_EQ(**found, gpa(*expected));
        }
        break;
      }
    }
    ASSERT_NO_FATAL_FAILURE(this->expect_agreement());
    most = std::max(most, this->set_.len());
  }
  EXPECT_GT(most, 40u) << "the areas never outgrew the inside of the set by much";
}

TYPED_TEST(MemorySetModel, RandomFailuresNeverPartSetAndTable) {
  std::printf("seed %u\n", seed);
  std::mt19937 random{seed};
  auto const below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  unsigned failed = 0;
  for (unsigned n = 0; n != operations / 4; ++n) {
    auto const from = below(size);
    auto const length = std::min(size - from, 1 + below(40));
    auto& pt = this->pt_;
    pt.calls = 0;
    pt.failing.clear();
    for (unsigned call = 1; call != 24; ++call)
      if (below(12) == 0) pt.failing.insert(call);
    auto const before = shape_of(this->set_);
    Result<> done;
    switch (below(4)) {
      case 0:
      case 1:
        done = this->set_.map({gpa(from), length, static_cast<MockFlags>(1 + below(3)), with_base<TypeParam>(n)}, pt,
                              below(2) == 0);
        break;
      case 2: done = this->set_.unmap(gpa(from), length, pt); break;
      case 3:
        done = this->set_.protect(
            gpa(from), length, [](MockFlags old) { return static_cast<MockFlags>(old % 3 + 1); }, pt);
        break;
    }
    ASSERT_TRUE(describes(this->set_, pt)) << "operation " << n;
    if (done) continue;
    ++failed;
    if constexpr (!std::same_as<TypeParam, LinearMock>) {
      ASSERT_EQ(shape_of(this->set_), before) << "operation " << n;
    }
  }
  EXPECT_GT(failed, operations / 50);
}

}  // namespace
}  // namespace slat::test
