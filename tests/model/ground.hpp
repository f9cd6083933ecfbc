#pragma once

// What a random test works on: a table under the eyes of the oracle, the areas that drive it, the pages that populate
// them, and the flat map of what all that is meant to be.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <slat/mm/backends.hpp>
#include <slat/mm/memory_set.hpp>

#include <slat/testing/oracle.hpp>

#include "model/census.hpp"
#include "model/flat_map.hpp"
#include "model/guest_pages.hpp"
#include "model/raw_tree.hpp"

namespace slat::test {
using namespace slat::testing;

struct WorldOptions {
  std::size_t frames = 96;
  std::uint64_t seed = 1;  // of the oracle's hardware
  unsigned period = 0;     // of its turns
  bool has_areas = true;
  std::uint64_t large_page = 0;  // what the second page source populates
  std::size_t thorough = 16;     // see above
};

/// One call, for the report of what went wrong.
struct Operation {
  std::string_view name;
  GuestRange range{};
  HostPhys host{};
  Attr attr{};
  std::optional<std::size_t> frames;  // so many may be had, and no more
};

inline std::string describe(const Operation& operation) {
  std::string out{operation.name};
  auto const append = [&out](std::string_view piece) { out += piece; };
  out += " ";
  print_range(append, operation.range);
  out += " to " + hex(operation.host.raw()) + ", ";
  print(append, operation.attr);
  if (operation.frames) out += ", with " + std::to_string(*operation.frames) + " frames";
  return out;
}

template <class Format>
class Ground {
  using Checked = Oracle<Format>;

 public:
  using Reader = typename Checked::Reader;
  using Table = typename Checked::Table;
  using Source = PageSource<GuestPages, LeaveAsIs>;
  using Backend = Backends<Table, Source>;
  using Set = MemorySet<Attr, Table, Backend>;

  Ground(const Format& format, const std::vector<GuestPhys>& bounds, const WorldOptions& options, Census& census)
      : format_{format},
        reader_{reader_for(format)},
        geometry_{format.geometry()},
        options_{options},
        census_{&census},
        oracle_{format, {.frames = options.frames, .tlb = {.seed = options.seed, .period = options.period}}},
        pages_{oracle_.recorder(), geometry_.page_size(), options.large_page},
        by_granule_{pages_, geometry_.page_size(), geometry_.page_size(), {}},
        by_large_page_{pages_, geometry_.page_size(), options.large_page, {}},
        flat_{bounds},
        raw_{reader_, oracle_.frames(), oracle_.table().root(), flat_.universe()} {}
  Ground(const Ground&) = delete;
  Ground& operator=(const Ground&) = delete;

  const FlatMap& flat() const { return flat_; }
  const Format& format() const { return format_; }
  const Geometry& geometry() const { return geometry_; }
  bool has_areas() const { return options_.has_areas; }
  bool editing() const { return edit_.has_value(); }
  /// What hardware finds there.
  Found walk(GuestPhys at) const { return oracle_.tlb().walk(at); }
  bool sound() const { return complaint_.empty(); }
  std::string why() const { return complaint_; }

 protected:
  ~Ground() {
    // The oracle's table may owe pages.
    edit_.reset();
    oracle_.frames().never_fail();
    oracle_.destroy();
  }

  Table& table() { return oracle_.table(); }
  Source& page_source(unsigned i) { return i == 0 ? by_granule_ : by_large_page_; }
  /// The first complaint counts.
  bool complain(const std::string& what) {
    if (complaint_.empty()) complaint_ = what + "\nin " + describe(operation_) + "\n" + oracle_.why();
    return false;
  }
  void listen_to_oracle() {
    if (oracle_.violation() != Offence::none) complain("the oracle objects");
  }

  Format format_;
  Reader reader_;
  Geometry geometry_;
  WorldOptions options_;
  Census* census_;
  mutable Checked oracle_;
  GuestPages pages_;
  Source by_granule_;
  Source by_large_page_;
  Set set_;
  FlatMap flat_;
  RawTree<Reader> raw_;
  std::optional<typename Checked::Edit> edit_;
  std::optional<std::size_t> limit_;
  Operation operation_{"nothing", {}, {}, {}, {}};
  std::string complaint_;
  std::size_t checks_ = 0;
  std::size_t calls_in_edit_ = 0;
  bool stored_ = false;
  bool settled_ = false;
};

}  // namespace slat::test
