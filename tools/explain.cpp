#include "tools/explain.hpp"

#include <array>
#include <span>

#include "tools/words.hpp"

namespace slat::tool {

using testing::bit;
using testing::Family;
using testing::Fault;

std::string section_of(std::string_view rule) {
  struct Row {
    std::string_view rule, section;
  };
  // As docs/rules.md has them.
  constexpr std::array rows{
      Row{"A4.10", R"~([arm/a-profile] D8, "Output address size")~"},
      Row{"A4.1", R"~([arm/a-profile] D8, "VMSAv8-64 translation table format descriptors")~"},
      Row{"A4.2", R"~([arm/a-profile] D8, "Stage 2 instruction execution permissions")~"},
      Row{"A4.3", R"~([arm/a-profile] D8, "Stage 2 memory type and Cacheability attributes")~"},
      Row{"A4.5", R"~([arm/a-profile] D8, "The Contiguous bit")~"},
      Row{"A4.7", R"~([arm/a-profile] D8, "Block descriptor and Page descriptor formats")~"},
      Row{"A4.8", R"~([arm/a-profile] D8, "Output address size")~"},
      Row{"A4.9", R"~([arm/a-profile] D8, "Concatenated translation tables"; VTTBR_EL2)~"},
      Row{"B1.2", R"~([intel/vol3] "EPT misconfigurations")~"},
      Row{"B1.4", R"~([intel/vol3] "Extended-page-table pointer (EPTP)")~"},
      Row{"B2.6", R"~(Intel, "Deep dive: L1 terminal fault")~"},
      Row{"C1", R"~([amd/vol2] "Long-mode page translation"; "Nested paging")~"},
      Row{"C3", R"~([amd/vol2] "Enabling nested paging")~"},
  };
  auto const name = rule.substr(0, rule.find(':'));
  for (auto const& row : rows)
    if (row.rule == name) return std::string{row.section};
  return name.starts_with("H") ? "slat's own rule, in docs/rules.md" : "";
}

namespace {

/// [arm/a-profile] AArch64.S2Translate: what ends a walk before its first entry is reported as level 0.
constexpr Level arm_level_0 = 3;

struct Access {
  const char* name;
  Prot right;
};

std::string fault_section(const Scheme& scheme, Fault fault) {
  switch (scheme.family()) {
    case Family::arm:
      return fault == Fault::address_size  ? R"~([arm/a-profile] D8, "Address size fault")~"
             : fault == Fault::access_flag ? R"~([arm/a-profile] D8, "Access flag fault")~"
                                           : R"~([arm/a-profile] D8, "Translation fault")~";
    case Family::intel:
      return fault == Fault::misconfigured ? R"~([intel/vol3] "EPT misconfigurations")~"
                                           : R"~([intel/vol3] "EPT violations")~";
    case Family::amd: return R"~([amd/vol2] "Nested page faults")~";
  }
  return {};
}

std::string permission_section(const Scheme& scheme, Prot right) {
  switch (scheme.family()) {
    case Family::arm:
      return (right & Prot::x) != Prot::none ? R"~([arm/a-profile] D8, "Stage 2 instruction execution permissions")~"
                                             : R"~([arm/a-profile] D8, "Stage 2 data accesses permissions")~";
    case Family::intel: return R"~([intel/vol3] "EPT violations")~";
    case Family::amd: return R"~([amd/vol2] "Nested paging")~";
  }
  return {};
}

/// Which bits of the entry withhold the right.
std::string withheld(const Scheme& scheme, Prot right, Entry entry) {
  switch (scheme.family()) {
    case Family::arm:
      if (right == Prot::r) return "S2AP[0] (bit 6) is 0";
      if (right == Prot::w) return "S2AP[1] (bit 7) is 0";
      return "XN (bits 54:53) is " + std::string{bit(entry, 54) ? "0b1" : "0b0"} + (bit(entry, 53) ? "1" : "0");
    case Family::intel:
      if (right == Prot::r) return "R (bit 0) is 0";
      if (right == Prot::w) return "W (bit 1) is 0";
      return right == Prot::x_user && std::get<EptReader>(scheme.reader).features().mode_based_execute
                 ? "XU (bit 10) is 0"
                 : "X (bit 2) is 0";
    case Family::amd:
      if (!bit(entry, 2)) return "U/S (bit 2) is 0, and every access of a guest is a user's";
      return right == Prot::w ? "R/W (bit 1) is 0" : "NX (bit 63) is 1";
  }
  return {};
}

std::string permission_fault(const Scheme& scheme, const Step& step) {
  auto const at = ", " + scheme.level_name(step.level);
  switch (scheme.family()) {
    case Family::arm: return "Permission fault" + at;
    case Family::intel: return "EPT violation" + at;
    case Family::amd: return "#NPF, P set" + at;
  }
  return {};
}

Verdict judged(const Scheme& scheme, const std::vector<Step>& steps, const Access& access) {
  for (auto const& step : steps)
    if (step.decoded.usable() && (step.decoded.rights & access.right) != access.right)
      return {access.name, false,
              permission_fault(scheme, step) + ": " + withheld(scheme, access.right, step.entry) + " in the entry at " +
                  hex(step.where.raw()),
              permission_section(scheme, access.right)};
  return {access.name, true, {}, {}};
}

/// Of a root that hardware refuses: before there is any walk on x86, and as level 0 on Arm, wherever walks start.
std::string root_fault(const Scheme& scheme, Fault fault) {
  switch (scheme.family()) {
    case Family::arm: return fault_name(scheme, fault, arm_level_0);
    case Family::intel: return "VM entry fails";
    case Family::amd: return "VMRUN fails (VMEXIT_INVALID)";
  }
  return {};
}

std::string ended(const Scheme& scheme, const Explanation& out, const testing::Walk& walk) {
  auto const name = fault_name(scheme, walk.fault, walk.level);
  if (out.steps.empty()) {
    auto const end = scheme.shape().input_size();
    if (out.address.raw() < end) return root_fault(scheme, walk.fault) + ": " + out.wrong;
    return (scheme.family() == Family::arm ? fault_name(scheme, walk.fault, arm_level_0) : name) +
           ": the address is not below " + hex(end) + ", which is all that the tables translate";
  }
  auto const& last = out.steps.back();
  auto const at = " at " + hex(last.where.raw());
  if (walk.leaf.wrong != nullptr) return name + ": " + walk.leaf.wrong + ", in the entry" + at;
  if (walk.fault == Fault::access_flag) return name + ": AF (bit 10) is 0 in the entry" + at;
  return name + ": the entry" + at + (last.entry == 0 ? " is 0" : " is not valid");
}

}  // namespace

Explanation explain(HostMemory& memory, const Scheme& scheme, GuestPhys address) {
  Explanation out{address, {}, {}, {}, {}, {}};
  std::optional<HostPhys> missing;
  auto const read = [&](HostPhys where) {
    Entry entry = 0;
    if (!memory.read(where, std::as_writable_bytes(std::span{&entry, 1}))) {
      missing = where;
      entry = 0;
    }
    return entry;
  };
  auto const shape = scheme.shape();
  auto const walk = std::visit([&](auto& reader) { return reader.walk(read, scheme.root, address); }, scheme.reader);
  for (auto const& used : walk.used()) {
    auto const index = shape.index(used.level, address);
    auto const entries = used.level == shape.root ? shape.root_entries() : shape.table_entries();
    auto const decoded = std::visit([&](auto& reader) { return reader.decode(used.level, used.entry); }, scheme.reader);
    out.steps.push_back({used.level, index, entries, used.where - index * sizeof(Entry), used.where,
                         missing == used.where, used.entry, decoded});
  }
  if (walk.wrong != nullptr) out.wrong = walk.wrong;
  if (walk.fault != Fault::none) {
    auto const why = missing ? "the source has no memory at " + hex(missing->raw()) + ", where the walk goes on"
                             : ended(scheme, out, walk);
    auto const refused_root = out.steps.empty() && address.raw() < shape.input_size();
    auto const section = walk.leaf.wrong != nullptr ? section_of(walk.leaf.wrong)
                         : refused_root             ? section_of(out.wrong)
                                                    : fault_section(scheme, walk.fault);
    out.verdicts.push_back({"any access", false, why, missing ? "" : section, !missing});
    out.second = second_walk(out, scheme);
    return out;
  }
  out.host = walk.address;
  constexpr std::array accesses{Access{"a read", Prot::r}, Access{"a write", Prot::w},
                                Access{"a fetch at user level", Prot::x_user},
                                Access{"a fetch at supervisor level", Prot::x_supervisor}};
  for (auto const& access : accesses) out.verdicts.push_back(judged(scheme, out.steps, access));
  out.second = second_walk(out, scheme);
  return out;
}

}  // namespace slat::tool
