// Times every row beside its limit, and tells of it.
//
//   measure FOLDER [--quick] [ROW...]    all rows, or those whose titles begin so
//
// FOLDER holds counts.txt, what `bench/instructions` found, and gets measure.json and measure.svg.

#include <benchmark/benchmark.h>
#include <sched.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "avx2_rows.hpp"
#include "duel.hpp"
#include "judged_rows.hpp"
#include "report.hpp"
#include "shortfalls.hpp"

namespace {

using namespace slat::bench;

/// Wherever this thread is now, it stays.
void pin() {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
  if (sched_setaffinity(0, sizeof one, &one) != 0) std::fputs("measure: this thread cannot be pinned\n", stderr);
}

bool has_avx2() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx2") != 0;
#else
  return false;
#endif
}

std::string machine() {
  std::string model = "unknown CPU";
  std::ifstream info{"/proc/cpuinfo"};
  for (std::string line; std::getline(info, line);)
    if (line.starts_with("model name") || line.starts_with("CPU part")) {
      model = line.substr(line.find(':') + 2);
      break;
    }
#if defined(__clang__)
  std::string const compiler = __VERSION__;
#else
  std::string const compiler = "g++ " __VERSION__;
#endif
  return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " CPUs, " + compiler;
}

/// Instructions a unit, by title. A line of counts.txt: instructions, four counts, title.
std::map<std::string, double> counted(const std::string& path) {
  std::map<std::string, double> result;
  std::ifstream file{path};
  for (std::string line; std::getline(file, line);) {
    double instructions;
    std::string skipped, title;
    std::istringstream words{line};
    if (words >> instructions >> skipped >> skipped >> skipped >> skipped && std::getline(words >> std::ws, title))
      result[title] = instructions;
  }
  return result;
}

constexpr int rounds = 9;

/// `rounds` iterations, each of as many turns as the time allows.
void measure(benchmark::State& state, Finding& finding, const RowEntry* twin, double seconds) {
  Duel duel{finding.entry, twin};
  auto const start = now(CLOCK_MONOTONIC);
  duel.round();
  auto const turns = std::clamp(seconds / rounds / (now(CLOCK_MONOTONIC) - start), 1.0, 1000.0);
  for (auto _ : state) {
    for (int turn = 0; turn < static_cast<int>(turns); ++turn) duel.round();
    state.SetIterationTime(duel.subject().median());
  }
  auto const each = 1e9 / static_cast<double>(finding.entry.units);
  finding.ns = each * duel.subject().least();
  finding.median = each * duel.subject().median();
  finding.limit = each * duel.limit().least();
  finding.avx2 = each * duel.twin().least();
  finding.facts = duel.facts();
  finding.steady = duel.steady();
  auto& counters = state.counters;
  counters["ns"] = finding.ns;
  counters["ns, median"] = finding.median;
  counters["limit, ns"] = finding.limit;
  counters["limit, ns, median"] = each * duel.limit().median();
  counters["ratio"] = finding.ratio();
  if (finding.entry.target != 0) counters["target"] = finding.target();
  if (finding.has_target()) counters["met"] = finding.missed().empty() ? 1 : 0;
  counters["hook calls"] = static_cast<double>(finding.facts.hook_calls);
  counters["tables"] = static_cast<double>(finding.facts.tables);
  counters["barriers"] = static_cast<double>(finding.facts.barriers);
  counters["bytes"] = static_cast<double>(finding.facts.bytes);
  counters["instructions"] = finding.instructions;
  if (twin != nullptr) counters["ns, AVX2"] = finding.avx2;
}

/// A line as soon as its row is done.
class Lines : public benchmark::BenchmarkReporter {
 public:
  Lines(const Table& table, const std::vector<Finding>& findings) : table_{table}, findings_{findings} {}
  bool ReportContext(const Context&) override {
    table_.head();
    return true;
  }
  void ReportRuns(const std::vector<Run>&) override { table_.line(findings_[next_++]); }

 private:
  const Table& table_;
  const std::vector<Finding>& findings_;
  std::size_t next_ = 0;
};

/// Why rows missed their targets, a line for those that have it in common.
void print_shortfalls(const std::vector<Finding>& findings) {
  std::string_view last;
  for (auto const& finding : findings) {
    if (!finding.verdict().starts_with("not")) continue;
    auto const& [rows, why] = shortfall_of(finding.entry.title);
    if (rows == last) continue;
    last = rows;
    std::printf("%.*s: %.*s\n", static_cast<int>(rows.size()), rows.data(), static_cast<int>(why.size()), why.data());
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  std::string const folder = argv[1];
  auto const quick = argc > 2 && std::string_view{argv[2]} == "--quick";
  std::vector<std::string_view> const chosen(argv + (quick ? 3 : 2), argv + argc);
  auto const is_chosen = [&chosen](std::string_view title) {
    return chosen.empty() ||
           std::any_of(chosen.begin(), chosen.end(), [&](auto name) { return title.starts_with(name); });
  };
  auto const counts = counted(folder + "/counts.txt");
  pin();

  std::vector<RowEntry> const twins = has_avx2() ? avx2_rows() : std::vector<RowEntry>{};
  std::vector<Finding> findings;
  for (auto const rows : {table_rows, region_rows, judged_rows})
    for (auto& row : rows()) {
      if ((quick && row.large) || !is_chosen(row.title)) continue;
      auto const known = counts.find(row.title);
      Finding finding;
      finding.instructions = known == counts.end() ? 0 : known->second;
      finding.entry = std::move(row);
      findings.push_back(std::move(finding));
    }
  for (auto& finding : findings) {
    auto const twin =
        std::find_if(twins.begin(), twins.end(), [&](auto& row) { return row.title == finding.entry.title; });
    auto const run = [&finding, quick, twin = twin == twins.end() ? nullptr : &*twin](benchmark::State& state) {
      measure(state, finding, twin, quick ? 0.2 : 2);
    };
    benchmark::RegisterBenchmark(finding.entry.title.c_str(), run)->Iterations(rounds)->UseManualTime();
  }

  std::printf(
      "%s\n"
      "ns: what a unit (a page, a block, a call) takes, the fastest and the median of at least 9 turns; AVX2: the same "
      "by\n"
      "vectors, where the CPU has them. Hooks: calls of the hook in a turn. Tables: after it.\n\n",
      machine().c_str());
  auto const json = folder + "/measure.json", picture = folder + "/measure.svg";
  std::string out = "--benchmark_out=" + json, format = "--benchmark_out_format=json";
  char* flags[] = {argv[0], out.data(), format.data()};
  int count = 3;
  benchmark::Initialize(&count, flags);
  Table const table{!twins.empty()};
  Lines lines{table, findings};
  benchmark::RunSpecifiedBenchmarks(&lines);
  if (!draw(picture, findings, machine())) return 1;

  auto const met = std::count_if(findings.begin(), findings.end(), [](auto& f) { return f.verdict() == "met"; });
  auto const all = std::count_if(findings.begin(), findings.end(), [](auto& f) { return f.has_target(); });
  std::printf("\n%s, %s\n%d of %d rows met their target, %d did not\n", json.c_str(), picture.c_str(),
              static_cast<int>(met), static_cast<int>(all), static_cast<int>(all - met));
  print_shortfalls(findings);
}
