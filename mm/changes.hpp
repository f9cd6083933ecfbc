#pragma once

// What can be asked of a table, as values: to be done, or to be funded in advance by frames_needed().

#include <slat/mm/address.hpp>
#include <slat/mm/attr.hpp>

namespace slat {

/// Map where nothing is mapped; over anything present it is already_mapped.
struct Map {
  GuestRange range;  // in whole pages, and not empty
  HostPhys host;     // where its first byte is; a whole page
  Attr attr;         // of every leaf
};
/// Map over whatever is there: one call, and no address goes absent that was mapped and will be.
struct Replace {
  GuestRange range;  // in whole pages, and not empty
  HostPhys host;     // where its first byte is; a whole page
  Attr attr;         // of every leaf
};
/// Holes are skipped.
struct Unmap {
  GuestRange range;  // in whole pages
};
/// New rights, memory type and software bits for every leaf in the range; holes are skipped.
struct Protect {
  GuestRange range;  // in whole pages
  Attr attr;         // what every leaf has afterwards; accessed and dirty stay
};
/// Pages instead of blocks, ahead of time (before a live migration, say); translations stay the same.
struct Split {
  GuestRange range;  // in whole pages
};
/// Blocks instead of full tables of equal, contiguous leaves, as far as they lie wholly in the range.
struct Coalesce {
  GuestRange range;  // in whole pages
};

}  // namespace slat
