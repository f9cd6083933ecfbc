#pragma once

// What it costs to have a call judged: random calls on a few pages under the hostile MMU, beside the same calls on a
// table that nobody watches. A unit is one call.

#include <benchmark/benchmark.h>

#include <cstdlib>
#include <vector>

#include <slat/testing/oracle.hpp>
#include <slat/testing/random.hpp>

namespace slat::bench {

/// One of replace, protect and unmap of one to four pages out of 32: most of them change the table.
template <class Table>
Result<> some_call(Table& table, std::uint64_t page, testing::Random& random) {
  GuestRange const range{GuestPhys{random.below(32) * page}, (1 + random.below(4)) * page};
  switch (random.below(3)) {
    case 0: return table.replace(range, HostPhys{1_GiB + range.begin.raw()}, rwx);
    case 1: return table.protect(range, random.once_in(2) ? ro : rw);
    default: return table.unmap(range);
  }
}

struct NoHook {
  void operator()(HostPhys, const Stale&) noexcept {}
  void publish() noexcept {}
};

template <class Format>
void measure_oracle(benchmark::State& state, const Format& format) {
  constexpr std::uint64_t calls = 2000;
  auto const page = format.geometry().page_size();
  testing::Oracle<Format> judged{format, {.frames = 24}};
  alignas(4096) static std::byte memory[1 << 18];
  FramePool pool{memory, 0x8000'0000_hpa};
  auto plain = *PageTable<Format, FramePool, NoHook>::create(format, pool, NoHook{});
  std::uint64_t seed = 1;
  double subject = 0, limit = 0;
  auto const time = [&](auto& table) {
    testing::Random random{seed};
    return seconds([&] {
      for (std::uint64_t i = 0; i != calls; ++i)
        if (!some_call(table, page, random)) std::abort();
    });
  };
  for (auto _ : state) {
    auto const took = time(judged);
    limit += time(plain);
    subject += took;
    state.SetIterationTime(took);
    ++seed;
  }
  if (judged.violation() != testing::Offence::none) std::abort();
  auto const units = static_cast<double>(state.iterations()) * static_cast<double>(calls);
  state.counters["ns"] = 1e9 * subject / units;
  state.counters["limit"] = 1e9 * limit / units;
  state.counters["ratio"] = subject / limit;
  state.counters["hook calls"] = static_cast<double>(judged.recorder().shootdowns()) / units;
  state.counters["tables"] = static_cast<double>(judged.table().tables());
}

}  // namespace slat::bench
