// One call for many pages: G4, G5, G12, G20.

#include "limits.hpp"
#include "loops.hpp"
#include "parts.hpp"

namespace slat::bench {
namespace {

using x86_64::Ept;

constexpr GuestRange gib{guest_base, 1_GiB};
constexpr std::uint64_t pages = 1_GiB / 4_KiB;
constexpr std::uint64_t tables = 520;  // that are enough for one GiB of pages

/// A GiB of pages, in frames that remember, then `act(table)`: what came back by then, in that order.
template <class Act>
auto life(Act act) {
  return [act](Recorder& frames, CountingHook hook) {
    std::optional table{*PageTable<Ept, Recorder, CountingHook>::create(plain_ept(), frames, hook)};
    must(table->map(gib, Guest<Ept>::host(gib, 4_KiB), rwx));
    frames.order.clear();
    act(table);
    return std::vector(frames.order);
  };
}

// G4: beside giving back the frames, in the same order, to a pool of the same kind.
class Unmap final : public GuestRow<> {
 public:
  Unmap() : GuestRow{plain_ept(), tables}, returns_{tables, life([](auto& table) { must(table->unmap(gib)); })} {}
  void prepare() override {
    must(guest_.table().unmap(gib));
    must(guest_.map(gib, 4_KiB));
    returns_.prepare();
    begin();
  }
  void limit(unsigned) override { returns_(); }
  void subject() override { must(guest_.table().unmap(gib)); }

 private:
  Returns returns_;
};

// G4: the same with what was written told: beside looking at each entry, which whoever clears a mark stores back, too.
class UnmapTelling final : public GuestRow<> {
 public:
  UnmapTelling() : GuestRow{plain_ept(), tables}, stored_{pages} {}
  void prepare() override {
    must(guest_.table().unmap(gib));
    must(guest_.map(gib, 4_KiB));
    for (auto& e : stored_) e = 0x8000'0037;
    told_ = 0;
    begin();
  }
  void limit(unsigned) override { take_each(stored_.begin(), stored_.end(), Ept::write); }
  void subject() override {
    must(guest_.table().unmap(gib, {.dirty = true}, [this](GuestRange run) { told_ += run.size; }));
    if (told_ != gib.size) std::abort();
  }

 private:
  Entries stored_;
  std::uint64_t told_ = 0;
};

// G12: the same for a whole table.
class Destroy final : public GuestRow<> {
 public:
  Destroy() : GuestRow{plain_ept(), tables}, returns_{tables, life([](auto& table) { table.reset(); })} {}
  void prepare() override {
    guest_.destroy();
    guest_.create();
    must(guest_.map(gib, 4_KiB));
    returns_.prepare();
    begin();
  }
  void limit(unsigned) override { returns_(); }
  void subject() override { guest_.destroy(); }

 private:
  Returns returns_;
};

// G5: beside looking at each entry and storing it changed; by a locked AND or OR where hardware sets marks in it.
class Protect final : public GuestRow<> {
 public:
  Protect(bool marking, Attr from, Attr to)
      : GuestRow{marking ? marking_ept() : plain_ept(), tables},
        marking_{marking},
        from_{from},
        to_{to},
        stored_{pages} {
    must(guest_.map(gib, 4_KiB));
  }
  void prepare() override {
    must(guest_.table().protect(gib, from_));
    for (auto& e : stored_) e = from_.allows(Prot::w) ? 0x8000'0037 : 0x8000'0035;
    begin();
  }
  void limit(unsigned) override {
    auto const loop = !from_.allows(Prot::w) ? give_each : marking_ ? take_each_locked : take_each;
    loop(stored_.begin(), stored_.end(), Ept::write);
  }
  void subject() override { must(guest_.table().protect(gib, to_)); }

 private:
  bool marking_;
  Attr from_, to_;
  Entries stored_;
};

// G20: what a GiB of pages takes where its neighbour is mapped already; the limit is the entries alone.
class Footprint final : public GuestRow<> {
 public:
  Footprint() : GuestRow{plain_ept(), tables}, stored_{pages} {
    must(guest_.table().map({guest_base + 2_GiB, 4_KiB}, HostPhys{0}, rwx));
  }
  void prepare() override {
    must(guest_.table().unmap(gib));
    before_ = guest_.frames();
    begin();
  }
  void limit(unsigned) override { store_each(stored_.begin(), stored_.end(), 0x8000'0037, 4_KiB); }
  void subject() override { must(guest_.map(gib, 4_KiB)); }
  Facts facts() const override {
    auto facts = GuestRow::facts();
    // The pool keeps a word beside each frame for whoever has it.
    facts.bytes = (guest_.frames() - before_) * (4_KiB + sizeof(std::uint64_t));
    return facts;
  }

 private:
  Entries stored_;
  std::uint64_t before_ = 0;
};

// Not the library: how far the loop that is the limit is from what the CPU can do. It is the limit all the same,
// because it is what one writes.
class Unrolled final : public Row {
 public:
  Unrolled() : stored_{pages} {}
  void prepare() override {}
  void limit(unsigned) override { store_each(stored_.begin(), stored_.end(), 0x8000'0037, 4_KiB); }
  void subject() override { store_by_eight(stored_.begin(), stored_.end(), 0x8000'0037, 4_KiB); }

 private:
  Entries stored_;
};

}  // namespace

std::vector<RowEntry> bulk_rows() {
  constexpr std::uint64_t per_gib = 513;
  return {
      entry<Unmap>("G4 unmap 1 GiB of pages", pages, 2700) | Facts{.hook_calls = 1, .tables = 1, .barriers = 1},
      entry<UnmapTelling>("G4 unmap 1 GiB of pages, dirty ones told", pages, 1050) |
          Facts{.hook_calls = 1, .tables = 1, .barriers = 2},
      entry<Protect>("G5 protect 1 GiB of pages, write right taken", pages, 1300, false, rwx, rx) |
          Facts{.hook_calls = 1, .tables = 515, .barriers = 1},
      entry<Protect>("G5 the same, write right given", pages, 1300, false, rx, rwx) |
          Facts{.tables = 515, .barriers = 1},
      entry<Protect>("G5 the same, taken beside hardware's A/D", pages, 1100, true, rwx, rx) |
          Facts{.hook_calls = 1, .tables = 515, .barriers = 1},
      entry<Destroy>("G12 destroy 1 GiB of pages, per table", 515, 3600) |
          Facts{.hook_calls = 1, .tables = 0, .barriers = 1},
      entry<Footprint>("G20 memory of 1 GiB of pages", pages, 0) |
          Facts{.tables = 4 + per_gib, .bytes = per_gib * (4_KiB + sizeof(std::uint64_t)), .barriers = 1},
      entry<Unrolled>("for comparison: the limit of G1, unrolled", pages, 0),
  };
}

}  // namespace slat::bench
