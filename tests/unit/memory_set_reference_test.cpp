// The reference cases of the documents that slat implements, on every kind of backend, and what other implementations
// of this interface got wrong.

#include <memory>
#include <optional>
#include <type_traits>

#include "unit/planning_mock.hpp"

namespace slat::test {
namespace {

template <class B, class PT>
struct Subject {
  using Backend = B;
  using Table = PT;
};

template <class S>
class MemorySetReference : public ::testing::Test {
 protected:
  using Backend = typename S::Backend;
  using Set = MemorySet<MockFlags, typename S::Table, Backend>;
  using Area = typename Set::Area;

  static Area area(std::uint64_t start, std::uint64_t size, MockFlags flags) {
    if constexpr (std::same_as<Backend, LinearMock>)
      return {gpa(start), size, flags, LinearMock{start + 0x5000'0000}};
    else if constexpr (std::is_empty_v<Backend>)
      return {gpa(start), size, flags};
    else
      return {gpa(start), size, flags, Backend{{start + 0x5000'0000}}};
  }
  MockFlags byte(std::size_t i) const {
    if constexpr (requires { pt_->cells; })
      return pt_->cells[i].flags;
    else
      return (*pt_)[i];
  }
  bool all_zero() const {
    for (std::size_t i = 0; i != 0x10000; ++i)
      if (byte(i) != 0) return false;
    return true;
  }
  /// Whether the areas say of every byte what the table holds.
  void agrees() const {
    ASSERT_TRUE(audit_order(set_.iter()));
    std::size_t at = 0;
    for (auto const& a : set_.iter()) {
      for (; at != a.start().raw(); ++at) ASSERT_EQ(byte(at), 0) << at;
      for (; at != a.range().end().raw(); ++at) ASSERT_EQ(byte(at), a.flags()) << at;
    }
    for (; at != 0x10000; ++at) ASSERT_EQ(byte(at), 0) << at;
    if constexpr (requires { pt_->cells; }) {
      ASSERT_TRUE(describes(set_, *pt_));
    }
  }
  void fill(std::uint64_t step, MockFlags even, MockFlags odd) {
    for (std::uint64_t s = 0, n = 0; s < 0x10000; s += step, ++n)
      ASSERT_TRUE(set_.map(area(s, 0x1000, n % 2 == 0 ? even : odd), *pt_));
  }

  std::unique_ptr<typename S::Table> pt_ = std::make_unique<typename S::Table>();
  Set set_;
};

using Subjects =
    ::testing::Types<Subject<MockBackend, MockPageTable>, Subject<ResultBackend, MockPageTable>,
                     Subject<LinearMock, HostTable<0x10000>>, Subject<PlanningMock<0x10000>, HostTable<0x10000>>>;
TYPED_TEST_SUITE(MemorySetReference, Subjects);

TYPED_TEST(MemorySetReference, MapFindOverlapReplaceAndUnmapAsInTheDocuments) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  this->fill(0x1000, 1, 2);
  EXPECT_EQ(set.len(), 16u);
  auto const* found = set.find(gpa(0x4100));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->range(), bytes(0x4000, 0x5000));
  EXPECT_EQ(found->flags(), 1);

  auto const refused = set.map(this->area(0x4000, 0x4000, 3), pt);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(),
            (Error{.code = Errc::already_exists, .range = bytes(0x4000, 0x8000), .other = bytes(0x4000, 0x5000)}));
  EXPECT_EQ(set.len(), 16u);
  this->agrees();

  ASSERT_TRUE(set.map(this->area(0x4000, 0x4000, 3), pt, true));
  EXPECT_EQ(set.len(), 13u);
  found = set.find(gpa(0x4100));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->range(), bytes(0x4000, 0x8000));
  EXPECT_EQ(found->flags(), 3);
  this->agrees();

  ASSERT_TRUE(set.unmap(gpa(0x4000), 0x8000, pt));
  EXPECT_EQ(set.len(), 8u);
  this->agrees();
  ASSERT_TRUE(set.unmap(gpa(0), 0x20000, pt));
  EXPECT_EQ(set.len(), 0u);
  EXPECT_TRUE(set.is_empty());
  EXPECT_TRUE(this->all_zero());
}

TYPED_TEST(MemorySetReference, UnmapShrinksAndSplitsAsInTheDocuments) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  this->fill(0x2000, 1, 1);
  ASSERT_EQ(set.len(), 8u);
  for (std::uint64_t s = 0; s < 0x10000; s += 0x2000) ASSERT_TRUE(set.unmap(gpa(s + 0xc00), 0x1800, pt));
  EXPECT_EQ(set.len(), 8u);
  this->agrees();
  for (std::uint64_t s = 0; s < 0x10000; s += 0x2000) ASSERT_TRUE(set.unmap(gpa(s + 0x800), 0x100, pt));
  EXPECT_EQ(set.len(), 16u);
  this->agrees();
  ASSERT_TRUE(set.unmap(gpa(0), 0x10000, pt));
  EXPECT_EQ(set.len(), 0u);
  EXPECT_TRUE(this->all_zero());
}

TYPED_TEST(MemorySetReference, ProtectSplitsAsInTheDocuments) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  this->fill(0x2000, 7, 7);
  auto const to = [](MockFlags low) {
    return [low](MockFlags old) -> std::optional<MockFlags> {
      if ((old & 7) == (low & 7)) return std::nullopt;
      return static_cast<MockFlags>((old & ~7) | (low & 7));
    };
  };
  for (std::uint64_t s = 0; s < 0x10000; s += 0x2000) ASSERT_TRUE(set.protect(gpa(s + 0xc00), 0x1800, to(1), pt));
  EXPECT_EQ(set.len(), 23u);
  this->agrees();
  for (std::uint64_t s = 0; s < 0x10000; s += 0x2000) ASSERT_TRUE(set.protect(gpa(s + 0x800), 0x100, to(0x13), pt));
  EXPECT_EQ(set.len(), 39u);
  this->agrees();
  for (std::uint64_t s = 0; s < 0x10000; s += 0x2000) ASSERT_TRUE(set.protect(gpa(s + 0x880), 0x80, to(3), pt));
  EXPECT_EQ(set.len(), 39u);
  this->agrees();
  ASSERT_TRUE(set.unmap(gpa(0), 0x10000, pt));
  EXPECT_EQ(set.len(), 0u);
  EXPECT_TRUE(this->all_zero());
}

TYPED_TEST(MemorySetReference, FreeAreasAreFoundAsInTheDocuments) {
  auto& set = this->set_;
  this->fill(0x2000, 1, 1);
  auto const free = [&](std::uint64_t hint, std::uint64_t size, std::uint64_t align) {
    auto const found = set.find_free_area(gpa(hint), size, bytes(0, 0x10000), align);
    EXPECT_TRUE(found);
    return *found;
  };
  EXPECT_EQ(free(0, 0x1000, 1), gpa(0x1000));
  EXPECT_EQ(free(0x800, 0x800, 0x800), gpa(0x1000));
  EXPECT_EQ(free(0x1800, 0x800, 0x800), gpa(0x1800));
  EXPECT_EQ(free(0x1800, 0x1000, 0x1000), gpa(0x3000));
  EXPECT_EQ(free(0x2000, 0x1000, 0x1000), gpa(0x3000));
  EXPECT_EQ(free(0xf000, 0x1000, 0x1000), gpa(0xf000));
  EXPECT_EQ(free(0xf001, 0x1000, 0x1000), std::nullopt);
}

TYPED_TEST(MemorySetReference, UnmappingTheMiddleLeavesTwoAreas) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x4000, 1), pt));
  ASSERT_TRUE(set.unmap(gpa(0x2000), 0x2000, pt));
  EXPECT_EQ(shape_of(set), (Shape{{bytes(0x1000, 0x2000), 1}, {bytes(0x4000, 0x5000), 1}}));
  this->agrees();
}

// What others got wrong. A replace that fails is in memory_set_failure_test.cpp.

TYPED_TEST(MemorySetReference, ProtectOfSizeZeroLosesNothing) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x1000, 1), pt));
  unsigned asked = 0;
  ASSERT_TRUE(set.protect(
      gpa(0x1800), 0, [&](MockFlags) { return ++asked, MockFlags{2}; }, pt));
  EXPECT_EQ(asked, 0u);
  EXPECT_EQ(shape_of(set), (Shape{{bytes(0x1000, 0x2000), 1}}));
  this->agrees();
}

TYPED_TEST(MemorySetReference, UnmapOfSizeZeroSplitsNothing) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x1000, 1), pt));
  ASSERT_TRUE(set.unmap(gpa(0x1800), 0, pt));
  EXPECT_EQ(shape_of(set), (Shape{{bytes(0x1000, 0x2000), 1}}));
  this->agrees();
}

TYPED_TEST(MemorySetReference, UpdateIsAskedForTouchedAreasOnlyAndTwiceAtMost) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  for (MockFlags n = 0; n != 10; ++n) ASSERT_TRUE(set.map(this->area(n * 0x1000u, 0x1000, n + 1), pt));
  std::array<unsigned, 32> asked{};
  // From inside area 3 to inside area 6; areas 2 and 7 only touch at their ends.
  ASSERT_TRUE(set.protect(
      gpa(0x3000), 0x4000,
      [&](MockFlags old) -> std::optional<MockFlags> {
        ++asked[old];
        return static_cast<MockFlags>(old + 0x80);
      },
      pt));
  for (MockFlags n = 0; n != 10; ++n) {
    if (n >= 3 && n < 7) {
      EXPECT_GE(asked[n + 1], 1u);
      EXPECT_LE(asked[n + 1], 2u);
    } else {
      EXPECT_EQ(asked[n + 1], 0u) << int{n};
    }
  }
  this->agrees();
}

TYPED_TEST(MemorySetReference, UpdateForOneAreaCutAtBothEndsIsAskedTwiceAtMost) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x3000, 1), pt));
  unsigned asked = 0;
  ASSERT_TRUE(set.protect(
      gpa(0x2000), 0x1000, [&](MockFlags) { return ++asked, MockFlags{2}; }, pt));
  EXPECT_LE(asked, 2u);
  EXPECT_GE(asked, 1u);
  EXPECT_EQ(set.len(), 3u);
}

TYPED_TEST(MemorySetReference, ProtectAnsweredWithNulloptChangesNothingAndCutsNothing) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x1000, 1), pt));
  ASSERT_TRUE(set.map(this->area(0x2000, 0x1000, 2), pt));
  ASSERT_TRUE(set.map(this->area(0x3000, 0x1000, 1), pt));
  // Both edge areas say no; the one between them changes.
  auto const twos = [](MockFlags old) { return old == 2 ? std::optional<MockFlags>{5} : std::nullopt; };
  ASSERT_TRUE(set.protect(gpa(0x1800), 0x2000, twos, pt));
  EXPECT_EQ(shape_of(set), (Shape{{bytes(0x1000, 0x2000), 1}, {bytes(0x2000, 0x3000), 5}, {bytes(0x3000, 0x4000), 1}}));
  this->agrees();
}

TYPED_TEST(MemorySetReference, HolesInARangeAreSkipped) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x1000, 1), pt));
  ASSERT_TRUE(set.map(this->area(0x4000, 0x1000, 1), pt));
  ASSERT_TRUE(set.protect(
      gpa(0), 0x8000, [](MockFlags) { return MockFlags{2}; }, pt));
  EXPECT_EQ(shape_of(set), (Shape{{bytes(0x1000, 0x2000), 2}, {bytes(0x4000, 0x5000), 2}}));
  this->agrees();
  ASSERT_TRUE(set.protect(
      gpa(0x2000), 0x2000, [](MockFlags) { return MockFlags{3}; }, pt));
  ASSERT_TRUE(set.unmap(gpa(0x2000), 0x2000, pt));
  EXPECT_EQ(set.len(), 2u);
  ASSERT_TRUE(set.unmap(gpa(0), 0x8000, pt));
  EXPECT_TRUE(set.is_empty());
  EXPECT_TRUE(this->all_zero());
}

TYPED_TEST(MemorySetReference, ReplacingInsideOneAreaLeavesItsTwoEnds) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  ASSERT_TRUE(set.map(this->area(0x1000, 0x4000, 1), pt));
  ASSERT_TRUE(set.map(this->area(0x2000, 0x1000, 1), pt, true));
  // Equal flags or not: map() joins nothing.
  EXPECT_EQ(shape_of(set), (Shape{{bytes(0x1000, 0x2000), 1}, {bytes(0x2000, 0x3000), 1}, {bytes(0x3000, 0x5000), 1}}));
  this->agrees();
}

TYPED_TEST(MemorySetReference, ClearLeavesNoAreaAndNothingInTheTable) {
  auto& set = this->set_;
  auto& pt = *this->pt_;
  this->fill(0x1000, 1, 2);
  ASSERT_TRUE(set.clear(pt));
  EXPECT_TRUE(set.is_empty());
  EXPECT_TRUE(this->all_zero());
  ASSERT_TRUE(set.clear(pt));
}

}  // namespace
}  // namespace slat::test
