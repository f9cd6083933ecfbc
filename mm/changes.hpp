#pragma once

// What can be asked of a table, as values: to be done, or to be funded in advance by frames_needed().

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace slat {

/// Map where nothing is mapped; over anything present it is already_mapped.
struct Map {
  GuestRange range;
  HostPhys host;
  Attr attr;
};
/// Map over whatever is there: one call, and no address goes absent that was mapped and will be.
struct Replace {
  GuestRange range;
  HostPhys host;
  Attr attr;
};
/// Holes are skipped.
struct Unmap {
  GuestRange range;
};
/// New rights, memory type and software bits for every leaf in the range; holes are skipped.
struct Protect {
  GuestRange range;
  Attr attr;
};
/// Pages instead of blocks, ahead of time (before a live migration, say); translations stay the same.
struct Split {
  GuestRange range;
};
/// Blocks instead of full tables of equal, contiguous leaves, as far as they lie wholly in the range.
struct Coalesce {
  GuestRange range;
};

}  // namespace slat
