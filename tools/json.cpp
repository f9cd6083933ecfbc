#include "tools/json.hpp"

#include <array>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/describe.hpp"
#include "tools/failure.hpp"
#include "tools/judge.hpp"
#include "tools/runs.hpp"
#include "tools/text.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

using Json = nlohmann::ordered_json;
using testing::Fault;

Json scheme_json(const Scheme& scheme) {
  constexpr std::array names{"arm", "ept", "npt"};
  auto const shape = scheme.shape();
  return {{"format", names[static_cast<std::size_t>(scheme.family())]},
          {"root", hex(scheme.root.raw())},
          {"levels", shape.root + 1},
          {"page", hex(shape.granule())},
          {"input_bits", shape.input_bits}};
}

/// `levels` counts from the page up, as in slat; `level_name` is the manual's.
Json level_json(const Scheme& scheme, Level level) { return {{"number", level}, {"name", scheme.level_name(level)}}; }

Json text_or_null(const std::string& text) { return text.empty() ? Json{} : Json{text}; }

Json mapping_json(const Mapping& mapping, std::uint64_t bytes) {
  return {{"guest", hex(mapping.begin)},      {"bytes", hex(bytes)},
          {"host", hex(mapping.host)},        {"leaf", hex(mapping.leaf)},
          {"attributes", mapping.attributes}, {"marks", mapping.marks},
          {"contiguous", mapping.contiguous}};
}

/// What slat's own walker said, if it was asked; `agrees` is null where it could not answer.
Json opinion_json(const std::optional<SecondOpinion>& second) {
  if (!second) return {};
  return {{"agrees", second->not_asked.empty() ? Json(second->differ == 0) : Json{}},
          {"text", text_of(*second)},
          {"leaves", second->leaves},
          {"not_of_slat", second->foreign}};
}

void write(std::ostream& out, const Json& json) { out << json.dump(2) << '\n'; }

}  // namespace

void write_dump(std::ostream& out, const Gathered& gathered) {
  auto const& scheme = gathered.scheme;
  Json json = {{"slat", "dump"},
               {"version", 1},
               {"table", scheme_json(scheme)},
               {"left_out", gathered.left_out},
               {"runs", Json::array()}};
  for (auto const& run : runs_of(gathered)) {
    auto const& leaf = run.first;
    auto const valid = leaf.valid();
    Json row = {{"guest", hex(run.range.begin.raw())},
                {"bytes", hex(run.range.size)},
                {"leaf", hex(leaf.range.size)},
                {"count", run.count},
                {"valid", valid},
                {"entry", word(leaf.entry)}};
    if (valid) {
      row["host"] = hex(run.host().raw());
      row["rights"] = rights_text(leaf.rights);
      row["memory"] = memory_name(scheme, leaf.decoded.type);
      row["share"] = text_or_null(share_name(scheme, leaf.decoded.type));
      row["marks"] = marks_text(scheme, leaf.decoded);
      row["contiguous"] = leaf.decoded.contiguous;
      row["special"] = leaf.decoded.special;
      row["software"] = hex(leaf.entry & software_mask(scheme));
      row["fault"] =
          leaf.decoded.fault == Fault::none ? Json{} : Json(fault_name(scheme, leaf.decoded.fault, leaf.level));
    }
    row["wrong"] = leaf.decoded.wrong == nullptr ? Json{} : Json(leaf.decoded.wrong);
    json["runs"].push_back(std::move(row));
  }
  // What diff compares, so that a kept dump can be one of its sides.
  json["mappings"] = Json::array();
  for (auto const& mapping : mappings_of(gathered)) json["mappings"].push_back(mapping_json(mapping, mapping.bytes));
  write(out, json);
}

void write_tree(std::ostream& out, const Gathered& gathered, unsigned depth) {
  auto const& scheme = gathered.scheme;
  auto const shape = scheme.shape();
  Json json = {{"slat", "tree"}, {"version", 1}, {"table", scheme_json(scheme)}, {"tables", Json::array()}};
  for (std::size_t i = 0; i != gathered.tables.size(); ++i) {
    auto const& table = gathered.tables[i];
    if (shape.root - table.level > depth) continue;
    json["tables"].push_back({{"index", i},
                              {"parent", i == 0 ? Json{} : Json(table.parent)},
                              {"level", level_json(scheme, table.level)},
                              {"at", hex(table.at.raw())},
                              {"guest", hex(table.base.raw())},
                              {"bytes", hex(shape.span(table.level) * table.entries)},
                              {"present", table.present},
                              {"entries", table.entries},
                              {"tables", table.tables},
                              {"leaves", table.leaves},
                              {"invalid", table.invalid}});
  }
  write(out, json);
}

void write_stats(std::ostream& out, const Gathered& gathered) {
  auto const& scheme = gathered.scheme;
  auto const shape = scheme.shape();
  auto const stats = stats_of(gathered);
  Json json = {{"slat", "stats"}, {"version", 1}, {"table", scheme_json(scheme)}, {"levels", Json::array()}};
  for (Level level = shape.root + 1; level-- != 0;)
    json["levels"].push_back({{"level", level_json(scheme, level)},
                              {"span", hex(shape.span(level))},
                              {"tables", stats.tables[level]},
                              {"leaves", stats.leaves[level]}});
  json["table_bytes"] = hex(stats.table_bytes);
  json["invalid"] = stats.invalid;
  json["mapped"] = hex(stats.mapped);
  json["faulty"] = hex(stats.faulty);
  json["writable"] = hex(stats.writable);
  json["executable"] = hex(stats.executable);
  json["writable_executable"] = hex(stats.both);
  json["device"] = hex(stats.device);
  json["accessed"] = sets_accessed(scheme) ? Json(hex(stats.accessed)) : Json{};
  json["dirty"] = sets_dirty(scheme) ? Json(hex(stats.dirty)) : Json{};
  json["holes"] = stats.holes;
  json["hole_bytes"] = hex(stats.hole_bytes);
  write(out, json);
}

void write_check(std::ostream& out, const Gathered& gathered) {
  auto const& scheme = gathered.scheme;
  auto const& findings = gathered.findings;
  Json json = {{"slat", "check"},
               {"version", 1},
               {"table", scheme_json(scheme)},
               {"wrong", findings.count(Weight::wrong)},
               {"noted", findings.count(Weight::note)},
               {"counts", findings.counts()},
               {"second_opinion", opinion_json(gathered.second)},
               {"findings", Json::array()}};
  for (auto const& finding : findings.list())
    json["findings"].push_back({{"weight", finding.weight == Weight::wrong ? "wrong" : "note"},
                                {"rule", finding.rule},
                                {"text", finding.text},
                                {"section", text_or_null(section_of(finding.rule))},
                                {"guest", hex(finding.range.begin.raw())},
                                {"bytes", hex(finding.range.size)},
                                {"level", level_json(scheme, finding.level)},
                                {"at", hex(finding.where.raw())},
                                {"entry", word(finding.entry)}});
  write(out, json);
}

void write_explanation(std::ostream& out, const Scheme& scheme, const Explanation& explanation) {
  Json json = {{"slat", "explain"},
               {"version", 1},
               {"table", scheme_json(scheme)},
               {"guest", hex(explanation.address.raw())},
               {"host", explanation.host ? Json(hex(explanation.host->raw())) : Json{}},
               {"wrong", text_or_null(explanation.wrong)},
               {"steps", Json::array()},
               {"accesses", Json::array()},
               {"second_opinion",
                {{"agrees", explanation.second.agrees ? Json(*explanation.second.agrees) : Json{}},
                 {"text", explanation.second.text}}}};
  for (auto const& step : explanation.steps) {
    Json row = {{"level", level_json(scheme, step.level)},
                {"index", step.index},
                {"table", hex(step.table.raw())},
                {"at", hex(step.where.raw())},
                {"missing", step.missing},
                {"entry", step.missing ? Json{} : Json(word(step.entry))},
                {"fields", Json::array()}};
    if (!step.missing)
      for (auto const& field : fields_of(scheme, step.level, step.entry, step.decoded))
        row["fields"].push_back({{"high", field.high},
                                 {"low", field.low},
                                 {"name", field.name},
                                 {"value", hex(field.value)},
                                 {"meaning", field.meaning}});
    json["steps"].push_back(std::move(row));
  }
  for (auto const& verdict : explanation.verdicts)
    json["accesses"].push_back({{"access", verdict.access},
                                {"allowed", verdict.known ? Json(verdict.allowed) : Json{}},
                                {"why", text_or_null(verdict.why)},
                                {"section", text_or_null(verdict.section)}});
  write(out, json);
}

void write_diff(std::ostream& out, const std::vector<Change>& changes) {
  Json json = {{"slat", "diff"}, {"version", 1}, {"changes", Json::array()}};
  for (auto const& change : changes) {
    auto const side = [&](const std::optional<Mapping>& mapping) {
      return mapping ? mapping_json(*mapping, change.bytes) : Json{};
    };
    json["changes"].push_back({{"guest", hex(change.begin)},
                               {"bytes", hex(change.bytes)},
                               {"before", side(change.before)},
                               {"after", side(change.after)}});
  }
  write(out, json);
}

std::vector<Mapping> read_dump(const std::string& path) {
  std::ifstream in{path};
  if (!in) throw Failure{"cannot open '" + path + "'"};
  std::vector<Mapping> out;
  try {
    auto const json = Json::parse(in);
    if (json.at("slat") != "dump" || json.at("version") != 1)
      throw Failure{"'" + path + "' is no dump of this version: write one with slat dump --json"};
    for (auto const& row : json.at("mappings")) {
      auto const value = [&](const char* key) {
        return number(row.at(key).get<std::string>(), "'" + path + "', " + key);
      };
      Mapping const mapping{value("guest"),
                            value("bytes"),
                            value("host"),
                            value("leaf"),
                            row.at("attributes").get<std::string>(),
                            row.at("marks").get<std::string>(),
                            row.value("contiguous", false)};
      auto const follows = out.empty() || mapping.begin >= out.back().end();
      if (mapping.bytes == 0 || mapping.end() < mapping.begin || !follows)
        throw Failure{"'" + path + "': the mapping at " + hex(mapping.begin) + " is empty, wraps or is out of order"};
      out.push_back(mapping);
    }
  } catch (const Json::exception& error) {
    throw Failure{"'" + path + "' is no dump (" + error.what() + "): write one with slat dump --json"};
  }
  return out;
}

}  // namespace slat::tool
