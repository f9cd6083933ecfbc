// Streams of operations: the input chooses a format, and whether a table is changed directly or by the areas of a set,
// then calls that meet in a handful of blocks, some in wider edits, some with too few frames. The oracle judges every
// store, invalidation and release against a flat map of what is meant; beside that
//
//   audit()    agrees after every call
//   frames     a call takes exactly those that frames_needed() names; it fails for want of them and of nothing else
//   failure    leaves the set as it was (the oracle sees to the table)
//   the end    unmapping all leaves the root, and gives every page back

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>

#include "fuzz/format_choice.hpp"

namespace slat::test {
using namespace slat::testing;
namespace {

/// Guest pages without memory behind them. The next one to be given out is known in advance.
class Pages {
 public:
  explicit Pages(std::uint64_t granule) : granule_{granule} {
    for (std::size_t i = 0; i != words_.size(); ++i) free_.push_back(HostPhys{0x6'0000'0000} + i * granule);
  }

  std::optional<HostPhys> next() const { return free_.empty() ? std::nullopt : std::optional{free_.back()}; }
  std::optional<HostPhys> allocate(std::uint64_t) noexcept {
    auto const page = next();
    if (page) free_.pop_back();
    return page;
  }
  void release(HostPhys page, std::uint64_t bytes) noexcept {
    for (std::uint64_t part = 0; part != bytes; part += granule_) {
      if (std::find(free_.begin(), free_.end(), page + part) != free_.end()) fail("a page came back twice");
      free_.push_back(page + part);
    }
  }
  Entry* view(HostPhys) const noexcept { return nullptr; }
  std::uint64_t& word(HostPhys page) noexcept { return words_[(page - HostPhys{0x6'0000'0000}) / granule_]; }

 private:
  std::uint64_t granule_;
  std::vector<std::uint64_t> words_ = std::vector<std::uint64_t>(24);
  std::vector<HostPhys> free_;
};
struct LeaveAsIs {
  void operator()(Entry*, std::uint64_t) const noexcept {}
};

template <class Format>
class Operations {
  using Checked = Oracle<Format>;
  using Table = typename Checked::Table;
  using Source = PageSource<Pages, LeaveAsIs>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend>;

 public:
  Operations(const Format& format, FuzzedDataProvider& bytes)
      : bytes_{bytes},
        format_{format},
        shape_{format.geometry()},
        by_areas_{bytes.ConsumeBool()},
        oracle_{format, options()},
        pages_{shape_.page_size()},
        source_{pages_, shape_.page_size(), shape_.page_size(), {}} {}

  void run() {
    for (auto left = 40; left != 0 && bytes_.remaining_bytes() != 0; --left) {
      scarce_ = bytes_.ConsumeIntegralInRange(0, 7) == 0 ? std::optional{bytes_.ConsumeIntegralInRange(0u, 3u)}
                                                         : std::nullopt;
      if (by_areas_)
        change_areas();
      else
        change_table();
      check();
    }
    edit_.reset();
    check();
    oracle_.tlb().check_tables();
    end();
  }

 private:
  OracleOptions options() {
    return {
        .frames = 64,
        .tlb = {.seed = bytes_.ConsumeIntegral<std::uint8_t>(), .period = 1u + bytes_.ConsumeIntegral<std::uint8_t>()}};
  }

  void check() {
    auto const audit = by_areas_ ? set_.audit(oracle_.table()) : oracle_.table().audit();
    if (!audit) complain("audit: " + std::string{name(audit.flaw)} + " at " + text(audit.where));
    if (oracle_.violation() != Offence::none) fail(oracle_.why());
  }
  /// With what led here: the oracle's last events.
  [[noreturn]] void complain(const std::string& what) {
    oracle_.recorder().report(Offence::none, what);
    fail(oracle_.why());
  }

  void end() {
    if (by_areas_) {
      auto const everything = GuestRange{GuestPhys{0}, shape_.input_size()};
      auto const done =
          oracle_.perform("clear", Change::unmap(everything), [&] { return set_.clear(oracle_.table()); });
      if (!done || !set_.is_empty() || oracle_.table().tables() != 1) complain("something is left of a cleared set");
      if (source_.in_use() != 0) complain("pages are out that no area has");
    }
    check();
    oracle_.destroy();
    if (oracle_.violation() != Offence::none) fail(oracle_.why());
  }

  // ---- without areas

  void change_table() {
    auto const range = some_range();
    switch (bytes_.ConsumeIntegralInRange(0, 13)) {
      case 0:
      case 1: {
        Map const change{range, some_host(range), some_attr(bytes_)};
        return make(change, [&] { return oracle_.map(range, change.host, change.attr); });
      }
      case 2:
      case 3: {
        Replace const change{range, some_host(range), some_attr(bytes_)};
        return make(change, [&] { return oracle_.replace(range, change.host, change.attr); });
      }
      case 4:
      case 5: return make(Unmap{range}, [&] { return oracle_.unmap(range); });
      case 6:
      case 7: {
        auto const attr = some_attr(bytes_);
        return make(Protect{range, attr}, [&] { return oracle_.protect(range, attr); });
      }
      case 8: return make(Coalesce{range}, [&] { return oracle_.coalesce(range); });
      case 9: return make(Split{range}, [&] { return oracle_.split(range); });
      case 10: return harvest(range);
      default: return change_nothing(range);
    }
  }

  /// With as many frames as it said the call succeeds, and with fewer it does not.
  template <class Change, class Call>
  void make(const Change& change, Call call) {
    auto& frames = oracle_.frames();
    auto const needed = oracle_.table().frames_needed(change);
    std::uint64_t room = frames.count() - frames.in_use();
    if (scarce_) {
      // Often one fewer than it needs.
      auto const limit = needed && *needed != 0 && *scarce_ == 3 ? *needed - 1 : *scarce_;
      room = limit < room ? limit : room;
      frames.fail_after(static_cast<std::size_t>(limit));
    }
    auto const before = frames.allocations();
    auto const done = call();
    auto const taken = frames.allocations() - before;
    frames.never_fail();
    if (!needed) {
      if (done || done.error().code != needed.error().code) complain("frames_needed() refused, the call did not");
    } else if (done) {
      if (taken != *needed) complain(std::to_string(taken) + " frames taken, " + std::to_string(*needed) + " needed");
    } else if (done.error().code != Errc::no_memory || room >= *needed) {
      complain(std::to_string(*needed) + " frames needed, " + std::to_string(room) + " there, and refused");
    }
  }

  void harvest(GuestRange range) {
    Age const what{bytes_.ConsumeBool(), bytes_.ConsumeBool()};
    auto const done = oracle_.harvest(range, what, [&](GuestRange run) {
      if (!range.contains(run)) complain("harvested outside the range");
    });
    auto const can = format_.harvestable();
    auto const may = (can.accessed || !what.accessed) && (can.dirty || !what.dirty);
    if (bool{done} != may) complain("a harvest was refused, or should have been");
  }

  /// What concerns no mapping: edits, and the guest's own accesses.
  void change_nothing(GuestRange range) {
    switch (bytes_.ConsumeIntegralInRange(0, 4)) {
      case 0:
        if (!edit_) edit_.emplace(oracle_);
        return;
      case 1: return edit_.reset();
      case 2:
        if (edit_) edit_->settle();
        return;
      default: {
        auto const pages = range.size / shape_.page_size();
        auto const page = range.begin + bytes_.ConsumeIntegral<std::uint16_t>() % pages * shape_.page_size();
        return oracle_.tlb().use(page, bytes_.ConsumeBool());
      }
    }
  }

  // ---- with areas

  void change_areas() {
    auto const range = some_range();
    auto const attr = some_attr(bytes_);
    switch (bytes_.ConsumeIntegralInRange(0, 14)) {
      case 0:
      case 1: {
        auto const host = some_host(range);
        auto const over = bytes_.ConsumeBool();
        return call("map", Change::map(range, host, attr), over ? Refusals{} : Refusals{Errc::already_exists}, [&] {
          return set_.map({range.begin, range.size, attr, Linear{host}}, oracle_.table(), over);
        });
      }
      case 2:
      case 3: {
        auto const over = bytes_.ConsumeBool();
        auto const area = bytes_.ConsumeIntegralInRange(0, 3) == 0 ? Backend{Device{}} : Backend{Lazy{source_}};
        return call("map nothing yet", Change::unmap(range), over ? Refusals{} : Refusals{Errc::already_exists}, [&] {
          return set_.map({range.begin, range.size, attr, area}, oracle_.table(), over);
        });
      }
      case 4:
      case 5:
        return call("unmap areas", Change::unmap(range), {},
                    [&] { return set_.unmap(range.begin, range.size, oracle_.table()); });
      case 6:
      case 7: return protect_areas(range, attr);
      case 8:
        return call("coalesce areas", Change::same(oracle_.intent(), range), {},
                    [&] { return set_.coalesce(range.begin, range.size, oracle_.table()); });
      case 9: return make(Split{range}, [&] { return oracle_.split(range); });
      case 10:
        return call("harvest areas", Change::harvest(oracle_.intent(), range), {}, [&] {
          auto const sink = [&](GuestRange run) { oracle_.tlb().harvested(run, {false, true}); };
          return set_.harvest(range, sink, oracle_.table());
        });
      case 11:
      case 12: return resolve(range.begin);
      default: return change_nothing(range);
    }
  }

  void protect_areas(GuestRange range, Attr attr) {
    auto const selective = bytes_.ConsumeBool();
    auto const update = [=](const Attr& old) -> std::optional<Attr> {
      if (selective && (old.software & 1) != 0) return std::nullopt;
      return attr;
    };
    auto change = Change::of(oracle_.intent(), range, false, [&](Piece& piece) {
      if (piece.meaning) piece.meaning->attr = update(piece.meaning->attr).value_or(piece.meaning->attr);
    });
    call("protect areas", std::move(change), {},
         [&] { return set_.protect(range.begin, range.size, update, oracle_.table()); });
  }

  void resolve(GuestPhys at) {
    auto const access = bytes_.PickValueInArray({Prot::r, Prot::w, Prot::x});
    auto const* const area = set_.find(at);
    auto const page = GuestRange{at, shape_.page_size()};
    auto change = Change::same(oracle_.intent(), page);
    auto const populates = area != nullptr && area->backend() == Backend{Lazy{source_}} &&
                           area->flags().allows(access) && oracle_.table().query(at).kind == Kind::absent;
    // Without a page, or without frames, the fault is an error and nothing is mapped.
    if (populates && pages_.next()) change = Change::map(page, *pages_.next(), area->flags());
    std::optional<Resolution> came_to;
    call("resolve", std::move(change), {Errc::no_memory}, [&]() -> Result<> {
      came_to = SLAT_TRY(set_.resolve(at, access, oracle_.table()));
      return {};
    });
    if (!came_to) return;
    auto const leaf = oracle_.table().query(at);
    auto const fits = [&] {
      switch (*came_to) {
        case Resolution::mapped: return populates;
        case Resolution::spurious: return leaf.kind == Kind::leaf && format_.permits(leaf.level, leaf.entry, access);
        case Resolution::busy: return leaf.kind == Kind::broken && edit_.has_value();
        case Resolution::emulate: return area != nullptr && area->backend() == Backend{Device{}};
        case Resolution::denied: return area != nullptr && !area->flags().allows(access);
        case Resolution::unknown: return area == nullptr;
      }
      return false;
    };
    if (!fits()) complain("a fault came to what it cannot have");
  }

  /// Reasons for which a call may be refused, beside attributes that the format lacks and frames that were kept from
  /// it.
  using Refusals = std::vector<Errc>;

  template <class Call>
  void call(std::string_view what, Change change, Refusals may, Call body) {
    auto const before = areas();
    if (scarce_) oracle_.frames().fail_after(*scarce_);
    auto const done = oracle_.perform(what, std::move(change), body);
    oracle_.frames().never_fail();
    if (done) return;
    if (areas() != before) complain("a call that failed changed the areas");
    may.push_back(Errc::unsupported);
    // Of a change that is planned area by area the earlier plans hold what cutting a block at either end takes.
    constexpr std::uint64_t held = 8;
    auto const room = oracle_.frames().count() - oracle_.frames().in_use();
    if (scarce_ || done.error().value + held > room) may.push_back(Errc::no_memory);
    if (std::find(may.begin(), may.end(), done.error().code) == may.end())
      complain(std::string{what} + " was refused: " + std::string{name(done.error().code)});
  }

  std::vector<std::pair<GuestRange, Attr>> areas() const {
    std::vector<std::pair<GuestRange, Attr>> all;
    for (auto const& area : set_.iter()) all.emplace_back(area.range(), area.flags());
    return all;
  }

  // ---- what a call is about

  /// Around a boundary of the level above, in four blocks and 48 pages, so that calls run into each other.
  GuestRange some_range() {
    auto const page = shape_.page_size();
    auto const block = shape_.span(1);
    auto const base = shape_.root >= 2 ? GuestPhys{shape_.span(2) - 2 * block} : GuestPhys{0};
    auto const where = bytes_.ConsumeIntegral<std::uint8_t>();
    auto const size = 1 + std::uint64_t{bytes_.ConsumeIntegral<std::uint8_t>()} % 6;
    switch (where % 8) {
      case 0: return {base + where / 8 % 4 * block, block};
      case 1: return {base + where / 8 % 2 * block, size % 3 * block + block};
      case 2: return shape_.top_leaf >= 2 ? GuestRange{GuestPhys{0}, 2 * shape_.span(2)} : GuestRange{base, 4 * block};
      case 3: return {base + where / 8 % 3 * block + block / 2, block};
      case 4: return {base + (1 + where / 8 % 3) * block - (1 + where / 32) % 4 * page, size * page};
      case 5: return {base + where / 8 % 4 * block + where / 32 * page, size * page};
      default: return {base + where / 8 * page + (where % 8 == 6 ? 0 : 16 * page), size * page};
    }
  }

  /// Mostly where blocks fit, and few enough that old and new often agree.
  HostPhys some_host(GuestRange range) {
    auto const far = shape_.top_leaf >= 2 ? shape_.span(2) * 2 : shape_.span(1) * 16;
    auto const choice = bytes_.ConsumeIntegral<std::uint8_t>();
    return HostPhys{far * (1 + choice % 2) + (choice / 2 % 4 == 3 ? 3 * shape_.page_size() : 0) + range.begin.raw()};
  }

  FuzzedDataProvider& bytes_;
  Format format_;
  Geometry shape_;
  bool by_areas_;
  Checked oracle_;
  Pages pages_;
  Source source_;
  Set set_;
  std::optional<typename Checked::Edit> edit_;
  std::optional<unsigned> scarce_;  // so many frames may be had in this call
};

}  // namespace
}  // namespace slat::test

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider bytes{data, size};
  slat::test::with_format(bytes, [&](const auto& format) { slat::test::Operations{format, bytes}.run(); });
  return 0;
}
