// A snapshot as the hypervisor writes one, read as any core is: its areas, its tables, its events to the very end.

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include <slat/arch/x86_64/vmcb.hpp>
#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/memory_set.hpp>

#include "hv/guest_memory.hpp"
#include "hv/snapshot.hpp"
#include "hv/summary.hpp"

#include "tests/tool/images.hpp"
#include "tests/unit/formats.hpp"
#include "tools/beacon.hpp"
#include "tools/gather.hpp"
#include "tools/record.hpp"
#include "tools/runs.hpp"
#include "tools/trace.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;
using namespace slat::literals;
using hv::AreaList;
using hv::Event;

using Hook = hv::RecordedHook<NoHook>;
using HvTable = PageTable<x86_64::Npt, FramePool, Hook>;
using Source = PageSource<FramePool>;

std::uint64_t ticks = 0;
constexpr hv::Recorder::Clock clock{.now = [] { return ticks += 10; }, .cpu = [] { return std::uint8_t{3}; }};

struct Bytes {
  std::vector<std::byte> bytes;
  std::size_t room = ~std::size_t{0};
  bool is_closed = false;

  static bool open() { return true; }
  bool operator()(std::span<const std::byte> more) {
    if (more.size() > room - bytes.size()) return false;
    bytes.insert(bytes.end(), more.begin(), more.end());
    return true;
  }
  bool close() { return is_closed = true; }
};

/// A hypervisor on this host: its memory is at its own address.
class Hypervisor {
 public:
  static constexpr std::size_t bytes = 4 << 20;

  Hypervisor() {
    ring_->open(1'000'000'000);
    auto const& table = memory.table();
    said.beacon.publish(said.lead_here({.format = hv::Beacon::Format::npt,
                                        .pa_bits = 48,
                                        .root = table.root().raw(),
                                        .control = x86_64::nested_cr3(table.format(), table.root()),
                                        .host = table.format().pat()}));
    memory.record_by(recorder_);
  }

  void map() {
    ASSERT_TRUE(memory.map({0x0_gpa, 2_MiB}, rwx, Linear{0x1000'0000_hpa}));
    ASSERT_TRUE(memory.map({0x4000'0000_gpa, 1_MiB}, rw, Lazy{pages_}));
    ASSERT_TRUE(memory.map({0x9000'0000_gpa, 4_KiB}, rw | Memory::device, Device{}));
    hv::publish_areas(said.areas, memory.areas());
  }

 private:
  std::unique_ptr<std::byte, decltype(&std::free)> bytes_{static_cast<std::byte*>(std::aligned_alloc(bytes, bytes)),
                                                          &std::free};
  std::span<std::byte> half(bool second) const { return {bytes_.get() + (second ? bytes / 2 : 0), bytes / 2}; }
  static HostPhys here(std::span<std::byte> memory) { return HostPhys{reinterpret_cast<std::uint64_t>(memory.data())}; }

  FramePool frames_{half(false), here(half(false))};
  FramePool page_frames_{half(true), here(half(true))};
  Source pages_{page_frames_, 4_KiB, 4_KiB};
  std::unique_ptr<hv::Recorder::Ring> ring_ = std::make_unique<hv::Recorder::Ring>();
  hv::Recorder recorder_{*ring_, clock};

 public:
  hv::Said said{*ring_};
  hv::GuestMemory<HvTable, Source> memory{
      *HvTable::create(*x86_64::Npt::create({.pa_bits = 48, .nested_paging = true, .no_execute = true}, {}), frames_,
                       {NoHook{}, recorder_}),
      frames_, pages_};

  Bytes snapshot(std::size_t room = ~std::size_t{0}) {
    Bytes out{.bytes = {}, .room = room};
    hv::Snapshot taken{out, true, EM_X86_64, said, frames_};
    whole = taken.take_tables();
    EXPECT_TRUE(memory.clear());
    whole = taken.take_events() && whole;
    return out;
  }
  bool whole = false;
};

HostMemory core_of(const Bytes& out) {
  File const file{out.bytes};
  return HostMemory{FileMemory::core(file.path())};
}

TEST(SnapshotTest, HoldsAreasTablesAndEventsToTheVeryEnd) {
  Hypervisor guest;
  guest.map();
  for (auto const at : {0x4000'0000_gpa, 0x4000'5000_gpa, 0x4000'5008_gpa, 0x9000'0000_gpa, 0x1'0000'0000_gpa})
    ASSERT_TRUE(guest.memory.fault(at, Prot::w));
  auto const out = guest.snapshot();
  ASSERT_TRUE(guest.whole && out.is_closed);
  EXPECT_TRUE(guest.memory.only_root());
  auto memory = core_of(out);
  auto const scheme = scheme_of(find_beacon(memory, ~std::uint64_t{0}), {});

  auto const gathered = gather(memory, scheme);
  EXPECT_EQ(gathered.findings.count(Weight::wrong), 0u);
  auto const runs = runs_of(gathered, false);
  ASSERT_EQ(runs.size(), 3u) << "as it was before everything was unmapped";
  EXPECT_EQ(runs[0].range, (GuestRange{0x0_gpa, 2_MiB}));
  EXPECT_EQ(runs[1].range, (GuestRange{0x4000'0000_gpa, 4_KiB}));
  EXPECT_EQ(runs[2].range, (GuestRange{0x4000'5000_gpa, 4_KiB}));

  auto const areas = areas_of(memory, scheme);
  ASSERT_TRUE(areas);
  EXPECT_EQ(areas->left_out, 0u);
  ASSERT_EQ(areas->list.size(), 3u);
  auto const& [ram, lazy, uart] = std::tie(areas->list[0], areas->list[1], areas->list[2]);
  EXPECT_TRUE(ram.range == (GuestRange{0x0_gpa, 2_MiB}) && ram.attr == rwx && ram.host == 0x1000'0000_hpa &&
              ram.backing == AreaList::Backing::linear);
  EXPECT_TRUE(lazy.range == (GuestRange{0x4000'0000_gpa, 1_MiB}) && lazy.backing == AreaList::Backing::lazy);
  EXPECT_TRUE(uart.attr == (rw | Memory::device) && uart.backing == AreaList::Backing::device);

  auto const events = events_of(memory, scheme);
  ASSERT_TRUE(events);
  std::string told;
  for (auto const& event : events->list) {
    EXPECT_EQ(event.cpu, 3);
    EXPECT_EQ(event.ticks, event.kind == Event::Kind::unmap ? 30u : 10u)
        << "the clock is read twice, and within it twice";
    told += std::string{kind_name(event.kind)} + " " + outcome_name(event) + ", ";
  }
  EXPECT_EQ(told,
            "map done, map done, map done, fault mapped, fault mapped, fault spurious, fault emulated, fault unknown, "
            "unmap done, shootdown done, ");
  EXPECT_EQ(events->lost, 0u);
  auto const& shootdown = events->list.back();
  EXPECT_EQ(shootdown.address, 0u);
  EXPECT_GE(shootdown.pages, 2_MiB / 4_KiB + 2);
  auto const& fault = events->list[3];
  EXPECT_TRUE(fault.address == 0x4000'0000 && fault.wanted == static_cast<std::uint8_t>(Prot::w));
}

/// Tells whether it is held.
struct SeenLock {
  static inline bool is_held = false;
  struct Held {
    explicit Held(SeenLock&) { is_held = true; }
    ~Held() { is_held = false; }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
  };
};

TEST(SnapshotTest, NoOtherCpuChangesTablesMeanwhile) {
  std::unique_ptr<std::byte, decltype(&std::free)> const bytes{
      static_cast<std::byte*>(std::aligned_alloc(1 << 20, 1 << 20)), &std::free};
  FramePool frames{{bytes.get(), 1 << 20}, HostPhys{reinterpret_cast<std::uint64_t>(bytes.get())}};
  FramePool page_frames{{}, 0x0_hpa};
  Source pages{page_frames, 4_KiB, 4_KiB};
  hv::GuestMemory<HvTable, Source, SeenLock> memory{
      *HvTable::create(*x86_64::Npt::create({.pa_bits = 48, .nested_paging = true, .no_execute = true}, {}), frames,
                       {NoHook{}, hv::Recorder{}}),
      frames, pages};
  struct {
    bool was_held = false;
    bool take_tables() {
      was_held = SeenLock::is_held;
      return true;
    }
    static bool take_events() { return true; }
  } snapshot;
  hv::InvalidationCounts counts;
  auto out = [](std::string_view) {};
  EXPECT_TRUE(hv::print_end(out, memory, counts, "", snapshot));
  EXPECT_TRUE(snapshot.was_held) << "a CPU that came with a fault before the end may still be at it";
}

TEST(SnapshotTest, WhatCannotBeWrittenIsSaid) {
  Hypervisor whole;
  whole.map();
  auto const bytes = whole.snapshot().bytes.size();
  // Without room for the header, for a part of the tables, for the last byte.
  for (auto const room : {std::size_t{0}, std::size_t{100}, std::size_t{5000}, bytes - 1}) {
    Hypervisor guest;
    guest.map();
    guest.snapshot(room);
    EXPECT_FALSE(guest.whole) << room;
  }
  Hypervisor again;
  again.map();
  again.snapshot(bytes);
  EXPECT_TRUE(again.whole);
}

TEST(SnapshotTest, NothingIsWrittenUnlessItIsWanted) {
  Hypervisor guest;
  Bytes out;
  hv::Snapshot none{out, false, EM_X86_64, guest.said, guest.memory.frames()};
  EXPECT_TRUE(none.take_tables() && none.take_events());
  EXPECT_TRUE(out.bytes.empty());
}

TEST(CoreFileTest, MorePiecesThanACoreCanHaveAreRefused) {
  auto const pieces = [](std::uint64_t count) {
    std::uint64_t written = 0;
    auto const done = hv::write_core_header([&](auto bytes) { written += bytes.size(); }, EM_X86_64,
                                            [&](auto&& piece) {
                                              for (std::uint64_t i = 0; i != count; ++i) piece(HostPhys{4096 * i}, 64);
                                            });
    return std::pair{done, written};
  };
  EXPECT_EQ(pieces(65535), (std::pair{false, std::uint64_t{0}})) << "PN_XNUM means something else";
  EXPECT_EQ(pieces(65534), (std::pair{true, std::uint64_t{64 + 56 * 65534}}));
}

}  // namespace
}  // namespace slat::test
