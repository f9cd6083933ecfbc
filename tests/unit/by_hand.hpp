#pragma once

// Frames, a hook and the oracle, driven without a page table: what a test of the oracle itself needs to do wrong
// things, one at a time. Entries are spelled out here once more, so that neither a format nor a reader is its own
// witness.

#include <cstddef>
#include <utility>

#include <slat/testing/arm_reader.hpp>
#include <slat/testing/ept_reader.hpp>
#include <slat/testing/hostile_tlb.hpp>
#include <slat/testing/npt_reader.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/recording_frames.hpp>

namespace slat::test {
using namespace slat::testing;

struct ArmMachine {
  static constexpr ArmFeatures features{.granule_bits = 12,
                                        .input_bits = 39,
                                        .root = 2,
                                        .output_bits = 48,
                                        .fwb = false,
                                        .xnx = false,
                                        .ha = true,
                                        .hd = true,
                                        .bbm = 0};
  static ArmReader reader() { return ArmReader{features}; }
  static Entry table(HostPhys to) { return to.raw() | 0x3; }
  // Normal write-back, inner shareable, accessed, read and execute.
  static Entry leaf(Level level, HostPhys to) { return to.raw() | (level == 0 ? 0x77f : 0x77d); }
  static Entry clean(Level level, HostPhys to) { return leaf(level, to) | 1ull << 51; }
  static Entry dirty(Level level, HostPhys to) { return clean(level, to) | 0x80; }
  static Entry uncached(Level level, HostPhys to) { return to.raw() | (level == 0 ? 0x757 : 0x755); }
  static Entry broken(Entry entry) { return entry & ~1ull; }
  static Entry not_executable(Entry entry) { return entry | 1ull << 54; }
  static constexpr Entry accessed = 1ull << 10;
};
struct ArmBbm2Machine : ArmMachine {
  static ArmReader reader() {
    auto with = features;
    with.bbm = 2;
    return ArmReader{with};
  }
};
struct EptMachine {
  static constexpr EptFeatures features{.levels = 4,
                                        .output_bits = 46,
                                        .top_leaf = 2,
                                        .execute_only = true,
                                        .mode_based_execute = false,
                                        .accessed_dirty = true,
                                        .page_size_erratum = false};
  static EptReader reader() { return EptReader{features}; }
  static Entry table(HostPhys to) { return to.raw() | 0x7; }
  // Write-back, accessed, read and execute.
  static Entry leaf(Level level, HostPhys to) { return to.raw() | (level == 0 ? 0x135 : 0x1b5); }
  static Entry clean(Level level, HostPhys to) { return leaf(level, to) | 0x2; }
  static Entry dirty(Level level, HostPhys to) { return clean(level, to) | 0x200; }
  static Entry uncached(Level level, HostPhys to) { return to.raw() | (level == 0 ? 0x10d : 0x18d); }
  static Entry broken(Entry entry) { return ((entry & ~7ull) ^ ((1ull << 52) - 0x1000)) | 1ull << 63; }
  static Entry not_executable(Entry entry) { return entry & ~4ull; }
  static constexpr Entry accessed = 1ull << 8;
};
struct EptErratumMachine : EptMachine {
  static EptReader reader() {
    auto with = features;
    with.page_size_erratum = true;
    return EptReader{with};
  }
};
struct NptMachine {
  // Write-combining is the fifth type of the PAT.
  static constexpr NptFeatures features{
      .levels = 4, .output_bits = 48, .top_leaf = 2, .no_execute = true, .pat = 0x0007'0401'0007'0406};
  static NptReader reader() { return NptReader{features}; }
  static Entry table(HostPhys to) { return to.raw() | 0x7; }
  // Write-back, accessed, read and execute.
  static Entry leaf(Level level, HostPhys to) { return to.raw() | (level == 0 ? 0x25 : 0xa5); }
  static Entry clean(Level level, HostPhys to) { return leaf(level, to) | 0x2; }
  static Entry dirty(Level level, HostPhys to) { return clean(level, to) | 0x40; }
  static Entry uncached(Level level, HostPhys to) { return leaf(level, to) | (level == 0 ? 0x80 : 0x1000); }
  static Entry broken(Entry entry) { return entry & ~1ull; }
  static Entry not_executable(Entry entry) { return entry | 1ull << 63; }
  static constexpr Entry accessed = 1ull << 5;
};

inline constexpr auto page = 4_KiB;
inline constexpr auto block = 2_MiB;
inline constexpr GuestRange first_page{0_gpa, page}, first_block{0_gpa, block};
inline constexpr HostPhys ram = 0x1'0000'0000_hpa, other_ram = 0x2'0000'0000_hpa;

/// Tables down to level 0 for address 0, all absent, and hardware that acts only when told to.
template <class Machine>
class ByHand {
 public:
  using Reader = decltype(Machine::reader());

  ByHand() {
    upper_ = root_;
    tlb_.judge_stores(false);
    tlb_.attach(root_);
    for (auto level = Machine::reader().shape().root; level != 1; --level) {
      auto const below = table();
      store(upper_, 0, Machine::table(below));
      upper_ = below;
    }
    publish();
    tlb_.judge_stores(true);
  }

  /// The table of level 1, each entry of which is a block.
  HostPhys blocks() const { return upper_; }
  HostPhys root() const { return root_; }
  /// A table that nobody sees yet, with all entries `entry + step * index`.
  HostPhys table(Entry entry = 0, std::uint64_t step = 0) {
    auto const at = *frames_.allocate(page);
    for (std::size_t i = 0; i != page / sizeof(Entry); ++i) frames_.view(at)[i] = entry + step * i;
    return at;
  }
  void store(HostPhys table, std::size_t i, Entry entry) { frames_.store(frames_.view(table) + i, entry); }
  Entry load(HostPhys table, std::size_t i) { return frames_.load(frames_.view(table) + i); }
  void publish() { hook_.publish(); }
  void invalidate(GuestRange range, Level level, bool tables = false) {
    Stale stale;
    stale.add(range, level, tables, false);
    hook_(root_, stale);
  }
  void wait() { hook_.wait_for_readers(); }
  void release(HostPhys table) { frames_.release(table, page); }
  Offence end() {
    tlb_.finish_edit();
    return recorder_.take_violation();
  }
  Offence offence() { return recorder_.take_violation(); }

  void begin(Change change) { tlb_.begin(std::move(change)); }
  void commit() { tlb_.commit(); }
  /// Declares and does: `range`, which was nothing, means `host`.
  void link(HostPhys table, std::size_t i, Entry entry, GuestRange range, HostPhys host, Attr attr) {
    begin(Change::map(range, host, attr));
    store(table, i, entry);
    publish();
    commit();
  }
  /// Block 0 is a table of pages onto `ram`.
  HostPhys pages(Entry first, Attr attr) {
    auto const below = table(first, page);
    link(blocks(), 0, Machine::table(below), first_block, ram, attr);
    return below;
  }

  Recorder recorder_;
  RecordingFrames frames_{recorder_, page, 64};
  RecordingHook hook_{recorder_};
  HostPhys root_ = table();
  HostPhys upper_;
  HostileTlb<Reader> tlb_{recorder_, frames_, Machine::reader(), {.period = 0}};
};

}  // namespace slat::test
