// Addresses of two spaces have no distance and no order.
// expect: no match for 'operator-'|invalid operands to binary expression

#include <slat/mm/address.hpp>

using namespace slat;

#ifdef MISTAKE
std::uint64_t offset = 0x8000'0000_hpa - 0x4000'0000_gpa;
#else
std::uint64_t offset = 0x8000'0000_hpa - 0x4000'0000_hpa;
#endif
