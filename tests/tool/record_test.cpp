// What a hypervisor says of itself, from its own structures to what the inspector makes of them: a snapshot as it
// writes one, read as any core is; rings that have turned, that are being written, that lie.

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include <nlohmann/json.hpp>

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

// ---- lists and rings by themselves ----------------------------------------------------------------------------------

/// Memory that holds one structure at 0x80000000, and a scheme that leads to it.
template <class T>
HostMemory memory_with(const T& structure) {
  File const file{std::as_bytes(std::span{&structure, 1})};
  std::array const images{FileMemory::Image{file.path(), Image::base}};
  return HostMemory{FileMemory::images(images)};
}
Scheme leading_to_it() {
  auto scheme = npt_scheme(0, 4, {});
  scheme.areas = scheme.events = HostPhys{Image::base};
  return scheme;
}

struct Listed {
  std::uint64_t begin, bytes;
};
AreaList list_of(std::size_t count) {
  std::vector<Listed> all;
  for (std::size_t i = 0; i != count; ++i) all.push_back({(count - i) * 0x10'0000, 4096});
  AreaList list;
  list.publish(all, [](const Listed& one) {
    return AreaList::Area{.begin = one.begin, .bytes = one.bytes, .rights = 3, .backing = AreaList::Backing::lazy};
  });
  return list;
}

TEST(AreaListTest, AreasComeInOrderAndWhatHasNoRoomIsCounted) {
  auto memory = memory_with(list_of(70));
  auto const areas = areas_of(memory, leading_to_it());
  ASSERT_TRUE(areas);
  EXPECT_EQ(areas->list.size(), 64u);
  EXPECT_EQ(areas->left_out, 6u);
  EXPECT_TRUE(std::is_sorted(areas->list.begin(), areas->list.end(),
                             [](const Area& a, const Area& b) { return a.range.begin < b.range.begin; }));
  EXPECT_FALSE(areas_of(memory, npt_scheme(0, 4, {}))) << "nothing leads there";
}

TEST(AreaListTest, WhatMakesNoSenseIsRefused) {
  auto const complaint = [](auto spoil, bool sign) {
    auto list = list_of(2);
    spoil(list);
    if (sign) list.checksum = AreaList::sum_of(list.count, reinterpret_cast<const std::uint8_t*>(list.areas.data()));
    auto memory = memory_with(list);
    return complaint_of([&] { areas_of(memory, leading_to_it()); });
  };
  auto const has = [](const std::string& text, const char* words) { return text.find(words) != text.npos; };
  EXPECT_EQ(complaint([](AreaList&) {}, false), "");
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.areas[1].bytes += 1; }, false), "being written, or damaged"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.count = 3; }, false), "being written, or damaged"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.magic[0] = 0; }, true), "of a version that is known"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.version = 2; }, true), "of a version that is known"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.area_bytes = 40; }, true), "of a version that is known"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.areas[1].bytes = 0; }, true), "one makes no sense"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.areas[1].bytes = ~0ull; }, true), "one makes no sense"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.areas[1].rights = 16; }, true), "one makes no sense"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.areas[1].memory = 5; }, true), "one makes no sense"));
  EXPECT_TRUE(has(complaint([](AreaList& l) { l.areas[1].backing = {}; }, true), "one makes no sense"));
  auto memory = memory_with(std::uint64_t{0});
  EXPECT_TRUE(has(complaint_of([&] { areas_of(memory, leading_to_it()); }), "has no memory"));
}

/// Events 1 to `count`, one every ten ticks for five.
template <std::size_t Capacity>
std::unique_ptr<hv::EventRing<Capacity>> ring_of(std::uint64_t count) {
  auto ring = std::make_unique<hv::EventRing<Capacity>>();
  ring->open(1000);
  for (std::uint64_t i = 1; i <= count; ++i)
    ring->add({.begin = 10 * i, .ticks = 5, .address = i, .kind = Event::Kind::fault});
  return ring;
}
template <std::size_t Capacity>
Event& slot(hv::EventRing<Capacity>& ring, std::size_t i) {
  return reinterpret_cast<Event*>(reinterpret_cast<std::byte*>(&ring) + sizeof(hv::EventRingHeader))[i];
}

TEST(EventRingTest, TheLastEventsAreThereHoweverOftenItHasTurned) {
  for (std::uint64_t const count : {0u, 1u, 7u, 8u, 9u, 15u, 16u, 17u, 1000u}) {
    auto memory = memory_with(*ring_of<8>(count));
    auto const events = events_of(memory, leading_to_it());
    ASSERT_TRUE(events);
    auto const there = std::min<std::uint64_t>(count, 8);
    ASSERT_EQ(events->list.size(), there) << count;
    EXPECT_EQ(events->lost, count - there);
    for (std::uint64_t i = 0; i != there; ++i) EXPECT_EQ(events->list[i].address, count - there + 1 + i);
  }
}

TEST(EventRingTest, EventsOfAllCpusAreKept) {
  constexpr std::uint64_t cpus = 4, each = 5000;
  auto ring = std::make_unique<hv::EventRing<cpus * each>>();
  ring->open(1000);
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t cpu = 0; cpu != cpus; ++cpu)
      threads.emplace_back([&ring, cpu] {
        for (std::uint64_t i = 0; i != each; ++i)
          ring->add({.begin = 1, .address = i * cpus + cpu, .kind = Event::Kind::fault});
      });
  }
  auto memory = memory_with(*ring);
  auto events = *events_of(memory, leading_to_it());
  ASSERT_EQ(events.list.size(), cpus * each);
  std::sort(events.list.begin(), events.list.end(), [](auto& a, auto& b) { return a.address < b.address; });
  for (std::uint64_t i = 0; i != cpus * each; ++i) ASSERT_EQ(events.list[i].address, i);
}

TEST(EventRingTest, NobodyWritesASlotThatAnotherCpuWrites) {
  // One slot: whoever adds an event laps all others. Each event is alike in all its fields.
  auto ring = std::make_unique<hv::EventRing<1>>();
  ring->open(1000);
  auto& only = slot(*ring, 0);
  auto const load = [](auto& field) { return std::atomic_ref{field}.load(std::memory_order_relaxed); };
  std::atomic<int> writers = 4;
  std::uint64_t torn = 0;
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t cpu = 0; cpu != 4; ++cpu)
      threads.emplace_back([&ring, &writers, cpu] {
        for (std::uint32_t i = 0; i != 200'000; ++i) {
          auto const value = 4 * i + cpu;
          ring->add({.begin = value, .ticks = value, .address = value, .pages = value, .kind = Event::Kind::fault});
        }
        --writers;
      });
    while (writers.load() != 0) {
      auto const number = std::atomic_ref{only.number}.load(std::memory_order_acquire);
      auto const begin = load(only.begin), address = load(only.address);
      auto const length = load(only.ticks), pages = load(only.pages);
      std::atomic_thread_fence(std::memory_order_acquire);
      if (number == 0 || number != load(only.number)) continue;
      torn += begin != address || begin != length || begin != pages;
    }
  }
  EXPECT_EQ(torn, 0u);
  EXPECT_EQ(ring->count(), 800'000u) << "also those that found the slot taken";
  // One that has been overtaken in the middle of it.
  auto const turned = ring_of<8>(8);
  auto& taken = slot(*turned, 0);
  taken.number = 0;
  auto const before = taken;
  turned->add({.begin = 90, .address = 9, .kind = Event::Kind::fault});
  EXPECT_EQ(std::memcmp(&taken, &before, sizeof before), 0);
  EXPECT_EQ(turned->count(), 9u);
  taken.number = 1;  // now it has ended
  for (std::uint64_t i = 10; i != 18; ++i) turned->add({.begin = 10 * i, .address = i, .kind = Event::Kind::fault});
  EXPECT_EQ(taken.number, 17u);
}

TEST(EventRingTest, ANumberWhoseLowBitsAre0IsNotTakenForOneThatIsBeingWritten) {
  auto const ring = std::make_unique<hv::EventRing<8>>();
  ring->open(1000);
  auto const count = (std::uint64_t{1} << 32) - 8;
  std::memcpy(reinterpret_cast<std::byte*>(ring.get()) + offsetof(hv::EventRingHeader, count), &count, sizeof count);
  for (std::size_t i = 0; i != 8; ++i) slot(*ring, i).number = static_cast<std::uint32_t>(count - 7 + i);
  auto const there = [&](std::uint64_t more) {
    for (std::uint64_t i = 0; i != more; ++i) ring->add({.begin = 10, .kind = Event::Kind::fault});
    auto memory = memory_with(*ring);
    return events_of(memory, leading_to_it())->list.size();
  };
  EXPECT_EQ(there(8), 7u) << "one is lost, for 0 is no number";
  auto const before = slot(*ring, 7);
  slot(*ring, 7) = {.begin = 10, .kind = Event::Kind::fault};
  EXPECT_EQ(there(0), 7u) << "and is none of a slot that is being written";
  slot(*ring, 7) = before;
  EXPECT_EQ(there(8), 8u) << "and its slot is not lost with it";
}

TEST(EventRingTest, ASlotThatIsBeingWrittenIsLeftOut) {
  auto const left = [](auto spoil) {
    auto const ring = ring_of<8>(11);  // events 9, 10, 11, 4, 5, 6, 7, 8
    spoil(slot(*ring, 4));
    auto memory = memory_with(*ring);
    auto const events = events_of(memory, leading_to_it());
    EXPECT_EQ(events->lost, 11 - events->list.size());
    return events->list.size();
  };
  EXPECT_EQ(left([](Event&) {}), 8u);
  EXPECT_EQ(left([](Event& e) { e.number = 0; }), 7u);
  EXPECT_EQ(left([](Event& e) { e.number = 13; }), 7u) << "the next one's, which is not counted yet";
  EXPECT_EQ(left([](Event& e) { e.kind = Event::Kind::none; }), 7u);
  EXPECT_EQ(left([](Event& e) { e.kind = Event::Kind{99}; }), 7u);
  EXPECT_EQ(left([](Event& e) { e.begin = ~0ull; }), 7u) << "it would end before it began";
}

TEST(EventRingTest, ARingThatCannotBeIsRefused) {
  auto const complaint = [](std::size_t offset, std::uint64_t value, std::size_t bytes) {
    auto const ring = ring_of<8>(3);
    std::memcpy(reinterpret_cast<std::byte*>(ring.get()) + offset, &value, bytes);
    auto memory = memory_with(*ring);
    return complaint_of([&] { events_of(memory, leading_to_it()); });
  };
  EXPECT_EQ(complaint(40, 3, 8), "");
  for (auto const& [offset, value, bytes] : {std::tuple{std::size_t{0}, 0ull, std::size_t{1}},
                                             {16, 2, 4},
                                             {20, 40, 4},
                                             {24, 0, 8},
                                             {24, 1ull << 40, 8},
                                             {32, 0, 8}})
    EXPECT_NE(complaint(offset, value, bytes).find("is no ring of events of a version"), std::string::npos) << offset;
  // More events than the source has.
  auto const cut = [] {
    auto const ring = ring_of<8>(8);
    File const file{{reinterpret_cast<const std::byte*>(ring.get()), sizeof(hv::EventRingHeader) + 7 * sizeof(Event)}};
    std::array const images{FileMemory::Image{file.path(), Image::base}};
    HostMemory memory{FileMemory::images(images)};
    return complaint_of([&] { events_of(memory, leading_to_it()); });
  };
  EXPECT_NE(cut().find("is cut off"), std::string::npos);
}

// ---- the trace ------------------------------------------------------------------------------------------------------

TEST(TraceTest, ARangeOfMorePagesThanAnEventHoldsIsNotCalledShorter) {
  auto ring = std::make_unique<hv::EventRing<8>>();
  ring->open(1000);
  ring->add({.begin = 1, .pages = 0xffff'ffff, .kind = Event::Kind::unmap});
  ring->add({.begin = 2, .pages = 0xffff'ffff, .kind = Event::Kind::shootdown});
  auto memory = memory_with(*ring);
  std::ostringstream out;
  write_trace(out, leading_to_it(), *events_of(memory, leading_to_it()));
  EXPECT_NE(out.str().find("\"range\":\"16T or more from 0x0 on\""), std::string::npos) << out.str();
  EXPECT_NE(out.str().find("\"stale\":\"16T or more\""), std::string::npos) << out.str();
}

TEST(TraceTest, IsWhatPerfettoReadsAndWhatLayWithinAnotherStillDoes) {
  auto ring = std::make_unique<hv::EventRing<8>>();
  ring->open(3);  // a third of a second
  ring->add({.begin = 101, .ticks = 1, .pages = 0, .kind = Event::Kind::shootdown, .cpu = 1});
  ring->add({.begin = 100, .ticks = 4, .address = 0x4000'0000, .pages = 512, .kind = Event::Kind::unmap, .cpu = 1});
  ring->add(
      {.begin = 100, .ticks = 2, .address = 0x1234, .kind = Event::Kind::fault, .cpu = 0, .outcome = 4, .wanted = 2});
  ring->add({.begin = 103, .kind = Event::Kind::map, .cpu = 0, .outcome = Event::failure});
  auto memory = memory_with(*ring);
  auto const scheme = leading_to_it();
  std::ostringstream out;
  write_trace(out, scheme, *events_of(memory, scheme));
  auto const trace = nlohmann::json::parse(out.str());
  EXPECT_EQ(trace["otherData"]["events"], 4);
  std::vector<nlohmann::json> slices;
  std::string rows;
  for (auto const& event : trace["traceEvents"]) {
    EXPECT_EQ(event["pid"], 1);
    if (event["ph"] == "X")
      slices.push_back(event);
    else if (event["name"] == "thread_name")
      rows += event["args"]["name"].get<std::string>() + ", ";
  }
  EXPECT_EQ(rows, "CPU 0, CPU 1, ");
  ASSERT_EQ(slices.size(), 4u);
  EXPECT_EQ(slices[0]["name"], "unmap") << "what begins first, and of two the longer one";
  EXPECT_EQ(slices[0]["ts"], 0);
  EXPECT_EQ(slices[0]["dur"], 1333333.333) << "microseconds";
  EXPECT_EQ(slices[0]["args"]["range"], "[0x40000000, 0x40200000)");
  EXPECT_EQ(slices[1]["name"], "fault");
  EXPECT_EQ(slices[1]["tid"], 0);
  EXPECT_EQ(slices[1]["args"]["address"], "0x1234");
  EXPECT_EQ(slices[1]["args"]["access"], "write");
  EXPECT_EQ(slices[1]["args"]["outcome"], "denied");
  EXPECT_EQ(slices[2]["name"], "shootdown");
  EXPECT_EQ(slices[2]["args"]["stale"], "everything");
  EXPECT_LE(slices[2]["ts"].get<double>() + slices[2]["dur"].get<double>(), 1333333.333);
  EXPECT_EQ(slices[3]["cat"], "edit");
  EXPECT_EQ(slices[3]["args"]["outcome"], "failed");
}

}  // namespace
}  // namespace slat::test
