#pragma once

// The three kinds of area that a hypervisor has, as one closed variant that drives a PageTable.
//
//   using Backend = Backends<Table, PageSource<FramePool>>;
//   set.map({0x4000'0000_gpa, 1_GiB, rwx, Linear{0x1'0000'0000_hpa}}, table);   // RAM that is there
//   set.map({0x8000'0000_gpa, 1_GiB, rwx, Lazy{source}}, table);                // RAM that a fault populates
//   set.map({0x0900'0000_gpa, 4_KiB, rw | Memory::device, Device{}}, table);    // never mapped: every access traps

#include <optional>

#include <slat/mm/mapping_backend.hpp>
#include <slat/mm/page_source.hpp>
#include <slat/mm/page_table.hpp>

namespace slat {

/// The area's first byte is at `base`, and so on.
struct Linear {
  HostPhys base;  // a whole page
  friend bool operator==(Linear, Linear) = default;
};
/// Pages come from `source` when they are first touched.
template <class Source>
struct Lazy {
  /// `pages` outlives every area that has it.
  explicit Lazy(Source& pages) : source{&pages} {}
  Source* source;  // never null
  friend bool operator==(Lazy, Lazy) = default;
};
/// Emulated: nothing is ever mapped.
struct Device {
  friend bool operator==(Device, Device) = default;
};

/// One of Linear, Lazy and Device: what the areas of a MemorySet<Attr, Table, Backends<Table, Source>> carry. A value.
template <class Table, class Source>
class Backends {
  enum class Is : std::uint8_t { device, linear, lazy };
  using Transaction = typename Table::Transaction;

 public:
  /// Any of the three is one.
  /// @{
  Backends(Linear linear) : is_{Is::linear}, base_{linear.base} {}
  Backends(Lazy<Source> lazy) : is_{Is::lazy}, source_{lazy.source} {}
  Backends(Device) {}
  /// @}

  friend bool operator==(const Backends&, const Backends&) = default;

  /// What it is: a Linear's base; a Lazy's source, null for the others; a Device has neither.
  /// @{
  std::optional<HostPhys> base() const { return is_ == Is::linear ? std::optional{base_} : std::nullopt; }
  Source* source() const { return source_; }
  /// @}

  /// What the part of an area `bytes` into it has.
  Backends advanced(std::uint64_t bytes) const {
    Backends part = *this;
    if (is_ == Is::linear) part.base_ = part.base_ + bytes;
    return part;
  }

  // ---- one operation by itself ----

  /// One operation of MappingBackend, all or nothing, in an edit of its own. Errors are those of PageTable.
  /// @{
  Result<> map(GuestPhys start, std::uint64_t size, const Attr& attr, Table& table) {
    GuestRange const range{start, size};
    if (is_ == Is::linear) return table.map(range, base_, attr);
    Transaction t{table};
    SLAT_TRY(t.ready());
    SLAT_TRY(check_area(range, attr, t));
    Leaf in_the_way{};
    table.visit(range, [&](const Leaf& leaf) { in_the_way = leaf; });
    if (in_the_way.kind == Kind::absent) return {};
    return Error{Errc::already_mapped, Argument::start, start.raw(), range, in_the_way.range};
  }
  Result<> unmap(GuestPhys start, std::uint64_t size, Table& table) {
    if (is_ != Is::lazy) return table.unmap({start, size});
    Transaction t{table};
    SLAT_TRY(t.ready());
    SLAT_TRY(plan_unmap(start, size, t));
    commit_unmap(start, size, t);
    return {};
  }
  Result<> protect(GuestPhys start, std::uint64_t size, const Attr& attr, Table& table) {
    return table.protect({start, size}, attr);
  }
  /// @}

  // ---- many, all or nothing ----

  /// What PlanningBackend asks for: plan_* checks and reserves, commit_* then does it and cannot fail.
  /// @{
  static Transaction begin(Table& table) { return Transaction{table}; }
  /// Whether any call may name this range, be there areas in it or not.
  static Result<> check(GuestRange range, Transaction& t) { return t.check(range); }

  Result<> plan_replace(GuestPhys start, std::uint64_t size, const Attr& attr, Transaction& t) {
    GuestRange const range{start, size};
    if (is_ == Is::linear) return t.plan(Replace{range, base_, attr});
    SLAT_TRY(check_area(range, attr, t));
    return t.plan(Unmap{range});
  }
  void commit_replace(GuestPhys start, std::uint64_t size, const Attr& attr, Transaction& t) noexcept {
    GuestRange const range{start, size};
    if (is_ == Is::linear)
      t.commit(Replace{range, base_, attr});
    else
      t.commit(Unmap{range});
  }
  /// The part's pages go back once the edit's invalidation has returned.
  void replaced(GuestPhys start, std::uint64_t size, Transaction& t) noexcept {
    if (is_ != Is::lazy) return;
    GuestRange const range{start, size};
    t.table().visit(range, [&](const Leaf& leaf) {
      auto const part = leaf.range.clamp_to(range);
      owe_pages(leaf.host_of(part.begin), part.size);
    });
    t.owe(*source_);
  }

  Result<> plan_unmap(GuestPhys start, std::uint64_t size, Transaction& t) { return t.plan(Unmap{{start, size}}); }
  void commit_unmap(GuestPhys start, std::uint64_t size, Transaction& t) noexcept {
    replaced(start, size, t);
    t.commit(Unmap{{start, size}});
  }

  Result<> plan_protect(GuestPhys start, std::uint64_t size, const Attr& attr, Transaction& t) {
    return t.plan(Protect{{start, size}, attr});
  }
  void commit_protect(GuestPhys start, std::uint64_t size, const Attr& attr, Transaction& t) noexcept {
    t.commit(Protect{{start, size}, attr});
  }

  Result<> plan_coalesce(GuestPhys start, std::uint64_t size, Transaction& t) const {
    return t.plan(Coalesce{{start, size}});
  }
  void commit_coalesce(GuestPhys start, std::uint64_t size, Transaction& t) const noexcept {
    t.commit(Coalesce{{start, size}});
  }
  /// @}

  // ---- faults, dirty bits, audit ----

  /// Decides a fault at `at`, in `area`, from the tables as they are now. `access` is what the guest tried; with none
  /// of its rights missing in `attr`. no_memory: a page or a table frame could not be had; nothing was changed.
  Result<Resolution> resolve(GuestPhys at, Prot access, const Attr& attr, GuestRange area, Table& table) {
    if (is_ == Is::device) return Resolution::emulate;
    if (!attr.allows(access)) return Resolution::denied;
    Leaf const leaf = table.query(at);
    switch (leaf.kind) {
      case Kind::broken: return Resolution::busy;
      case Kind::absent: break;
      default:
        if (table.format().permits(leaf.level, leaf.entry, access)) return Resolution::spurious;
        // The area allows what the leaf does not: a write to a page that is watched for writes.
        if (allows(access, Prot::w) && SLAT_TRY(table.lift_protection(at))) return Resolution::spurious;
        return Error{Errc::bad_state, Argument::start, at.raw(), area, leaf.range};
    }
    if (is_ != Is::lazy) return Error{Errc::bad_state, Argument::start, at.raw(), area};
    GuestRange const page{at.down_to(source_->page_bytes()), source_->page_bytes()};
    // A page that the area cuts, that holds smaller ones by now, or that no large one is left for, is populated a
    // granule at a time.
    if (page.size > source_->granule() && area.contains(page) && leaf.range.contains(page)) {
      auto done = populate(page, attr, table);
      if (done || done.error().code != Errc::no_memory) return done;
    }
    return populate({at.down_to(source_->granule()), source_->granule()}, attr, table);
  }

  /// The table's own, for what areas may ask.
  /// @{
  template <class Sink>
  static Result<> harvest(GuestRange range, Age what, Sink&& sink, Table& table) {
    return table.harvest(range, what, sink);
  }

  /// Whether the table holds in `range`, the area's, exactly what this backend would have put there.
  Audit audit(GuestRange range, const Attr& attr, Table& table) const {
    Audit found{};
    auto next = range.begin;
    table.visit(range, [&](const Leaf& leaf) {
      if (!found) return;
      auto const part = leaf.range.clamp_to(range);
      if (is_ == Is::device)
        found = {Flaw::device_mapped, leaf.range, leaf.entry};
      else if (part != leaf.range)
        found = {Flaw::leaf_outside, leaf.range, leaf.entry};
      else if (leaf.attr != attr)
        found = {Flaw::leaf_attributes, leaf.range, leaf.entry};
      else if (is_ == Is::linear && leaf.host != base_ + (leaf.range.begin - range.begin))
        found = {Flaw::leaf_host, leaf.range, leaf.entry};
      else if (is_ == Is::linear && leaf.range.begin != next)
        found = {Flaw::hole, GuestRange::between(next, leaf.range.begin), 0};
      next = part.end();
    });
    if (found && is_ == Is::linear && next != range.end())
      return {Flaw::hole, GuestRange::between(next, range.end()), 0};
    return found;
  }
  /// leaf_outside, where anything is mapped between areas.
  static Audit audit_gap(GuestRange range, Table& table) {
    Audit found{};
    table.visit(range, [&](const Leaf& leaf) {
      if (found) found = {Flaw::leaf_outside, leaf.range, leaf.entry};
    });
    return found;
  }
  static Audit audit_table(Table& table) { return table.audit(); }
  /// @}

 private:
  /// What a Map would have been refused for, for areas that map nothing yet.
  Result<> check_area(GuestRange range, const Attr& attr, Transaction& t) const {
    if (range.empty()) return Error{Errc::invalid_param, Argument::size, 0, range};
    if (is_ == Is::device) return t.check(range);  // its attributes never reach an entry
    if (source_->granule() != t.table().geometry().page_size())
      return Error{Errc::bad_state, Argument::granule, source_->granule(), range};
    SLAT_TRY(t.table().frames_needed(Protect{range, attr}));
    return {};
  }

  Result<Resolution> populate(GuestRange page, const Attr& attr, Table& table) {
    // The source's pages belong to another table: mixing them would give them back too early.
    if (!source_->feeds(table.root())) return Error{Errc::bad_state, Argument::host, table.root().raw(), page};
    auto const host = source_->take(page.size);
    if (!host) return Error{Errc::no_memory, Argument::host, page.size, page};
    if (auto const mapped = table.map(page, *host, attr); !mapped) {
      source_->give_back(*host, page.size);
      return mapped.error();
    }
    return Resolution::mapped;
  }

  /// In blocks that are aligned to themselves.
  void owe_pages(HostPhys host, std::uint64_t bytes) {
    while (bytes != 0) {
      auto block = source_->granule();
      while (host.aligned_to(block << 1) && block << 1 <= bytes) block <<= 1;
      source_->owe(host, block);
      host = host + block;
      bytes -= block;
    }
  }

  Is is_ = Is::device;
  HostPhys base_{};
  Source* source_ = nullptr;
};

}  // namespace slat
