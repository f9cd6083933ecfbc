// A backend without protect() is none, and the compiler names what is missing.
// expect: b.protect\(start, size, flags, pt\)

#include <slat/mm/mapping_backend.hpp>

using namespace slat;

struct Table {};
struct Backend {
  bool map(GuestPhys, std::uint64_t, int, Table&);
  bool unmap(GuestPhys, std::uint64_t, Table&);
#ifndef MISTAKE
  bool protect(GuestPhys, std::uint64_t, int, Table&);
#endif
};
static_assert(MappingBackend<Backend, int, Table>);
