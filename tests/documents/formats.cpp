// formats arm|ept|npt DOCUMENT: what the document's three tables say of an entry format is what the format does.
//
// "| bits |"    every bit that an entry may have has one row, no row has another, and the constants are where they are
// said
// "| level |"   each example is what leaf() encodes
// "| change |"  each answer is swap()'s
//
// A format is looked at on two CPUs: one with as little as possible, one with all that matters.

#include <charconv>
#include <cstdio>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <slat/arch/aarch64/stage2.hpp>
#include <slat/arch/x86_64/ept.hpp>
#include <slat/arch/x86_64/npt.hpp>
#include <slat/mm/leaf.hpp>
using namespace slat;

namespace {

using Row = std::vector<std::string>;

bool failed = false;
void fail(const std::string& what) {
  std::printf("%s\n", what.c_str());
  failed = true;
}

std::string trimmed(std::string text) {
  auto const is_padding = [](char c) { return c == ' ' || c == '`'; };
  while (!text.empty() && is_padding(text.back())) text.pop_back();
  while (!text.empty() && is_padding(text.front())) text.erase(0, 1);
  return text;
}

/// The rows below the first line that begins with `head`.
std::vector<Row> table(const std::string& document, const std::string& head) {
  std::ifstream file{document};
  std::vector<Row> rows;
  bool inside = false;
  for (std::string line; std::getline(file, line);) {
    if (!inside) {
      inside = line.starts_with(head);
      continue;
    }
    if (!line.starts_with("|")) break;
    if (line.starts_with("|--")) continue;
    Row row;
    for (std::size_t at = 1, end; (end = line.find('|', at)) != std::string::npos; at = end + 1)
      row.push_back(trimmed(line.substr(at, end - at)));
    rows.push_back(row);
  }
  if (rows.size() < 5) fail("no table with the head " + head);
  return rows;
}

std::uint64_t number(const std::string& text, int base) {
  std::uint64_t value = 0;
  auto const* const begin = text.data() + (base == 16 && text.starts_with("0x") ? 2 : 0);
  auto const [end, error] = std::from_chars(begin, text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) fail("no number: " + text);
  return value;
}

template <class T>
std::string printed(const T& value) {
  std::string text;
  auto out = [&](std::string_view piece) { text += piece; };
  print(out, value);
  return text;
}
std::string hex(std::uint64_t value) {
  std::string text;
  auto out = [&](std::string_view piece) { text += piece; };
  print_hex(out, value);
  return text;
}

/// All attributes that the format can express.
template <class Format>
std::vector<Attr> attributes(const Format& format) {
  std::vector<Attr> all;
  for (unsigned prot = 0; prot != 16; ++prot)
    for (auto memory : {Memory::normal, Memory::write_through, Memory::uncached, Memory::device, Memory::device_strict})
      for (std::uint8_t software = 0; software != 4; ++software)
        if (Attr const attr{Prot(prot), memory, software}; format.supports(attr)) all.push_back(attr);
  return all;
}

/// Every bit that an entry of the format may have, be it live, marked by hardware, cleaned or broken.
template <class Format>
Entry bits_in_use(const Format& format) {
  Entry used = 0;
  auto const see = [&](Entry e) { used |= e | (format.can_break() ? format.broken(e) : 0); };
  auto const last_page = HostPhys{(std::uint64_t{1} << format.output_bits()) - 1};
  for (Level level = 0; level <= format.geometry().root; ++level) {
    for (auto host : {HostPhys{0}, last_page.down_to(format.geometry().span(level))})
      for (auto const& attr : attributes(format)) {
        if (level > format.top_leaf(attr)) continue;
        auto const leaf = format.leaf(level, host, attr);
        auto const marked = format.aged(level, leaf, {.accessed = true, .dirty = true});
        see(leaf);
        see(marked);
        see(format.recast(level, marked, attr - Prot::w));
      }
    if (level != 0) see(format.table(level, last_page.down_to(format.geometry().table_bytes())));
  }
  return used;
}

template <class Format>
using Cpus = std::map<std::string, Format>;
using Constants = std::map<std::string, Entry>;

template <class Format>
void check_bits(const std::string& document, const Cpus<Format>& cpus, const Constants& constants) {
  Entry expected = 0;
  for (auto const& [name, format] : cpus) expected |= bits_in_use(format);
  Entry said = 0;
  std::set<std::string> named;
  for (auto const& row : table(document, "| bits |")) {
    auto const colon = row[0].find(':');
    auto const high = number(row[0].substr(0, colon), 10);
    auto const low = colon == std::string::npos ? high : number(row[0].substr(colon + 1), 10);
    if (high > 63 || low > high) return fail("no bits: " + row[0]);
    auto const mask = (~Entry{0} >> (63 - high)) & ~Entry{0} << low;
    if ((mask & ~expected) != 0) fail("never set: " + hex(mask & ~expected) + " of bits " + row[0]);
    said |= mask;
    if (row[2].empty()) continue;
    auto const known = constants.find(row[2]);
    if (known == constants.end())
      fail("no such constant: " + row[2]);
    else if (known->second != mask)
      fail(row[2] + " is " + hex(known->second) + ", not bits " + row[0]);
    named.insert(row[2]);
  }
  if (said != expected) fail("no row for the bits " + hex(expected & ~said));
  for (auto const& [name, value] : constants)
    if (!named.contains(name)) fail("no row for " + name);
}

template <class Format>
void check_examples(const std::string& document, const Cpus<Format>& cpus) {
  for (auto const& row : table(document, "| level |")) {
    auto const cpu = cpus.find(row[1]);
    if (cpu == cpus.end()) return fail("no such CPU: " + row[1]);
    auto const& format = cpu->second;
    bool found = false;
    for (auto const& attr : attributes(format)) {
      if (printed(attr) != row[3]) continue;
      found = true;
      auto const leaf = format.leaf(static_cast<Level>(number(row[0], 10)), HostPhys{number(row[2], 16)}, attr);
      if (leaf != number(row[4], 16)) fail("it is " + hex(leaf) + ", not " + row[4]);
    }
    if (!found) fail("no such attributes: " + row[3]);
  }
}

template <class Format>
void check_changes(const std::string& document, const Cpus<Format>& cpus) {
  std::set<std::string> said;
  std::size_t changes = 0;
  for (auto const& row : table(document, "| change |")) {
    std::size_t column = 1;
    for (auto const& name : {"plain", "full"}) {
      auto const& f = cpus.at(name);
      HostPhys const here{0x4000'0000}, there{0x8000'0000};
      auto const block = f.leaf(1, here, rwx), table = f.table(1, HostPhys{0x1000});
      std::map<std::string, Swap> const answers{
          {"nothing becomes a leaf or a table", f.swap(1, 0, block)},
          {"a leaf becomes nothing", f.swap(1, block, 0)},
          {"a leaf gains a right", f.swap(1, f.leaf(1, here, ro), f.leaf(1, here, rx))},
          {"a leaf loses a right", f.swap(1, f.leaf(1, here, rx), f.leaf(1, here, ro))},
          {"a leaf changes its memory type", f.swap(1, f.leaf(1, here, rw), f.leaf(1, here, rw | Memory::device))},
          {"a leaf changes its address", f.swap(1, block, f.leaf(1, there, rwx))},
          {"a block becomes a table of equal pages, or the other way round", f.swap(1, block, table)},
          {"a table becomes nothing", f.swap(1, table, 0)},
          {"a table becomes another table", f.swap(1, table, f.table(1, HostPhys{0x2000}))},
      };
      changes = answers.size();
      auto const answer = answers.find(row[0]);
      if (answer == answers.end()) return fail("no such change: " + row[0]);
      auto const word = answer->second == Swap::free ? "free" : answer->second == Swap::flush ? "flush" : "break";
      if (row[column] != word) fail(row[0] + " (" + name + "): it is " + word + ", not " + row[column]);
      ++column;
      said.insert(row[0]);
    }
  }
  if (said.size() != changes) fail("a change is missing");
}

template <class Format>
void check(const std::string& document, const Cpus<Format>& cpus, const Constants& constants) {
  check_bits(document, cpus, constants);
  check_examples(document, cpus);
  check_changes(document, cpus);
}

void check_arm(const std::string& document) {
  using F = aarch64::Stage2<>;
  check<F>(document,
           {{"plain", *F::create({.pa_bits = 48, .granule_4k = true}, {.ipa_bits = 48})},
            {"full", *F::create({.pa_bits = 48,
                                 .granule_4k = true,
                                 .bbm = 2,
                                 .hardware_accessed = true,
                                 .hardware_dirty = true,
                                 .xnx = true,
                                 .fwb = true},
                                {.ipa_bits = 48})}},
           {{"valid", F::valid},
            {"table_or_page", F::table_or_page},
            {"s2ap_r", F::s2ap_r},
            {"s2ap_w", F::s2ap_w},
            {"inner_shareable", F::inner_shareable},
            {"accessed", F::accessed},
            {"dirty_modifier", F::dirty_modifier},
            {"write_intent", F::write_intent},
            {"software_dirty", F::software_dirty}});
}

void check_ept(const std::string& document) {
  using F = x86_64::Ept;
  check<F>(document,
           {{"plain", *F::create({.pa_bits = 52, .leaf_2m = true, .leaf_1g = true}, {})},
            {"full", *F::create({.pa_bits = 52,
                                 .leaf_2m = true,
                                 .leaf_1g = true,
                                 .execute_only = true,
                                 .accessed_dirty = true,
                                 .mode_based_execute = true,
                                 .pschange_mc_no = true},
                                {.suppress_ve = true})},
            {"breaking, with both kinds of execution", *F::create({.pa_bits = 52, .mode_based_execute = true}, {})}},
           {{"read", F::read},
            {"write", F::write},
            {"execute", F::execute},
            {"ignore_pat", F::ignore_pat},
            {"large", F::large},
            {"accessed", F::accessed},
            {"dirty", F::dirty},
            {"execute_user", F::execute_user},
            {"write_intent", F::write_intent},
            {"software_dirty", F::software_dirty},
            {"strict", F::strict},
            {"suppress_ve", F::suppress_ve}});
}

void check_npt(const std::string& document) {
  using F = x86_64::Npt;
  check<F>(document,
           {{"plain", *F::create({.pa_bits = 52, .nested_paging = true}, {})},
            {"full", *F::create({.pa_bits = 52, .nested_paging = true, .leaf_1g = true, .no_execute = true},
                                {.pat = x86_64::pat_with_write_combining})}},
           {{"present", F::present},
            {"writable", F::writable},
            {"user", F::user},
            {"accessed", F::accessed},
            {"dirty", F::dirty},
            {"large", F::large},
            {"strict", F::strict},
            {"no_execute", F::no_execute}});
}

}  // namespace

int main(int count, char** arguments) {
  std::map<std::string, void (*)(const std::string&)> const formats{
      {"arm", check_arm}, {"ept", check_ept}, {"npt", check_npt}};
  auto const chosen = count == 3 ? formats.find(arguments[1]) : formats.end();
  if (chosen == formats.end()) return 2;
  chosen->second(arguments[2]);
  return failed ? 1 : 0;
}
