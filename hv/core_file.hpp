#pragma once

// An ELF core of pieces of this machine's memory, written from its first byte to its last: what QEMU's
// dump-guest-memory would write of them, where no QEMU is asked. Program headers say host-physical addresses (p_paddr).
//
//   auto const each = [&](auto&& piece) { piece(HostPhys{...}, bytes); ... };
//   write_core_header(out, core_of_this_machine, each);
//   each([&](HostPhys at, std::uint64_t bytes) { out(...the bytes themselves...); });

#include <cstddef>
#include <cstdint>
#include <span>

#include <elf.h>

#include <slat/mm/address.hpp>

namespace hv {

/// Everything but the memory itself, which follows at once. `each(visit)` calls visit(HostPhys, std::uint64_t bytes)
/// for the same pieces each time. False, and nothing is written, when there are more than a core can have: 65534.
template <class Out, class Each>
bool write_core_header(Out&& out, std::uint16_t elf_machine, Each&& each) {
  std::uint64_t pieces = 0;
  each([&](slat::HostPhys, std::uint64_t) { ++pieces; });
  if (pieces >= PN_XNUM) return false;
  Elf64_Ehdr header{};
  header.e_ident[EI_MAG0] = ELFMAG0;
  header.e_ident[EI_MAG1] = ELFMAG1;
  header.e_ident[EI_MAG2] = ELFMAG2;
  header.e_ident[EI_MAG3] = ELFMAG3;
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_CORE;
  header.e_machine = elf_machine;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<Elf64_Half>(pieces);
  out(std::as_bytes(std::span{&header, 1}));
  auto offset = sizeof header + pieces * sizeof(Elf64_Phdr);
  each([&](slat::HostPhys at, std::uint64_t bytes) {
    Elf64_Phdr segment{};
    segment.p_type = PT_LOAD;
    segment.p_flags = PF_R;
    segment.p_offset = offset;
    segment.p_vaddr = at.raw();
    segment.p_paddr = at.raw();
    segment.p_filesz = bytes;
    segment.p_memsz = bytes;
    offset += bytes;
    out(std::as_bytes(std::span{&segment, 1}));
  });
  return true;
}

}  // namespace hv
