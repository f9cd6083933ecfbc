#include "tools/gdb_memory.hpp"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "tools/failure.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

/// A number in hex digits without 0x.
std::uint64_t hex_number(std::string_view digits, std::string_view what) {
  return number("0x" + std::string{digits}, what);
}

/// The value of an XML attribute in a tag, or nothing.
std::string attribute(std::string_view tag, std::string_view name) {
  auto const at = tag.find(std::string{name} + "=\"");
  if (at == std::string_view::npos) return {};
  auto const begin = at + name.size() + 2;
  auto const end = tag.find('"', begin);
  return end == std::string_view::npos ? std::string{} : std::string{tag.substr(begin, end - begin)};
}

/// The largest power of two, at most a page, whose bytes fit into one packet as hex digits.
std::uint64_t chunk_for(const std::string& supported) {
  auto const at = supported.find("PacketSize=");
  if (at == std::string::npos) return 128;  // every stub has room for 400 characters
  auto const digits = std::string_view{supported}.substr(at + 11);
  auto const bytes = hex_number(digits.substr(0, digits.find(';')), "the gdbstub's PacketSize") / 2;
  return std::bit_floor(std::clamp<std::uint64_t>(bytes, 16, 4096));
}

}  // namespace

std::vector<Extent> ram_in(std::string_view mtree) {
  std::vector<Extent> out;
  auto of_cpus = false;
  for (auto rest = mtree; !rest.empty();) {
    auto const end = std::min(rest.find('\n'), rest.size());
    auto line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.starts_with("FlatView")) of_cpus = false;
    if (line.find("AS \"memory\"") != line.npos) of_cpus = true;
    if (!of_cpus) continue;
    if (line.find(", ram)") == line.npos) continue;
    line.remove_prefix(std::min(line.find_first_not_of(' '), line.size()));
    auto const dash = line.find('-');
    auto const space = line.find(' ');
    if (dash == line.npos || space == line.npos || space < dash) continue;
    auto const begin = hex_number(line.substr(0, dash), "QEMU's memory map");
    auto const last = hex_number(line.substr(dash + 1, space - dash - 1), "QEMU's memory map");
    if (last < begin) throw Failure{"QEMU's memory map has a range that ends before it begins: " + std::string{line}};
    // One that continues the one before is part of it.
    if (!out.empty() && out.back().begin + out.back().bytes == begin)
      out.back().bytes += last - begin + 1;
    else
      out.push_back({begin, last - begin + 1});
  }
  return out;
}

GdbMemory::GdbMemory(const std::string& where, unsigned cpu, bool leave_paused)
    : link_{std::make_unique<GdbLink>(where)} {
  auto const supported = link_->ask("qSupported:xmlRegisters=i386,arm,aarch64");
  chunk_ = chunk_for(supported);
  // What had been started is running, or was until this connection stopped it.
  if (leave_paused || link_->monitor("info status").find("prelaunch") != std::string::npos) link_->leave_paused();
  if (link_->ask("Hg" + hex(cpu).substr(2)) != "OK")
    throw Failure{"the machine at " + where + " has no CPU " + std::to_string(cpu) + ": --cpu counts from 1"};
  // QEMU keeps the mode when the connection ends, and the next debugger would read with it.
  if (link_->ask("qqemu.PhyMemMode") != "1") link_->at_the_end("Qqemu.PhyMemMode:0");
  if (link_->ask("Qqemu.PhyMemMode:1") != "OK")
    throw Failure{"the gdbstub at " + where +
                  " cannot read physical memory (Qqemu.PhyMemMode): is it QEMU's, of version "
                  "4.1 or later?"};
  extents_ = ram_in(link_->monitor("info mtree -f"));
  if (extents_.empty())
    throw Failure{"the gdbstub at " + where + " does not say where its RAM is (monitor command 'info mtree -f')"};
}

bool GdbMemory::has(std::uint64_t page) const {
  return std::any_of(extents_.begin(), extents_.end(), [&](const Extent& extent) {
    return page >= extent.begin && page - extent.begin < extent.bytes &&
           extent.bytes - (page - extent.begin) >= page_size;
  });
}

void GdbMemory::expect(std::span<const HostPhys> begins, std::uint64_t bytes) {
  std::vector<std::string> requests;
  std::vector<std::byte*> places;
  for (auto const begin : begins) {
    auto const first = begin.raw() & ~(page_size - 1);
    auto const count = (begin.raw() - first + bytes + page_size - 1) / page_size;
    for (std::uint64_t i = 0; i != count; ++i) {
      auto const page = first + i * page_size;
      if (!has(page)) continue;
      auto const [entry, is_new] = pages_.try_emplace(page);
      if (!is_new) continue;
      for (std::uint64_t at = 0; at != page_size; at += chunk_) {
        requests.push_back("m" + hex(page + at).substr(2) + "," + hex(chunk_).substr(2));
        places.push_back(entry->second.data() + at);
      }
    }
  }
  link_->ask_all(requests, [&](std::size_t i, const std::string& answer) {
    auto const got = answer.size() == 2 * chunk_ ? from_hex(answer) : std::string{};
    if (got.size() != chunk_)
      throw Failure{"the gdbstub at " + link_->where() + " answered " + requests[i] + " with '" + answer.substr(0, 40) +
                    "'"};
    std::memcpy(places[i], got.data(), got.size());
  });
}

bool GdbMemory::read(HostPhys at, std::span<std::byte> to) {
  std::array const begin{at};
  expect(begin, to.size());
  while (!to.empty()) {
    auto const page = pages_.find(at.raw() & ~(page_size - 1));
    if (page == pages_.end()) return false;
    auto const offset = at.offset_in(page_size);
    auto const part = std::min<std::uint64_t>(to.size(), page_size - offset);
    std::memcpy(to.data(), page->second.data() + offset, part);
    to = to.subspan(part);
    at = at + part;
  }
  return true;
}

void GdbMemory::learn_registers(const std::string& document, unsigned depth) {
  constexpr std::size_t longest = 1 << 22;
  constexpr unsigned most = 64;
  if (documents_++ >= most) return;
  std::string text;
  for (auto last = false; !last;) {
    auto const part = link_->ask("qXfer:features:read:" + document + ":" + hex(text.size()).substr(2) + ",800");
    if (part.empty() || (part[0] != 'l' && part[0] != 'm') || text.size() > longest) return;
    last = part[0] == 'l';
    if (!last && part.size() == 1) return;
    text += part.substr(1);
  }
  for (auto at = text.find('<'); at != std::string::npos; at = text.find('<', at + 1)) {
    auto const tag = std::string_view{text}.substr(at, text.find('>', at) - at);
    if (tag.starts_with("<xi:include") && depth < 8) learn_registers(attribute(tag, "href"), depth + 1);
    if (!tag.starts_with("<reg ")) continue;
    // Numbers go on from the last one, unless one is given.
    if (auto const given = attribute(tag, "regnum"); !given.empty())
      next_register_ = static_cast<unsigned>(number(given, "the gdbstub's register number"));
    registers_.emplace(attribute(tag, "name"), next_register_++);
  }
}

std::optional<std::uint64_t> GdbMemory::reg(const std::string& name) {
  if (registers_.empty()) learn_registers("target.xml", 0);
  auto const found = registers_.find(name);
  if (found == registers_.end()) return {};
  auto const digits = link_->ask("p" + hex(found->second).substr(2));
  if (digits.size() != 16) return {};
  auto const bytes = from_hex(digits);
  std::uint64_t value = 0;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

}  // namespace slat::tool
