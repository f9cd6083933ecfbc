// slat: shows and checks the second-stage tables of any hypervisor.

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <iostream>
#include <string>

#include "tools/diff.hpp"
#include "tools/explain.hpp"
#include "tools/failure.hpp"
#include "tools/gather.hpp"
#include "tools/json.hpp"
#include "tools/judge.hpp"
#include "tools/picture/pictures.hpp"
#include "tools/record.hpp"
#include "tools/source.hpp"
#include "tools/text.hpp"
#include "tools/trace.hpp"
#include "tools/words.hpp"

using namespace slat;
using namespace slat::tool;

namespace {

constexpr int sound = 0, findings = 1, unusable = 2;

struct Options {
  SourceOptions source;
  TableOptions tables;
  Limits limits;
  bool json = false, strict = false, marks = false, sizes = false;
  unsigned depth = 4;
  std::string address, before, after;
  std::optional<std::string> root_b, output;
  std::string picture;
};

void add_source(CLI::App& verb, SourceOptions& options) {
  auto* const group = verb.add_option_group("Source", "where host-physical memory is: one of these");
  group->add_option("--image", options.images, "a raw image of memory; several may be given")
      ->type_name("FILE")
      ->allow_extra_args(false);
  group->add_option("--base", options.bases, "the host-physical address of its first byte, one for each")
      ->type_name("HPA")
      ->allow_extra_args(false);
  group->add_option("--core", options.core, "an ELF core, as QEMU's dump-guest-memory writes it")->type_name("FILE");
  group->add_option("--gdb", options.gdb, "a live QEMU's gdbstub; the machine stands still meanwhile")
      ->type_name("HOST:PORT");
}

void add_tables(CLI::App& verb, Options& all) {
  auto& options = all.tables;
  auto* const live = verb.add_option_group("Live machine");
  live->add_option("--cpu", all.source.cpu, "the CPU whose registers are read, from 1 (default 1)")->type_name("N");
  live->add_flag("--leave-paused", all.source.leave_paused, "do not let the machine run on at the end");
  auto* const group =
      verb.add_option_group("Tables", "where the tables are; without any of these, by the registers of a live Arm CPU");
  group->add_option("--format", options.format, "arm, ept or npt")->type_name("F");
  group->add_option("--root", options.root, "host-physical address of the root table")->type_name("HPA");
  group->add_option("--vtcr", options.vtcr, "arm: VTCR_EL2")->type_name("VALUE");
  group->add_option("--hcr", options.hcr, "arm: HCR_EL2, for its FWB (default 0)")->type_name("VALUE");
  group->add_option("--granule", options.granule, "arm, instead of --vtcr: 4K, 16K or 64K")->type_name("SIZE");
  group->add_option("--ipa-bits", options.ipa_bits, "arm, with --granule: bits of a guest address")->type_name("N");
  group
      ->add_option("--start-level", options.start_level, "arm, with --granule: where walks start, as the manual counts")
      ->type_name("N");
  group->add_option("--eptp", options.eptp, "ept: the EPT pointer, root and all")->type_name("VALUE");
  group->add_option("--ncr3", options.ncr3, "npt: nCR3 of the VMCB")->type_name("VALUE");
  group->add_option("--levels", options.levels, "ept, npt: 4 or 5 (default 4)")->type_name("N");
  group->add_flag("--beacon", options.beacon, "look for a beacon that a hypervisor left in its memory");
  group->add_option("--beacon-at", options.beacon_at, "the beacon at this address")->type_name("HPA");
  group
      ->add_option("--scan", options.scan,
                   "how much of each range of memory to look through (default all; 16M of a live machine)")
      ->type_name("SIZE");
  auto* const cpu = verb.add_option_group("Processor", "what no register of the above says");
  cpu->add_option("--pa-bits", options.pa_bits, "bits of a host-physical address (default: as VTCR_EL2.PS, or 52)")
      ->type_name("N");
  cpu->add_flag("--xnx", options.xnx, "arm: FEAT_XNX");
  cpu->add_option("--bbm", options.bbm, "arm: level of FEAT_BBM")->type_name("N");
  cpu->add_flag("--xs", options.xs, "arm: FEAT_XS");
  cpu->add_flag("--mbec", options.mbec, "ept: mode-based execute control is on");
  cpu->add_flag("--no-execute-only", options.no_exec_only, "ept: no execute-only leaves");
  cpu->add_flag("--no-1g", options.no_1g, "ept, npt: no leaves of 1 GiB");
  cpu->add_option("--pat", options.pat, "npt: the host's IA32_PAT (default: as after a reset)")->type_name("VALUE");
  cpu->add_flag("--no-nx", options.no_nx, "npt: the host's EFER.NXE is clear");
  cpu->add_flag("--house-rules", options.house_rules, "also what slat demands of its own tables (H1 to H9)");
  verb.add_option("--most-tables", all.limits.tables, "read no more tables (default 262144)")->type_name("N");
  verb.add_flag("--json", all.json, "print JSON");
}

/// A dump with holes where nobody expects them would be a lie: what was not read is said.
void say_left_out(const Gathered& gathered) {
  if (gathered.left_out != 0)
    std::cerr << "slat: " << gathered.left_out << " tables or more are left out: see slat check\n";
}

int run(const Options& options, const std::string& verb) {
  auto& out = std::cout;
  if (verb == "diff") {
    auto tables = options.tables;
    auto const side = [&](const std::string& word) {
      auto const is_source = word.starts_with("core:") || word.starts_with("image:") || word.starts_with("gdb:");
      if (word.ends_with(".json") && !is_source) return read_dump(word);
      auto source = source_of(word);
      source.cpu = options.source.cpu;
      source.leave_paused = options.source.leave_paused;
      auto memory = open_source(source);
      auto const gathered = gather(memory, find_scheme(memory, tables), options.limits);
      say_left_out(gathered);
      return mappings_of(gathered);
    };
    auto const before = side(options.before);
    if (options.root_b) tables.root = options.root_b;
    auto const changes = diff(before, side(options.after), options.marks, options.sizes);
    options.json ? write_diff(out, changes) : print_diff(out, changes);
    return changes.empty() ? sound : findings;
  }
  auto const is_drawn = verb == "svg" || verb == "html";
  auto const draw = verb == "svg" ? picture_called(options.picture) : write_page;
  std::optional<HostMemory> memory{open_source(options.source)};
  auto const scheme = find_scheme(*memory, options.tables);
  // A live machine runs on before anything is printed: whoever reads that may be slow, or gone.
  if (verb == "explain") {
    auto const explanation = explain(*memory, scheme, GuestPhys{number(options.address, "ADDRESS")});
    memory.reset();
    options.json ? write_explanation(out, scheme, explanation) : print_explanation(out, scheme, explanation);
    return sound;
  }
  if (verb == "trace") {
    auto const events = events_of(*memory, scheme);
    memory.reset();
    if (!events)
      throw Failure{
          "no events: only a hypervisor with a ring of them (hv/event_ring.hpp), to which its beacon leads, "
          "can be traced"};
    write_trace(out, scheme, *events);
    return sound;
  }
  auto gathered = gather(*memory, scheme, options.limits);
  auto const told = is_drawn ? told_by(*memory, scheme) : Told{};
  memory.reset();
  if (verb == "check") {
    judge(gathered);
    options.json ? write_check(out, gathered) : print_check(out, gathered);
    auto const& found = gathered.findings;
    return found.count(Weight::wrong) + (options.strict ? found.count(Weight::note) : 0) == 0 ? sound : findings;
  }
  if (verb == "dump") options.json ? write_dump(out, gathered) : print_dump(out, gathered);
  if (verb == "tree") {
    options.json ? write_tree(out, gathered, options.depth) : print_tree(out, gathered, options.depth);
  }
  if (is_drawn) {
    judge(gathered);
    auto const text = draw(gathered, told);
    if (options.output)
      replace_file(*options.output, text);
    else
      out << text;
  }
  if (verb == "stats") options.json ? write_stats(out, gathered) : print_stats(out, gathered);
  say_left_out(gathered);
  return sound;
}

/// All of the program; throws Failure for what it cannot do.
int parse_and_run(int argc, char** argv) {
  Options options;
  CLI::App app{"Shows and checks second-stage tables: Arm stage 2, Intel EPT, AMD NPT, of any hypervisor."};
  app.require_subcommand(1);
  app.footer(
      "slat VERB --help lists a verb's options.\n\n"
      "  slat dump --gdb localhost:1234                           a live Arm machine, by its registers\n"
      "  slat dump --core FILE --beacon                           a core, where the hypervisor left a beacon\n"
      "  slat explain 0x40000000 --image FILE --base 0x80000000 --format ept --root 0x80001000\n\n"
      "Exit status: 0 sound (diff: equal), 1 findings (diff: differences), 2 a wrong argument or an unusable source.");
  auto* const dump = app.add_subcommand("dump", "runs of equal mappings, by guest address");
  auto* const tree = app.add_subcommand("tree", "the tables, and how full they are");
  auto* const explain =
      app.add_subcommand("explain", "one address: each entry on its way, and why an access would fault");
  auto* const stats = app.add_subcommand("stats", "leaves, tables, bytes, holes");
  auto* const check = app.add_subcommand("check", "what is wrong; exit status 1 if anything is");
  auto* const diff = app.add_subcommand("diff", "what two tables translate differently; exit status 1 if anything");
  auto* const trace = app.add_subcommand("trace", "faults, edits and shootdowns over time, for Perfetto");
  auto* const svg = app.add_subcommand("svg", "a picture: the memory map, the tree of tables, or a heat map of pages");
  auto* const html = app.add_subcommand("html", "one page: all pictures, numbers, findings and runs");
  for (auto* const verb : {dump, tree, explain, stats, check, trace, svg, html}) {
    add_source(*verb, options.source);
    add_tables(*verb, options);
  }
  add_tables(*diff, options);
  tree->add_option("--depth", options.depth, "levels below the root (default 4, which is all)")->type_name("N");
  check->add_flag("--traps", options.limits.traps,
                  "ept, npt: a leaf that is misconfigured is meant to trap, as KVM's for devices are: a note");
  explain->add_option("ADDRESS", options.address, "a guest-physical address")->required();
  check->add_flag("--strict", options.strict, "notes, such as memory that is writable and executable, count too");
  diff->add_option("A", options.before, "FILE.json (a kept dump), core:FILE, image:FILE@HPA or gdb:HOST:PORT")
      ->required();
  diff->add_option("B", options.after, "the same")->required();
  diff->add_option("--root-b", options.root_b, "the root in B, if it is another")->type_name("HPA");
  diff->add_flag("--sizes", options.sizes, "also where nothing but the sizes of leaves and the contiguous bit differ");
  diff->add_flag("--marks", options.marks, "also where nothing but accessed and dirty differ");
  svg->add_option("PICTURE", options.picture, "map, tree or heat")->required();
  trace->remove_option(trace->get_option("--json"));
  for (auto* const verb : {svg, html}) {
    verb->remove_option(verb->get_option("--json"));
    verb->add_option("--output", options.output, "write to this file, all of it or nothing (default: standard output)")
        ->type_name("FILE");
  }
  std::string const first = argc > 1 ? argv[1] : "-";
  auto const verbs = app.get_subcommands([&](const CLI::App* verb) { return verb->get_name() == first; });
  if (!first.starts_with('-') && verbs.empty()) throw Failure{"no such verb: " + first + " (see slat --help)"};
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    throw Failure{std::string{error.what()} + " (see slat --help)"};
  }
  auto const status = run(options, app.get_subcommands().front()->get_name());
  if (!std::cout.flush()) throw Failure{"cannot write to standard output"};
  return status;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return parse_and_run(argc, argv);
  } catch (const std::exception& error) {
    // One line, whatever a gdbstub answered or a file is called.
    std::string text = error.what();
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
    std::fprintf(stderr, "slat: %s\n", text.c_str());
  }
  return unusable;
}
