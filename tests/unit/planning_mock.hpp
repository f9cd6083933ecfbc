#pragma once

// A backend that plans, over the cells of a HostTable.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "unit/mock_backend.hpp"

namespace slat::test {

/// LinearMock with plans: checks that each commit was planned, that no plan comes after a commit, and that all of it is
/// inside one edit. The k-th plan can be made to fail.
template <std::size_t N>
struct PlanningMock {
  using Table = HostTable<N>;
  enum class Act { map, replace, unmap, protect };
  struct Plan {
    Act act;
    GuestPhys start;
    std::uint64_t size;
    MockFlags flags;
    std::uint64_t base;
    friend bool operator==(const Plan&, const Plan&) = default;
  };
  /// One per call; nothing is to be done outside it, and nothing that was not planned in it.
  struct Scope {
    explicit Scope(Table& table) : pt{table} { ++pt.begins, ++pt.open; }
    Scope(Scope&&) = delete;
    ~Scope() { --pt.open; }
    Result<> ready() const {
      if (pt.in_hook) return Error{.code = Errc::busy};
      return {};
    }
    Table& pt;
    std::vector<Plan> plans{};
    bool committing = false;
  };
  static Scope begin(Table& pt) { return Scope{pt}; }

  LinearMock linear{};

  PlanningMock advanced(std::uint64_t bytes) const { return {linear.advanced(bytes)}; }
  friend bool operator==(const PlanningMock&, const PlanningMock&) = default;

  // One area by itself: counted as a plan is, in an edit of its own.
  Result<> map(GuestPhys start, std::uint64_t size, MockFlags flags, Table& pt) {
    return alone({Act::map, start, size, flags, linear.base}, pt, linear.is_free(start, size, pt));
  }
  Result<> unmap(GuestPhys start, std::uint64_t size, Table& pt) {
    return alone({Act::unmap, start, size, 0, linear.base}, pt, linear.is_mine(start, size, pt));
  }
  Result<> protect(GuestPhys start, std::uint64_t size, MockFlags flags, Table& pt) {
    return alone({Act::protect, start, size, flags, linear.base}, pt, linear.is_mine(start, size, pt));
  }

  Result<> plan_replace(GuestPhys start, std::uint64_t size, MockFlags flags, Scope& t) {
    return plan({Act::replace, start, size, flags, linear.base}, t);
  }
  Result<> plan_unmap(GuestPhys start, std::uint64_t size, Scope& t) {
    if (!linear.is_mine(start, size, t.pt)) return Error{.code = Errc::bad_state};
    return plan({Act::unmap, start, size, 0, linear.base}, t);
  }
  Result<> plan_protect(GuestPhys start, std::uint64_t size, MockFlags flags, Scope& t) {
    if (!linear.is_mine(start, size, t.pt)) return Error{.code = Errc::bad_state};
    return plan({Act::protect, start, size, flags, linear.base}, t);
  }
  void commit_replace(GuestPhys start, std::uint64_t size, MockFlags flags, Scope& t) noexcept {
    commit({Act::replace, start, size, flags, linear.base}, t);
    // Every area that was there has been told: the old cells are gone.
    EXPECT_TRUE(linear.is_free(start, size, t.pt));
    linear.fill(start, size, flags, t.pt);
  }
  void replaced(GuestPhys start, std::uint64_t size, Scope& t) noexcept {
    t.committing = true;
    EXPECT_TRUE(linear.is_mine(start, size, t.pt));
    linear.fill(start, size, 0, t.pt);
  }
  void commit_unmap(GuestPhys start, std::uint64_t size, Scope& t) noexcept {
    commit({Act::unmap, start, size, 0, linear.base}, t);
    EXPECT_TRUE(linear.is_mine(start, size, t.pt));
    linear.fill(start, size, 0, t.pt);
  }
  void commit_protect(GuestPhys start, std::uint64_t size, MockFlags flags, Scope& t) noexcept {
    commit({Act::protect, start, size, flags, linear.base}, t);
    EXPECT_TRUE(linear.is_mine(start, size, t.pt));
    linear.fill(start, size, flags, t.pt);
  }

 private:
  Result<> alone(const Plan& what, Table& pt, bool fits) {
    Scope t{pt};
    SLAT_TRY(t.ready());
    if (!fits) return Error{.code = what.act == Act::map ? Errc::already_mapped : Errc::bad_state};
    SLAT_TRY(plan(what, t));
    commit(what, t);
    linear.fill(what.start, what.size, what.flags, pt);
    return {};
  }
  static Result<> plan(const Plan& what, Scope& t) {
    EXPECT_FALSE(t.committing) << "planned after the first commit";
    if (!t.pt.permits()) return Error{.code = Errc::no_memory, .argument = Argument::frames, .value = 1};
    t.plans.push_back(what);
    return {};
  }
  static void commit(const Plan& what, Scope& t) {
    t.committing = true;
    EXPECT_EQ(t.pt.open, 1u);
    auto const found = std::find(t.plans.begin(), t.plans.end(), what);
    EXPECT_NE(found, t.plans.end()) << "a commit that was not planned";
    if (found != t.plans.end()) t.plans.erase(found);
  }
};

}  // namespace slat::test
