// Runs rows once, so that callgrind can count their instructions: the subject alone, and not what prepares it. Prints a
// line for each: units, hook calls, barriers, tables, bytes, title. See `bench/instructions`.
//
//   count           every row
//   count --list    their titles
//   count TITLE...  these rows

#include <valgrind/callgrind.h>

#include <cstdio>
#include <string_view>

#include "row.hpp"

namespace {

void run(const slat::bench::RowEntry& entry) {
  auto const row = entry.make();
  row->prepare();
  CALLGRIND_START_INSTRUMENTATION;
  row->subject();
  CALLGRIND_STOP_INSTRUMENTATION;
  CALLGRIND_DUMP_STATS_AT(entry.title.c_str());
  auto const facts = row->facts();
  for (auto const figure : {entry.units, facts.hook_calls, facts.barriers, facts.tables, facts.bytes})
    std::printf("%llu ", static_cast<unsigned long long>(figure));
  std::printf("%s\n", entry.title.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  auto rows = slat::bench::table_rows();
  for (auto& row : slat::bench::region_rows())
    if (!row.large) rows.push_back(std::move(row));
  if (argc > 1 && std::string_view{argv[1]} == "--list") {
    for (auto const& row : rows) std::puts(row.title.c_str());
    return 0;
  }
  if (argc == 1)
    for (auto const& row : rows) run(row);
  for (int i = 1; i < argc; ++i) {
    bool found = false;
    for (auto const& row : rows)
      if (row.title == argv[i]) {
        run(row);
        found = true;
      }
    if (!found) {
      std::fprintf(stderr, "count: no such row: %s\n", argv[i]);
      return 1;
    }
  }
}
