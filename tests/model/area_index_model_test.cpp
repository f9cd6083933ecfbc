// The index of areas beside std::map: random verbs in mixes that grow it to thousands of areas and shrink it to
// nothing, with memory missing at random points. Its inside is checked as often as the time allows.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdio>
#include <iterator>
#include <map>
#include <random>
#include <string>

#include <slat/mm/area_index.hpp>
#include <slat/mm/memory_area.hpp>

#include "model/area_index_probe.hpp"

namespace slat::test {
namespace {

struct Ledger {
  std::size_t blocks = 0;
  unsigned one_in = 0;  // allocations fail; 0: none does
  bool empty = false;
  std::mt19937 random{7};
};
struct MissingNodes {
  Ledger* ledger;
  void* allocate(std::size_t bytes) noexcept {
    if (ledger->empty || (ledger->one_in != 0 && ledger->random() % ledger->one_in == 0)) return nullptr;
    ++ledger->blocks;
    return ::operator new(bytes);
  }
  void release(void* block, std::size_t) noexcept {
    --ledger->blocks;
    ::operator delete(block);
  }
};
struct Moved {
  std::uint64_t base = 0;
  Moved advanced(std::uint64_t bytes) const { return {base + bytes}; }
  friend bool operator==(Moved, Moved) = default;
};
struct Value {
  std::uint64_t size;
  std::uint64_t flags;
  std::uint64_t base;
};

std::uint64_t to_number(std::uint64_t flags) { return flags; }
std::uint64_t to_number(const std::string& flags) { return std::stoull(flags.substr(flags.find(':') + 1)); }

template <class Flags>
class AreaIndexModel : public ::testing::Test {
 protected:
  using Area = MemoryArea<Flags, Moved>;
  using Index = AreaIndex<Area, MissingNodes>;

  static Flags flags_of(std::uint64_t n) {
    if constexpr (std::is_same_v<Flags, std::string>)
      return "flags that are not kept inside a string:" + std::to_string(n);
    else
      return n;
  }
  std::uint64_t below(std::uint64_t n) { return random_() % n; }

  /// Room for `more`, or not; from then on the source has nothing until the verb is done.
  bool room(std::size_t more) {
    auto got = index_.reserve(more);
    if (!got) return ++refused_, false;
    if (below(50) == 0) return false;  // what is not adopted goes back
    index_.adopt(*std::move(got));
    ledger_.empty = true;
    return true;
  }
  auto at_or_before(std::uint64_t at) {
    auto found = map_.upper_bound(at);
    return found == map_.begin() ? map_.end() : std::prev(found);
  }
  auto first_touching(std::uint64_t at) {
    auto const found = at_or_before(at);
    return found != map_.end() && at - found->first < found->second.size ? found : map_.upper_bound(at);
  }
  static std::uint64_t last_of(const std::pair<const std::uint64_t, Value>& a) { return a.first + a.second.size - 1; }
  static bool same(const Area& area, const std::pair<const std::uint64_t, Value>& value) {
    return area.start().raw() == value.first && area.size() == value.second.size &&
           to_number(area.flags()) == value.second.flags && area.backend().base == value.second.base;
  }
  void expect_same() {
    ASSERT_EQ(index_.size(), map_.size());
    auto at = map_.begin();
    for (auto const& area : index_) ASSERT_TRUE(same(area, *at++)) << area.start().raw();
    ASSERT_TRUE(at == map_.end());
  }

  void step(std::uint64_t space, unsigned growth) {
    auto const at = base_ + below(space);
    auto const kind = below(100);
    if (kind < growth) {
      auto const next = first_touching(at);
      auto const end = next == map_.end() ? base_ + space - 1 : next->first;
      if (next != map_.end() && next->first <= at) return cut(at);
      auto const size = std::min<std::uint64_t>(1 + below(40), end - at);
      if (size == 0 || !room(1)) return;
      auto const flags = below(1000), host = below(1000);
      index_.insert(Area{GuestPhys{at}, size, flags_of(flags), Moved{host}});
      map_.emplace(at, Value{size, flags, host});
    } else if (kind < 75) {
      // Mostly a few neighbours, at times many.
      GuestRange const range{GuestPhys{at}, std::min(base_ + space - at, 1 + below(below(300) == 0 ? space / 4 : 50))};
      auto const run = index_.touching(range);
      auto const first = first_touching(at);
      auto last = first;
      while (last != map_.end() && last->first <= range.last().raw()) ++last;
      ASSERT_EQ(run.first == run.last, first == last);
      if (below(2) == 0) {
        auto position = run.first;
        for (auto a = first; a != last; ++a) ASSERT_TRUE(same(*position++, *a));
        ASSERT_TRUE(position == run.last);
        while (position != run.first) --position;
      }
      auto const behind = index_.erase(run.first, run.last);
      auto const next = map_.erase(first, last);
      ASSERT_EQ(behind == index_.end(), next == map_.end());
      if (next != map_.end()) {
        ASSERT_TRUE(same(*behind, *next));
      }
    } else if (kind < 82) {
      cut(at);
    } else if (kind < 90) {
      join(first_touching(at));
    } else if (kind < 95) {
      auto const want = 1 + below(below(8) == 0 ? 2000 : 60), align = std::uint64_t{1} << below(7);
      GuestRange const limit{GuestPhys{base_}, below(4) == 0 ? 1 + below(space) : space};
      auto const found = index_.next_gap(GuestPhys{at}, want, limit, align);
      auto const expected = gap(at, want, limit, align);
      ASSERT_EQ(found.has_value(), expected.has_value());
      if (found) {
        ASSERT_EQ(found->raw(), *expected);
      }
    } else {
      auto const* const area = index_.find(GuestPhys{at});
      auto const expected = first_touching(at);
      ASSERT_EQ(area != nullptr, expected != map_.end() && expected->first <= at);
      if (area != nullptr) {
        ASSERT_TRUE(same(*area, *expected));
        ASSERT_EQ(index_.find(area->start(), area), area);
        ASSERT_EQ(std::as_const(index_).find(GuestPhys{at + 7}, area), std::as_const(index_).find(GuestPhys{at + 7}));
      }
      if (kind == 99) index_.trim();
    }
  }
  void cut(std::uint64_t at) {
    if (!room(1)) return;
    index_.cut(GuestPhys{at});
    auto const found = at_or_before(at);
    if (found == map_.end() || found->first == at || at - found->first >= found->second.size) return;
    auto const kept = at - found->first;
    map_.emplace(at, Value{found->second.size - kept, found->second.flags, found->second.base + kept});
    found->second.size = kept;
  }
  template <class At>
  void join(At at) {
    if (at == map_.end()) return;
    auto const seam = index_.seam(GuestPhys{at->first});
    bool const expected = at != map_.begin() && last_of(*std::prev(at)) + 1 == at->first;
    ASSERT_EQ(seam.has_value(), expected);
    if (!seam) return;
    index_.join(*seam);
    std::prev(at)->second.size += at->second.size;
    map_.erase(at);
  }
  std::optional<std::uint64_t> gap(std::uint64_t at, std::uint64_t want, GuestRange limit, std::uint64_t align) {
    at = std::max(at, limit.begin.raw());
    for (auto next = first_touching(at);; ++next) {
      if (next != map_.end() && next->first <= at) {
        at = last_of(*next) + 1;
        if (at == 0) return std::nullopt;
        continue;
      }
      auto const place = (at + align - 1) & ~(align - 1);
      if (place < at || place + want - 1 < place || !limit.contains(GuestRange{GuestPhys{place}, want}))
        return std::nullopt;
      if (next == map_.end() || place + want - 1 < next->first) return place;
      at = last_of(*next) + 1;
      if (at == 0) return std::nullopt;
    }
  }

  void run(unsigned operations) {
    std::printf("seed %u\n", seed);
    std::size_t most = 0;
    unsigned emptied = 0;
    for (unsigned n = 0; n != operations;) {
      // A phase: one size of space, one share of inserts, one rate of missing memory.
      auto const space = std::uint64_t{1} << (6 + below(14));
      auto const growth = static_cast<unsigned>(below(3) == 0 ? 30 : 62);
      ledger_.one_in = below(2) == 0 ? 0 : 2 + static_cast<unsigned>(below(8));
      if (map_.empty()) base_ = below(3) == 0 ? 0 - space : below(1'000'000);  // up to 2^64 at times
      auto const room = std::max(space, map_.empty() ? 0 : std::prev(map_.end())->first - base_ + 1);
      auto const length = std::min<unsigned>(operations - n, 1000 + static_cast<unsigned>(below(30'000)));
      for (unsigned i = 0; i != length; ++i, ++n) {
        ledger_.empty = false;
        step(std::min(room, 0 - base_ - 1), growth);
        ledger_.empty = false;
        if (::testing::Test::HasFatalFailure()) FAIL() << "operation " << n;
        if (n % 61 == 0 || map_.size() < 40) {
          auto const flaw = AreaIndexProbe::flaw(index_);
          ASSERT_EQ(flaw, "") << "operation " << n;
        }
        if (n % 4001 == 0) {
          ASSERT_NO_FATAL_FAILURE(expect_same()) << "operation " << n;
        }
        most = std::max(most, map_.size());
      }
      ASSERT_NO_FATAL_FAILURE(expect_same());
      if (below(3) != 0) continue;
      index_.erase(index_.begin(), index_.end());
      map_.clear();
      ASSERT_EQ(ledger_.blocks, 0u) << "something is not given back";
      ++emptied;
    }
    if (operations > 500'000) {
      EXPECT_GT(most, 2000u);
      EXPECT_GT(emptied, 3u);
      EXPECT_GT(refused_, 100u);
    }
    index_.clear();
    EXPECT_EQ(ledger_.blocks, 0u);
  }

  static constexpr std::uint32_t seed = 20'240'611;
  std::mt19937_64 random_{seed};
  Ledger ledger_;
  Index index_{MissingNodes{&ledger_}};
  std::map<std::uint64_t, Value> map_;
  std::uint64_t base_ = 0;
  unsigned refused_ = 0;
};
using FlagsTypes = ::testing::Types<std::uint64_t, std::string>;
TYPED_TEST_SUITE(AreaIndexModel, FlagsTypes);

TYPED_TEST(AreaIndexModel, RandomVerbsAgreeWithAMap) {
  this->run((std::is_same_v<TypeParam, std::string> ? 3'000'000u : 10'000'000u) / SLAT_MODEL_PART);
}

}  // namespace
}  // namespace slat::test
