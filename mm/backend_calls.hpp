#pragma once

// One face for both kinds of backends. One area by itself is one operation, which is all or nothing. Where a call is
// about more, a backend that plans has its plan_* called before anything changes and its commit_* in place of the
// operation; for one of the three operations alone, planning is nothing and the operation acts.

#include <type_traits>

#include <slat/mm/address.hpp>
#include <slat/mm/error.hpp>
#include <slat/mm/mapping_backend.hpp>
#include <slat/mm/memory_area.hpp>
#include <slat/mm/result.hpp>

namespace slat {

/// The edit of a backend that has none.
struct NoEdit {
  Result<> ready() const { return {}; }
};

/// What a MemorySet calls, area by area. Stateless: the set's thread rules are all there is.
template <class F, class PT, class B>
struct BackendCalls {
  static constexpr bool plans = PlanningBackend<B, F, PT>;
  using Area = MemoryArea<F, B>;

  // ---- one area by itself ----

  static Result<> map(Area& area, PT& pt) {
    return verdict(area, [&](B& backend) { return backend.map(area.start(), area.size(), area.flags(), pt); });
  }
  static Result<> unmap(Area& area, PT& pt) {
    return verdict(area, [&](B& backend) { return backend.unmap(area.start(), area.size(), pt); });
  }
  static Result<> protect(Area& area, const F& flags, PT& pt) {
    return verdict(area, [&](B& backend) { return backend.protect(area.start(), area.size(), flags, pt); });
  }

  // ---- one of several, in an edit ----

  static auto begin(PT& pt) {
    if constexpr (plans)
      return B::begin(pt);
    else
      return NoEdit{};
  }
  using Edit = decltype(begin(std::declval<PT&>()));

  /// What the backends demand of every range, whatever areas it touches.
  static Result<> check(GuestRange range, Edit& edit) {
    if constexpr (requires { B::check(range, edit); }) return B::check(range, edit);
    return {};
  }

  static Result<> plan_replace(Area& area, Edit& edit) {
    if constexpr (plans) return area.backend().plan_replace(area.start(), area.size(), area.flags(), edit);
    return {};
  }
  /// `part` is what of the area is concerned. It is planned for before the area is cut there.
  static Result<> plan_unmap(Area& area, GuestRange part, Edit& edit) {
    if constexpr (plans)
      return on_part(area, part, [&](B& backend) { return backend.plan_unmap(part.begin, part.size, edit); });
    return {};
  }
  static Result<> plan_protect(Area& area, GuestRange part, const F& flags, Edit& edit) {
    if constexpr (plans)
      return on_part(area, part, [&](B& backend) { return backend.plan_protect(part.begin, part.size, flags, edit); });
    return {};
  }

  static Result<> unmap(Area& area, PT& pt, Edit& edit) {
    if constexpr (plans) {
      area.backend().commit_unmap(area.start(), area.size(), edit);
      return {};
    } else {
      return unmap(area, pt);
    }
  }
  static Result<> protect(Area& area, const F& flags, PT& pt, Edit& edit) {
    if constexpr (plans) {
      area.backend().commit_protect(area.start(), area.size(), flags, edit);
      return {};
    } else {
      return protect(area, flags, pt);
    }
  }
  /// The area is about to be replaced: a backend that plans leaves it in place until map_over().
  static Result<> give_way(Area& area, PT& pt, Edit& edit) {
    if constexpr (plans) {
      area.backend().replaced(area.start(), area.size(), edit);
      return {};
    } else {
      return unmap(area, pt);
    }
  }
  static Result<> map_over(Area& area, PT& pt, Edit& edit) {
    if constexpr (plans) {
      area.backend().commit_replace(area.start(), area.size(), area.flags(), edit);
      return {};
    } else {
      return map(area, pt);
    }
  }

 private:
  /// `act` with the backend that the part will have once it is cut off.
  template <class Act>
  static Result<> on_part(Area& area, GuestRange part, Act act) {
    if (!MovingBackend<B> || part.begin == area.start()) return act(area.backend());
    B moved = area.backend_at(part.begin);
    return act(moved);
  }

  /// A Result<> is passed on where it is made: to copy one is to read what was just written in other pieces.
  template <class Operation>
  static Result<> verdict(Area& area, Operation operation) {
    if constexpr (std::is_same_v<std::invoke_result_t<Operation, B&>, bool>) {
      if (operation(area.backend())) return {};
      return Error{.code = Errc::bad_state, .range = area.range()};
    } else {
      return operation(area.backend());
    }
  }
};

}  // namespace slat
