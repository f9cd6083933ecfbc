// The frame pool: blocks aligned to themselves, none twice, all back in the end.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstdlib>
#include <map>
#include <random>
#include <vector>

#include <slat/mm/frame_pool.hpp>

namespace slat::test {
namespace {

struct Memory {
  explicit Memory(std::size_t granules, std::uint64_t granule = 4096)
      : size{granules * granule},
        bytes{static_cast<std::byte*>(std::aligned_alloc(64_KiB, (size + 64_KiB) & ~(64_KiB - 1)))} {}
  ~Memory() { std::free(bytes); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  std::span<std::byte> span() const { return {bytes, size}; }
  std::size_t size;
  std::byte* bytes;
};

TEST(FramePool, BlocksAreAlignedAsHostAddressesWhereverTheRangeBegins) {
  Memory const memory{300};
  for (std::uint64_t const base : {0x4000'0000ull, 0x4000'3000ull, 0x1'2345'6000ull}) {
    FramePool pool{memory.span(), HostPhys{base}};
    for (std::uint64_t bytes = 4_KiB; bytes <= 64_KiB; bytes *= 2) {
      auto const block = pool.allocate(bytes);
      ASSERT_TRUE(block);
      EXPECT_TRUE(block->aligned_to(bytes));
      EXPECT_TRUE(pool.owns(*block));
      EXPECT_TRUE(pool.owns(*block + (bytes - 4_KiB)));
    }
  }
}

TEST(FramePool, RefusesWhatItCannotGive) {
  Memory const memory{64};
  FramePool pool{memory.span(), 0x1000_hpa};
  EXPECT_FALSE(pool.allocate(0));
  EXPECT_FALSE(pool.allocate(3 * 4_KiB));
  EXPECT_FALSE(pool.allocate(1_GiB));
  EXPECT_EQ(pool.used(), 0u);
}

TEST(FramePool, OwnsWhatItHandsOutAndNeitherItsBooksNorWhatLiesAround) {
  Memory const memory{64};
  auto const begin = 0x4000'0000_hpa, end = begin + 64 * 4_KiB;
  FramePool const pool{memory.span(), begin};
  auto const first = end - pool.capacity() * 4_KiB;
  ASSERT_GT(first, begin) << "the books take the first granules";
  EXPECT_TRUE(pool.owns(first));
  EXPECT_TRUE(pool.owns(end - 1));
  EXPECT_FALSE(pool.owns(first - 1));
  EXPECT_FALSE(pool.owns(begin));
  EXPECT_FALSE(pool.owns(begin - 4_KiB));
  EXPECT_FALSE(pool.owns(end));
}

// Only the books of the range are ever touched, so that the system need not have this much.
TEST(FramePool, LeavesOutWhatIsMoreThanTwoToThe28Granules) {
  constexpr std::uint64_t granule = 64, granules = (1ull << 28) + 4096, bytes = granules * granule;
  void* const range = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(range, MAP_FAILED) << "no 16 GiB of addresses here";
  {
    FramePool pool{{static_cast<std::byte*>(range), bytes}, 0x40'0000'0000_hpa, granule};
    auto const limit = 0x40'0000'0000_hpa + (granule << 28);
    EXPECT_LT(pool.capacity(), 1ull << 28);
    EXPECT_GT(pool.capacity(), (1ull << 28) * 8 / 10) << "8 bytes and a bit of each 64";
    EXPECT_TRUE(pool.owns(limit - 1));
    EXPECT_FALSE(pool.owns(limit));
    auto const half = pool.allocate(granule << 27);
    ASSERT_TRUE(half);
    EXPECT_EQ(*half, limit - (granule << 27));
    EXPECT_FALSE(pool.allocate(granule << 28));
    EXPECT_FALSE(pool.allocate(granule << 29));
    pool.release(*half, granule << 27);
    EXPECT_EQ(pool.used(), 0u);
  }
  munmap(range, bytes);
}

TEST(FramePool, ARangeTooSmallForItsOwnBooksHoldsNothing) {
  Memory const memory{1};
  FramePool pool{memory.span(), 0x1000_hpa};
  EXPECT_EQ(pool.capacity(), 0u);
  EXPECT_FALSE(pool.allocate(4_KiB));
  FramePool none{std::span<std::byte>{}, 0x1000_hpa};
  EXPECT_FALSE(none.allocate(4_KiB));
}

TEST(FramePool, GivesOutEveryGranuleOnceAndNeverItsOwnBooks) {
  Memory const memory{1000, 16_KiB};
  FramePool pool{memory.span(), 0x1'0000'4000_hpa, 16_KiB};
  std::map<std::uint64_t, bool> seen;
  while (auto const frame = pool.allocate(16_KiB)) {
    EXPECT_FALSE(seen[frame->raw()]);
    seen[frame->raw()] = true;
    pool.word(*frame) = ~frame->raw();
    std::fill_n(pool.view(*frame), 16_KiB / sizeof(Entry), ~Entry{0});
  }
  EXPECT_EQ(seen.size(), pool.capacity());
  EXPECT_GE(pool.capacity(), 999u);
  for (auto const& [frame, used] : seen) EXPECT_EQ(pool.word(HostPhys{frame}), ~frame) << "words and frames overlap";
}

TEST(FramePool, MergesWhatComesBackInAnyOrderAndInParts) {
  Memory const memory{2048};
  FramePool pool{memory.span(), 0x4000'0000_hpa};
  std::mt19937 random{7};
  std::vector<std::pair<HostPhys, std::uint64_t>> live;
  std::map<std::uint64_t, bool> taken;
  for (int i = 0; i != 20'000; ++i) {
    if (random() % 2 == 0 || live.empty()) {
      auto const bytes = 4_KiB << random() % 7;
      auto const block = pool.allocate(bytes);
      if (!block) continue;
      for (auto at = block->raw(); at != block->raw() + bytes; at += 4_KiB) {
        ASSERT_FALSE(taken[at]) << "a granule given out twice";
        taken[at] = true;
      }
      live.emplace_back(*block, bytes);
    } else {
      auto& victim = live[random() % live.size()];
      auto part = victim.second;
      if (random() % 3 == 0 && part > 4_KiB) part = 4_KiB * (1 + random() % (part / 4_KiB));
      for (auto at = victim.first.raw(); at != victim.first.raw() + part; at += 4_KiB) taken[at] = false;
      pool.release(victim.first, part);
      victim.first = victim.first + part;
      victim.second -= part;
      if (victim.second == 0) {
        victim = live.back();
        live.pop_back();
      }
    }
    std::uint64_t sum = 0;
    for (auto const& [at, bytes] : live) sum += bytes;
    ASSERT_EQ(pool.used() * 4_KiB, sum);
  }
  for (auto const& [at, bytes] : live) pool.release(at, bytes);
  EXPECT_EQ(pool.used(), 0u);
  EXPECT_TRUE(pool.allocate(4_MiB)) << "all of it is one again, as far as alignment allows";
}

TEST(FramePool, VisitsEveryRunOfGranulesThatAreHandedOut) {
  Memory const memory{512};
  FramePool pool{memory.span(), 0x4000'3000_hpa};
  auto const seen = [&] {
    std::map<std::uint64_t, bool> out;
    auto last = 0_hpa;
    pool.visit_used([&](HostPhys begin, std::uint64_t bytes) {
      EXPECT_GT(begin, last) << "in ascending order, and what lies side by side is one";
      EXPECT_GT(bytes, 0u);
      last = begin + bytes;
      for (auto at = begin; at != last; at = at + 4_KiB) out[at.raw()] = true;
    });
    return out;
  };
  EXPECT_TRUE(seen().empty());
  std::mt19937 random{11};
  std::vector<HostPhys> live;
  std::map<std::uint64_t, bool> taken;
  for (int i = 0; i != 2000; ++i) {
    if (random() % 3 != 0) {
      if (auto const frame = pool.allocate(4_KiB)) {
        live.push_back(*frame);
        taken[frame->raw()] = true;
      }
    } else if (!live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      pool.release(live.back(), 4_KiB);
      taken.erase(live.back().raw());
      live.pop_back();
    }
    if (i % 100 == 0) {
      ASSERT_EQ(seen(), taken);
    }
  }
  while (auto const frame = pool.allocate(4_KiB)) taken[frame->raw()] = true;
  EXPECT_EQ(seen(), taken) << "to the last granule";
}

}  // namespace
}  // namespace slat::test
