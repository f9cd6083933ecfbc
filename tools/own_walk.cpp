#include "tools/own_walk.hpp"

#include <algorithm>
#include <functional>
#include <unordered_map>
#include <vector>

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>
#include <slat/mm/leaf.hpp>
#include <slat/mm/walk.hpp>

#include "tools/describe.hpp"
#include "tools/explain.hpp"
#include "tools/gather.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

/// Private copies of the tables that were read. Whatever else is asked for is a table of nothing.
class TableCopies {
 public:
  TableCopies(const testing::Shape& of_tables, HostPhys root)
      : shape{of_tables}, root_{root}, nothing_(std::max(shape.table_entries(), shape.root_entries())) {}

  const testing::Shape shape;

  /// `words` stay where they are, and become as many as an index of any table can reach. False if it is there already.
  bool add(HostPhys at, std::vector<Entry>& words) {
    auto const entries = at == root_ ? std::max(shape.root_entries(), shape.table_entries()) : shape.table_entries();
    words.resize(std::max<std::size_t>(words.size(), entries));
    return tables_.emplace(at.raw(), words.data()).second;
  }
  std::optional<HostPhys> allocate(std::uint64_t) noexcept { return std::nullopt; }
  void release(HostPhys, std::uint64_t) noexcept {}
  Entry* view(HostPhys at) const noexcept {
    auto const found = tables_.find(at.raw());
    return found == tables_.end() ? nothing_.data() : found->second;
  }
  std::uint64_t& word(HostPhys) noexcept { return word_; }

 private:
  HostPhys root_;
  std::unordered_map<std::uint64_t, Entry*> tables_;
  mutable std::vector<Entry> nothing_;
  std::uint64_t word_ = 0;  // a walk that only reads asks for none
};

/// What slat makes of an address.
struct Found {
  Kind kind;
  Level level;
  Entry entry;
  HostPhys host;  // of the slot
  Prot rights;    // that hardware gives, write protection and all
  Memory memory;
  bool own;  // slat could have written it
};
using OwnWalk = std::function<Found(GuestPhys)>;

template <class Format>
bool could_write(const Format& format, Level level, Entry entry) {
  return format.well_formed(level, entry);
}
/// Whether slat was told to suppress #VE is in no register.
bool could_write(const x86_64::Ept& format, Level level, Entry entry) {
  return format.well_formed(level, entry & ~x86_64::Ept::suppress_ve);
}

template <class Format>
OwnWalk own_walk(const Format& format, TableCopies& copies, HostPhys root) {
  return [walk = detail::Walk<Format, TableCopies>{format, copies, root}](GuestPhys at) {
    auto const end = walk.find(at);
    auto const level = end.place.level;
    Found out{walk.format.kind(level, end.entry), level, end.entry, {}, Prot::none, Memory::normal, false};
    if (out.kind != Kind::leaf) return out;
    out.host = walk.format.address(level, end.entry);
    for (auto const right : {Prot::r, Prot::w, Prot::x_user, Prot::x_supervisor})
      if (walk.format.permits(level, end.entry, right)) out.rights = out.rights | right;
    out.memory = walk.format.attr(level, end.entry).memory;
    out.own = could_write(walk.format, level, end.entry);
    return out;
  };
}

/// The walk, or nothing where slat refuses such a format or chooses another shape.
template <class Format>
OwnWalk fitting(const Result<Format>& format, TableCopies& copies, HostPhys root) {
  if (!format) return {};
  auto const geometry = format->geometry();
  auto const fits = geometry.page_bits == copies.shape.page_bits && geometry.root == copies.shape.root &&
                    geometry.input_bits() == copies.shape.input_bits;
  return fits ? own_walk(*format, copies, root) : OwnWalk{};
}

template <aarch64::Granule G>
OwnWalk arm_walk(const ArmReader& reader, TableCopies& copies, HostPhys root) {
  auto const& has = reader.features();
  // What the CPU had and what slat was told decide where walks start, and nothing else.
  for (auto const small_tables : {false, true})
    for (auto const concatenate : {true, false}) {
      aarch64::Features const cpu{.pa_bits = has.output_bits,
                                  .granule_4k = true,
                                  .granule_16k = true,
                                  .granule_64k = true,
                                  .hardware_accessed = has.ha,
                                  .hardware_dirty = has.hd,
                                  .xnx = has.xnx,
                                  .fwb = has.fwb,
                                  .small_tables = small_tables};
      auto const format = aarch64::Stage2<G>::create(cpu, {.ipa_bits = has.input_bits, .concatenate = concatenate});
      if (auto walk = fitting(format, copies, root)) return walk;
    }
  return {};
}

OwnWalk walk_of(const ArmReader& reader, TableCopies& copies, HostPhys root) {
  switch (reader.features().granule_bits) {
    case 12: return arm_walk<aarch64::Granule::k4>(reader, copies, root);
    case 14: return arm_walk<aarch64::Granule::k16>(reader, copies, root);
    default: return arm_walk<aarch64::Granule::k64>(reader, copies, root);
  }
}
OwnWalk walk_of(const EptReader& reader, TableCopies& copies, HostPhys root) {
  auto const& has = reader.features();
  x86_64::EptFeatures const cpu{.pa_bits = has.output_bits,
                                .four_levels = true,
                                .five_levels = true,
                                .leaf_2m = has.top_leaf >= 1,
                                .leaf_1g = has.top_leaf >= 2,
                                .execute_only = has.execute_only,
                                .accessed_dirty = has.accessed_dirty,
                                .mode_based_execute = has.mode_based_execute};
  return fitting(x86_64::Ept::create(cpu, {.levels = has.levels}), copies, root);
}
OwnWalk walk_of(const NptReader& reader, TableCopies& copies, HostPhys root) {
  auto const& has = reader.features();
  x86_64::NptFeatures const cpu{.pa_bits = has.output_bits,
                                .nested_paging = true,
                                .five_levels = true,
                                .leaf_1g = has.top_leaf >= 2,
                                .no_execute = has.no_execute};
  return fitting(x86_64::Npt::create(cpu, {.levels = has.levels, .pat = has.pat}), copies, root);
}
OwnWalk walk_of(const Scheme& scheme, TableCopies& copies) {
  return std::visit([&](auto& reader) { return walk_of(reader, copies, scheme.root); }, scheme.reader);
}

std::string no_format(const Scheme& scheme) {
  auto const host_bits = std::visit([](auto& reader) { return reader.features().output_bits; }, scheme.reader);
  auto text = "slat makes no such tables: " + scheme.name() + ", " + std::to_string(scheme.shape().input_bits) +
              "-bit guest addresses, " + std::to_string(host_bits) + "-bit host addresses, walks from " +
              scheme.level_name(scheme.shape().root);
  if (auto const* const npt = std::get_if<NptReader>(&scheme.reader)) text += ", PAT " + word(npt->features().pat);
  return text;
}

enum class Match : std::uint8_t { same, foreign, different };

/// `rights` are those that the reader finds on all of the way: a table that takes some away is not slat's.
Match match(const Scheme& scheme, const Found& found, Level level, Entry entry, const testing::Decoded& read,
            Prot rights) {
  if (found.level != level || found.entry != entry) return Match::different;
  if (found.kind != Kind::leaf) return Match::foreign;
  if (found.host != read.address) return Match::different;
  if (!found.own || rights != read.rights) return Match::foreign;
  auto const alike = std::visit([&](auto& reader) { return reader.is(found.memory, read.type); }, scheme.reader);
  return alike && found.rights == rights ? Match::same : Match::different;
}

std::string found_text(const Scheme& scheme, const Found& found, GuestPhys at) {
  auto const bytes = scheme.shape().span(found.level);
  auto const slot = scheme.level_name(found.level) + ", " + range(at.down_to(bytes).raw(), bytes);
  if (found.kind != Kind::leaf) return slot + " -> nothing";
  return slot + " -> " + hex(found.host.raw()) + ", " +
         (found.own ? rights_text(found.rights) + " " + std::string{name(found.memory)} : "not of slat's encoding");
}
std::string read_text(const Scheme& scheme, Level level, const testing::Decoded& read, Prot rights) {
  return "; the reader finds " + scheme.level_name(level) + " -> " + hex(read.address.raw()) + ", " +
         rights_text(rights) + " " + memory_name(scheme, read.type);
}

}  // namespace

SecondOpinion second_opinion(Gathered& gathered, const Scheme& scheme) {
  if (gathered.left_out != 0)
    return {.not_asked = std::to_string(gathered.left_out) + " tables or more are missing, shared or refused"};
  TableCopies copies{gathered.scheme.shape(), scheme.root};
  auto const walk = walk_of(scheme, copies);
  if (!walk) return {.not_asked = no_format(scheme)};
  for (std::size_t i = 0; i != gathered.tables.size(); ++i) copies.add(gathered.tables[i].at, gathered.words[i]);
  SecondOpinion out;
  for (auto const& leaf : gathered.leaves) {
    if (!leaf.decoded.usable()) continue;
    ++out.leaves;
    auto const found = walk(leaf.range.begin);
    auto const matches = match(gathered.scheme, found, leaf.level, leaf.entry, leaf.decoded, leaf.rights);
    if (matches == Match::foreign) ++out.foreign;
    if (matches != Match::different) continue;
    ++out.differ;
    auto const text = [&] {
      return "slat's own walker finds " + found_text(scheme, found, leaf.range.begin) +
             read_text(gathered.scheme, leaf.level, leaf.decoded, leaf.rights);
    };
    gathered.findings.add(Weight::wrong, "second-opinion", text, leaf.range, leaf.level, leaf.where, leaf.entry);
  }
  return out;
}

SecondWalk second_walk(const Explanation& explanation, const Scheme& scheme) {
  auto const not_asked = [](const std::string& why) {
    return SecondWalk{{}, "slat's own walker was not asked: " + why};
  };
  if (explanation.steps.empty()) return not_asked("no entry was read");
  auto const& last = explanation.steps.back();
  if (last.missing) return not_asked("the source lacks what the walk reads");
  TableCopies copies{scheme.shape(), scheme.root};
  auto const walk = walk_of(scheme, copies);
  if (!walk) return not_asked(no_format(scheme));
  // Of each table the one entry that was read.
  std::vector<std::vector<Entry>> words;
  auto rights = Prot::rwx;
  for (auto const& step : explanation.steps) {
    words.emplace_back(step.entries)[step.index] = step.entry;
    if (!copies.add(step.table, words.back())) return not_asked("a table is on the way to itself");
    rights = rights & step.decoded.rights;
  }
  auto const found = walk(explanation.address);
  auto const text = found_text(scheme, found, explanation.address);
  auto const same_end = found.level == last.level && found.entry == last.entry;
  // What no walk of hardware uses, slat's formats need not recognise.
  if (!last.decoded.usable() && (found.level < last.level || (same_end && found.kind == Kind::leaf)))
    return not_asked("hardware refuses the entry at " + hex(last.where.raw()));
  auto const agrees = last.decoded.usable()
                          ? match(scheme, found, last.level, last.entry, last.decoded, rights) != Match::different
                          : same_end;
  if (agrees) return {true, "slat's own walker agrees: " + text};
  return {false, "slat's own walker differs: " + text + read_text(scheme, last.level, last.decoded, rights)};
}

std::string text_of(const SecondOpinion& opinion) {
  if (!opinion.not_asked.empty()) return "slat's own walker was not asked: " + opinion.not_asked;
  auto text = "slat's own walker agrees on " + std::to_string(opinion.leaves - opinion.differ) + " of " +
              std::to_string(opinion.leaves) + " leaves";
  if (opinion.foreign != 0) text += "; " + std::to_string(opinion.foreign) + " leaves are not of slat's encoding";
  return text;
}

}  // namespace slat::tool
