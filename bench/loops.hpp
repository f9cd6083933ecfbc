#pragma once

// The loops that tables of entries are compared with: eight bytes at a time, an entry each, as plainly as it can be
// said. They are compiled apart, with each loop where the CPU fetches best: so short a loop takes twice as long where
// it comes to lie across two lines.

#include <cstdint>

namespace slat::bench {

using Slot = std::uint64_t;

/// Stores first, first + step, first + 2 * step ...
void store_each(Slot* begin, Slot* end, Slot first, Slot step);
/// The same, unrolled by hand: a multiple of eight entries.
void store_by_eight(Slot* begin, Slot* end, Slot first, Slot step);
/// Loads, tests, and stores what has the bit without it.
void take_each(Slot* begin, Slot* end, Slot bit);
/// Loads, tests, and takes the bit by a locked AND.
void take_each_locked(Slot* begin, Slot* end, Slot bit);
/// Loads, tests, and stores what lacks the bit with it.
void give_each(Slot* begin, Slot* end, Slot bit);

}  // namespace slat::bench
