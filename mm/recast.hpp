#pragma once

// What becomes of a live leaf that gets other attributes, where a store is all that it wants.

#include <slat/mm/concepts.hpp>
#include <slat/mm/run.hpp>

namespace slat::detail {

template <TableFormat F>
bool same_translation(const F& format, Level level, Entry old, Entry next) {
  return format.address(level, old) == format.address(level, next) &&
         format.attr(level, old).memory == format.attr(level, next).memory;
}

/// Attributes as a number that is quick to compare, and none that is no attributes'.
class AttrKey {
 public:
  constexpr AttrKey() = default;
  constexpr explicit AttrKey(const Attr& a) : bits_{a.bits()} {}
  friend constexpr bool operator==(AttrKey, AttrKey) = default;

 private:
  std::uint64_t bits_ = ~std::uint64_t{0};
};

/// The last attributes that a page was mapped with, and their leaf.
template <TableFormat F>
class Attributes {
 public:
  /// Whether leaf() is the leaf for these.
  bool know(HostPhys host, const Attr& attr) const { return AttrKey{attr} == attr_ && fits(host); }
  bool fits(HostPhys host) const { return (host.raw() & no_address_) == 0; }
  Entry leaf(HostPhys host) const { return leaf_ + host.raw(); }

  /// False, and nothing is known, where the format does not support them.
  bool learn(const F& format, const Attr& attr) {
    *this = {};
    if (!format.supports(attr)) return false;
    attr_ = AttrKey{attr};
    leaf_ = format.leaf(0, HostPhys{0}, attr);
    no_address_ = ~Entry{0} << format.output_bits() | (format.geometry().page_size() - 1);
    return true;
  }

 private:
  AttrKey attr_;
  Entry leaf_ = 0;
  Entry no_address_ = 0;  // the bits that must be clear in the address of a page
};

/// The last answer. Leaves that differ in nothing but their address are recast alike, and most of those beside each
/// other do.
template <TableFormat F>
class Recast {
 public:
  /// From here on this is about the live entry `e`, which is not 0. False, and about nothing, where that is no leaf, or
  /// may not become one with `attr` by a store, whatever the edit owes.
  bool covers(const F& format, Level level, Entry e, const Attr& attr) {
    if (level == level_ && knows(e, attr)) return true;
    return format.kind(level, e) == Kind::leaf && find(format, level, e, attr);
  }
  /// Whether it is about such an entry of the same level already.
  bool knows(Entry e, const Attr& attr) const { return AttrKey{attr} == attr_ && alike(e); }
  bool alike(Entry e) const { return alike_apart(e ^ like_); }

  // The same for many, apart from the leaf that is known: e ^ like() is what they differ in, or more of them by OR.
  Entry like() const { return like_; }
  bool alike_apart(Entry differences) const { return (differences & all_but_address_) == 0; }

  /// The bits that change.
  Entry change() const { return change_; }
  Debt debt() const { return debt_; }

  [[gnu::noinline]] bool find(const F& format, Level level, Entry e, const Attr& attr) {
    *this = {};
    if (!format.supports(attr) || format.kind(level, e) != Kind::leaf) return false;
    Entry const next = format.recast(level, e, attr);
    bool const rights = same_translation(format, level, e, next);
    auto const demand = format.swap(level, e, next);
    if (demand == Swap::break_ || (format.can_break() && !rights)) return false;
    attr_ = AttrKey{attr};
    level_ = level;
    like_ = e;
    all_but_address_ = ~format.address_bits(level);
    change_ = e ^ next;
    debt_ = demand == Swap::free ? Debt::none : rights ? Debt::rights : Debt::all;
    return true;
  }

 private:
  Entry like_ = 0;
  Entry all_but_address_ = 0;
  Entry change_ = 0;
  Level level_ = 0;
  AttrKey attr_;
  Debt debt_ = Debt::none;
};

}  // namespace slat::detail
