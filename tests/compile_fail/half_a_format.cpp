// A format that cannot mend what it broke is none, and the compiler names what is missing.
// expect: f.mended\(e\)

#include <slat/arch/x86_64/ept.hpp>

using namespace slat;

struct Format : x86_64::Ept {
#ifdef MISTAKE
  Entry mended(Entry) const = delete;
#endif
};
static_assert(TableFormat<Format>);
