// The rows of MemorySet: G17. Compiled with general registers only.

#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <slat/arch/x86_64/ept.hpp>
#include <slat/mm/area_index.hpp>
#include <slat/mm/backends.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/heap_nodes.hpp>
#include <slat/mm/memory_set.hpp>
#include <slat/mm/page_source.hpp>
#include <slat/mm/page_table.hpp>

#include "regions.hpp"
#include "row.hpp"

namespace slat::bench {
namespace {

struct NoHook {
  void operator()(HostPhys, const Stale&) noexcept {}
  void publish() noexcept {}
};

/// A table whose frames were touched before: a page that the host maps only then would be measured too.
class Guest {
 public:
  using Table = PageTable<x86_64::Ept, FramePool, NoHook>;
  using Source = PageSource<FramePool>;
  using Set = MemorySet<Attr, Table, Backends<Table, Source>>;

  Guest() : memory_{static_cast<std::byte*>(std::aligned_alloc(2_MiB, bytes))} {
    for (std::uint64_t at = 0; at < bytes; at += 4_KiB) memory_[at] = std::byte{1};
    pool_.emplace(std::span{memory_.get(), bytes}, 0x8000'0000_hpa);
    auto const format = x86_64::Ept::create(
        {.pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .accessed_dirty = true, .pschange_mc_no = true}, {});
    table_.emplace(*Table::create(*format, *pool_, NoHook{}));
  }
  static Set::Area page(GuestPhys at) { return {at, 4_KiB, rwx, Linear{HostPhys{at.raw() + 1_GiB}}}; }
  Table& table() { return *table_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  static constexpr std::uint64_t bytes = 32_MiB;
  std::unique_ptr<std::byte[], Free> memory_;
  std::optional<FramePool> pool_;
  std::optional<Table> table_;
};

/// Areas of one page, each second page of the guest, in a set; and in the two halves of a set by themselves.
class SetOfPages : public Row {
 public:
  explicit SetOfPages(std::uint64_t n) {
    for (std::uint64_t i = 0; i != n; ++i) {
      GuestPhys const at{i * 8_KiB};
      must(set_.map(Guest::page(at), guest_.table()));
      must(other_.table().map({at, 4_KiB}, host(at), rwx));
      make_room();
      index_.insert(Guest::page(at));
    }
    for (std::uint64_t i = 0; i != queries_of(n); ++i) at_.push_back(GuestPhys{random_.below(n) * 8_KiB});
  }
  void prepare() override {}

 protected:
  using PageIndex = AreaIndex<Guest::Set::Area, HeapNodes>;
  static HostPhys host(GuestPhys at) { return HostPhys{at.raw() + 1_GiB}; }
  void make_room() {
    auto room = index_.reserve(1);
    must(room);
    index_.adopt(*std::move(room));
  }

  Random random_;
  Guest guest_, other_;
  Guest::Set set_;
  PageIndex index_;
  std::vector<GuestPhys> at_;
};

// What an index and a table take without a set: to erase, unmap, insert and map.
class SetBesideHalves : public SetOfPages {
 public:
  using SetOfPages::SetOfPages;
  void limit(unsigned) override {
    for (auto const at : at_) {
      auto const run = index_.touching({at, 4_KiB});
      index_.erase(run.first, run.last);
      must(other_.table().unmap({at, 4_KiB}));
      make_room();
      index_.insert(Guest::page(at));
      must(other_.table().map({at, 4_KiB}, host(at), rwx));
    }
  }
};
class SetUnmapAndMap : public SetBesideHalves {
 public:
  using SetBesideHalves::SetBesideHalves;
  void subject() override {
    for (auto const at : at_) {
      must(set_.unmap(at, 4_KiB, guest_.table()));
      must(set_.map(Guest::page(at), guest_.table()));
    }
  }
};

// Each time that a turn comes to a page it changes its rights.
Attr opposite(const Attr& attr) { return attr == rwx ? rx : rwx; }
class SetProtect : public SetBesideHalves {
 public:
  using SetBesideHalves::SetBesideHalves;
  void subject() override {
    for (auto const at : at_) must(set_.protect(at, 4_KiB, opposite, guest_.table()));
  }
};
// The same beside its own halves: to find, and to protect in the table.
class SetProtectBesideProtect : public SetProtect {
 public:
  using SetProtect::SetProtect;
  void limit(unsigned) override {
    for (auto const at : at_) {
      auto* const area = index_.find(at);
      area->protect(opposite(area->flags()));
      must(other_.table().protect({at, 4_KiB}, area->flags()));
    }
  }
};

}  // namespace

std::vector<RowEntry> set_rows() {
  std::vector<RowEntry> rows;
  auto const add = [&]<class Kind>(std::in_place_type_t<Kind>, const char* what, std::uint64_t n,
                                   std::uint64_t target) {
    rows.push_back({std::string{what} + ", " + std::to_string(n) + " areas", queries_of(n), target,
                    [n] { return std::make_unique<Kind>(n); }});
  };
  for (std::uint64_t const n : {16u, 256u, 4096u, 65536u}) {
    add(std::in_place_type<SetUnmapAndMap>, "G17 set, unmap and map", n, 1300);
    add(std::in_place_type<SetProtect>, "G17 set, protect", n, 1300);
    add(std::in_place_type<SetProtectBesideProtect>, "G17 set, protect beside protect", n, 0);
  }
  return rows;
}

}  // namespace slat::bench
