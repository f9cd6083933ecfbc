#pragma once

// One guest's memory: the areas, the table that carries them out, and the lock that their one writer holds.

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <slat/mm/backends.hpp>
#include <slat/mm/frame_nodes.hpp>
#include <slat/mm/frame_pool.hpp>
#include <slat/mm/memory_set.hpp>

#include "hv/recorder.hpp"
#include "hv/spin_lock.hpp"

namespace hv {

/// How many stage-2 faults ended how, indexed by slat::Resolution.
using FaultCounts = std::array<std::uint64_t, 6>;

/// Any CPU may call any member: those that change something wait for the lock, which is SpinLock where invalidations
/// are broadcast, and PollingLock where the CPU that waits may be the one that must invalidate.
template <class Table, class Source, class Lock = SpinLock>
class GuestMemory {
  using Held = typename Lock::Held;

 public:
  using Backend = slat::Backends<Table, Source>;
  using Nodes = slat::FrameNodes<slat::FramePool>;
  using Set = slat::MemorySet<slat::Attr, Table, Backend, Nodes>;

  /// `frames`, the pool that `table` comes from and for no other use, has the index nodes too. Lazy areas are fed from
  /// `pages`. What else there is, the lock is made of.
  template <class... OfLock>
  GuestMemory(Table table, slat::FramePool& frames, Source& pages, OfLock... of_lock)
      : frames_{frames},
        pages_{pages},
        writer_{std::move(of_lock)...},
        table_{std::move(table)},
        areas_{Nodes{frames, frames.granule()}} {}

  /// From now on every change is written down. Before any other CPU calls anything.
  void record_by(Recorder recorder) { recorder_ = recorder; }

  slat::Result<> map(slat::GuestRange range, const slat::Attr& attr, Backend backend) {
    auto span = recorder_.begin(Event::Kind::map, range);
    Held const held{writer_};
    return said(span, areas_.map({range.begin, range.size, attr, backend}, table_));
  }

  /// Leaves of the smallest size in the whole range.
  slat::Result<> split(slat::GuestRange range) {
    auto span = recorder_.begin(Event::Kind::split, range);
    Held const held{writer_};
    return said(span, table_.split(range));
  }

  /// What a stage-2 fault at `at` comes to. The tables decide under the lock, not what was seen when the fault came.
  slat::Result<slat::Resolution> fault(slat::GuestPhys at, slat::Prot wanted) {
    auto span = recorder_.fault(at, static_cast<std::uint8_t>(wanted));
    Held const held{writer_};
    auto resolution = said(span, areas_.resolve(at, wanted, table_));
    if (resolution) ++faults_[static_cast<std::size_t>(*resolution)];
    return resolution;
  }

  /// Puts `bytes` where the guest will find them, page by page as the guest itself would: a lazy area is populated.
  /// `write(HostPhys, part)` does the copying. bad_state: no RAM there.
  template <class Write>
  slat::Result<> copy_in(slat::GuestPhys at, std::span<const std::byte> bytes, Write write) {
    Held const held{writer_};
    while (!bytes.empty()) {
      auto leaf = table_.query(at);
      if (leaf.kind != slat::Kind::leaf) {
        auto const resolution = SLAT_TRY(populate(at));
        if (resolution != slat::Resolution::mapped)
          return slat::Error{slat::Errc::bad_state, slat::Argument::start, at.raw(), {at, bytes.size()}};
        leaf = table_.query(at);
      }
      auto const part = bytes.first(std::min(bytes.size(), leaf.range.end() - at));
      write(leaf.host_of(at), part);
      bytes = bytes.subspan(part.size());
      at = at + part.size();
    }
    return {};
  }

  slat::Audit audit() {
    Held const held{writer_};
    return areas_.audit(table_);
  }
  /// Calls look() while nobody changes anything.
  auto at_rest(auto look) {
    Held const held{writer_};
    return look();
  }
  slat::Result<> clear() {
    auto span = recorder_.begin(Event::Kind::unmap, {slat::GuestPhys{0}, table_.geometry().input_size()});
    Held const held{writer_};
    return said(span, areas_.clear(table_));
  }

  /// Whether the root is all that there is: no other table, no index node, no page of the guest.
  bool only_root() const {
    return table_.tables() == 1 && frames_.used() * frames_.granule() == table_.geometry().root_bytes() &&
           pages_.in_use() == 0;
  }

  /// For what a CPU does to itself alone.
  auto& hook() { return table_.hook(); }
  /// For reading, by whoever knows that nobody writes.
  const Set& areas() const { return areas_; }
  const Table& table() const { return table_; }
  const FaultCounts& faults() const { return faults_; }
  /// Tables and index nodes are in it, and nothing else.
  const slat::FramePool& frames() const { return frames_; }

 private:
  /// The lock is held.
  slat::Result<slat::Resolution> populate(slat::GuestPhys at) {
    auto span = recorder_.begin(Event::Kind::populate, {at.down_to(pages_.granule()), pages_.granule()});
    return said(span, areas_.resolve(at, slat::Prot::w, table_));
  }
  /// `result`, which the span tells of.
  template <class Result>
  static Result said(Recorder::Span& span, Result result) {
    if (!result)
      span.failed();
    else if constexpr (std::same_as<Result, slat::Result<slat::Resolution>>)
      span.ended(static_cast<std::uint8_t>(*result));
    return result;
  }

  slat::FramePool& frames_;
  Source& pages_;
  Lock writer_;
  Table table_;
  Set areas_;
  FaultCounts faults_{};
  Recorder recorder_;
};

}  // namespace hv
