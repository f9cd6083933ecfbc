#pragma once

// What the hostile MMU can catch, a name and a rule for each, and the report that goes with it. The rules' numbers are
// those of docs/rules.md: A for Arm, B for Intel, C for AMD, and P for what slat promises beyond them.

#include <array>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include <slat/mm/address.hpp>
#include <slat/mm/text.hpp>

namespace slat::testing {

enum class Family : std::uint8_t { arm, intel, amd };

enum class Offence : std::uint8_t {
  none,
  // Frames
  foreign_release,          // a frame that the pool never had, or not aligned to the granule
  double_release,           // a frame that is free already
  access_after_release,     // a load or store of an entry in a free frame
  released_while_linked,    // a table was released that the live tree still holds
  released_while_cached,    // ... or that a cached table pointer may still reach
  released_before_readers,  // ... or that a reader begun before its unlinking may still walk
  host_released,            // guest memory was released that a translation still leads to
  table_foreign,            // a pointer to a table outside the frames in use
  table_shared,             // one table in two places of the live tree
  table_idle,               // an empty table left in the live tree
  table_reused,             // a table linked again elsewhere while its old place may be cached
  written_while_cached,     // a store into a table that is unlinked and may still be walked
  torn_store,               // a store that was not one whole, aligned entry
  plain_store,              // a store that could overwrite a mark which hardware sets at the same moment
  // Invalidation
  wrong_root,            // the hook was given another root
  hook_before_publish,   // the walkers need not have seen the stores when the TLBs were emptied
  unpublished,           // an entry became valid and was never made visible
  break_before_make,     // two translations that must not be cached together could be
  missing_invalidation,  // the edit ended while something stale may be cached
  too_narrow,            // the ranges leave out something stale
  wrong_level,           // a leaf's invalidation has a hint for leaves of another level
  wrong_granule,         // an invalidation for another granule than the tables have: it does nothing
  tables_not_named,      // a table was unlinked and only leaves were invalidated
  one_kind_left,         // stage-2 entries went, and those that combine both stages did not
  wrong_order,           // combined entries went before the stage-2 entries that they are made of had gone for good
  not_completed,         // no barrier waited for the invalidation to be done
  no_context_sync,       // the CPU that invalidated may go on with what it fetched before: no ISB
  cpu_left_out,          // a CPU that may use what is stale was not reached
  wrong_tag,             // the invalidation was for another VMID, ASID or root
  entered_stale,         // a CPU entered a guest with what a shootdown had left to it
  tag_reused,            // a CPU entered with a VMID, ASID or root under which it may know another guest's
  over_invalidation,     // the hook named a page, or tables, where nothing was stale
  // What hardware sees, store by store
  malformed,          // reserved bits, a misconfiguration, or what the house rules forbid
  contiguous_mixed,   // the members of a contiguous set do not agree
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
  unmodelled,         // legal, and more than this MMU understands
};

struct OffenceText {
  Offence offence;
  std::string_view name;
  std::array<std::string_view, 3> rules;  // Arm's, Intel's, AMD's
};

inline constexpr std::array offence_texts{
    OffenceText{Offence::none, "no offence", {"", "", ""}},
    OffenceText{Offence::foreign_release, "released a frame that is not the pool's", {"P4", "P4", "P4"}},
    OffenceText{Offence::double_release, "released a frame twice", {"P4", "P4", "P4"}},
    OffenceText{Offence::access_after_release, "used an entry in a released frame", {"P4", "P4", "P4"}},
    OffenceText{Offence::released_while_linked, "released a table that is linked", {"A1.1", "B2.5", "C5"}},
    OffenceText{
        Offence::released_while_cached, "released a table that a cached pointer may reach", {"A2.4", "B2.5", "C5"}},
    OffenceText{Offence::released_before_readers, "released a table that a reader may be walking", {"P4", "P4", "P4"}},
    OffenceText{
        Offence::host_released, "released guest memory that a translation may still lead to", {"A1.1", "B2.1", "C5"}},
    OffenceText{Offence::table_foreign, "a pointer to a table outside the frames in use", {"A1.1", "B2.5", "C5"}},
    OffenceText{Offence::table_shared, "one table in two places", {"P1", "P1", "P1"}},
    OffenceText{Offence::table_idle, "an empty table is left", {"P8", "P8", "P8"}},
    OffenceText{
        Offence::table_reused, "a table linked elsewhere while its old place may be cached", {"A2.4", "B2.5", "C5"}},
    OffenceText{
        Offence::written_while_cached, "wrote a table that is unlinked and may be cached", {"A2.4", "B2.5", "C5"}},
    OffenceText{Offence::torn_store, "a store that is not one whole entry", {"A4.6", "B2.7", "B2.7"}},
    OffenceText{Offence::plain_store, "a plain store where hardware may be setting a mark", {"A4.6", "B4", "C5"}},
    OffenceText{Offence::wrong_root, "the hook was called for another root", {"A2.6", "B2.3", "C4"}},
    OffenceText{Offence::hook_before_publish,
                "the invalidation ran before the stores were published",
                {"A2.3", "B2.6", "B2.6"}},
    OffenceText{Offence::unpublished, "an entry became valid and was not published", {"A1.2", "B2.6", "B2.6"}},
    OffenceText{Offence::break_before_make, "break-before-make violation", {"A2.1", "B2.6", "B2.6"}},
    OffenceText{
        Offence::missing_invalidation, "a stale translation may be cached after the edit", {"A1.1", "B2.1", "C5"}},
    OffenceText{Offence::too_narrow, "the invalidation leaves out a stale translation", {"A3.3", "B2.1", "C4"}},
    OffenceText{Offence::wrong_level, "the invalidation has the wrong level hint", {"A3.1", "B2.1", "C4"}},
    OffenceText{Offence::wrong_granule, "the invalidation is for another granule", {"A3.2", "B2.1", "C4"}},
    OffenceText{Offence::tables_not_named, "the invalidation does not name an unlinked table", {"A2.4", "B2.5", "C5"}},
    OffenceText{Offence::one_kind_left, "combined entries were not invalidated", {"A1.3", "B2.4", "C4"}},
    OffenceText{Offence::wrong_order,
                "combined entries were invalidated before the stage-2 entries had gone",
                {"A2.3", "B2.3", "C4"}},
    OffenceText{Offence::not_completed, "nothing waited for the invalidation to complete", {"A2.3", "B2.3", "C4"}},
    OffenceText{Offence::no_context_sync, "no ISB after the invalidation", {"A2.3", "B2.3", "C4"}},
    OffenceText{Offence::cpu_left_out, "a CPU was left out of the invalidation", {"A2.3", "B2.3", "C4"}},
    OffenceText{Offence::wrong_tag, "the invalidation was for another guest", {"A2.6", "B2.3", "C4"}},
    OffenceText{Offence::entered_stale, "entered a guest with stale translations cached", {"A1.1", "B2.3", "C4"}},
    OffenceText{Offence::tag_reused,
                "entered with a tag under which another guest's translations may be cached",
                {"A4.11", "B2.3", "C3"}},
    OffenceText{Offence::over_invalidation, "the invalidation names what is not stale", {"P3", "P3", "P3"}},
    OffenceText{Offence::malformed, "malformed entry", {"A4", "B1", "C1"}},
    OffenceText{Offence::contiguous_mixed, "the members of a contiguous set differ", {"A4.5", "", ""}},
    OffenceText{
        Offence::outside_changed, "an address outside the operation translates differently", {"P6", "P6", "P6"}},
    OffenceText{Offence::outside_lost, "an address outside the operation lost its translation", {"P6", "P6", "P6"}},
    OffenceText{
        Offence::needless_break, "an address outside the operation was broken for no reason", {"P6", "P6", "P6"}},
    OffenceText{
        Offence::inside_wrong, "an address inside translates neither as before nor as after", {"P7", "P7", "P7"}},
    OffenceText{Offence::inside_lost, "an address inside is absent neither before nor after", {"P7", "P7", "P7"}},
    OffenceText{Offence::broken_forbidden, "a broken entry in a format that never breaks", {"P6", "P6", "P6"}},
    OffenceText{Offence::broken_left, "a broken entry was left behind", {"P1", "P1", "P1"}},
    OffenceText{Offence::lost_dirty, "a dirty mark was lost", {"A4.6", "B4", "C5"}},
    OffenceText{Offence::lost_accessed, "an accessed mark was lost", {"A4.6", "B4", "C5"}},
    OffenceText{Offence::unseen_store, "a live table changed without a recorded store", {"P1", "P1", "P1"}},
    OffenceText{Offence::wrong_translation, "the tables do not say what was asked for", {"P1", "P1", "P1"}},
    OffenceText{Offence::failure_changed, "a call that failed changed something", {"P2", "P2", "P2"}},
    OffenceText{Offence::frames_leaked, "frames are still in use", {"P8", "P8", "P8"}},
    OffenceText{Offence::unmodelled, "more than this MMU understands", {"", "", ""}},
};
static_assert([] {
  for (std::size_t i = 0; i != offence_texts.size(); ++i)
    if (offence_texts[i].offence != static_cast<Offence>(i)) return false;
  return offence_texts.size() == static_cast<std::size_t>(Offence::unmodelled) + 1;
}());

constexpr std::string_view name(Offence offence) { return offence_texts[static_cast<std::size_t>(offence)].name; }
/// The number of the rule that it breaks on this architecture. A malformed entry's report names a finer one.
constexpr std::string_view rule(Offence offence, Family family) {
  return offence_texts[static_cast<std::size_t>(offence)].rules[static_cast<std::size_t>(family)];
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
  std::string text;  // the name, the rule's number, the particulars, and the events that led to it
};

}  // namespace slat::testing
