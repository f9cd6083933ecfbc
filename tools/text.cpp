#include "tools/text.hpp"

#include <algorithm>
#include <iomanip>
#include <map>

#include "tools/describe.hpp"
#include "tools/words.hpp"

namespace slat::tool {

using testing::Fault;

std::string headline(const Scheme& scheme) {
  auto const shape = scheme.shape();
  return scheme.name() + ", " + std::to_string(shape.root + 1) + " levels of " + size(shape.granule()) + " tables, " +
         std::to_string(shape.input_bits) + "-bit guest addresses, root " + hex(scheme.root.raw());
}

std::string run_text(const Scheme& scheme, const Run& run) {
  auto const& leaf = run.first;
  auto text = range(run.range.begin.raw(), run.range.size);
  auto const leaves = "  " + size(leaf.range.size) + " x" + std::to_string(run.count) + "  ";
  if (!leaf.valid()) return text + " -> nothing" + leaves + "not valid, first " + word(leaf.entry);
  text += " -> " + range(run.host().raw(), run.range.size) + leaves + rights_text(leaf.rights) + " " +
          memory_name(scheme, leaf.decoded.type);
  if (auto const share = share_name(scheme, leaf.decoded.type); !share.empty()) text += " " + share;
  text += "  " + marks_text(scheme, leaf.decoded);
  if (leaf.decoded.contiguous) text += " contiguous";
  if (leaf.decoded.special != 0) text += " special " + hex(leaf.decoded.special);
  if (auto const bits = software_text(scheme, leaf.entry); !bits.empty()) text += " software " + bits;
  if (leaf.decoded.fault != Fault::none) text += "  " + fault_name(scheme, leaf.decoded.fault, leaf.level);
  if (leaf.decoded.wrong != nullptr) text += "  " + std::string{leaf.decoded.wrong};
  return text;
}

void print_dump(std::ostream& out, const Gathered& gathered) {
  out << "---[ " << headline(gathered.scheme) << " ]---\n";
  for (auto const& run : runs_of(gathered)) out << run_text(gathered.scheme, run) << '\n';
}

void print_tree(std::ostream& out, const Gathered& gathered, unsigned depth) {
  auto const& scheme = gathered.scheme;
  auto const shape = scheme.shape();
  out << headline(scheme) << '\n';
  // Found level by level, printed branch by branch.
  std::multimap<std::size_t, std::size_t> children;
  for (std::size_t i = 1; i < gathered.tables.size(); ++i) children.emplace(gathered.tables[i].parent, i);
  auto const show = [&](auto& self, std::size_t index) -> void {
    auto const& table = gathered.tables[index];
    auto const below = shape.root - table.level;
    out << std::string(2 * below, ' ') << scheme.level_name(table.level) << " table " << hex(table.at.raw()) << "  "
        << range(table.base.raw(), shape.span(table.level) * table.entries) << "  ";
    if (!table.present) {
      out << "not in the source\n";
      return;
    }
    out << table.tables << " tables, " << table.leaves << " leaves of " << size(shape.span(table.level)) << ", "
        << table.invalid << " invalid, " << table.entries - table.tables - table.leaves - table.invalid << " empty\n";
    if (below == depth) return;
    auto const [first, last] = children.equal_range(index);
    for (auto child = first; child != last; ++child) self(self, child->second);
  };
  if (!gathered.tables.empty()) show(show, 0);
}

void print_stats(std::ostream& out, const Gathered& gathered) {
  auto const& scheme = gathered.scheme;
  auto const shape = scheme.shape();
  auto const stats = stats_of(gathered);
  auto const row = [&](const char* name) -> std::ostream& {
    return out << "  " << std::left << std::setw(22) << name << std::right;
  };
  out << headline(scheme) << '\n';
  for (Level level = shape.root + 1; level-- != 0;)
    row(level == shape.root ? "tables" : "") << stats.tables[level] << " of " << scheme.level_name(level) << '\n';
  row("memory of tables") << size(stats.table_bytes) << '\n';
  auto const* name = "leaves";
  for (Level level = shape.root + 1; level-- != 0;) {
    if (stats.leaves[level] == 0) continue;
    row(name) << stats.leaves[level] << " of " << size(shape.span(level)) << '\n';
    name = "";
  }
  row("invalid, not 0") << stats.invalid << '\n';
  row("mapped") << size(stats.mapped) << '\n';
  row("faulty leaves") << size(stats.faulty) << '\n';
  row("writable") << size(stats.writable) << '\n';
  row("executable") << size(stats.executable) << '\n';
  row("both") << size(stats.both) << '\n';
  row("device") << size(stats.device) << '\n';
  if (sets_accessed(scheme)) row("accessed") << size(stats.accessed) << '\n';
  if (sets_dirty(scheme)) row("dirty") << size(stats.dirty) << '\n';
  row("holes between leaves") << stats.holes << ", " << size(stats.hole_bytes) << '\n';
}

void print_check(std::ostream& out, const Gathered& gathered) {
  auto const& findings = gathered.findings;
  for (auto const weight : {Weight::wrong, Weight::note}) {
    std::map<std::string, std::uint64_t> shown;
    for (auto const& finding : findings.list()) {
      if (finding.weight != weight) continue;
      ++shown[finding.rule];
      out << (weight == Weight::wrong ? "wrong" : "note") << ": " << finding.rule << ": " << finding.text << ": "
          << range(finding.range.begin.raw(), finding.range.size) << ", " << gathered.scheme.level_name(finding.level)
          << ", " << word(finding.entry) << " at " << hex(finding.where.raw());
      if (auto const section = section_of(finding.rule); !section.empty()) out << "; " << section;
      out << '\n';
    }
    for (auto const& [rule, count] : shown)
      if (findings.counts().at(rule) > count)
        out << "and " << findings.counts().at(rule) - count << " more of " << rule << '\n';
  }
  out << gathered.tables.size() << " tables, " << gathered.leaves.size() << " leaves: " << findings.count(Weight::wrong)
      << " wrong, " << findings.count(Weight::note) << " noted\n";
  if (gathered.second) out << text_of(*gathered.second) << '\n';
}

void print_explanation(std::ostream& out, const Scheme& scheme, const Explanation& explanation) {
  out << headline(scheme) << '\n' << "guest address " << hex(explanation.address.raw()) << '\n';
  for (auto const& step : explanation.steps) {
    out << scheme.level_name(step.level) << ": entry " << step.index << " of " << step.entries << " in the table at "
        << hex(step.table.raw()) << ", at " << hex(step.where.raw());
    if (step.missing) {
      out << ": not in the source\n";
      continue;
    }
    out << ": " << word(step.entry) << '\n';
    for (auto const& field : fields_of(scheme, step.level, step.entry, step.decoded)) {
      auto const bits = field.high == field.low ? std::to_string(field.low)
                                                : std::to_string(field.high) + ":" + std::to_string(field.low);
      out << "  " << std::right << std::setw(5) << bits << "  " << std::left << std::setw(11) << field.name
          << std::right << ' ' << field.meaning << '\n';
    }
  }
  if (explanation.host) out << "host address " << hex(explanation.host->raw()) << '\n';
  if (!explanation.wrong.empty()) {
    out << "wrong: " << explanation.wrong;
    if (auto const section = section_of(explanation.wrong); !section.empty()) out << "; " << section;
    out << '\n';
  }
  for (auto const& verdict : explanation.verdicts) {
    auto const* const fails = verdict.known ? " faults: " : ": unknown: ";
    out << verdict.access << (verdict.allowed ? " is allowed" : fails + verdict.why);
    if (!verdict.section.empty()) out << "; " << verdict.section;
    out << '\n';
  }
  out << explanation.second.text << '\n';
}

}  // namespace slat::tool
