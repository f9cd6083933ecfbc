// Where a guest range goes to is a host address, and not the other way round.
// expect: cannot convert .* to 'slat::GuestRange'|no (viable|known) conversion.*Host(Phys|Space)

#include <slat/arch/x86_64/ept.hpp>
#include <slat/mm/page_table.hpp>

using namespace slat;

template <class Table>
Result<> map_ram(Table& table) {
#ifdef MISTAKE
  return table.map({0x8000'0000_hpa, 1_GiB}, 0x4000'0000_gpa, rwx);
#else
  return table.map({0x4000'0000_gpa, 1_GiB}, 0x8000'0000_hpa, rwx);
#endif
}

struct Frames {
  std::optional<HostPhys> allocate(std::uint64_t bytes) noexcept;
  void release(HostPhys at, std::uint64_t bytes) noexcept;
  Entry* view(HostPhys at) const noexcept;
  std::uint64_t& word(HostPhys at) noexcept;
};
struct Hook {
  void operator()(HostPhys root, const Stale& stale) noexcept;
  void publish() noexcept;
};
template Result<> map_ram(PageTable<x86_64::Ept, Frames, Hook>&);
