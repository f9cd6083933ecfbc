// Random calls of a set over a backend of the three operations alone, a byte for each address, that fails now and then:
// the set describes what the bytes hold, and touches nothing that is not its own.

#include <array>

#include <slat/mm/memory_set.hpp>

#include <slat/testing/random.hpp>

#include "mutants/check.hpp"

namespace slat::test {
using testing::Random;

const char* const check_name = "sets";

namespace {

constexpr std::size_t cells = 64;
constexpr GuestPhys base{~std::uint64_t{0} - (cells - 1)};  // up to the end of the address space
constexpr std::uint8_t foreign = 255;

struct Table {
  std::array<std::uint8_t, cells> bytes{};
  unsigned failing = 0;  // the operation that fails; 0: none

  bool fails() { return failing != 0 && --failing == 0; }
  std::uint8_t* at(GuestPhys where) { return &bytes[where - base]; }
};

struct Backend {
  bool map(GuestPhys start, std::uint64_t size, std::uint8_t flags, Table& table) {
    for (auto i = size; i-- != 0;)
      if (*table.at(start + i) != 0) return false;
    return set(start, size, flags, table);
  }
  bool unmap(GuestPhys start, std::uint64_t size, Table& table) { return set(start, size, 0, table); }
  bool protect(GuestPhys start, std::uint64_t size, std::uint8_t flags, Table& table) {
    return set(start, size, flags, table);
  }

 private:
  static bool set(GuestPhys start, std::uint64_t size, std::uint8_t flags, Table& table) {
    if (table.fails()) return false;
    for (auto i = size; i-- != 0;) *table.at(start + i) = flags;
    return true;
  }
};

class Sets {
 public:
  explicit Sets(std::uint64_t seed) : random_{seed} { table_.bytes[10] = foreign; }

  std::string step() {
    auto const first = random_.below(cells);
    auto const size =
        random_.once_in(4) ? cells - first : 1 + random_.below(std::min<std::uint64_t>(16, cells - first));
    auto const start = base + first;
    auto const flags = static_cast<std::uint8_t>(1 + random_.below(3));
    table_.failing = random_.once_in(3) ? static_cast<unsigned>(1 + random_.below(4)) : 0;
    switch (random_.below(4)) {
      case 0: (void)set_.map({start, size, flags}, table_, random_.once_in(2)); break;
      case 1: (void)set_.unmap(start, size, table_); break;
      case 2: (void)set_.map({start, size, flags}, table_); break;
      default:
        (void)set_.protect(
            start, size, [&](std::uint8_t) { return std::optional{flags}; }, table_);
    }
    table_.failing = 0;
    return violation();
  }

 private:
  std::string violation() {
    if (table_.bytes[10] != foreign && set_.find(base + 10) == nullptr) return "what was not the set's own is gone";
    for (std::size_t i = 0; i != cells; ++i) {
      auto const* const area = set_.find(base + i);
      auto const byte = table_.bytes[i];
      if ((area == nullptr ? 0 : area->flags()) != (byte == foreign ? 0 : byte))
        return "area and table disagree at the end of the address space less " + std::to_string(cells - i);
    }
    return {};
  }

  Random random_;
  Table table_;
  MemorySet<std::uint8_t, Table, Backend> set_;
};

}  // namespace

Outcome run_check() {
  Outcome outcome;
  for (std::uint64_t seed = 1; seed != 40; ++seed) {
    Sets sets{seed};
    for (auto i = 0; i != 50 && outcome.violation.empty(); ++i) {
      ++outcome.operations;
      outcome.violation = sets.step();
    }
  }
  return outcome;
}

}  // namespace slat::test
