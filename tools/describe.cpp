#include "tools/describe.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <slat/mm/leaf.hpp>

#include "tools/words.hpp"

namespace slat::tool {

using testing::bit;
using testing::Decoded;
using testing::Family;
using testing::Fault;
using testing::field;

std::string rights_text(Prot rights) {
  std::string text;
  auto out = [&](std::string_view piece) { text += piece; };
  print(out, rights);
  return text;
}

namespace {

std::string arm_memory(unsigned attributes, bool fwb) {
  constexpr std::array devices{"device-nGnRnE", "device-nGnRE", "device-nGRE", "device-GRE"};
  if (fwb) {
    if (attributes < 4) return devices[attributes];
    if (attributes == 5) return "non-cacheable";
    if (attributes == 6) return "write-back";
    return attributes == 7 ? "as-stage-1" : "reserved";
  }
  if (attributes < 4) return devices[attributes];
  constexpr std::array caches{"reserved", "non-cacheable", "write-through", "write-back"};
  auto const* const inner = caches[attributes & 3];
  auto const* const outer = caches[attributes >> 2];
  if ((attributes & 3) == 0) return "reserved";
  return inner == outer ? inner : std::string{"inner-"} + inner + "-outer-" + outer;
}

std::string x86_memory(unsigned type) {
  constexpr std::array names{"uncacheable",   "write-combining", "reserved",   "reserved",
                             "write-through", "write-protected", "write-back", "uncached-minus"};
  return type < names.size() ? names[type] : "reserved";
}

}  // namespace

std::string memory_name(const Scheme& scheme, std::uint8_t type) {
  switch (scheme.family()) {
    case Family::arm: return arm_memory(type & 0xfu, std::get<ArmReader>(scheme.reader).features().fwb);
    case Family::intel: return x86_memory(type & 7u) + ((type & 8) != 0 ? "+ignore-pat" : "");
    case Family::amd: return x86_memory(type);
  }
  return {};
}

std::string share_name(const Scheme& scheme, std::uint8_t type) {
  if (scheme.family() != Family::arm) return {};
  constexpr std::array names{"non", "reserved", "outer", "inner"};
  return names[type >> 4 & 3];
}

bool is_device(const Scheme& scheme, std::uint8_t type) {
  switch (scheme.family()) {
    case Family::arm: return (type & 0xf) < 4;
    case Family::intel: return (type & 7) == 0;
    case Family::amd: return type == 0 || type == 7;
  }
  return false;
}

Entry software_mask(const Scheme& scheme) {
  switch (scheme.family()) {
    case Family::arm: {
      // 63:59 are ignored, or hardware's own. DBM is one of them without VTCR_EL2.HD.
      auto const& has = std::get<ArmReader>(scheme.reader).features();
      return 0x1ffull << 55 | (has.hd ? 0 : 1ull << 51);
    }
    case Family::intel: {
      auto const& has = std::get<EptReader>(scheme.reader).features();
      Entry mask = 1ull << 11 | 0x1full << 52 | 1ull << 59 | 1ull << 62;
      // Each is ignored, and hypervisors use it, while the control that gives it a meaning is off.
      for (auto const& [on, bits] :
           {std::pair{has.accessed_dirty, Entry{0x300}}, std::pair{has.mode_based_execute, Entry{1} << 10},
            std::pair{has.verify_paging, Entry{1} << 57}, std::pair{has.paging_write, Entry{1} << 58},
            std::pair{has.shadow_stack, Entry{1} << 60}, std::pair{has.sub_page, Entry{1} << 61},
            std::pair{has.ve, Entry{1} << 63}})
        mask |= on ? 0 : bits;
      return mask;
    }
    case Family::amd: return 0xfull << 8 | 0x7ffull << 52;
  }
  return 0;
}

std::string software_text(const Scheme& scheme, Entry entry) {
  std::string text;
  for (unsigned n = 0; n != 64; ++n)
    if (bit(entry & software_mask(scheme), n)) text += (text.empty() ? "" : ",") + std::to_string(n);
  return text;
}

bool sets_accessed(const Scheme& scheme) {
  return std::visit([](auto& r) { return r.sets_accessed(); }, scheme.reader);
}
bool sets_dirty(const Scheme& scheme) {
  return std::visit([](auto& r) { return r.sets_dirty(); }, scheme.reader);
}

std::string marks_text(const Scheme& scheme, const Decoded& decoded) {
  auto const has_flag = scheme.family() == Family::arm || sets_accessed(scheme);
  return std::string{has_flag && decoded.is_accessed ? "A" : "-"} +
         (sets_dirty(scheme) && decoded.is_dirty ? "D" : "-");
}

std::string fault_name(const Scheme& scheme, Fault fault, Level level) {
  auto const arm = scheme.family() == Family::arm;
  auto const at = ", " + scheme.level_name(level);
  switch (fault) {
    case Fault::none: return "none";
    case Fault::translation:
      return (arm ? "Translation fault" : scheme.family() == Family::intel ? "EPT violation" : "#NPF, P clear") + at;
    case Fault::address_size: return "Address size fault" + at;
    case Fault::access_flag: return "Access flag fault" + at;
    case Fault::misconfigured:
      return (scheme.family() == Family::intel ? "EPT misconfiguration" : "#NPF, RSV set") + at;
  }
  return {};
}

namespace {

class FieldList {
 public:
  explicit FieldList(Entry entry) : entry_{entry} {}

  void add(unsigned high, unsigned low, std::string_view name, std::string meaning) {
    list_.push_back({high, low, name, field(entry_, high, low), std::move(meaning)});
  }
  void flag(unsigned n, std::string_view name, const char* set, const char* clear) {
    add(n, n, name, bit(entry_, n) ? set : clear);
  }
  /// What nothing was said of, where it is not 0.
  void add_rest() {
    auto rest = entry_;
    for (auto const& known : list_) rest &= ~(field(~Entry{0}, known.high - known.low, 0) << known.low);
    for (unsigned low = 0; low != 64; ++low) {
      if (!bit(rest, low)) continue;
      auto high = low;
      while (high != 63 && bit(rest, high + 1)) ++high;
      auto const after = std::find_if(list_.begin(), list_.end(), [&](const Field& known) { return known.low > high; });
      list_.insert(after, {high, low, "other", field(entry_, high, low), "ignored, or reserved"});
      low = high;
    }
  }
  /// Left out while it is 0.
  void rare(unsigned high, unsigned low, std::string_view name, const char* meaning) {
    if (field(entry_, high, low) != 0) add(high, low, name, meaning);
  }
  std::vector<Field> list() && { return std::move(list_); }
  /// With the rest.
  std::vector<Field> whole() && {
    add_rest();
    return std::move(list_);
  }

 private:
  Entry entry_;
  std::vector<Field> list_;
};

std::vector<Field> arm_fields(const Scheme& scheme, Level level, Entry entry, const Decoded& decoded) {
  auto const& has = std::get<ArmReader>(scheme.reader).features();
  FieldList out{entry};
  out.flag(0, "valid", "valid", "invalid");
  if (!decoded.valid()) return std::move(out).list();
  auto const low = decoded.table() ? has.granule_bits : scheme.shape().shift(level);
  out.flag(1, "type", decoded.table() ? "table" : "page", "block");
  if (decoded.leaf()) {
    out.add(5, 2, "MemAttr", memory_name(scheme, decoded.type));
    out.flag(6, "S2AP[0]", "readable", "not readable");
    out.flag(7, "S2AP[1]", has.hd && bit(entry, 51) ? "dirty" : "writable",
             has.hd && bit(entry, 51) ? "clean" : "not writable");
    out.add(9, 8, "SH", share_name(scheme, decoded.type) + " shareable");
    out.flag(10, "AF", "accessed", has.ha ? "not accessed" : "not accessed: a fault");
    out.rare(11, 11, "FnXS", "no XS attribute");
    if (level != 0) out.rare(16, 16, "nT", "not to be cached: a change of size is under way");
  }
  out.add(47, low, "address", hex(decoded.address.raw()));
  if (decoded.table()) {
    out.rare(63, 59, "63:59", "reserved at stage 2");
    return std::move(out).whole();
  }
  out.flag(51, "DBM", has.hd ? "writable, hardware marks it dirty" : "ignored: VTCR_EL2.HD is 0", "no");
  out.flag(52, "Contiguous", "one of a set", "alone");
  out.add(54, 53, "XN", "executable: " + rights_text(decoded.rights & Prot::x).substr(2));
  out.rare(58, 55, "software", "left to software");
  out.rare(63, 59, "63:59", "ignored, or the page's hardware attributes");
  return std::move(out).whole();
}

std::vector<Field> ept_fields(const Scheme& scheme, Level level, Entry entry, const Decoded& decoded) {
  auto const& has = std::get<EptReader>(scheme.reader).features();
  FieldList out{entry};
  out.flag(0, "R", "readable", "not readable");
  out.flag(1, "W", "writable", "not writable");
  out.flag(2, "X", has.mode_based_execute ? "executable by the supervisor" : "executable", "not executable");
  if (has.mode_based_execute) out.flag(10, "XU", "executable by users", "not executable by users");
  if (!decoded.valid()) return std::move(out).list();
  if (decoded.leaf()) {
    out.add(5, 3, "MT", memory_name(scheme, decoded.type & 7));
    out.flag(6, "IPAT", "the guest's PAT has no say", "the guest's PAT has a say");
  }
  if (level != 0) out.flag(7, "PS", "leaf", "table");
  if (has.accessed_dirty) {
    out.flag(8, "A", "accessed", "not accessed");
    if (decoded.leaf()) out.flag(9, "D", "dirty", "clean");
  }
  out.add(51, decoded.leaf() ? scheme.shape().shift(level) : 12, "address", hex(decoded.address.raw()));
  out.rare(56, 52, "software", "left to software");
  if (decoded.leaf()) {
    out.rare(57, 57, "VGP", "verify guest paging, if that control is on");
    out.rare(58, 58, "PWA", "paging-write access, if that control is on");
    out.rare(60, 60, "SSS", has.shadow_stack ? "supervisor shadow stack" : "ignored: EPTP[7] is 0");
    if (level == 0) out.rare(61, 61, "SPP", "sub-page write permissions, if that control is on");
  }
  out.rare(63, 63, "SVE", "a violation is an exit, never a #VE");
  return std::move(out).whole();
}

std::vector<Field> npt_fields(const Scheme& scheme, Level level, Entry entry, const Decoded& decoded) {
  FieldList out{entry};
  out.flag(0, "P", "present", "not present");
  if (!decoded.valid()) return std::move(out).list();
  out.flag(1, "R/W", "writable", "not writable");
  out.flag(2, "U/S", "the guest's", "the supervisor's: no guest can use it");
  out.flag(3, "PWT", "1", "0");
  out.flag(4, "PCD", "1", "0");
  out.flag(5, "A", "accessed", "not accessed");
  if (decoded.leaf()) {
    out.flag(6, "D", "dirty", "clean");
    out.flag(level == 0 ? 7 : 12, "PAT", "1", "0");
  }
  if (level != 0) out.flag(7, "PS", "leaf", "table");
  out.rare(11, 9, "software", "left to software");
  out.add(51, decoded.leaf() ? scheme.shape().shift(level) : 12, "address", hex(decoded.address.raw()));
  out.rare(62, 52, "software", "left to software");
  out.flag(63, "NX", "not executable", "executable");
  out.add_rest();
  if (decoded.leaf()) out.add(4, 3, "PAT type", memory_name(scheme, decoded.type));
  return std::move(out).list();
}

}  // namespace

std::vector<Field> fields_of(const Scheme& scheme, Level level, Entry entry, const Decoded& decoded) {
  switch (scheme.family()) {
    case Family::arm: return arm_fields(scheme, level, entry, decoded);
    case Family::intel: return ept_fields(scheme, level, entry, decoded);
    case Family::amd: return npt_fields(scheme, level, entry, decoded);
  }
  return {};
}

}  // namespace slat::tool
