#pragma once

// What hardware sees after every single store. The frames here stop a table at each store that it makes to a live
// entry, and at each turn of its hook; then all pages of a small universe are read by the architecture's reader from
// the root down, and each is held to what it may be:
//
//   inside the call's range    as before, as after, or broken, where the format has broken entries
//   outside                    as before; or broken, if it lies in a block that the range cuts and that must break
//
// Nothing of the oracle is used but the readers. Before each store hardware may use a page, and its marks must be there
// when the call has ended.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <slat/mm/page_table.hpp>

#include <slat/testing/readers.hpp>
#include <slat/testing/violation.hpp>

#include "model/random.hpp"

namespace slat::test {
using namespace slat::testing;

/// Who is to be told.
struct Watch {
  std::function<void()> before_store = [] {};
  std::function<void()> after_store = [] {};
};

class WatchedFrames {
 public:
  WatchedFrames(Watch& watch, std::uint64_t granule, std::size_t count)
      : watch_{&watch}, granule_{granule}, memory_(count * granule / sizeof(Entry)), words_(count), used_(count) {}
  WatchedFrames(const WatchedFrames&) = delete;
  WatchedFrames& operator=(const WatchedFrames&) = delete;

  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept {
    auto const granules = bytes / granule_;
    for (std::size_t i = 0; i + granules <= used_.size(); i += granules) {
      auto free = true;
      for (std::size_t j = 0; j != granules; ++j) free = free && !used_[i + j];
      if (!free) continue;
      for (std::size_t j = 0; j != granules; ++j) used_[i + j] = true;
      return base_ + i * granule_;
    }
    return std::nullopt;
  }
  /// What is in a free frame leads nowhere.
  void release(HostPhys frame, std::uint64_t bytes) noexcept {
    for (std::uint64_t at = 0; at != bytes; at += granule_) used_[index(frame + at)] = false;
    for (std::uint64_t i = 0; i != bytes / sizeof(Entry); ++i) view(frame)[i] = ~Entry{0};
  }
  Entry* view(HostPhys frame) const noexcept { return const_cast<Entry*>(&memory_[(frame - base_) / sizeof(Entry)]); }
  std::uint64_t& word(HostPhys frame) noexcept { return words_[index(frame)]; }
  bool owns(HostPhys frame) const {
    return frame >= base_ && frame - base_ < used_.size() * granule_ && used_[index(frame)];
  }

  Entry load(const Entry* entry) const noexcept { return *entry; }
  void store(Entry* entry, Entry next) noexcept { exchange(entry, next); }
  Entry exchange(Entry* entry, Entry next) noexcept {
    watch_->before_store();
    auto const old = *entry;
    *entry = next;
    watch_->after_store();
    return old;
  }
  bool compare_exchange(Entry* entry, Entry& expected, Entry next) noexcept {
    watch_->before_store();
    auto const won = *entry == expected;
    expected = *entry;
    if (won) *entry = next;
    watch_->after_store();
    return won;
  }

 private:
  std::size_t index(HostPhys frame) const { return static_cast<std::size_t>((frame - base_) / granule_); }

  Watch* watch_;
  std::uint64_t granule_;
  HostPhys base_{0x7'0000'0000};
  std::vector<Entry> memory_;
  std::vector<std::uint64_t> words_;
  std::vector<bool> used_;
};
static_assert(FrameSource<WatchedFrames>);

class WatchedHook {
 public:
  explicit WatchedHook(Watch& watch) : watch_{&watch} {}
  void operator()(HostPhys, const Stale&) noexcept { watch_->after_store(); }
  void publish() noexcept { watch_->after_store(); }

 private:
  Watch* watch_;
};

template <class Format>
class StoreHistory {
 public:
  using Table = PageTable<Format, WatchedFrames, WatchedHook>;

  /// `universe` is whole blocks.
  StoreHistory(const Format& format, GuestRange universe, std::uint64_t seed)
      : random_{seed},
        format_{format},
        reader_{reader_for(format)},
        universe_{universe},
        frames_{watch_, format.geometry().table_bytes(), 64},
        table_{*Table::create(format, frames_, WatchedHook{watch_})},
        meant_(count()),
        marked_(count()) {}
  // The frames and the hook hold on to it.
  StoreHistory(const StoreHistory&) = delete;
  StoreHistory& operator=(const StoreHistory&) = delete;

  Table& table() { return table_; }
  const std::string& why() const { return why_; }
  std::uint64_t looks() const { return looks_; }
  std::uint64_t broken_seen() const { return broken_seen_; }
  std::uint64_t broken_outside_seen() const { return broken_outside_seen_; }
  std::uint64_t marks_kept() const { return marks_kept_; }
  /// Whether hardware finds a block there.
  bool is_block(GuestPhys at) const {
    std::vector<Page> pages;
    look(pages, false);
    auto const& page = pages[number(at)];
    return page.kind == Decoded::Kind::leaf && page.level != 0;
  }

  // ---- calls

  Result<> map(GuestRange range, HostPhys host, Attr attr) {
    return call("map", range, put(range, host, attr), [&] { return table_.map(range, host, attr); });
  }
  Result<> replace(GuestRange range, HostPhys host, Attr attr) {
    return call("replace", range, put(range, host, attr), [&] { return table_.replace(range, host, attr); });
  }
  Result<> unmap(GuestRange range) {
    return call(
        "unmap", range, [](Meant& page, std::size_t) { page = {}; }, [&] { return table_.unmap(range); });
  }
  Result<> protect(GuestRange range, Attr attr) {
    return call(
        "protect", range, [=](Meant& page, std::size_t) { page.attr = attr; },
        [&] { return table_.protect(range, attr); });
  }
  Result<> split(GuestRange range) {
    return call(
        "split", range, [](Meant&, std::size_t) {}, [&] { return table_.split(range); });
  }
  Result<> coalesce(GuestRange range) {
    return call(
        "coalesce", range, [](Meant&, std::size_t) {}, [&] { return table_.coalesce(range); });
  }

 private:
  /// What a page is meant to be.
  struct Meant {
    bool mapped = false;
    HostPhys host{};
    Attr attr{};
  };
  /// What hardware finds.
  struct Page {
    Decoded::Kind kind = Decoded::Kind::absent;
    HostPhys host{};
    Prot rights = Prot::none;
    std::uint8_t type = 0;
    Level level = 0;  // of the slot; which is no part of what the page is
    Entry entry = 0;

    friend bool operator==(const Page& a, const Page& b) {
      return a.kind == b.kind && a.host == b.host && a.rights == b.rights && a.type == b.type;
    }
  };

  std::uint64_t page_size() const { return format_.geometry().page_size(); }
  std::size_t count() const { return static_cast<std::size_t>(universe_.size / page_size()); }
  std::size_t number(GuestPhys at) const { return static_cast<std::size_t>((at - universe_.begin) / page_size()); }
  GuestPhys address(std::size_t i) const { return universe_.begin + i * page_size(); }
  auto put(GuestRange range, HostPhys host, Attr attr) {
    return [=, this](Meant& page, std::size_t i) { page = {true, host + (address(i) - range.begin), attr}; };
  }
  bool says(const Page& page, const Meant& meant) const {
    if (!meant.mapped) return page.kind == Decoded::Kind::absent;
    return page.kind == Decoded::Kind::leaf && page.host == meant.host && page.rights == meant.attr.prot &&
           reader_.is(meant.attr.memory, page.type);
  }

  // ---- reading

  /// All pages of the universe; and, `everywhere`, that there are no others.
  void look(std::vector<Page>& pages, bool everywhere) const {
    pages.resize(count());
    auto const shape = reader_.shape();
    if (everywhere) read(table_.root(), shape.root, GuestPhys{0}, {0, shape.root_entries()}, pages);
    auto const span = shape.span(shape.root);
    read(table_.root(), shape.root, GuestPhys{0}, {universe_.begin.raw() / span, universe_.last().raw() / span + 1},
         pages);
  }
  struct Entries {
    std::uint64_t first, last;
  };
  void read(HostPhys table, Level level, GuestPhys base, Entries entries, std::vector<Page>& pages) const {
    auto const span = reader_.shape().span(level);
    auto const* const words = frames_.view(table);
    for (auto i = entries.first; i != entries.last; ++i) {
      GuestRange const slot{base + i * span, span};
      auto const entry = words[i];
      auto const part = slot.clamp_to(universe_);
      if (part.empty()) {
        if (entry != 0) complain("something outside the universe", slot.begin);
        continue;
      }
      auto const decoded = reader_.decode(level, entry);
      if (decoded.wrong != nullptr) complain(decoded.wrong, slot.begin);
      if (decoded.table()) {
        if (!frames_.owns(decoded.address)) return complain("a table in no frame", slot.begin);
        read(decoded.address, level - 1, slot.begin, {0, reader_.shape().table_entries()}, pages);
        continue;
      }
      auto const first = number(part.begin);
      for (std::size_t n = 0; n != part.size / page_size(); ++n) {
        auto const host = decoded.leaf() ? decoded.address + (address(first + n) - slot.begin) : HostPhys{0};
        pages[first + n] = {decoded.kind, host, decoded.rights, decoded.type, level, entry};
        if (!decoded.leaf()) pages[first + n].rights = Prot::none;
      }
    }
  }

  // ---- one call

  template <class After, class Call>
  Result<> call(const char* name, GuestRange range, After after, Call call) {
    name_ = name;
    range_ = range;
    look(before_, true);
    after_ = meant_;
    for (std::size_t i = 0; i != count(); ++i)
      if (range.contains(address(i)) &&
          (after_[i].mapped || name == std::string_view{"map"} || name == std::string_view{"replace"}))
        after(after_[i], i);
    find_edges();
    watch_.before_store = [this] { use_some_page(); };
    watch_.after_store = [this] { look_after_store(); };
    auto const done = call();
    watch_ = {};
    if (!done) after_ = meant_;
    meant_ = after_;
    std::vector<Page> pages;
    look(pages, true);
    for (std::size_t i = 0; i != count(); ++i) {
      if (range.contains(address(i)) ? !says(pages[i], meant_[i]) : pages[i] != before_[i])
        complain("the call left another translation", address(i));
      check_marks(pages[i], i);
    }
    return done;
  }
  /// Pages of a block that the range cuts, where a change of size must break.
  void find_edges() {
    edge_.assign(count(), false);
    if (!reader_.size_breaks()) return;
    for (std::size_t i = 0; i != count(); ++i) {
      auto const slot = GuestRange{address(i).down_to(reader_.shape().span(before_[i].level)),
                                   reader_.shape().span(before_[i].level)};
      edge_[i] = before_[i].kind == Decoded::Kind::leaf && slot.overlaps(range_) && !range_.contains(slot);
    }
  }
  void look_after_store() {
    ++looks_;
    look(now_, false);
    for (std::size_t i = 0; i != count(); ++i) {
      auto const& page = now_[i];
      auto const is_broken = page.kind == Decoded::Kind::broken;
      if (is_broken) ++broken_seen_;
      if (range_.contains(address(i))) {
        if (page != before_[i] && !says(page, after_[i]) && !(is_broken && reader_.can_break()))
          complain("a page inside is neither as before nor as after", address(i));
      } else if (page != before_[i]) {
        if (!(is_broken && edge_[i])) complain("a page outside is not as before", address(i));
        ++broken_outside_seen_;
      }
    }
  }

  // ---- hardware's marks

  void use_some_page() {
    if (!random_.once_in(3)) return;
    // Near the range: where the call is at work.
    auto const reach = random_.coin() ? range_ : universe_;
    auto const at = reach.begin + random_.below(reach.size / page_size()) * page_size();
    use(at, random_.coin());
  }
  void use(GuestPhys at, bool write) {
    auto const shape = reader_.shape();
    auto table = table_.root();
    for (auto level = shape.root;; --level) {
      auto const entries = level == shape.root ? shape.root_entries() : shape.table_entries();
      auto& entry = frames_.view(table)[(at.raw() >> shape.shift(level)) & (entries - 1)];
      auto const decoded = reader_.decode(level, entry);
      if (!decoded.valid()) return;
      if (decoded.leaf() && (decoded.rights == Prot::none || (write && !allows(decoded.rights, Prot::w)))) return;
      entry = reader_.accessed(level, entry);
      if (write) entry = reader_.written(level, entry);
      table = decoded.address;
      if (!decoded.leaf()) continue;
      if (write) marked_[number(at)] = decoded.address + at.offset_in(shape.span(level));
      return;
    }
  }
  /// A page that was written at the host address that it still has says so.
  void check_marks(const Page& page, std::size_t i) {
    if (!marked_[i]) return;
    if (page.kind != Decoded::Kind::leaf || page.host != *marked_[i]) return marked_[i].reset();
    if (!format_.age(page.level, page.entry).dirty) complain("a dirty mark was lost", address(i));
    ++marks_kept_;
  }

  void complain(std::string_view what, GuestPhys at) const {
    if (why_.empty())
      why_ = std::string{what} + ", at " + hex(at.raw()) + ", in " + name_ + " of " + text(range_) + ", look " +
             std::to_string(looks_);
  }

  Random random_;
  Format format_;
  decltype(reader_for(std::declval<const Format&>())) reader_;
  GuestRange universe_;
  Watch watch_;
  WatchedFrames frames_;
  Table table_;
  std::vector<Meant> meant_;
  std::vector<std::optional<HostPhys>> marked_;  // where a page was when hardware wrote it
  std::string name_{"nothing"};
  GuestRange range_{};
  std::vector<Page> before_;
  std::vector<Meant> after_;
  std::vector<Page> now_;
  std::vector<bool> edge_;
  mutable std::string why_;
  std::uint64_t looks_ = 0;
  std::uint64_t broken_seen_ = 0;
  std::uint64_t broken_outside_seen_ = 0;
  std::uint64_t marks_kept_ = 0;
};

}  // namespace slat::test
