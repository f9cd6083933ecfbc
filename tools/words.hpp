#pragma once

// Numbers and the names that the tool uses for them, in both directions.

#include <cstdint>
#include <string>
#include <string_view>

#include <slat/mm/address.hpp>

namespace slat::tool {

/// "0x4000"
std::string hex(std::uint64_t value);
/// All 16 digits: an entry as it stands.
std::string word(std::uint64_t value);
/// "4K", "2M", in the largest unit that divides it.
std::string size(std::uint64_t bytes);
/// Half-open, "[0x40000000, 0x80000000)".
std::string range(std::uint64_t begin, std::uint64_t bytes);

/// Decimal, or hexadecimal behind 0x, with one of K, M, G, T behind it if `units`. Throws Failure that names `what`.
std::uint64_t number(std::string_view text, std::string_view what, bool units = false);

}  // namespace slat::tool
