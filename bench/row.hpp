#pragma once

// What is measured: rows, each with the limit that it runs beside. Nothing here is a floating-point number, so that the
// rows can be compiled as EL2 and VMX root are, with general registers only.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace slat::bench {

/// What a turn of the subject has done.
struct Facts {
  std::uint64_t hook_calls = 0;
  std::uint64_t tables = 0;    // in use afterwards
  std::uint64_t bytes = 0;     // that it took, where the row is about memory; or beside each region, where about those
  std::uint64_t barriers = 0;  // by which stores were published

  friend bool operator==(const Facts&, const Facts&) = default;
};

/// One row's state. Before each turn, of a limit and of the subject, comes prepare(), which nobody measures.
class Row {
 public:
  virtual ~Row() = default;
  virtual void prepare() = 0;
  /// The limit is the fastest of these.
  virtual unsigned limits() const { return 1; }
  virtual void limit(unsigned which) = 0;
  virtual void subject() = 0;
  virtual Facts facts() const { return {}; }
};

struct RowEntry {
  std::string title;
  std::uint64_t units;   // pages, blocks or calls in a turn
  std::uint64_t target;  // at most so many thousandths of the limit; 0: for information
  std::function<std::unique_ptr<Row>()> make;

  std::uint64_t instructions = 0;  // at most so many a unit, where that is a target too
  std::optional<Facts> exact{};    // what a turn must have done, if the row promises that
  bool large = false;              // takes long to set up: not for a quick run, and not counted by callgrind
};

std::vector<RowEntry> table_rows();
std::vector<RowEntry> region_rows();

}  // namespace slat::bench
