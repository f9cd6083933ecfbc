// One call for each page: G6, G7, G8, and what joins such calls, G21 and G22.

#include <slat/mm/cursor.hpp>

#include "limits.hpp"
#include "loops.hpp"
#include "parts.hpp"
#include "shuffle.hpp"

namespace slat::bench {
namespace {

using x86_64::Ept;

constexpr std::uint32_t pages = 1_GiB / 4_KiB;
constexpr GuestRange gib{guest_base, 1_GiB};

enum class Call { map, unmap, protect };

/// Calls for single pages, and the state before them: all mapped, or none.
class SinglePages : public GuestRow<> {
 public:
  SinglePages(Call call, std::vector<std::uint32_t> numbers, std::uint64_t tables)
      : GuestRow{plain_ept(), tables}, call_{call}, numbers_{std::move(numbers)} {}

  void subject() override {
    auto& table = guest_.table();
    switch (call_) {
      case Call::map:
        return on_each([&](GuestRange page) { return table.map(page, Guest<Ept>::host(page, 4_KiB), rwx); });
      case Call::unmap: return on_each([&](GuestRange page) { return table.unmap(page); });
      case Call::protect: return on_each([&](GuestRange page) { return table.protect(page, rx); });
    }
  }

 protected:
  Call call_;
  std::vector<std::uint32_t> numbers_;

 private:
  template <class Act>
  void on_each(Act act) {
    for (auto const number : numbers_) must(act(Guest<Ept>::page(number)));
  }
};

// G6: every page of a GiB once, in random order, so that the first calls build the tables or the last ones free them.
// Beside three loads and a store in tables that exist.
class RandomPages final : public SinglePages {
 public:
  explicit RandomPages(Call call) : SinglePages{call, shuffled(pages, pages), 520}, shadow_{520} {
    for (std::uint32_t number = 0; number != pages; ++number)
      *shadow_.grown_slot(Guest<Ept>::page(number).begin) = number;
  }
  void prepare() override {
    must(guest_.table().unmap(gib));
    if (call_ != Call::map) must(guest_.map(gib, 4_KiB));
    begin();
  }
  void limit(unsigned) override {
    for (auto const number : numbers_) Shadow::store(shadow_.slot(Guest<Ept>::page(number).begin), number);
  }

 private:
  Shadow shadow_;
};

// G7: the same pages from first to last, by a cursor or by calls; beside a store each, or a load, a test and a store.
class PagesInTurn final : public SinglePages {
 public:
  PagesInTurn(Call call, bool by_cursor)
      : SinglePages{call, counted(pages), 520}, by_cursor_{by_cursor}, stored_{pages} {}
  void prepare() override {
    must(guest_.table().unmap(gib));
    if (call_ != Call::map) must(guest_.map(gib, 4_KiB));
    store_each(stored_.begin(), stored_.end(), 0x8000'0037, 4_KiB);
    begin();
  }
  void limit(unsigned) override {
    if (call_ == Call::protect)
      take_each(stored_.begin(), stored_.end(), Ept::write);
    else
      store_each(stored_.begin(), stored_.end(), 0x8000'0037, 4_KiB);
  }
  void subject() override {
    if (!by_cursor_) return SinglePages::subject();
    Cursor next{guest_.table(), guest_base};
    switch (call_) {
      case Call::map:
        for (auto host = first_host(); host != first_host() + 1_GiB; host = host + 4_KiB) must(next.map(host, rwx));
        break;
      case Call::unmap:
        for (std::uint32_t page = 0; page != pages; ++page) must(next.unmap());
        break;
      case Call::protect:
        for (std::uint32_t page = 0; page != pages; ++page) must(next.protect(rx));
        break;
    }
  }

 private:
  static HostPhys first_host() { return Guest<Ept>::host({guest_base, 4_KiB}, 4_KiB); }

  bool by_cursor_;
  Entries stored_;
};

// G8: one page in each 2 MiB of 64 GiB, so that every call takes or frees a table. Beside a walk that finds none, takes
// one, clears it and stores.
class SparsePages final : public SinglePages {
 public:
  static constexpr std::uint32_t regions = 64_GiB / 2_MiB;
  explicit SparsePages(Call call)
      : SinglePages{call, scattered(), regions + 80}, shadow_{regions + 80}, all_{guest_base, 64_GiB} {}
  void prepare() override {
    must(guest_.table().unmap(all_));
    if (call_ != Call::map)
      for (auto const number : numbers_) must(guest_.map(Guest<Ept>::page(number), 4_KiB));
    shadow_.reset();
    begin();
  }
  void limit(unsigned) override {
    for (auto const number : numbers_) Shadow::store(shadow_.grown_slot(Guest<Ept>::page(number).begin), number);
  }

 private:
  static std::vector<std::uint32_t> scattered() {
    auto numbers = shuffled(regions, regions);
    auto inside = shuffled(regions, regions, 2);
    for (std::size_t i = 0; i != numbers.size(); ++i) numbers[i] = numbers[i] * 512 + inside[i] % 512;
    return numbers;
  }

  Shadow shadow_;
  GuestRange all_;
};

// G21: a thousand pages lose a right by calls of their own, in one edit.
class OneEdit final : public SinglePages {
 public:
  static constexpr std::uint32_t count = 1000;
  OneEdit() : SinglePages{Call::protect, shuffled(count, pages), 520}, shadow_{520} {
    must(guest_.map(gib, 4_KiB));
    for (auto const number : numbers_) *shadow_.grown_slot(Guest<Ept>::page(number).begin) = number;
  }
  void prepare() override {
    must(guest_.table().protect(gib, rwx));
    begin();
  }
  void limit(unsigned) override {
    for (auto const number : numbers_) Shadow::store(shadow_.slot(Guest<Ept>::page(number).begin), number);
  }
  void subject() override {
    auto const edit = guest_.table().edit();
    SinglePages::subject();
  }

 private:
  Shadow shadow_;
};

// G22: sorted single pages, about one in sixteen, by one call, in tables that exist.
template <class Table>
concept Batching = requires(Table& table, std::span<const Map> sorted) { table.map_many(sorted); };
template <Batching Table>
class Batch final : public GuestRow<> {
 public:
  static constexpr std::uint32_t count = pages / 16;
  Batch() : GuestRow{plain_ept(), 520}, shadow_{520} {
    must(guest_.map(gib, 4_KiB));
    auto const numbers = sorted(shuffled(count, pages), pages);
    for (auto const number : numbers) {
      auto const page = Guest<Ept>::page(number);
      batch_.push_back({page, Guest<Ept>::host(page, 4_KiB), rwx});
      *shadow_.grown_slot(page.begin) = number;
    }
  }
  void prepare() override {
    for (auto const& one : batch_) must(guest_.table().unmap(one.range));
    begin();
  }
  void limit(unsigned) override {
    for (auto const& one : batch_) Shadow::store(shadow_.slot(one.range.begin), one.host.raw());
  }
  void subject() override {
    Table& table = guest_.table();
    must(table.map_many(std::span<const Map>{batch_}));
  }

 private:
  std::vector<Map> batch_;
  Shadow shadow_;
};

template <class Table>
void add_batch(std::vector<RowEntry>& rows) {
  if constexpr (Batching<Table>)
    rows.push_back(entry<Batch<Table>>("G22 map sorted pages, one in 16, one call", Batch<Table>::count, 2000) |
                   Facts{.tables = 515, .barriers = 1});
}

}  // namespace

std::vector<RowEntry> page_rows() {
  constexpr auto regions = SparsePages::regions;
  std::vector<RowEntry> rows{
      entry<RandomPages>("G6 map a random page", pages, 3500, Call::map) | Facts{.tables = 515, .barriers = pages},
      entry<RandomPages>("G6 unmap a random page", pages, 4000, Call::unmap) |
          Facts{.hook_calls = pages, .tables = 1, .barriers = pages},
      entry<RandomPages>("G6 protect a random page", pages, 4000, Call::protect) |
          Facts{.hook_calls = pages, .tables = 515, .barriers = pages},
      entry<PagesInTurn>("G7 map the next page, cursor", pages, 6500, Call::map, true) |
          Facts{.tables = 515, .barriers = 1},
      entry<PagesInTurn>("G7 unmap the next page, cursor", pages, 6500, Call::unmap, true) |
          Facts{.hook_calls = 1, .tables = 1, .barriers = 1},
      entry<PagesInTurn>("G7 protect the next page, cursor", pages, 6500, Call::protect, true) |
          Facts{.hook_calls = 1, .tables = 515, .barriers = 1},
      entry<PagesInTurn>("the same, map by calls", pages, 0, Call::map, false) |
          Facts{.tables = 515, .barriers = pages},
      entry<PagesInTurn>("the same, unmap by calls", pages, 0, Call::unmap, false) |
          Facts{.hook_calls = pages, .tables = 1, .barriers = pages},
      entry<PagesInTurn>("the same, protect by calls", pages, 0, Call::protect, false) |
          Facts{.hook_calls = pages, .tables = 515, .barriers = pages},
      entry<SparsePages>("G8 map a page far from others", regions, 1200, Call::map) |
          Facts{.tables = regions + 66, .barriers = regions},
      entry<SparsePages>("G8 unmap it, beside the limit of map", regions, 850, Call::unmap) |
          Facts{.hook_calls = regions, .tables = 1, .barriers = regions},
      entry<OneEdit>("G21 1,000 scattered protects, one edit", OneEdit::count, 0) |
          Facts{.hook_calls = 1, .tables = 515, .barriers = 1},
  };
  rows[0].instructions = 95;
  rows[1].instructions = rows[2].instructions = 110;
  add_batch<Guest<Ept>::Table>(rows);
  return rows;
}

}  // namespace slat::bench
