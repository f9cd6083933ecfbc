// Random calls of a set of linear and lazy areas over EPT, under the oracle, beside a model of one line per page.

#include <array>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>
#include "mutants/check.hpp"
#include "mutants/page_pool.hpp"

namespace slat::test {
using namespace slat::testing;

const char* const check_name = "set_edits";

namespace {

constexpr std::uint64_t page = 4096;
constexpr std::size_t pages = 48;
constexpr GuestPhys base{0x3fff'0000};  // across a boundary of all levels but the root's

class SetEdits {
  using Source = PageSource<PagePool>;
  using Table = Oracle<x86_64::Ept>::Table;
  using Set = MemorySet<Attr, Table, Backends<Table, Source>>;

 public:
  explicit SetEdits(std::uint64_t seed) : random_{seed}, oracle_{format(), {.frames = 64, .tlb = {.seed = seed}}} {}

  std::string step() {
    std::size_t const first = random_.below(pages);
    GuestRange const range{base + first * page, page * (1 + random_.below(std::min<std::uint64_t>(12, pages - first)))};
    auto const attr = random_.once_in(2) ? rwx : ro;
    if (random_.once_in(6)) oracle_.frames().fail_after(random_.below(3));
    auto const populates = random_.once_in(3);
    pool_.keep_until(populates ? 0 : oracle_.recorder().shootdowns() + 1);
    switch (populates ? 5 : random_.below(5)) {
      case 0:
      case 1: map_linear(range, attr); break;
      case 2: map_lazy(range, attr); break;
      case 3: unmap(range); break;
      case 4: protect(range, attr); break;
      default: touch(range.begin, random_.once_in(2) ? Prot::r : Prot::w);
    }
    oracle_.frames().never_fail();
    return violation();
  }

 private:
  struct Page {
    bool mapped = false;
    Attr attr{};
    friend bool operator==(const Page&, const Page&) = default;
  };

  static x86_64::Ept format() {
    constexpr x86_64::EptFeatures cpu{
        .pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .accessed_dirty = true, .pschange_mc_no = true};
    return *x86_64::Ept::create(cpu, {});
  }
  Table& table() { return oracle_.table(); }

  template <class Call>
  void perform(const char* name, const Change& change, GuestRange range, std::optional<Page> after, Call call) {
    auto const done = oracle_.perform(name, change, call);
    if (!done) return;
    for (auto at = range.begin; range.contains(at); at = at + page) {
      auto& known = model_[index(at)];
      if (after && (after->mapped || known.mapped)) known = *after;
    }
  }
  void map_linear(GuestRange range, Attr attr) {
    HostPhys const host{0x5'0000'0000 + range.begin.raw()};
    perform("map", Change::map(range, host, attr), range, Page{true, attr}, [&] {
      return set_.map({range.begin, range.size, attr, Linear{host}}, table(), random_.once_in(2));
    });
  }
  void map_lazy(GuestRange range, Attr attr) {
    perform("map", Change::unmap(range), range, Page{true, attr}, [&] {
      return set_.map({range.begin, range.size, attr, Lazy{source_}}, table(), random_.once_in(2));
    });
  }
  void unmap(GuestRange range) {
    perform("unmap", Change::unmap(range), range, Page{}, [&] { return set_.unmap(range.begin, range.size, table()); });
  }
  void protect(GuestRange range, Attr attr) {
    auto const change = Change::attributes(oracle_.intent(), range, attr);
    auto const update = [&](Attr) { return std::optional{attr}; };
    auto const done =
        oracle_.perform("protect", change, [&] { return set_.protect(range.begin, range.size, update, table()); });
    if (!done) return;
    for (auto at = range.begin; range.contains(at); at = at + page)
      if (model_[index(at)].mapped) model_[index(at)].attr = attr;
  }
  /// The guest touches a page; a lazy one is populated.
  void touch(GuestPhys at, Prot access) {
    GuestRange const range{at, page};
    auto const next = pool_.next();
    auto const* const area = set_.find(at);
    auto const absent = table().query(at).kind == Kind::absent;
    auto const change = area != nullptr && area->flags().allows(access) && absent && next
                            ? Change::map(range, *next, area->flags())
                            : Change::same(oracle_.intent(), range);
    (void)oracle_.perform("touch", change, [&] { return set_.resolve(at, access, table()); });
  }

  std::string violation() {
    if (oracle_.violation() != Offence::none) return oracle_.why();
    if (auto const early = pool_.too_early()) return "a page came back before the invalidation: " + hex(early->raw());
    if (auto const audit = set_.audit(table()); !audit)
      return std::string{name(audit.flaw)} + " at " + text(audit.where);
    for (std::size_t i = 0; i != pages; ++i) {
      auto const* const area = set_.find(base + i * page);
      if (model_[i] != (area == nullptr ? Page{} : Page{true, area->flags()}))
        return "the set forgot or kept what it should not, at " + hex((base + i * page).raw());
    }
    return {};
  }
  static std::size_t index(GuestPhys at) { return static_cast<std::size_t>((at - base) / page); }

  Random random_;
  Oracle<x86_64::Ept> oracle_;
  PagePool pool_{oracle_.recorder(), HostPhys{0x9'0000'0000}, 16};
  Source source_{pool_, page, page};
  Set set_;
  std::array<Page, pages> model_{};
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed != 16; ++seed) {
    SetEdits edits{seed};
    for (auto i = 0; i != 60 && outcome.violation.empty(); ++i) {
      ++outcome.operations;
      outcome.violation = edits.step();
    }
  }
  return outcome;
}

}  // namespace slat::test
