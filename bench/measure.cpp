// Throughput of map, protect and unmap beside the limit: a plain loop that stores as many descriptors, run right after
// each call, in the same process and repetition. A unit is one leaf entry of the range. And what the hostile MMU costs.
//
//   ./measure [--quick]

#include <benchmark/benchmark.h>

#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/page_table.hpp>

#include "clock.hpp"
#include "oracle.hpp"

namespace {

using namespace slat;
using bench::seconds;

struct CountingHook {
  std::uint64_t* calls;
  void operator()(HostPhys, const Stale&) noexcept { ++*calls; }
  void publish() noexcept {}
};

/// What is mapped, `calls` times side by side so that a clock can see it.
struct Shape {
  const char* name;
  std::uint64_t bytes;
  std::uint64_t leaf;   // the size of its leaves
  std::uint64_t calls;  // in a row, each for a range of its own

  std::uint64_t units() const { return calls * (bytes / leaf); }
};
constexpr Shape shapes[] = {
    {"4 KiB", 4_KiB, 4_KiB, 512},
    {"2 MiB in pages", 2_MiB, 4_KiB, 16},
    {"2 MiB in one block", 2_MiB, 2_MiB, 512},
    {"1 GiB in pages", 1_GiB, 4_KiB, 1},
    {"1 GiB in blocks", 1_GiB, 2_MiB, 1},
    {"1 GiB in one block", 1_GiB, 1_GiB, 16},
};
enum class Call { map, protect, unmap };
constexpr const char* names[] = {"map", "protect", "unmap"};

constexpr GuestPhys guest_base = 0x40'0000'0000_gpa;

template <class Format>
class Bench {
  using Table = PageTable<Format, FramePool, CountingHook>;

 public:
  Bench(const Format& format, Shape shape)
      : shape_{shape}, table_{*Table::create(format, pool_, CountingHook{&hook_calls_})}, plain_(shape.units()) {}

  void run(Call call) {
    switch (call) {
      case Call::map: return each([&](GuestRange range) { return table_.map(range, host(range), rwx); });
      case Call::protect: return each([&](GuestRange range) { return table_.protect(range, rx); });
      case Call::unmap: return each([&](GuestRange range) { return table_.unmap(range); });
    }
  }

  /// As many descriptors of the same values, with nothing else to do. They go where no table walker looks.
  void run_plain(Call call) {
    auto const& format = table_.format();
    auto const level = static_cast<Level>(std::countr_zero(shape_.leaf / 4_KiB) / 9);
    auto const leaf = format.leaf(level, 0_hpa, rwx);
    auto const kept = format.leaf(level, 0_hpa, rx) | ~leaf;
    auto const first = host({guest_base, shape_.bytes}).raw() | leaf;
    auto const size = shape_.leaf;
    switch (call) {
      case Call::map: return each_entry([=](Entry& entry, std::uint64_t i) { entry = first + i * size; });
      case Call::protect: return each_entry([=](Entry& entry, std::uint64_t) { entry &= kept; });
      case Call::unmap: return each_entry([](Entry& entry, std::uint64_t) { entry = 0; });
    }
  }

  std::uint64_t hook_calls() const { return hook_calls_; }
  std::uint64_t tables() const { return table_.tables(); }

 private:
  template <class Act>
  void each(Act act) {
    for (std::uint64_t i = 0; i != shape_.calls; ++i)
      if (!act(GuestRange{guest_base + i * shape_.bytes, shape_.bytes})) std::abort();
  }
  template <class Act>
  void each_entry(Act act) {
    auto const per_call = shape_.bytes / shape_.leaf;
    for (std::uint64_t begin = 0; begin != shape_.units(); begin += per_call) {
      for (auto i = begin; i != begin + per_call; ++i) act(plain_[i], i);
      benchmark::ClobberMemory();
    }
  }
  /// Aligned as the leaves are and no better, so that no larger leaf fits.
  HostPhys host(GuestRange range) const { return HostPhys{range.begin.raw() + (1_GiB | shape_.leaf)}; }

  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  static constexpr std::uint64_t pool_bytes = 16_MiB;
  std::unique_ptr<std::byte, Free> memory_{static_cast<std::byte*>(std::aligned_alloc(2_MiB, pool_bytes))};
  FramePool pool_{{memory_.get(), pool_bytes}, 0x8000'0000_hpa};
  std::uint64_t hook_calls_ = 0;
  Shape shape_;
  Table table_;
  std::vector<Entry> plain_;
};

template <class Format>
void measure(benchmark::State& state, const Format& format, Call call, Shape shape) {
  Bench<Format> bench{format, shape};
  double subject = 0;
  double limit = 0;
  std::uint64_t hook_calls = 0;
  std::uint64_t tables = 0;
  for (auto _ : state) {
    if (call != Call::map) bench.run(Call::map);
    auto const before = bench.hook_calls();
    auto const time = seconds([&] { bench.run(call); });
    hook_calls += bench.hook_calls() - before;
    limit += seconds([&] { bench.run_plain(call); });
    tables = bench.tables();
    if (call != Call::unmap) bench.run(Call::unmap);
    subject += time;
    state.SetIterationTime(time);
  }
  auto const rounds = static_cast<double>(state.iterations());
  auto const units = rounds * static_cast<double>(shape.units());
  state.counters["ns"] = 1e9 * subject / units;
  state.counters["limit"] = 1e9 * limit / units;
  state.counters["ratio"] = subject / limit;
  state.counters["hook calls"] = static_cast<double>(hook_calls) / (rounds * static_cast<double>(shape.calls));
  state.counters["tables"] = static_cast<double>(tables);
}

/// One line for each benchmark: the medians of its repetitions.
class Lines : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context&) override {
    std::puts(
        "Nanoseconds per leaf entry; the limit is a plain loop of stores. Medians; tables are those after the call.\n"
        "Judged: nanoseconds per call under the hostile MMU; the limit is the same call unwatched.");
    std::printf("%-42s %10s %10s %8s %11s %7s\n", "", "ns", "limit", "ratio", "hooks/call", "tables");
    return true;
  }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (auto const& run : runs) {
      if (run.aggregate_name != "median") continue;
      auto const counter = [&](const char* name) { return run.counters.at(name).value; };
      std::printf("%-42s %10.2f %10.2f %8.2f %11.1f %7.0f\n", run.run_name.function_name.c_str(), counter("ns"),
                  counter("limit"), counter("ratio"), counter("hook calls"), counter("tables"));
      std::fflush(stdout);
    }
  }
};

template <class Run>
void add_one(const std::string& title, bool quick, Run run) {
  benchmark::RegisterBenchmark(title.c_str(), run)
      ->UseManualTime()
      ->MinTime(quick ? 0.01 : 0.1)
      ->Repetitions(quick ? 3 : 9)
      ->ReportAggregatesOnly();
}

template <class Format>
void add(const char* name, const Format& format, bool quick) {
  for (auto call : {Call::map, Call::protect, Call::unmap})
    for (auto const& shape : shapes)
      add_one(std::string{names[static_cast<int>(call)]} + ", " + name + ", " + shape.name, quick,
              [=](benchmark::State& state) { measure(state, format, call, shape); });
  add_one(std::string{"judged, "} + name + ", a few pages", quick,
          [=](benchmark::State& state) { bench::measure_oracle(state, format); });
}

constexpr aarch64::Features arm_cpu{
    .pa_bits = 48, .granule_4k = true, .hardware_accessed = true, .hardware_dirty = true, .xnx = true, .fwb = true};
constexpr x86_64::EptFeatures intel_cpu{.pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .accessed_dirty = true};
constexpr x86_64::NptFeatures amd_cpu{.pa_bits = 48, .nested_paging = true, .leaf_1g = true, .no_execute = true};

}  // namespace

int main(int argc, char** argv) {
  auto const quick = argc > 1 && std::string_view{argv[1]} == "--quick";
  add("Arm stage-2", *aarch64::Stage2<>::create(arm_cpu, {}), quick);
  add("EPT", *x86_64::Ept::create(intel_cpu, {}), quick);
  add("NPT", *x86_64::Npt::create(amd_cpu, {}), quick);
  Lines lines;
  benchmark::RunSpecifiedBenchmarks(&lines);
}
