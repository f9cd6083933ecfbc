// What a hypervisor says of itself, from its own structures to what the inspector makes of them: lists of areas, rings
// of events that have turned, that are being written, that lie; the trace.

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

#include "tests/tool/images.hpp"
#include "tools/record.hpp"
#include "tools/trace.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;
using namespace slat::literals;
using hv::AreaList;
using hv::Event;

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
