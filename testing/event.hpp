#pragma once

// What a hostile MMU is told, one event at a time, and how an event is written as a line of text.
//
//   1 store 0x700001000 0x0 0x8000407ff      CPU 1 wrote the entry at 0x700001000, which held 0
//   0 tlbi-ipas2e1is 0x40200                 CPU 0 executed TLBI IPAS2E1IS with this operand
//
// The line is a CPU's number, a word, and the values in the order that is given here.

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace slat::testing {

enum class What : std::uint8_t {
  // Memory. Addresses are host-physical; frames are whole granules.
  root,              // ROOT: the tree to look after from now on. Its frames were allocated
  allocate,          // FRAME BYTES: a table frame or guest memory is in use from here on, its content undefined
  release,           // FRAME BYTES: its owner may hand it to anybody
  zero,              // FRAME BYTES: memory that no hardware sees yet was filled with zeros
  word,              // ADDRESS VALUE: what memory that no hardware sees yet holds
  store,             // ADDRESS OLD NEXT BYTES: a plain store into what hardware may see
  exchange,          // ADDRESS OLD NEXT: an atomic one
  compare_exchange,  // ADDRESS OLD NEXT: an atomic one that found what it expected
  // Order
  publish,    // earlier stores of this CPU are visible to every table walker, by whatever means
  dsb_ish,    // Arm's barriers
  dsb_ishst,  //
  dsb_nsh,    //
  isb,        //
  // Which guest a CPU runs
  enter,      // ROOT TAG: it may walk ROOT now. TAG is the VMID or the ASID; 0 where roots are their own tags (EPT)
  leave,      // it no longer can. What it has cached stays
  vttbr,      // VALUE: VTTBR_EL2 was written: the CPU may walk that root, and TLBIs after the next ISB mean that VMID
  host_mode,  // ON: HCR_EL2.{E2H,TGE} are both 1, so that TLBI ...E1 means the host's own translations
  // Invalidation, on this CPU or from it
  tlbi_ipas2e1is,     // OPERAND
  tlbi_ipas2e1,       // OPERAND
  tlbi_ipas2le1is,    // OPERAND
  tlbi_ripas2e1is,    // OPERAND
  tlbi_ripas2le1is,   // OPERAND
  tlbi_vmalle1is,     //
  tlbi_vmalle1,       //
  tlbi_vmalls12e1is,  //
  tlbi_vmalls12e1,    //
  tlbi_alle1is,       //
  invept,             // TYPE EPTP
  flush_asid,         // ASID: TLB_CONTROL 3
  flush_all,          // TLB_CONTROL 1
  // The mapper's hook
  hook,              // ROOT: it was called, for this tree
  asked,             // BEGIN SIZE LEVEL TABLES: these guest addresses are stale, it says. LEVEL as in slat: 0 is a page
  asked_everything,  // all are
  granted,           // every CPU has forgotten what was asked, by means that are no matter here
  settled,           // ROOT: it has returned: nothing stale can be used from here on
  // Readers of the tables in software
  reader_begins,  // READER
  reader_loads,   // READER ADDRESS
  reader_ends,    // READER
  readers_gone,   // every reader that began before has ended, the mapper believes
  // Hardware
  mark,  // ADDRESS OLD NEXT: it set accessed or dirty bits
  use,   // PAGE HOST WRITE: it read or wrote guest memory
  // What the mapper is about to do, where that is known
  change,     // BEGIN SIZE DISCARDS: an operation on these addresses begins
  piece,      // BEGIN SIZE HOST ATTRIBUTES: what part of them means afterwards (ATTRIBUTES 0: nothing)
  commit,     // it succeeded
  abandon,    // it failed
  harvested,  // BEGIN SIZE MARKS: its sink was told of marks (1 accessed, 2 dirty)
  told,       // BEGIN SIZE MARKS: and of all such marks of what it took away
  finish,     // no edit is open: nothing may be owed
};

struct WhatWord {
  What what;
  std::string_view word;
  unsigned values;
};
inline constexpr std::array what_words{
    WhatWord{What::root, "root", 1},
    WhatWord{What::allocate, "allocate", 2},
    WhatWord{What::release, "release", 2},
    WhatWord{What::zero, "zero", 2},
    WhatWord{What::word, "word", 2},
    WhatWord{What::store, "store", 4},
    WhatWord{What::exchange, "exchange", 3},
    WhatWord{What::compare_exchange, "compare-exchange", 3},
    WhatWord{What::publish, "publish", 0},
    WhatWord{What::dsb_ish, "dsb-ish", 0},
    WhatWord{What::dsb_ishst, "dsb-ishst", 0},
    WhatWord{What::dsb_nsh, "dsb-nsh", 0},
    WhatWord{What::isb, "isb", 0},
    WhatWord{What::enter, "enter", 2},
    WhatWord{What::leave, "leave", 0},
    WhatWord{What::vttbr, "vttbr", 1},
    WhatWord{What::host_mode, "host-mode", 1},
    WhatWord{What::tlbi_ipas2e1is, "tlbi-ipas2e1is", 1},
    WhatWord{What::tlbi_ipas2e1, "tlbi-ipas2e1", 1},
    WhatWord{What::tlbi_ipas2le1is, "tlbi-ipas2le1is", 1},
    WhatWord{What::tlbi_ripas2e1is, "tlbi-ripas2e1is", 1},
    WhatWord{What::tlbi_ripas2le1is, "tlbi-ripas2le1is", 1},
    WhatWord{What::tlbi_vmalle1is, "tlbi-vmalle1is", 0},
    WhatWord{What::tlbi_vmalle1, "tlbi-vmalle1", 0},
    WhatWord{What::tlbi_vmalls12e1is, "tlbi-vmalls12e1is", 0},
    WhatWord{What::tlbi_vmalls12e1, "tlbi-vmalls12e1", 0},
    WhatWord{What::tlbi_alle1is, "tlbi-alle1is", 0},
    WhatWord{What::invept, "invept", 2},
    WhatWord{What::flush_asid, "flush-asid", 1},
    WhatWord{What::flush_all, "flush-all", 0},
    WhatWord{What::hook, "hook", 1},
    WhatWord{What::asked, "asked", 4},
    WhatWord{What::asked_everything, "asked-everything", 0},
    WhatWord{What::granted, "granted", 0},
    WhatWord{What::settled, "settled", 1},
    WhatWord{What::reader_begins, "reader-begins", 1},
    WhatWord{What::reader_loads, "reader-loads", 2},
    WhatWord{What::reader_ends, "reader-ends", 1},
    WhatWord{What::readers_gone, "readers-gone", 0},
    WhatWord{What::mark, "mark", 3},
    WhatWord{What::use, "use", 3},
    WhatWord{What::change, "change", 3},
    WhatWord{What::piece, "piece", 4},
    WhatWord{What::commit, "commit", 0},
    WhatWord{What::abandon, "abandon", 0},
    WhatWord{What::harvested, "harvested", 3},
    WhatWord{What::told, "told", 3},
    WhatWord{What::finish, "finish", 0},
};
constexpr const WhatWord& word_of(What what) { return what_words[static_cast<std::size_t>(what)]; }
static_assert([] {
  for (std::size_t i = 0; i != what_words.size(); ++i)
    if (what_words[i].what != static_cast<What>(i)) return false;
  return what_words.size() == static_cast<std::size_t>(What::finish) + 1;
}());

struct Event {
  What what{};
  std::uint8_t cpu = 0;
  std::array<std::uint64_t, 4> values{};

  constexpr bool writes() const {
    return what == What::store || what == What::exchange || what == What::compare_exchange;
  }
  friend constexpr bool operator==(const Event&, const Event&) = default;
};

/// The event as one line, without its end.
inline std::string text(const Event& event) {
  auto const& [what, word, count] = word_of(event.what);
  auto line = std::to_string(event.cpu);
  line += ' ';
  line += word;
  std::array<char, 20> digits{};
  for (unsigned i = 0; i != count; ++i) {
    auto const end = std::to_chars(digits.data(), digits.data() + digits.size(), event.values[i], 16).ptr;
    line += " 0x";
    line.append(digits.data(), end);
  }
  return line;
}

/// The event that a line says, or nothing when it says none.
inline std::optional<Event> parse_event(std::string_view line) {
  auto const next = [&line]() -> std::string_view {
    line.remove_prefix(std::min(line.find_first_not_of(" \t\r"), line.size()));
    auto const token = line.substr(0, line.find_first_of(" \t\r"));
    line.remove_prefix(token.size());
    return token;
  };
  auto const number = [](std::string_view token, int base, auto& value) {
    auto const [end, wrong] = std::from_chars(token.data(), token.data() + token.size(), value, base);
    return wrong == std::errc{} && !token.empty() && end == token.data() + token.size();
  };
  Event event;
  if (!number(next(), 10, event.cpu)) return std::nullopt;
  auto const word = next();
  auto const* const found =
      std::find_if(what_words.begin(), what_words.end(), [&](const WhatWord& known) { return known.word == word; });
  if (found == what_words.end()) return std::nullopt;
  event.what = found->what;
  for (unsigned i = 0; i != found->values; ++i) {
    auto const token = next();
    if (token.substr(0, 2) != "0x" || !number(token.substr(2), 16, event.values[i])) return std::nullopt;
  }
  if (!next().empty()) return std::nullopt;
  return event;
}

}  // namespace slat::testing
