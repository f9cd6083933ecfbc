#include "tools/source.hpp"

#include "tools/beacon.hpp"
#include "tools/failure.hpp"
#include "tools/words.hpp"

namespace slat::tool {

namespace {

using Word = std::optional<std::string>;

unsigned small(const std::string& text, const char* what, unsigned most) {
  auto const value = number(text, what);
  if (value > most) throw Failure{std::string{what} + " is at most " + std::to_string(most) + ", not " + text};
  return static_cast<unsigned>(value);
}

Extras extras_of(const TableOptions& options) {
  Extras out{.pa_bits = {},
             .xnx = options.xnx,
             .bbm = options.bbm ? small(*options.bbm, "--bbm", 2) : 0,
             .xs = options.xs,
             .mbec = options.mbec,
             .no_exec_only = options.no_exec_only,
             .no_1g = options.no_1g,
             .no_nx = options.no_nx,
             .house_rules = options.house_rules};
  if (options.pa_bits) {
    out.pa_bits = small(*options.pa_bits, "--pa-bits", 52);
    if (*out.pa_bits < 32) throw Failure{"--pa-bits is at least 32, not " + *options.pa_bits};
  }
  if (options.pat) out.pat = number(*options.pat, "--pat");
  return out;
}

/// The format that is asked for, in words or by what only it has.
std::string format_of(const TableOptions& options) {
  struct Hint {
    const Word& given;
    const char* option;
    const char* format;
  };
  std::string format = options.format.value_or("");
  for (auto const& hint : {Hint{options.vtcr, "--vtcr", "arm"}, Hint{options.hcr, "--hcr", "arm"},
                           Hint{options.granule, "--granule", "arm"}, Hint{options.ipa_bits, "--ipa-bits", "arm"},
                           Hint{options.start_level, "--start-level", "arm"}, Hint{options.eptp, "--eptp", "ept"},
                           Hint{options.ncr3, "--ncr3", "npt"}, Hint{options.pat, "--pat", "npt"}}) {
    if (!hint.given) continue;
    if (!format.empty() && format != hint.format)
      throw Failure{std::string{hint.option} + " is of --format " + hint.format + ", not of " + format};
    format = hint.format;
  }
  return format;
}

const std::string& wanted(const Word& word, const std::string& sentence) {
  if (!word) throw Failure{sentence};
  return *word;
}

HostPhys root_of(const TableOptions& options) {
  return HostPhys{number(wanted(options.root, "where is the root table? Give --root HPA"), "--root")};
}

Scheme arm_by_hand(const TableOptions& options, const Extras& extras) {
  if (options.levels) throw Failure{"--levels is of --format ept and npt: on Arm --vtcr or --start-level says it"};
  auto const hcr = options.hcr ? number(*options.hcr, "--hcr") : 0;
  if (options.vtcr) {
    for (auto const* word : {&options.granule, &options.ipa_bits, &options.start_level})
      if (*word) throw Failure{"--vtcr says all that --granule, --ipa-bits and --start-level do: give it alone"};
    return arm_scheme(root_of(options), number(*options.vtcr, "--vtcr"), hcr, extras);
  }
  auto const& granule =
      wanted(options.granule, "--format arm wants --vtcr VALUE, or --granule 4K|16K|64K and --ipa-bits N");
  auto const& bits = wanted(options.ipa_bits, "--granule wants --ipa-bits N, the size of a guest address");
  std::optional<unsigned> start;
  if (options.start_level) start = small(*options.start_level, "--start-level", 3);
  auto const vtcr = vtcr_for(number(granule, "--granule", true), small(bits, "--ipa-bits", 64), start);
  return arm_scheme(root_of(options), vtcr, hcr, extras);
}

unsigned levels_of(const TableOptions& options) { return options.levels ? small(*options.levels, "--levels", 5) : 4; }

Scheme ept_by_hand(const TableOptions& options, const Extras& extras) {
  if (options.eptp && (options.root || options.levels))
    throw Failure{"--eptp says all that --root and --levels do: give it alone"};
  if (options.eptp) return ept_scheme(number(*options.eptp, "--eptp"), extras);
  auto const levels = levels_of(options);
  if (levels != 4 && levels != 5) throw Failure{"--levels is 4 or 5, not " + *options.levels};
  // Write-back, and with A/D bits: without them nothing is lost but their names.
  return ept_scheme((root_of(options).raw() & ~std::uint64_t{0xfff}) | (levels - 1) << 3 | 1u << 6 | 6, extras);
}

Scheme npt_by_hand(const TableOptions& options, const Extras& extras) {
  if (options.ncr3 && options.root) throw Failure{"--ncr3 and --root say the same: give one"};
  return npt_scheme(options.ncr3 ? number(*options.ncr3, "--ncr3") : root_of(options).raw(), levels_of(options),
                    extras);
}

/// From the registers of a live CPU. [arm/a-profile] VTTBR_EL2, VTCR_EL2, HCR_EL2, ID_AA64MMFR1_EL1,
/// ID_AA64MMFR2_EL1, ID_AA64ISAR1_EL1
Scheme arm_by_registers(GdbMemory& gdb, Extras extras) {
  auto const vtcr = gdb.reg("VTCR_EL2");
  auto const vttbr = gdb.reg("VTTBR_EL2");
  auto const hcr = gdb.reg("HCR_EL2");
  if (!vtcr || !vttbr || !hcr)
    throw Failure{
        "this CPU shows no VTCR_EL2, VTTBR_EL2 and HCR_EL2: look for a beacon with --beacon, or give --format and "
        "--root"};
  // VM, or DC, which stands for it.
  if ((*hcr & 0x1001) == 0)
    throw Failure{"stage 2 is off on this CPU (HCR_EL2.VM is 0): choose another with --cpu, or give --format arm"};
  auto const id = [&](const char* name, unsigned low) { return gdb.reg(name).value_or(0) >> low & 0xf; };
  extras.xnx = extras.xnx || id("ID_AA64MMFR1_EL1", 28) != 0;
  extras.xs = extras.xs || id("ID_AA64ISAR1_EL1", 56) != 0;
  if (extras.bbm == 0) extras.bbm = static_cast<unsigned>(std::min<std::uint64_t>(2, id("ID_AA64MMFR2_EL1", 52)));
  if ((*vtcr >> 14 & 3) == 1 && (*vtcr >> 16 & 7) == 6 && (*vttbr & 0x3c) != 0)
    throw Failure{"VTTBR_EL2 " + hex(*vttbr) + " has a root above 48 bits: FEAT_LPA's addresses are not read here"};
  // VMID above, CnP in bit 0.
  return arm_scheme(HostPhys{*vttbr & 0x0000'ffff'ffff'fffe}, *vtcr, *hcr, extras);
}

}  // namespace

HostMemory open_source(const SourceOptions& options) {
  auto const kinds = int{!options.images.empty()} + int{options.core.has_value()} + int{options.gdb.has_value()};
  if (kinds != 1)
    throw Failure{kinds == 0 ? "no memory to look at: give --image FILE --base HPA, --core FILE or --gdb HOST:PORT"
                             : "--image, --core and --gdb are three sources: give one of them"};
  if (options.core) return HostMemory{FileMemory::core(*options.core)};
  if (options.gdb) return HostMemory{GdbMemory{*options.gdb, options.cpu, options.leave_paused}};
  if (options.images.size() != options.bases.size())
    throw Failure{"each --image wants its --base, the host-physical address of its first byte: " +
                  std::to_string(options.images.size()) + " and " + std::to_string(options.bases.size()) +
                  " were given"};
  std::vector<FileMemory::Image> images;
  for (std::size_t i = 0; i != options.images.size(); ++i)
    images.push_back({options.images[i], number(options.bases[i], "--base")});
  return HostMemory{FileMemory::images(images)};
}

SourceOptions source_of(const std::string& word) {
  SourceOptions out;
  auto const after = [&](std::string_view prefix) { return word.substr(prefix.size()); };
  if (word.starts_with("core:")) {
    out.core = after("core:");
  } else if (word.starts_with("gdb:")) {
    out.gdb = after("gdb:");
  } else if (word.starts_with("image:")) {
    auto const rest = after("image:");
    auto const at = rest.rfind('@');
    if (at == std::string::npos) throw Failure{"'" + word + "' wants the address of its first byte: image:FILE@HPA"};
    out.images = {rest.substr(0, at)};
    out.bases = {rest.substr(at + 1)};
  } else {
    throw Failure{"'" + word +
                  "' is no side of a diff: give FILE.json (a kept dump), core:FILE, image:FILE@HPA or "
                  "gdb:HOST:PORT"};
  }
  return out;
}

Scheme find_scheme(HostMemory& memory, const TableOptions& options) {
  auto const extras = extras_of(options);
  auto const format = format_of(options);
  if (options.beacon || options.beacon_at) {
    if (!format.empty() || options.root)
      throw Failure{"a beacon says format and root: do not give both (or leave --beacon out)"};
    // A gdbstub is slow: 16 MiB take half a second.
    auto const usual = memory.gdb() != nullptr ? std::uint64_t{16} << 20 : ~std::uint64_t{0};
    auto const limit = options.scan ? number(*options.scan, "--scan", true) : usual;
    return scheme_of(options.beacon_at ? beacon_at(memory, HostPhys{number(*options.beacon_at, "--beacon-at")})
                                       : find_beacon(memory, limit),
                     extras);
  }
  if (format == "arm") return arm_by_hand(options, extras);
  if (format == "ept") return ept_by_hand(options, extras);
  if (format == "npt") return npt_by_hand(options, extras);
  if (!format.empty()) throw Failure{"--format is arm, ept or npt, not " + format};
  if (options.root) throw Failure{"--root alone says too little: give --format arm|ept|npt, too"};
  if (auto* const gdb = memory.gdb()) return arm_by_registers(*gdb, extras);
  throw Failure{"which tables? Give --format arm|ept|npt and --root HPA, or look for a beacon with --beacon"};
}

}  // namespace slat::tool
