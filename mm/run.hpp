#pragma once

// Slots of one table that are changed one after the other, and accounted for together.

#include <slat/mm/concepts.hpp>

namespace slat::detail {

/// What a store owes.
enum class Debt : std::uint8_t { none, rights, all };

/// What an open run has stored, and may store, in one live table of pages. Whoever is about to count, to owe, or to pay
/// in the same table closes it first: from then on it may store nothing.
struct Run {
  GuestPhys begin{};       // what `first` translates
  Entry* first = nullptr;  // from here to `slot` all were changed
  Entry* slot = nullptr;   // the next one
  Entry* end = nullptr;    // where it must stop
  HostPhys table{};
  std::int8_t gain = 0;  // entries that each change adds: 1, 0 or -1
  bool stores = true;    // or finds all as it is to be
  Debt debt = Debt::none;

  std::uint64_t count() const { return static_cast<std::uint64_t>(slot - first); }
};

}  // namespace slat::detail
