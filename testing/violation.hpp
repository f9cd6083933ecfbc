#pragma once

// What the oracle can catch, one name per rule, and the report that goes with it.

#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include <slat/mm/address.hpp>
#include <slat/mm/text.hpp>

namespace slat::testing {

enum class Offence : std::uint8_t {
  none,
  // Frames
  foreign_release,          // a frame that the pool never had, or not aligned to the granule
  double_release,           // a frame that is free already
  access_after_release,     // a load or store of an entry in a free frame
  released_while_linked,    // a table was released that the live tree still holds
  released_while_cached,    // ... or that a cached table pointer may still reach
  released_before_readers,  // ... or that a query begun before its unlinking may still walk
  table_foreign,            // a pointer to a table outside the frames in use
  table_shared,             // one table in two places of the live tree
  table_idle,               // an empty table left in the live tree
  table_reused,             // a table linked again elsewhere while its old place may be cached
  written_while_cached,     // a store into a table that is unlinked and may still be walked
  // Invalidation
  wrong_root,            // the hook was given another root
  hook_before_publish,   // the walkers need not have seen the stores when the TLBs were emptied
  unpublished,           // an entry became valid and was never made visible
  break_before_make,     // two translations that must not be cached together could be
  missing_invalidation,  // the edit ended while something stale may be cached
  too_narrow,            // the hook's ranges leave out something stale
  wrong_level,           // a leaf's range has a hint for leaves of another level
  tables_not_named,      // a table was unlinked and the hook was told of leaves only
  over_invalidation,     // the hook named a page, or tables, where nothing was stale
  // What hardware sees, store by store
  malformed,          // reserved bits, a misconfiguration, or what the rules of this library forbid
  outside_changed,    // an address outside the operation translates to something else
  outside_lost,       // ... or no longer at all
  needless_break,     // ... or is broken although no rule makes its block break
  inside_wrong,       // an address inside translates neither as before nor as after
  inside_lost,        // ... or not at all, and is not broken
  broken_forbidden,   // a broken slot in a format that need not break
  broken_left,        // a broken slot when the edit had ended
  lost_dirty,         // hardware wrote a page, and neither the tables nor a harvest say so
  lost_accessed,      // hardware used a page, and neither the tables nor a harvest say so
  unseen_store,       // a live table was changed behind the recorder
  wrong_translation,  // after the edit the tables do not say what was asked for
  failure_changed,    // a call that failed changed something
  frames_leaked,      // frames in use after the table is gone
};

constexpr std::string_view name(Offence offence) {
  switch (offence) {
    case Offence::none: return "no offence";
    case Offence::foreign_release: return "released a frame that is not the pool's";
    case Offence::double_release: return "released a frame twice";
    case Offence::access_after_release: return "used an entry in a released frame";
    case Offence::released_while_linked: return "released a table that is linked";
    case Offence::released_while_cached: return "released a table that a cached pointer may reach";
    case Offence::released_before_readers: return "released a table that a reader may be walking";
    case Offence::table_foreign: return "a pointer to a table outside the frames in use";
    case Offence::table_shared: return "one table in two places";
    case Offence::table_idle: return "an empty table is left";
    case Offence::table_reused: return "a table linked elsewhere while its old place may be cached";
    case Offence::written_while_cached: return "wrote a table that is unlinked and may be cached";
    case Offence::wrong_root: return "the hook was called for another root";
    case Offence::hook_before_publish: return "the hook ran before the stores were published";
    case Offence::unpublished: return "an entry became valid and was not published";
    case Offence::break_before_make: return "break-before-make violation";
    case Offence::missing_invalidation: return "a stale translation may be cached after the edit";
    case Offence::too_narrow: return "the invalidation leaves out a stale translation";
    case Offence::wrong_level: return "the invalidation has the wrong level hint";
    case Offence::tables_not_named: return "the invalidation does not name an unlinked table";
    case Offence::over_invalidation: return "the invalidation names what is not stale";
    case Offence::malformed: return "malformed entry";
    case Offence::outside_changed: return "an address outside the operation translates differently";
    case Offence::outside_lost: return "an address outside the operation lost its translation";
    case Offence::needless_break: return "an address outside the operation was broken for no reason";
    case Offence::inside_wrong: return "an address inside translates neither as before nor as after";
    case Offence::inside_lost: return "an address inside is absent neither before nor after";
    case Offence::broken_forbidden: return "a broken entry in a format that never breaks";
    case Offence::broken_left: return "a broken entry was left behind";
    case Offence::lost_dirty: return "a dirty mark was lost";
    case Offence::lost_accessed: return "an accessed mark was lost";
    case Offence::unseen_store: return "a live table changed without a recorded store";
    case Offence::wrong_translation: return "the tables do not say what was asked for";
    case Offence::failure_changed: return "a call that failed changed something";
    case Offence::frames_leaked: return "frames are still in use";
  }
  return "unknown offence";
}

inline std::ostream& operator<<(std::ostream& out, Offence offence) { return out << name(offence); }

struct Complaint {
  Offence offence;
  std::string particulars;
};

inline std::string hex(std::uint64_t value) {
  std::string out;
  auto const append = [&out](std::string_view piece) { out += piece; };
  print_hex(append, value);
  return out;
}
inline std::string text(GuestRange range) {
  std::string out;
  auto const append = [&out](std::string_view piece) { out += piece; };
  print_range(append, range);
  return out;
}
struct Violation {
  Offence offence = Offence::none;
  std::string text;  // the name, the particulars, and the last events before it
};

}  // namespace slat::testing
