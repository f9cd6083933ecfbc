#pragma once

// Which CPU may walk what, which stores every walker sees, and how far the invalidation of what is stale has come.
//
// Something stale leaves a context when an invalidation that covers it has completed there. On Arm that takes, for an
// entry of stage 2: the store that made it stale is visible (DSB), a TLBI that names it, and a DSB on the CPU that
// issued it; and for an entry that combines both stages the same once more, after the first has completed, or a walk
// could make it again. [arm/a-profile] D8, "TLB maintenance instructions". On x86 it takes INVEPT, or the flush of an
// ASID, on the CPU itself.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <slat/testing/arm_tlbi.hpp>
#include <slat/testing/contexts.hpp>
#include <slat/testing/recorder.hpp>
#include <slat/testing/stale_set.hpp>
#include <slat/testing/violation.hpp>

namespace slat::testing {

class Invalidations {
 public:
  /// `needs_publish`: stores are seen by walkers only when the mapper has said so. `tree_is_empty` says whether
  /// there is anything to cache; `forgotten` is told of each table pointer that no context can have any more.
  Invalidations(Recorder& recorder, StaleSet& stale, Family family, unsigned page_bits, bool needs_publish,
                std::function<bool()> tree_is_empty, std::function<void(const StaleTable&)> forgotten)
      : recorder_{&recorder},
        stale_{&stale},
        family_{family},
        page_bits_{page_bits},
        needs_publish_{needs_publish},
        tree_is_empty_{std::move(tree_is_empty)},
        forgotten_{std::move(forgotten)} {}

  const Contexts& contexts() const { return contexts_; }
  ContextSet usable() const { return contexts_.usable(root_); }
  /// The CPUs that are known to walk the tree now.
  ContextSet walking() const {
    return usable() & contexts_.where([](const Context& context) { return !context.implied; });
  }
  /// What this leads to is being given away. True when a CPU can use it; one that is outside must be rid of it first.
  bool gives_away(const Hold& hold) {
    for (std::size_t i = 0; i != contexts_.all().size(); ++i)
      if ((hold.held() & ~usable()) >> i & 1) contexts_[i].owes = true;
    return (hold.held() & usable()) != 0;
  }
  void attach(HostPhys root) {
    root_ = root;
    if (contexts_.where([&](const Context& context) { return context.root == root && !context.implied; }) != 0)
      contexts_.retire_implied();
  }
  void detach() { contexts_.gone(root_); }
  /// Something in the tree has become valid.
  void filled() { contexts_.filled(); }

  /// Of what the present CPU takes out of the tree: everybody that has the tree may have it.
  Hold hold() const {
    auto const set = contexts_.holding(root_);
    return {.stage2 = set, .combined = set, .all = set, .writer = recorder_->cpu(), .visible = !needs_publish_};
  }

  /// True when the event was one of these.
  bool on(const Event& event) {
    switch (event.what) {
      case What::publish:
      case What::dsb_ishst: show_stores(event.cpu); return true;
      case What::dsb_ish: show_stores(event.cpu); [[fallthrough]];
      case What::dsb_nsh: complete(event); return true;
      case What::isb: synchronise(cpu(event)); return true;
      case What::enter: enter(event.cpu, HostPhys{event.values[0]}, event.values[1]); return true;
      case What::leave: contexts_.leave(event.cpu); return true;
      case What::vttbr: load(event); return true;
      case What::host_mode: cpu(event).host_mode = event.values[0] != 0; return true;
      case What::invept: invept(event); return true;
      case What::flush_asid:
        flush(on_cpu(event.cpu, [&](const Context& c) { return c.tag == event.values[0]; }));
        return true;
      case What::flush_all: flush(on_cpu(event.cpu, [](const Context&) { return true; })); return true;
      default: break;
    }
    if (event.what < What::tlbi_ipas2e1is || event.what > What::tlbi_alle1is) return false;
    tlbi(event);
    return true;
  }

  /// Every context forgets everything, by means that are no matter.
  void grant() { flush(contexts_.holding(root_)); }

  /// The hook has returned. What `lingers(slot, item)` and can still be used is a violation; what cannot be used now
  /// must be invalidated before its CPU enters again.
  template <class Lingers>
  void settle(Lingers lingers) {
    auto const usable = this->usable();
    stale_->each([&](const StaleSlot& slot) {
      for (auto const& leaf : slot.leaves) settle(slot, leaf.hold, usable, "a leaf of ", lingers(slot, leaf));
      for (auto const& table : slot.tables) settle(slot, table.hold, usable, "a table of ", lingers(slot, table));
    });
    for (auto const& context : contexts_.all())
      if (context.usable && context.owes) recorder_->report(Offence::entered_stale, where(context));
    for (auto const& one : cpus_)
      if (one.wants_isb) recorder_->report(Offence::no_context_sync, "on CPU " + std::to_string(&one - cpus_.data()));
  }

 private:
  struct Cpu {
    std::uint64_t vttbr = 0;
    std::uint64_t tag = 0;  // of the VMID that TLBIs mean
    bool knows_tag = false;
    bool host_mode = false;
    bool issued = false;      // a TLBI, and no barrier has waited for it
    bool wants_isb = false;   // one has
    ContextSet flushing = 0;  // a TLBI takes everything from these, and no barrier has waited for it
    bool flushing_everywhere = false, flushing_empty = false;
  };
  Cpu& cpu(const Event& event) {
    if (event.cpu >= cpus_.size()) cpus_.resize(event.cpu + std::size_t{1});
    return cpus_[event.cpu];
  }

  // ---- order

  void show_stores(std::uint8_t by) {
    stale_->each([&](StaleSlot& slot) {
      slot.each_hold([&](Hold& hold) { hold.visible = hold.visible || hold.writer == by; });
    });
  }
  void complete(const Event& event) {
    auto& one = cpu(event);
    one.wants_isb = std::exchange(one.issued, false) || one.wants_isb;
    auto const waits_for_all = event.what != What::dsb_nsh;
    if (one.flushing != 0 && (waits_for_all || !one.flushing_everywhere))
      contexts_.flushed(std::exchange(one.flushing, 0), one.flushing_empty && tree_is_empty_());
    stale_->each([&](StaleSlot& slot) {
      slot.each_hold([&](Hold& hold) {
        std::erase_if(hold.pending, [&](const Hold::Pending& done) {
          if (done.on != event.cpu || (done.broadcast && !waits_for_all)) return false;
          hold.stage2 &= ~done.stage2;
          hold.combined &= ~done.combined;
          return true;
        });
      });
    });
    forget();
  }
  void synchronise(Cpu& one) {
    one.wants_isb = false;
    if (!one.knows_tag) return;
    one.tag = one.vttbr >> 48;
    auto const none = (one.vttbr & ((1ull << 48) - 2)) == 0;
    contexts_.leave(static_cast<std::uint8_t>(&one - cpus_.data()), none ? std::nullopt : std::optional{one.tag});
  }

  // ---- which guest

  void load(const Event& event) {
    auto& one = cpu(event);
    one.vttbr = event.values[0];
    one.knows_tag = true;
    HostPhys const root{one.vttbr & ((1ull << 48) - 2)};
    // Until the ISB it may walk the one before, too.
    if (root != HostPhys{0}) enter(event.cpu, root, one.vttbr >> 48, true);
  }
  void enter(std::uint8_t on, HostPhys root, std::uint64_t tag, bool stays = false) {
    if (family_ == Family::intel) tag = root.raw();
    if (!stays) contexts_.leave(on);
    auto const found = contexts_.find(on, tag);
    if (!found) return recorder_->report(Offence::unmodelled, "more CPUs and tags than this MMU can tell apart");
    auto& context = contexts_[*found];
    if (context.foreign || (context.holds && context.root != root))
      recorder_->report(Offence::tag_reused, where(context));
    // Who loads VTTBR_EL2 may do so to pay what he owes.
    if (context.owes && !stays) recorder_->report(Offence::entered_stale, where(context));
    context.root = root;
    context.usable = context.holds = true;
    if (root != root_) return;
    contexts_.retire_implied();
    // It may read what a store that is still on its way has replaced.
    stale_->each([&](StaleSlot& slot) {
      slot.each_hold([&](Hold& hold) {
        if (hold.visible) return;
        auto const bit = ContextSet{1} << *found;
        hold.stage2 |= bit;
        hold.combined |= bit;
        hold.all |= bit;
      });
    });
  }

  // ---- invalidation

  template <class Predicate>
  ContextSet on_cpu(std::uint8_t on, Predicate predicate) const {
    return contexts_.where([&](const Context& c) { return c.implied || (c.cpu == on && predicate(c)); });
  }

  void invept(const Event& event) {
    HostPhys const root{event.values[1] & ((1ull << 52) - 0x1000)};
    if (event.values[0] == 1) return flush(on_cpu(event.cpu, [&](const Context& c) { return c.root == root; }), root);
    if (event.values[0] == 2) flush(on_cpu(event.cpu, [](const Context&) { return true; }));
  }
  /// These contexts forget everything, at once.
  void flush(ContextSet set, std::optional<HostPhys> only = {}) {
    if (only && *only != root_) set &= ~contexts_.where([](const Context& c) { return c.implied; });
    auto const covers = (set & contexts_.holding(root_)) != 0;
    stale_->each([&](StaleSlot& slot) {
      slot.each_hold([&](Hold& hold) {
        if (!covers) hold.missed |= Hold::by_tag;
        if (!hold.visible) return void(hold.missed |= Hold::by_store);
        hold.stage2 &= ~set;
        hold.combined &= ~set;
      });
    });
    contexts_.flushed(set, tree_is_empty_());
    forget();
  }

  void tlbi(const Event& event) {
    auto const reach = tlbi_reach(event.what, event.values[0], page_bits_);
    auto& one = cpu(event);
    one.issued = true;
    auto const tagged = [&](const Context& c) { return reach.every_tag || !one.knows_tag || c.tag == one.tag; };
    auto set = contexts_.where(
        [&](const Context& c) { return c.implied || ((reach.broadcast || c.cpu == event.cpu) && tagged(c)); });
    if (one.host_mode && !reach.every_tag) set = 0;
    auto const this_guest = (set & contexts_.holding(root_)) != 0;
    auto const each = [&](StaleSlot& slot) {
      for (auto& leaf : slot.leaves)
        if (may_pass(leaf.hold, this_guest)) tlbi(slot, leaf.hold, reach, set, event.cpu);
      for (auto& table : slot.tables)
        if (may_pass(table.hold, this_guest)) tlbi(slot, table, reach, set, event.cpu);
      return true;
    };
    if (reach.granule_bits != 0 && reach.granule_bits != page_bits_)
      return stale_->each([](StaleSlot& slot) { slot.each_hold([](Hold& hold) { hold.missed |= Hold::by_granule; }); });
    if (!reach.by_address) {
      stale_->each(each);
      if (!reach.stage2) return;
      // All that was of the tag goes with it when a DSB has waited, but for what can be walked still.
      auto hidden = false;
      stale_->each(
          [&](StaleSlot& slot) { slot.each_hold([&](const Hold& hold) { hidden = hidden || !hold.visible; }); });
      one.flushing |= hidden ? set & ~contexts_.where([](const Context& c) { return c.usable; }) : set;
      one.flushing_everywhere = reach.broadcast;
      one.flushing_empty = tree_is_empty_();
      return;
    }
    stale_->overlapping(reach.range, each);
  }
  static bool may_pass(Hold& hold, bool this_guest) {
    if (!this_guest) hold.missed |= Hold::by_tag;
    if (!hold.visible) hold.missed |= Hold::by_store;
    return hold.visible;
  }
  static void tlbi(const StaleSlot& slot, Hold& hold, const TlbiReach& reach, ContextSet set, std::uint8_t on) {
    if (reach.level != TlbiReach::any_level && reach.level != slot.level) return void(hold.missed |= Hold::by_level);
    issue(hold, reach, set, on);
  }
  static void tlbi(const StaleSlot& slot, StaleTable& table, const TlbiReach& reach, ContextSet set, std::uint8_t on) {
    if (!reach.by_address) return issue(table.hold, reach, set, on);
    if (reach.leaf_only || reach.level != TlbiReach::any_level) return void(table.hold.missed |= Hold::by_tables);
    // Leaves below it may be cached, each by its own address: all of the span must be named. Parts that reach other
    // CPUs, or that another CPU's DSB waits for, do not add up.
    if (table.left.empty() || table.parts != set || table.parts_on != on) table.left = {slot.span};
    table.parts = set;
    table.parts_on = on;
    take(table.left, reach.range);
    if (table.left.empty()) return issue(table.hold, reach, set, on);
    table.hold.missed |= Hold::by_range;
  }
  static void take(std::vector<GuestRange>& from, GuestRange range) {
    std::vector<GuestRange> left;
    for (auto const& part : from) {
      auto const gone = part.clamp_to(range);
      if (gone.empty()) {
        left.push_back(part);
        continue;
      }
      if (gone.begin != part.begin) left.push_back(GuestRange::between(part.begin, gone.begin));
      if (gone.end() != part.end()) left.push_back(GuestRange::between(gone.end(), part.end()));
    }
    from = std::move(left);
  }
  static void issue(Hold& hold, const TlbiReach& reach, ContextSet set, std::uint8_t on) {
    Hold::Pending pending{.on = on, .broadcast = reach.broadcast};
    if (reach.stage2) pending.stage2 = set & hold.stage2;
    // Where an entry of stage 2 is left, a walk can make the combined one again.
    auto const safe = reach.stage2 ? set : set & ~hold.stage2;
    if (reach.combined) {
      if ((set & ~safe & hold.combined) != 0) hold.missed |= Hold::by_order;
      pending.combined = safe & hold.combined;
    }
    if ((pending.stage2 | pending.combined) != 0) hold.pending.push_back(pending);
  }

  void forget() {
    stale_->remove([&](const auto& item) {
      if (item.hold.held() != 0 || item.hold.all == 0) return false;
      if constexpr (requires { item.frames; }) forgotten_(item);
      return true;
    });
  }

  // ---- at the hook's end

  void settle(const StaleSlot& slot, const Hold& hold, ContextSet usable, const char* of, bool lingers) {
    if (!lingers || hold.held() == 0) return;
    for (std::size_t i = 0; i != contexts_.all().size(); ++i)
      if ((hold.held() & ~usable) >> i & 1) contexts_[i].owes = true;
    if ((hold.held() & usable) != 0)
      recorder_->report(hold.why(usable), of + text(slot.span) + ", level " + std::to_string(slot.level) +
                                              ", may be cached on " + cpus(hold.held() & usable));
  }
  static std::string where(const Context& context) {
    return context.implied ? "any CPU" : "CPU " + std::to_string(context.cpu) + " (tag " + hex(context.tag) + ")";
  }
  std::string cpus(ContextSet set) const {
    std::string out;
    for (std::size_t i = 0; i != contexts_.all().size(); ++i)
      if ((set >> i & 1) != 0) out += (out.empty() ? "" : ", ") + where(contexts_.all()[i]);
    return out;
  }

  Recorder* recorder_;
  StaleSet* stale_;
  Family family_;
  unsigned page_bits_;
  bool needs_publish_;
  std::function<bool()> tree_is_empty_;
  std::function<void(const StaleTable&)> forgotten_;
  Contexts contexts_;
  HostPhys root_{};
  std::vector<Cpu> cpus_;
};

}  // namespace slat::testing
