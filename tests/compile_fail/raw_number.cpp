// A number becomes an address only where somebody says so.
// expect: (could not convert|no viable conversion|no known conversion).*(long|int)

#include <slat/mm/address.hpp>

using namespace slat;

bool in_ram(GuestPhys at);

#ifdef MISTAKE
bool found = in_ram(0x4000'0000);
#else
bool found = in_ram(GuestPhys{0x4000'0000});
#endif
