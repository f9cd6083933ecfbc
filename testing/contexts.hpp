#pragma once

// The worlds in which translations of a tree may be cached: a CPU, and the tag under which it keeps them. On Arm the
// tag is a VMID, on AMD an ASID, and on Intel the root itself (EP4TA).
//
// A context that nobody spoke of is there from the start: some CPU that runs the guest all the time, whose tag every
// invalidation matches. It is no more as soon as a CPU is said to run that guest.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <slat/mm/address.hpp>

namespace slat::testing {

/// A set of contexts, one bit for each.
using ContextSet = std::uint64_t;

struct Context {
  std::uint8_t cpu = 0;
  std::uint64_t tag = 0;
  HostPhys root{};
  bool usable = true;    // the CPU can walk the root now, and use what it has cached
  bool holds = true;     // something may be cached
  bool owes = false;     // something stale may be cached: to be invalidated before it is used again
  bool foreign = false;  // something of a tree that is gone may be cached
  bool implied = false;  // nobody spoke of it
};

class Contexts {
 public:
  static constexpr std::size_t most = 64;

  Contexts() { reset(); }

  const std::vector<Context>& all() const { return all_; }
  Context& operator[](std::size_t i) { return all_[i]; }

  /// Those of `root` that may hold something, and those that may use it.
  ContextSet holding(HostPhys root) const {
    return where([&](const Context& c) { return c.holds && is_of(c, root); });
  }
  ContextSet usable(HostPhys root) const {
    return where([&](const Context& c) { return c.usable && is_of(c, root); });
  }
  template <class Predicate>
  ContextSet where(Predicate predicate) const {
    ContextSet set = 0;
    for (std::size_t i = 0; i != all_.size(); ++i)
      if (predicate(all_[i])) set |= ContextSet{1} << i;
    return set;
  }

  /// The context of this CPU and tag: known, or new. Nothing when there are too many to tell apart.
  std::optional<std::size_t> find(std::uint8_t cpu, std::uint64_t tag) {
    for (std::size_t i = 0; i != all_.size(); ++i)
      if (!all_[i].implied && all_[i].cpu == cpu && all_[i].tag == tag) return i;
    if (auto const spare = unused()) {
      all_[*spare] = Context{.cpu = cpu, .tag = tag, .usable = false, .holds = false};
      return spare;
    }
    if (all_.size() == most) return std::nullopt;
    all_.push_back(Context{.cpu = cpu, .tag = tag, .usable = false, .holds = false});
    return all_.size() - 1;
  }
  /// `but`: this tag it goes on with.
  void leave(std::uint8_t cpu, std::optional<std::uint64_t> but = {}) {
    for (auto& context : all_)
      if (context.cpu == cpu && !context.implied && context.tag != but) context.usable = false;
  }
  /// CPUs are spoken of now: the one that was implied never was.
  void retire_implied() { all_[0].usable = all_[0].holds = false; }
  /// They have forgotten everything. What can be walked may be cached again at once, if there is anything.
  void flushed(ContextSet set, bool tree_is_empty) {
    for (std::size_t i = 0; i != all_.size(); ++i) {
      if ((set >> i & 1) == 0) continue;
      all_[i].owes = all_[i].foreign = false;
      all_[i].holds = all_[i].usable && !tree_is_empty;
    }
    emptied_ = emptied_ || tree_is_empty;
  }
  /// Something in the tree has become valid.
  void filled() {
    if (!std::exchange(emptied_, false)) return;
    for (auto& context : all_) context.holds = context.holds || context.usable;
  }
  /// The tree at `root` is no more.
  void gone(HostPhys root) {
    for (auto& context : all_)
      if (context.holds && context.root == root && !context.implied) context.foreign = true;
  }

 private:
  static bool is_of(const Context& context, HostPhys root) { return context.implied || context.root == root; }
  /// A context that holds nothing can be another one.
  std::optional<std::size_t> unused() const {
    if (all_.size() < most) return std::nullopt;
    for (std::size_t i = 0; i != all_.size(); ++i)
      if (!all_[i].implied && !all_[i].usable && !all_[i].holds) return i;
    return std::nullopt;
  }
  void reset() { all_.assign(1, Context{.implied = true}); }

  std::vector<Context> all_;
  bool emptied_ = false;  // some context that is usable may hold nothing
};

}  // namespace slat::testing
