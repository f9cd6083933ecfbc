#pragma once

// What a call will come to, foretold from the flat map and the table before it is made; and calls that are held to it.

#include "model/comparison.hpp"

namespace slat::test {

template <class Format>
class Forecasts : public Comparison<Format> {
  using Base = Comparison<Format>;

 public:
  using Base::Base;
  using Base::editing, Base::has_areas;

  std::size_t free_frames() const { return oracle_.frames().count() - oracle_.frames().in_use(); }
  /// The next operation may have so many frames; if `without_pages`, and no page.
  void make_scarce(std::size_t frames, bool without_pages) {
    limit_ = frames;
    pages_.fail(without_pages);
  }

 protected:
  using Base::census_, Base::flat_, Base::geometry_, Base::limit_, Base::operation_, Base::oracle_, Base::pages_;
  using Base::complain, Base::table;
  using Base::set_, Base::stored_;

  /// What a call will come to: so many frames, or an error whatever there is.
  struct Forecast {
    std::uint64_t frames = 0;
    std::optional<Errc> refusal{};
  };

  bool pays_ = false;  // the call pays what a wider edit owes

  template <class Asked>
  Forecast funded(const Asked& asked) {
    auto const needed = table().frames_needed(asked);
    if (!needed) return {0, needed.error().code};
    return {*needed, {}};
  }
  /// As the set plans: area by area. `asked(part, attr)` is what it asks of the table for each.
  template <class Ask, class Whole>
  Forecast funded_by_area(GuestRange range, Ask ask, const Whole& whole) {
    if (!has_areas()) return funded(whole);
    Forecast sum;
    for (auto const& area : set_.iter()) {
      if (!area.overlaps(range)) continue;
      if (auto const asked = ask(range.clamp_to(area.range()), area.flags())) sum.frames += funded(*asked).frames;
    }
    return sum;
  }
  std::uint64_t room() { return limit_ && *limit_ < free_frames() ? *limit_ : free_frames(); }

  /// The page that a fault will populate, or nothing when there is no memory for it.
  std::optional<Piece> page_to_be(GuestPhys at, const Strip& strip, const Found& found) {
    auto left = room();
    auto const large = strip.source != 0 ? pages_.large() : geometry_.page_size();
    auto const try_size = [&](std::uint64_t bytes) -> std::optional<Piece> {
      GuestRange const page{at.down_to(bytes), bytes};
      auto const host = pages_.next(bytes);
      if (!host) return {};
      auto const needed = funded(Map{page, *host, strip.attr}).frames;
      if (needed <= left) return Piece{page, Meaning{*host, strip.attr}};
      // It has taken what it found before it gave up.
      if (limit_) left = *limit_ <= free_frames() ? 0 : (left < *limit_ - left ? left : *limit_ - left);
      return {};
    };
    auto const fits = [&](GuestRange page) { return found.place.span.contains(page) && area_of(at).contains(page); };
    if (large != geometry_.page_size() && fits({at.down_to(large), large}))
      if (auto const page = try_size(large)) return page;
    return try_size(geometry_.page_size());
  }
  GuestRange area_of(GuestPhys at) const { return set_.find(at)->range(); }

  bool moves_pages(GuestRange range, HostPhys host) const {
    return flat_.any(range, [&](const Strip& strip) {
      return strip.mapped && strip.host != host + (strip.range.begin - range.begin);
    });
  }

  template <class Call>
  auto perform(Change change, Call call) {
    auto const shootdowns = oracle_.recorder().shootdowns();
    auto const stores = oracle_.recorder().stores();
    if (limit_) oracle_.frames().fail_after(*limit_);
    auto result = oracle_.perform(operation_.name, std::move(change), call);
    oracle_.frames().never_fail();
    pages_.fail(false);
    pages_.end_call();
    limit_.reset();
    auto const may_pay = !editing() || pays_;
    if (oracle_.recorder().shootdowns() > shootdowns + (may_pay ? 1 : 0)) complain("more than one shootdown");
    stored_ = oracle_.recorder().stores() != stores;
    return result;
  }
  template <class Call>
  bool call(Change change, Forecast forecast, Call call) {
    auto const room = this->room();
    auto const allocations = oracle_.frames().allocations();
    auto const result = perform(std::move(change), call);
    if (!result) keep(operation_.range);
    if (forecast.refusal) {
      if (result || result.error().code != *forecast.refusal)
        complain("the call was not refused, or not for the reason");
    } else if (forecast.frames > room) {
      if (result || result.error().code != Errc::no_memory) complain("a call succeeded with too few frames");
      if (!result) census_->note(Effect::failed_call);
    } else if (!result) {
      complain("refused with frames enough: " + std::string{name(result.error().code)});
    } else if (oracle_.frames().allocations() - allocations != forecast.frames) {
      complain("took other than the " + std::to_string(forecast.frames) + " frames needed");
    }
    return bool(result);
  }

  void give_up(GuestRange range) {
    flat_.each(range, [&](Strip& strip) {
      if (strip.mapped && strip.sort == Sort::lazy) pages_.give_up(strip.host, strip.range.size);
    });
  }
  void keep(GuestRange range) {
    if (range.empty()) return;
    flat_.each(range, [&](Strip& strip) {
      if (strip.mapped && strip.sort == Sort::lazy) pages_.keep(strip.host, strip.range.size);
    });
  }
};

}  // namespace slat::test
