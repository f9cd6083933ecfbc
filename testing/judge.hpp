#pragma once

// P6 and P7, store by store: what a slot may come to say, given what its addresses meant before the operation and will
// mean after it.

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <slat/mm/address.hpp>

#include <slat/testing/intent.hpp>
#include <slat/testing/live_tree.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

template <class Reader>
class Judge {
 public:
  Judge(const Reader& reader, const Intent& intent, const Change& change)
      : reader_{reader}, intent_{&intent}, change_{&change} {}

  /// Hardware can now use `leaf` for all of `span`.
  std::optional<Complaint> leaf(GuestRange span, const Decoded& leaf) const {
    return each(span, [&](const Piece& before, const Piece* after) -> std::optional<Complaint> {
      auto const host = leaf.address + (before.range.begin - span.begin);
      if (says(leaf, host, before) || (after && says(leaf, host, *after))) return {};
      return Complaint{after ? Offence::inside_wrong : Offence::outside_changed,
                       text(before.range) + " goes to " + hex(host.raw()) + " with rights " +
                           std::to_string(static_cast<unsigned>(leaf.rights)) + ", type " + std::to_string(leaf.type) +
                           "; before: " + describe(before) + (after ? "; after: " + describe(*after) : "")};
    });
  }

  /// Hardware finds nothing for all of `span`, and neither does software.
  std::optional<Complaint> absent(GuestRange span) const {
    return each(span, [&](const Piece& before, const Piece* after) -> std::optional<Complaint> {
      if (!before.meaning || (after && !after->meaning)) return {};
      return Complaint{after ? Offence::inside_lost : Offence::outside_lost,
                       text(before.range) + ", which was " + describe(before)};
    });
  }

  /// Hardware finds nothing for all of `span`, for now. `translated(range)` says whether it did find something in that
  /// part until now, `may_break` whether the slot had to break although not all of it is inside.
  template <class Translated>
  std::optional<Complaint> broken(GuestRange span, bool may_break, Translated translated) const {
    if (!reader_.can_break() && !empties(span)) return Complaint{Offence::broken_forbidden, text(span)};
    if (may_break) return {};
    return each(span, [&](const Piece& before, const Piece* after) -> std::optional<Complaint> {
      if (after || !before.meaning || !translated(before.range)) return {};
      return Complaint{Offence::needless_break, text(before.range)};
    });
  }

  /// Whether the operation leaves nothing in all of `span`. Until it ends, it may note there what it took away.
  bool empties(GuestRange span) const {
    return change_->range.overlaps(span) &&
           !each(span, [&](const Piece& before, const Piece* after) -> std::optional<Complaint> {
             if (after ? after->meaning : before.meaning) return Complaint{Offence::broken_forbidden, {}};
             return {};
           });
  }

  /// The leaf that the operation cuts: it lies across an end of the range.
  bool is_edge(Place place) const {
    return place.level != 0 && change_->range.overlaps(place.span) && !change_->range.contains(place.span);
  }

  bool says(const Decoded& leaf, HostPhys host, const Piece& piece) const {
    if (!piece.meaning) return false;
    auto const& [where, attr, tracked] = *piece.meaning;
    if (host != where || !reader_.is(attr.memory, leaf.type)) return false;
    auto const protected_rights = attr.prot - Prot::w;
    return leaf.rights == attr.prot || (tracked && !reader_.sets_dirty() && leaf.rights == protected_rights);
  }

  static std::string describe(const Piece& piece) {
    if (!piece.meaning) return "nothing";
    return hex(piece.meaning->host.raw()) + " with rights " +
           std::to_string(static_cast<unsigned>(piece.meaning->attr.prot)) + ", memory type " +
           std::to_string(static_cast<unsigned>(piece.meaning->attr.memory));
  }

 private:
  /// The span in parts that mean one thing before, and inside the operation's range one thing after.
  template <class Body>
  std::optional<Complaint> each(GuestRange span, Body body) const {
    auto const& inside = change_->range;
    for (auto at = span.begin; span.contains(at);) {
      auto before = intent_->at(at).clamp_to(GuestRange::between(at, span.end()));
      std::optional<Complaint> complaint;
      if (inside.contains(at)) {
        auto const after = change_->at(at).clamp_to(before.range);
        before = before.clamp_to(after.range);
        complaint = body(before, &after);
      } else {
        if (inside.overlaps(before.range)) before = before.clamp_to(GuestRange::between(at, inside.begin));
        complaint = body(before, nullptr);
      }
      if (complaint) return complaint;
      at = before.range.end();
    }
    return {};
  }

  Reader reader_;
  const Intent* intent_;
  const Change* change_;
};

}  // namespace slat::testing
