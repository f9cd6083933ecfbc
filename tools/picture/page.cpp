// All pictures on one page, with the numbers, the findings and runs of the dump. It asks for no other file.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include "tools/describe.hpp"
#include "tools/failure.hpp"
#include "tools/picture/pictures.hpp"
#include "tools/picture/svg.hpp"
#include "tools/runs.hpp"
#include "tools/text.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

constexpr std::size_t most_rows_of_page = 200;

constexpr const char* page_style = R"(
:root { color-scheme: light dark; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; font: 1rem/1.5 sans-serif; color: #1b1f24; background: #ffffff; }
svg { display: block; width: 100%; max-width: 60rem; height: auto; margin: 1rem 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid #8c959f; }
td { font-family: monospace; }
li { overflow-wrap: anywhere; }
@media (prefers-color-scheme: dark) {
  body { color: #e6edf3; background: #0d1117; }
  th, td { border-color: #57606a; }
}
)";

std::string lines_of(auto print) {
  std::ostringstream out;
  print(out);
  return out.str();
}

void add_numbers(std::string& page, const Gathered& gathered) {
  // `stats` gives a line to each number, and 24 columns to its name.
  constexpr std::size_t names = 24;
  std::istringstream lines{lines_of([&](auto& out) { print_stats(out, gathered); })};
  std::string line, name;
  std::getline(lines, line);
  page += "<h2>Numbers</h2>\n<table>\n<tr><th scope=\"col\">What</th><th scope=\"col\">How many</th></tr>\n";
  while (std::getline(lines, line)) {
    auto said = line.substr(2, names - 2);
    said.erase(said.find_last_not_of(' ') + 1);
    if (!said.empty()) name = said;
    page += "<tr><th scope=\"row\">" + escaped(name) + "</th><td>" + escaped(line.substr(names)) + "</td></tr>\n";
  }
  page += "</table>\n";
}

void add_findings(std::string& page, const Gathered& gathered) {
  std::istringstream lines{lines_of([&](auto& out) { print_check(out, gathered); })};
  page += "<h2>What check finds</h2>\n<ul>\n";
  for (std::string line; std::getline(lines, line);) page += "<li>" + escaped(line) + "</li>\n";
  page += "</ul>\n";
}

void add_runs(std::string& page, const Gathered& gathered) {
  auto const& scheme = gathered.scheme;
  auto const runs = runs_of(gathered);
  page += "<h2>Runs of equal mappings</h2>\n<div class=\"scroll\">\n<table>\n<tr>";
  for (auto const* head : {"Guest", "Host", "Leaves", "Rights", "Memory", "Marks"})
    page += "<th scope=\"col\">" + std::string{head} + "</th>";
  page += "</tr>\n";
  for (auto const& run : std::span{runs}.first(std::min(runs.size(), most_rows_of_page))) {
    auto const& leaf = run.first;
    auto const valid = leaf.valid();
    page += "<tr>";
    auto const cell = [&](const std::string& text) { page += "<td>" + escaped(text) + "</td>"; };
    cell(range(run.range.begin.raw(), run.range.size));
    cell(valid ? range(run.host().raw(), run.range.size) : "not valid, first " + word(leaf.entry));
    cell(std::to_string(run.count) + " x " + bytes_text(leaf.range.size));
    cell(valid ? rights_text(leaf.rights) : "");
    cell(valid ? memory_name(scheme, leaf.decoded.type) : "");
    cell(valid ? marks_text(scheme, leaf.decoded) : "");
    page += "</tr>\n";
  }
  page += "</table>\n</div>\n";
  if (runs.size() > most_rows_of_page)
    page += "<p>" + std::to_string(runs.size() - most_rows_of_page) + " more runs are left out: see slat dump.</p>\n";
  if (runs.empty()) page += "<p>Nothing is mapped.</p>\n";
}

[[noreturn]] void cannot_write(const std::string& path, const std::string& why) {
  throw Failure{"cannot write '" + path + "': " + why};
}

}  // namespace

std::string write_page(const Gathered& gathered, const Told& told) {
  auto const name = escaped(headline(gathered.scheme));
  std::string page =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n<title>Second-stage tables: " +
      name + "</title>\n<style>" + page_style + "</style>\n</head>\n<body>\n<main>\n<h1>Second-stage tables</h1>\n<p>" +
      name + "</p>\n<h2>Memory map</h2>\n" + draw_map(gathered, told) + "<h2>Tables</h2>\n" + draw_tree(gathered) +
      "<h2>Pages</h2>\n" + draw_heat(gathered, told);
  add_numbers(page, gathered);
  add_findings(page, gathered);
  add_runs(page, gathered);
  return page + "</main>\n</body>\n</html>\n";
}

Draw picture_called(const std::string& name) {
  if (name == "map") return draw_map;
  if (name == "tree") return [](const Gathered& gathered, const Told&) { return draw_tree(gathered); };
  if (name == "heat") return draw_heat;
  throw Failure{"no such picture: '" + name + "': it is map, tree or heat"};
}

Told told_by(HostMemory& memory, const Scheme& scheme) {
  Told out;
  auto const ask = [](auto read, auto& what, std::string& why) {
    try {
      what = read();
    } catch (const Failure& failure) {
      why = failure.what();
    }
  };
  ask([&] { return areas_of(memory, scheme); }, out.areas, out.no_areas);
  ask([&] { return events_of(memory, scheme); }, out.events, out.no_events);
  return out;
}

void replace_file(const std::string& path, const std::string& text) {
  struct stat status {};
  if (stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) cannot_write(path, "it is no regular file");
  auto const part = path + ".part" + std::to_string(getpid());
  auto const file = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) cannot_write(path, std::strerror(errno));
  auto failed = 0;
  for (std::size_t at = 0; failed == 0 && at != text.size();) {
    auto const wrote = ::write(file, text.data() + at, text.size() - at);
    if (wrote > 0) at += static_cast<std::size_t>(wrote);
    if (wrote < 0 && errno != EINTR) failed = errno;
  }
  if (::close(file) != 0 && failed == 0) failed = errno;
  if (failed == 0 && std::rename(part.c_str(), path.c_str()) != 0) failed = errno;
  if (failed == 0) return;
  ::unlink(part.c_str());
  cannot_write(path, std::strerror(failed));
}

}  // namespace slat::tool
