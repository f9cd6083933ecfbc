// A host address does not go where a guest address belongs.
// expect: (could not convert|no viable conversion).*HostSpace

#include <slat/mm/address.hpp>

using namespace slat;

#ifdef MISTAKE
GuestRange ram{0x4000'0000_hpa, 1_GiB};
#else
GuestRange ram{0x4000'0000_gpa, 1_GiB};
#endif
