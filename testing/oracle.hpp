#pragma once

// A page table of any format under the eyes of the oracle.
//
//   Oracle oracle{Variant::make()};
//   oracle.map({0x4000'0000_gpa, 1_GiB}, 0x8000'0000_hpa, rwx);
//   { auto edit = oracle.edit();  oracle.protect(...);  oracle.unmap(...); }
//   EXPECT_FALSE(oracle.violation()) << oracle.why();
//
// Each call declares what it is about to do, does it, and has every store, barrier, invalidation and release judged.
// Calls that go another way (a MemorySet's, a transaction's) are wrapped by perform().

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <slat/mm/page_table.hpp>
#include <slat/mm/result.hpp>

#include <slat/testing/hostile_tlb.hpp>
#include <slat/testing/lowering.hpp>
#include <slat/testing/readers.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/recording_frames.hpp>
#include <slat/testing/trace.hpp>

namespace slat::testing {

struct OracleOptions {
  std::size_t frames = 256;
  TlbOptions tlb{};
  bool own_lowering = true;  // slat's own instructions, on several CPUs; else a hook that is always right
  bool keep_trace = false;   // for trace(): every event from the first on
  bool only_tables = true;   // nothing but the table takes frames from the pool: so leaks can be counted
};

template <class Format>
class Oracle {
 public:
  using Reader = decltype(reader_for(std::declval<const Format&>()));
  using Table = PageTable<Format, RecordingFrames, RecordingHook>;

  explicit Oracle(const Format& format, OracleOptions options = {})
      : only_tables_{options.only_tables},
        frames_{recorder_, format.geometry().table_bytes(), options.frames},
        tlb_{recorder_, frames_, reader_for(format), options.tlb},
        cpus_{recorder_, format, options.tlb.seed},
        own_lowering_{options.own_lowering},
        waits_for_readers_{options.tlb.waits_for_readers} {
    if (options.keep_trace) recorder_.keep_all();
    auto const lowering = own_lowering_ ? &cpus_ : nullptr;
    table_.emplace(*Table::create(format, frames_, RecordingHook{recorder_, lowering}));
    tlb_.attach(table_->root());
    if (own_lowering_) cpus_.start(table_->root());
    tlb_.read_age_with([format](Level level, Entry entry) { return format.age(level, entry); });
  }
  Oracle(const Oracle&) = delete;
  Oracle& operator=(const Oracle&) = delete;
  ~Oracle() { destroy(); }

  Table& table() { return *table_; }
  Recorder& recorder() { return recorder_; }
  RecordingFrames& frames() { return frames_; }
  HostileTlb<Reader>& tlb() { return tlb_; }
  Cpus<Format>& cpus() { return cpus_; }
  const Intent& intent() const { return tlb_.intent(); }
  Offence violation() const { return recorder_.violation() ? recorder_.violation()->offence : Offence::none; }
  /// What led here, to be saved, replayed and shrunk.
  Trace<Reader> trace() const {
    return {tlb_.reader(),
            {.base = frames_.frame(0),
             .frames = frames_.count(),
             .needs_publish = true,
             .waits_for_readers = waits_for_readers_},
            recorder_.kept()};
  }
  std::string why() const { return recorder_.violation() ? recorder_.violation()->text : std::string{}; }

  Result<> map(GuestRange range, HostPhys host, Attr attr) {
    return perform("map", Change::map(range, host, attr), [&] { return table_->map(range, host, attr); });
  }
  Result<> replace(GuestRange range, HostPhys host, Attr attr) {
    return perform("replace", Change::map(range, host, attr), [&] { return table_->replace(range, host, attr); });
  }
  Result<> unmap(GuestRange range) {
    return perform("unmap", Change::unmap(range), [&] { return table_->unmap(range); });
  }
  /// With the marks `what` told. It pays what a wider edit owes.
  template <class Sink>
  Result<> unmap(GuestRange range, Age what, Sink sink) {
    auto const done = perform("unmap and tell", Change::unmap(range), [&] {
      auto result = table_->unmap(range, what, [&](GuestRange run) {
        tlb_.harvested(run, what);
        sink(run);
      });
      if (result) tlb_.told(range, what);
      return result;
    });
    if (done && edits_ != 0) finish();
    return done;
  }
  Result<> protect(GuestRange range, Attr attr) {
    return perform("protect", Change::attributes(intent(), range, attr), [&] { return table_->protect(range, attr); });
  }
  Result<> split(GuestRange range) {
    return perform("split", Change::same(intent(), range), [&] { return table_->split(range); });
  }
  Result<> coalesce(GuestRange range) {
    return perform("coalesce", Change::same(intent(), range), [&] { return table_->coalesce(range); });
  }
  template <class Sink>
  Result<> harvest(GuestRange range, Age what, Sink sink) {
    auto const change = what.dirty ? Change::harvest(intent(), range) : Change::same(intent(), range);
    return perform("harvest", change, [&] {
      return table_->harvest(range, what, [&](GuestRange run) {
        tlb_.harvested(run, what);
        sink(run);
      });
    });
  }
  Result<> harvest(GuestRange range, Age what) {
    return harvest(range, what, [](GuestRange) {});
  }

  /// Runs `call`, which returns a Result and does what `change` says if that is true, and nothing if not.
  template <class Call>
  auto perform(std::string_view name, Change change, Call call) {
    recorder_.remark(std::string{name} + " " + text(change.range));
    auto const stores = recorder_.stores();
    auto const shootdowns = recorder_.shootdowns();
    auto const in_use = frames_.in_use();
    if (own_lowering_ && edits_ == 0) cpus_.stir();
    tlb_.begin(std::move(change));
    auto result = call();
    if (result) {
      tlb_.commit();
    } else {
      if (recorder_.stores() != stores || recorder_.shootdowns() != shootdowns || frames_.in_use() != in_use)
        recorder_.report(Offence::failure_changed, std::string{name});
      tlb_.abandon();
    }
    if (edits_ == 0) finish();
    return result;
  }

  /// One edit around several calls, as PageTable::edit().
  class Edit {
   public:
    explicit Edit(Oracle& oracle) : end_{&oracle}, edit_{oracle.table_->edit()} { ++oracle.edits_; }
    void settle() {
      end_.oracle->recorder_.remark("settle");
      edit_.settle();
      end_.oracle->finish();
    }

   private:
    struct End {
      Oracle* oracle;
      explicit End(Oracle* of) : oracle{of} {}
      End(const End&) = delete;
      End& operator=(const End&) = delete;
      ~End() {
        if (--oracle->edits_ == 0) oracle->finish();
      }
    };
    End end_;  // goes last, when the table's own edit has ended
    typename Table::Edit edit_;
  };
  [[nodiscard]] Edit edit() { return Edit{*this}; }

  /// Ends the table, with everything that was mapped.
  void destroy() {
    if (!table_) return;
    recorder_.remark("destroy");
    if (own_lowering_) cpus_.stop();
    tlb_.begin(Change::unmap({GuestPhys{0}, intent().input_size()}));
    table_.reset();
    tlb_.commit();
    finish();
  }

 private:
  void finish() {
    tlb_.finish_edit();
    if (only_tables_ && frames_.in_use() != tlb_.live_tables())
      recorder_.report(Offence::frames_leaked,
                       std::to_string(frames_.in_use()) + " in use, " + std::to_string(tlb_.live_tables()) + " linked");
  }

  bool only_tables_;
  Recorder recorder_;
  RecordingFrames frames_;
  HostileTlb<Reader> tlb_;
  Cpus<Format> cpus_;
  bool own_lowering_;
  bool waits_for_readers_;
  std::optional<Table> table_;
  unsigned edits_ = 0;
};

}  // namespace slat::testing
