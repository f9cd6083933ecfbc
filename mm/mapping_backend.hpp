#pragma once

// What a MemorySet drives. Three operations make a backend; what a hardware backend offers beyond them is found by
// `requires`.

#include <concepts>
#include <cstdint>

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>
#include <slat/mm/audit.hpp>
#include <slat/mm/result.hpp>

namespace slat {

/// What an operation answers: `bool` (false becomes bad_state) or `Result<>`.
template <class V>
concept Verdict = std::same_as<V, bool> || std::same_as<V, Result<>>;

/// Each operation is all or nothing: on false or an error `pt` is as it was. Ranges are not empty and end at 2^64 at
/// most.
template <class B, class F, class PT>
concept MappingBackend =
    std::copyable<B> && requires(B& b, GuestPhys start, std::uint64_t size, const F& flags, PT& pt) {
      /// Establish the mapping of [start, start + size).
      { b.map(start, size, flags, pt) } -> Verdict;
      /// Remove it.
      { b.unmap(start, size, pt) } -> Verdict;
      /// Change its permissions to `flags`.
      { b.protect(start, size, flags, pt) } -> Verdict;
    };

/// A backend whose mapping depends on where in the area an address is: the part `bytes` into the area has this backend.
template <class B>
concept MovingBackend = requires(const B& b, std::uint64_t bytes) {
  { b.advanced(bytes) } -> std::same_as<B>;
};

/// A backend that can plan: all that may fail fails in plan_*, on memory that nobody sees, and what was planned is then
/// done without failing, in one edit. `t` is what `B::begin(pt)` returns: a scope that joins the edit open on `pt` (or
/// is one) and at its end gives back what was reserved and not used. A set that maps one area, or changes one whole
/// area and nothing else, has the operation do it, which refuses what it has to by itself.
template <class B, class F, class PT>
concept PlanningBackend =
    MappingBackend<B, F, PT> && requires(B& b, GuestPhys start, std::uint64_t size, const F& flags, PT& pt) {
      B::begin(pt);
      requires requires(decltype(B::begin(pt))& t) {
        /// `busy` when called from inside the table's own hook.
        { t.ready() } -> std::same_as<Result<>>;
        /// Map over what other areas had there. Each of them has been told `replaced` for its part, before
        /// commit_replace.
        { b.plan_replace(start, size, flags, t) } -> std::same_as<Result<>>;
        { b.commit_replace(start, size, flags, t) } noexcept;
        { b.replaced(start, size, t) } noexcept;
        { b.plan_unmap(start, size, t) } -> std::same_as<Result<>>;
        { b.commit_unmap(start, size, t) } noexcept;
        { b.plan_protect(start, size, flags, t) } -> std::same_as<Result<>>;
        { b.commit_protect(start, size, flags, t) } noexcept;
      };
    };

/// A backend that can put blocks in the place of tables, without memory and without changing a translation.
template <class B, class PT>
concept CoalescingBackend = requires(const B& b, GuestPhys start, std::uint64_t size, PT& pt) {
  B::begin(pt);
  requires requires(decltype(B::begin(pt))& t) {
    { b.plan_coalesce(start, size, t) } -> std::same_as<Result<>>;
    { b.commit_coalesce(start, size, t) } noexcept;
  };
};

/// How a stage-2 fault ends.
enum class Resolution : std::uint8_t {
  mapped,    // populated just now: retry
  spurious,  // the tables allow it (again): invalidate this address on this CPU only, and retry
  busy,      // broken by an edit under way: retry
  emulate,   // a device area that is never mapped
  denied,    // the area exists, the right is missing
  unknown,   // no area
};

}  // namespace slat
