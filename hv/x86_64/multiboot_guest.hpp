#pragma once

// A kernel after the Multiboot specification, version 0.6.96, as a guest: loaded by its ELF32 program headers, or by
// the address fields of its header, and entered as GRUB does, in protected mode without paging.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "hv/x86_64/guest_files.hpp"

namespace hv {

namespace multiboot {
inline constexpr std::uint64_t header_magic = 0x1bad'b002;
inline constexpr std::uint64_t loaded_magic = 0x2bad'b002;
inline constexpr std::size_t searched = 8192;

// Header flags. The low 16 are demands.
inline constexpr std::uint64_t page_aligned_modules = 1u << 0;
inline constexpr std::uint64_t memory_wanted = 1u << 1;
inline constexpr std::uint64_t has_addresses = 1u << 16;

// Info flags.
inline constexpr std::uint64_t info_memory = 1u << 0;
inline constexpr std::uint64_t info_command_line = 1u << 2;
inline constexpr std::uint64_t info_modules = 1u << 3;
inline constexpr std::uint64_t info_map = 1u << 6;
inline constexpr std::uint64_t info_loader = 1u << 9;

/// Where the header lies in the file, if there is one.
inline std::optional<std::size_t> find_header(FileBytes file) {
  for (std::size_t at = 0; at + 12 <= std::min(file.size(), searched); at += 4) {
    if (number(file, at, 4) != header_magic) continue;
    auto const sum = number(file, at, 4) + number(file, at + 4, 4) + number(file, at + 8, 4);
    if (static_cast<std::uint32_t>(sum) == 0) return at;
  }
  return std::nullopt;
}

/// By the header's address fields.
inline OrRefusal<LoadedGuest> load_by_addresses(FileBytes file, std::size_t header) {
  constexpr Refusal senseless{"the guest's multiboot header has addresses that make no sense"};
  if (!has_part(file, header, 32)) return senseless;
  auto const field = [&](std::size_t i) { return number(file, header + 12 + 4 * i, 4); };
  auto const [header_at, begin, end, bss_end, entry] = std::array{field(0), field(1), field(2), field(3), field(4)};
  if (header_at < begin || header_at - begin > header) return senseless;
  auto const offset = header - (header_at - begin);
  // 0 as an end: the rest of the file, no bss.
  auto const loaded = end == 0 ? file.size() - offset : end - begin;
  auto const whole = bss_end == 0 ? loaded : bss_end - begin;
  if ((end != 0 && end < begin) || !has_part(file, offset, loaded) || (bss_end != 0 && bss_end < begin + loaded))
    return senseless;
  LoadedGuest guest;
  guest.start = {.mode = Start::Mode::flat32, .rip = entry};
  guest.add({slat::GuestPhys{begin}, file.subspan(offset, loaded), whole - loaded});
  return guest;
}

/// By the program headers of a 32-bit ELF.
inline OrRefusal<LoadedGuest> load_elf(FileBytes file) {
  constexpr std::uint64_t elf_32_little_1 = 0x01'0101'464c'457f;
  constexpr std::uint64_t intel_386 = 3;
  constexpr std::uint64_t executable = 2;
  constexpr std::uint64_t loadable = 1;
  if (!has_part(file, 0, 52) || number(file, 0, 7) != elf_32_little_1 || number(file, 18, 2) != intel_386 ||
      number(file, 16, 2) != executable)
    return Refusal{"the guest has a multiboot header, but neither is it a 32-bit ELF for x86 nor says where it goes"};
  auto const entry = number(file, 24, 4);
  auto const headers = number(file, 28, 4);
  auto const header_size = number(file, 42, 2);
  auto const count = number(file, 44, 2);
  constexpr Refusal cut_short{"the guest's ELF file is cut short"};
  if (count == 0 || header_size < 32 || !has_part(file, headers, header_size * count)) return cut_short;

  LoadedGuest guest;
  guest.start = {.mode = Start::Mode::flat32, .rip = entry};
  for (std::uint64_t i = 0; i != count; ++i) {
    auto const field = [&, at = headers + i * header_size](std::size_t n) { return number(file, at + 4 * n, 4); };
    auto const [type, offset, virt, phys, in_file, in_memory] =
        std::array{field(0), field(1), field(2), field(3), field(4), field(5)};
    if (type != loadable || in_memory == 0) continue;
    if (!has_part(file, offset, in_file) || in_file > in_memory) return cut_short;
    if (!guest.add({slat::GuestPhys{phys}, file.subspan(offset, in_file), in_memory - in_file}))
      return Refusal{"the guest's ELF file has more segments than can be loaded"};
    // The entry is an address of the linked program; without paging, what counts is where its segment went.
    if (entry >= virt && entry - virt < in_memory) guest.start.rip = entry - virt + phys;
  }
  return guest;
}

/// Where in low memory `size` bytes are free of all pieces.
inline std::optional<std::uint64_t> free_low_memory(const LoadedGuest& guest, std::uint64_t size) {
  for (std::uint64_t at = 0x1'0000; at + size <= low_ram_end; at += 0x1000) {
    slat::GuestRange const range{slat::GuestPhys{at}, size};
    auto const taken = std::any_of(guest.pieces().begin(), guest.pieces().end(), [&](const Piece& piece) {
      return range.overlaps({piece.at, piece.size()});
    });
    if (!taken) return at;
  }
  return std::nullopt;
}

/// What the info structure tells, as guest addresses.
struct Info {
  std::uint64_t ram;
  std::uint64_t command_line;
  slat::GuestRange module;  // empty: none
};

/// The info structure and what it points to, for the page at `at`.
inline void write_info(std::span<std::byte> into, std::uint64_t at, const Info& info) {
  constexpr std::size_t map = 0x100;
  constexpr std::size_t modules = 0x200;
  constexpr std::size_t loader = 0x240;
  constexpr std::size_t no_words = 0x250;
  constexpr std::uint64_t usable = 1;
  constexpr std::uint64_t reserved = 2;
  std::fill(into.begin(), into.end(), std::byte{0});
  auto const put = [&](std::size_t offset, std::uint64_t value) { put_number(into, offset, 4, value); };

  auto const has_module = !info.module.empty();
  put(0, info_memory | info_command_line | info_map | info_loader | (has_module ? info_modules : 0));
  put(4, low_ram_end / 1024);
  put(8, (info.ram - high_ram) / 1024);
  put(16, info.command_line);
  put(20, has_module ? 1 : 0);
  put(24, at + modules);
  put(64, at + loader);

  std::size_t end = map;
  auto const area = [&](std::uint64_t from, std::uint64_t to, std::uint64_t type) {
    put(end, 20);  // bytes that follow
    put_number(into, end + 4, 8, from);
    put_number(into, end + 12, 8, to - from);
    put(end + 20, type);
    end += 24;
  };
  area(0, low_ram_end, usable);
  area(low_ram_end, high_ram, reserved);
  area(high_ram, info.ram, usable);
  put(44, end - map);
  put(48, at + map);

  put(modules, info.module.begin.raw());
  put(modules + 4, info.module.end().raw());
  put(modules + 8, at + no_words);
  zero_terminated("slat", into.subspan(loader, 16));
}
}  // namespace multiboot

/// Everything of it, ready to be copied. `header` is where find_header() found it; `buffers` outlive the result.
inline OrRefusal<LoadedGuest> load_multiboot(const GuestFiles& files, std::size_t header, std::uint64_t ram,
                                             LoadBuffers& buffers) {
  using namespace multiboot;
  auto const flags = number(files.kernel, header + 4, 4);
  if ((flags & 0xffff & ~(page_aligned_modules | memory_wanted)) != 0)
    return Refusal{"the guest's multiboot header demands what is not there, such as a video mode"};
  auto const loaded = (flags & has_addresses) != 0 ? load_by_addresses(files.kernel, header) : load_elf(files.kernel);
  if (!loaded) return loaded;
  auto guest = *loaded;

  auto end = high_ram;
  for (auto const& piece : guest.pieces()) {
    slat::GuestRange const range{piece.at, piece.size()};
    // Into the hole below 1 MiB too, as emulators load: linkers put an ELF's headers there, and there is RAM.
    if (!slat::GuestRange{slat::GuestPhys{0}, ram}.contains(range)) return does_not_fit;
    end = std::max(end, range.end().raw());
  }
  slat::GuestRange const module{slat::GuestPhys{up_to(end, 4096)}, files.initrd.size()};
  if (module.size > ram || module.begin.raw() > ram - module.size) return does_not_fit;

  auto const command_line = zero_terminated(files.command_line, buffers.command_line);
  if (!command_line) return Refusal{"the guest's command line is too long"};
  auto const info_at = free_low_memory(guest, buffers.parameters.size() + command_line->size());
  if (!info_at) return does_not_fit;
  auto const command_line_at = *info_at + buffers.parameters.size();
  write_info(buffers.parameters, *info_at, {.ram = ram, .command_line = command_line_at, .module = module});

  guest.registers.rax = loaded_magic;
  guest.registers.rbx = *info_at;
  if (!guest.add({slat::GuestPhys{*info_at}, buffers.parameters}) ||
      !guest.add({slat::GuestPhys{command_line_at}, *command_line}) || !guest.add({module.begin, files.initrd}))
    return Refusal{"the guest's ELF file has more segments than can be loaded"};
  return guest;
}

}  // namespace hv
