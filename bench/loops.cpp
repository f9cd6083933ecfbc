#include "loops.hpp"

#include <atomic>

namespace slat::bench {

void store_each(Slot* begin, Slot* end, Slot first, Slot step) {
  for (; begin != end; first += step) *begin++ = first;
}

void store_by_eight(Slot* begin, Slot* end, Slot first, Slot step) {
  // Two chains of sums: some CPUs store twice a cycle.
  auto second = first + step;
  step *= 2;
  while (begin != end)
#pragma GCC unroll 4
    for (unsigned pair = 0; pair != 4; ++pair) {
      begin[0] = first;
      begin[1] = second;
      first += step;
      second += step;
      begin += 2;
    }
}

void take_each(Slot* begin, Slot* end, Slot bit) {
  for (; begin != end; ++begin)
    if ((*begin & bit) != 0) *begin &= ~bit;
}

void take_each_locked(Slot* begin, Slot* end, Slot bit) {
  for (; begin != end; ++begin)
    if ((*begin & bit) != 0) std::atomic_ref(*begin).fetch_and(~bit);
}

void give_each(Slot* begin, Slot* end, Slot bit) {
  for (; begin != end; ++begin)
    if ((*begin & bit) == 0) *begin |= bit;
}

}  // namespace slat::bench
