#pragma once

// What raw entries say, in words.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tools/scheme.hpp"

namespace slat::tool {

/// "rw-"; U and S for execution at user or supervisor level alone.
std::string rights_text(Prot rights);
/// "write-back", "device-nGnRE", ...
std::string memory_name(const Scheme& scheme, std::uint8_t type);
/// "inner", "outer", "non"; empty where entries say nothing of that.
std::string share_name(const Scheme& scheme, std::uint8_t type);
bool is_device(const Scheme& scheme, std::uint8_t type);
/// Which bits of a leaf are left to software: hardware ignores them, or nobody said that it does not.
Entry software_mask(const Scheme& scheme);
/// "55,57": those of them that are set.
std::string software_text(const Scheme& scheme, Entry entry);
/// Whether hardware keeps the mark by itself.
bool sets_accessed(const Scheme& scheme);
bool sets_dirty(const Scheme& scheme);
/// "A", "D", "AD" or "--". What hardware does not keep is no mark, but Arm's access flag, which has to be set.
std::string marks_text(const Scheme& scheme, const testing::Decoded& decoded);
/// How one access of the guest fails.
std::string fault_name(const Scheme& scheme, testing::Fault fault, Level level);

/// One field of an entry: where it is, what it is called and what its value means.
struct Field {
  unsigned high, low;
  std::string_view name;
  std::uint64_t value;
  std::string meaning;
};
/// The fields of an entry of that level, from the lowest bits up; each bit that is set is in one. Those that are absent
/// or broken have what makes them so.
std::vector<Field> fields_of(const Scheme& scheme, Level level, Entry entry, const testing::Decoded& decoded);

}  // namespace slat::tool
