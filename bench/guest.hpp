#pragma once

// One guest's table with its frames, and what every row about it has in common.

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include <slat/arch/x86_64/ept.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/page_table.hpp>

#include "row.hpp"

namespace slat::bench {

struct Counts {
  std::uint64_t hook_calls = 0;
  std::uint64_t barriers = 0;
};
struct CountingHook {
  Counts* counts;
  void operator()(HostPhys, const Stale&) noexcept { ++counts->hook_calls; }
  void publish() noexcept { ++counts->barriers; }
};

/// A compiler can neither leave out, nor gather, nor put off the stores before this.
inline void clobber() { asm volatile("" ::: "memory"); }
/// A value of which a compiler knows nothing.
inline std::uint64_t opaque(std::uint64_t value) {
  asm volatile("" : "+r"(value));
  return value;
}
/// Every call succeeds, or nothing is worth measuring.
template <class T>
void must(const Result<T>& done) {
  if (!done) std::abort();
}

/// Bytes that the host has mapped already, by large pages where it has some: its page faults are nobody's work here.
class Memory {
 public:
  explicit Memory(std::uint64_t bytes)
      : bytes_{(bytes + 2_MiB - 1) & ~(2_MiB - 1)}, begin_{static_cast<std::byte*>(std::aligned_alloc(2_MiB, bytes_))} {
    if (begin_ == nullptr) std::abort();
    madvise(begin_.get(), bytes_, MADV_HUGEPAGE);
    for (std::uint64_t at = 0; at != bytes_; at += 4_KiB) begin_[at] = std::byte{1};
  }
  std::span<std::byte> bytes() const { return {begin_.get(), bytes_}; }
  Entry* entries() const { return reinterpret_cast<Entry*>(begin_.get()); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::uint64_t bytes_;
  std::unique_ptr<std::byte[], Free> begin_;
};

/// Where limits store what the subject stores in tables.
class Entries {
 public:
  explicit Entries(std::uint64_t count) : memory_{count * sizeof(Entry)}, count_{count} {}
  Entry* begin() const { return memory_.entries(); }
  Entry* end() const { return begin() + count_; }

 private:
  Memory memory_;
  std::uint64_t count_;
};

/// A pool with room for so many tables beside its own bookkeeping.
class Frames {
 public:
  explicit Frames(std::uint64_t tables) : memory_{tables * (4_KiB + 16) + 64_KiB} { reset(); }
  FramePool& pool() { return *pool_; }
  std::uint64_t used() const { return pool_->used(); }
  /// All are free again.
  void reset() { pool_.emplace(memory_.bytes(), HostPhys{0x8000'0000}); }

 private:
  Memory memory_;
  std::optional<FramePool> pool_;
};

// ---- formats ----

inline constexpr x86_64::EptFeatures intel_cpu{
    .pa_bits = 46, .leaf_2m = true, .leaf_1g = true, .accessed_dirty = true, .pschange_mc_no = true};
/// Hardware only reads: what plain stores can do.
inline x86_64::Ept plain_ept() { return *x86_64::Ept::create(intel_cpu, {.accessed_dirty = false}); }
/// Hardware sets A and D beside every store.
inline x86_64::Ept marking_ept() { return *x86_64::Ept::create(intel_cpu, {}); }

// ---- the guest ----

inline constexpr GuestPhys guest_base{0x40'0000'0000};

template <class Format>
class Guest {
 public:
  using Table = PageTable<Format, FramePool, CountingHook>;

  Guest(const Format& format, std::uint64_t tables) : frames_{tables}, format_{format} { create(); }

  Table& table() { return *table_; }
  const Table& table() const { return *table_; }
  std::uint64_t frames() const { return frames_.used(); }
  void create() { table_.emplace(*Table::create(format_, frames_.pool(), CountingHook{&counts})); }
  void destroy() { table_.reset(); }
  bool exists() const { return table_.has_value(); }

  static GuestRange page(std::uint64_t number) { return {guest_base + number * 4_KiB, 4_KiB}; }
  /// Host addresses are aligned as a leaf is and no better, so that no larger one fits.
  static HostPhys host(GuestRange range, std::uint64_t leaf) { return HostPhys{range.begin.raw() + (1_GiB | leaf)}; }
  Result<> map(GuestRange range, std::uint64_t leaf) { return table().map(range, host(range, leaf), rwx); }

  Counts counts;

 private:
  Frames frames_;
  Format format_;
  std::optional<Table> table_;
};

/// A row about one guest.
template <class Format = x86_64::Ept>
class GuestRow : public Row {
 public:
  GuestRow(const Format& format, std::uint64_t tables) : guest_{format, tables} {}
  Facts facts() const override {
    return {.hook_calls = guest_.counts.hook_calls - before_.hook_calls,
            .tables = guest_.exists() ? guest_.table().tables() : 0,
            .barriers = guest_.counts.barriers - before_.barriers};
  }

 protected:
  /// How prepare() ends.
  void begin() { before_ = guest_.counts; }

  Guest<Format> guest_;

 private:
  Counts before_;
};

/// A row of class R, which is made of these arguments.
template <class R, class... Arguments>
RowEntry entry(std::string title, std::uint64_t units, std::uint64_t target, Arguments... arguments) {
  return {std::move(title), units, target, [=] { return std::make_unique<R>(arguments...); }};
}
inline RowEntry operator|(RowEntry row, const Facts& exact) {
  row.exact = exact;
  return row;
}

}  // namespace slat::bench
