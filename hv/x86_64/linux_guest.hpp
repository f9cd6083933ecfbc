#pragma once

// A Linux kernel as a guest: a bzImage by its 64-bit boot protocol (the kernel's Documentation/arch/x86/boot), which
// wants no real mode and no firmware. Everything here is computed; the hypervisor copies it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "hv/x86_64/guest_files.hpp"

namespace hv {

/// What the header of a bzImage says.
struct LinuxImage {
  FileBytes setup;   // the header itself, which is handed to the kernel
  FileBytes kernel;  // the protected-mode part: what is loaded and entered
  std::uint64_t preferred = 0;
  std::uint64_t alignment = 0;
  std::uint64_t init_size = 0;  // RAM that it uses before it can know what is free
  std::uint64_t initrd_last = 0;
  std::uint64_t longest_command_line = 0;
  bool relocatable = false;
};

namespace bzimage {
// Offsets in the file, and in boot_params.
inline constexpr std::size_t setup_sectors = 0x1f1;
inline constexpr std::size_t boot_flag = 0x1fe;
inline constexpr std::size_t header_jump = 0x201;  // its operand: how far behind 0x202 the header ends
inline constexpr std::size_t magic = 0x202;
inline constexpr std::size_t version = 0x206;
inline constexpr std::size_t loader = 0x210;
inline constexpr std::size_t load_flags = 0x211;
inline constexpr std::size_t initrd_at = 0x218;
inline constexpr std::size_t initrd_size = 0x21c;
inline constexpr std::size_t command_line_at = 0x228;
inline constexpr std::size_t initrd_last = 0x22c;
inline constexpr std::size_t alignment = 0x230;
inline constexpr std::size_t relocatable = 0x234;
inline constexpr std::size_t extended_flags = 0x236;
inline constexpr std::size_t command_line_size = 0x238;
inline constexpr std::size_t preferred = 0x258;
inline constexpr std::size_t init_size = 0x260;
inline constexpr std::size_t header_end = 0x264;
inline constexpr std::size_t most_header_end = 0x290;  // where boot_params goes on
// In boot_params alone.
inline constexpr std::size_t e820_entries = 0x1e8;
inline constexpr std::size_t e820_table = 0x2d0;

inline constexpr std::uint64_t entry_64 = 0x200;

inline bool is_one(FileBytes file) {
  return has_part(file, 0, header_end) && number(file, boot_flag, 2) == 0xaa55 &&
         number(file, magic, 4) == 0x5372'6448;  // "HdrS"
}
}  // namespace bzimage

/// `file` is_one().
inline OrRefusal<LinuxImage> parse_linux(FileBytes file) {
  using namespace bzimage;
  constexpr std::uint64_t loaded_high = 1;
  constexpr std::uint64_t kernel_64 = 1;
  // 2.12 is the first with a 64-bit entry.
  if (number(file, version, 2) < 0x20c || (number(file, extended_flags, 2) & kernel_64) == 0 ||
      (number(file, load_flags, 1) & loaded_high) == 0)
    return Refusal{"the guest's kernel has no 64-bit entry"};
  auto const sectors = number(file, setup_sectors, 1);
  auto const kernel_at = ((sectors == 0 ? 4 : sectors) + 1) * 512;
  auto const setup_end = magic + number(file, header_jump, 1);
  if (kernel_at >= file.size()) return Refusal{"the guest's kernel is cut short"};
  auto const unit = number(file, alignment, 4);
  if (setup_end < header_end || setup_end > most_header_end || !slat::is_power_of_two(unit))
    return Refusal{"the guest's kernel has a header that makes no sense"};
  return LinuxImage{
      .setup = file.subspan(setup_sectors, setup_end - setup_sectors),
      .kernel = file.subspan(kernel_at),
      .preferred = number(file, preferred, 8),
      .alignment = unit,
      .init_size = number(file, init_size, 4),
      .initrd_last = number(file, initrd_last, 4),
      .longest_command_line = number(file, command_line_size, 4),
      .relocatable = number(file, relocatable, 1) != 0,
  };
}

struct LinuxPlacement {
  std::uint64_t kernel;
  std::uint64_t initrd;
};

/// Nothing when guest RAM is too small. The kernel goes where it would like to be, or to the first place that its
/// alignment allows; the RAM disk as high as the kernel can read it, out of the way of what it unpacks.
inline std::optional<LinuxPlacement> place(const LinuxImage& image, std::uint64_t ram, std::uint64_t initrd_size) {
  auto const size = std::max<std::uint64_t>(image.init_size, image.kernel.size());
  auto const fits = [&](std::uint64_t at) { return at >= high_ram && at <= ram && size <= ram - at; };
  auto kernel = image.preferred;
  if (!fits(kernel) && image.relocatable) kernel = up_to(high_ram, image.alignment);
  if (!fits(kernel)) return std::nullopt;
  auto const end = std::min(ram, image.initrd_last + 1);
  if (initrd_size > end) return std::nullopt;
  auto const initrd = (end - initrd_size) / 4096 * 4096;
  if (initrd_size != 0 && initrd < kernel + size) return std::nullopt;
  return LinuxPlacement{kernel, initrd};
}

/// The "zero page".
inline void write_boot_params(std::span<std::byte> into, const LinuxImage& image, std::uint64_t ram,
                              std::uint64_t command_line, slat::GuestRange initrd) {
  using namespace bzimage;
  constexpr std::uint64_t unregistered_loader = 0xff;
  constexpr std::uint64_t usable = 1;
  std::fill(into.begin(), into.end(), std::byte{0});
  std::memcpy(&into[setup_sectors], image.setup.data(), image.setup.size());
  put_number(into, loader, 1, unregistered_loader);
  put_number(into, command_line_at, 4, command_line);
  if (!initrd.empty()) {
    put_number(into, initrd_at, 4, initrd.begin.raw());
    put_number(into, initrd_size, 4, initrd.size);
  }
  put_number(into, e820_entries, 1, 2);
  auto const entry = [&](std::size_t i, std::uint64_t begin, std::uint64_t end) {
    auto const at = e820_table + 20 * i;
    put_number(into, at, 8, begin);
    put_number(into, at + 8, 8, end - begin);
    put_number(into, at + 16, 4, usable);
  };
  entry(0, 0, low_ram_end);
  entry(1, high_ram, ram);
}

/// The guest's own tables that it starts on: 4 GiB, each address itself, in pages of 2 MiB. `at` is where the guest
/// finds them.
inline void write_identity_tables(std::span<std::byte, 6 * 4096> into, std::uint64_t at) {
  constexpr std::uint64_t table = 0x3;  // present, writable
  constexpr std::uint64_t page_2m = 0x83;
  std::fill(into.begin(), into.end(), std::byte{0});
  put_number(into, 0, 8, (at + 4096) | table);
  for (std::size_t i = 0; i != 4; ++i) put_number(into, 4096 + 8 * i, 8, (at + (2 + i) * 4096) | table);
  for (std::size_t i = 0; i != std::size_t{4} * 512; ++i) put_number(into, 2 * 4096 + 8 * i, 8, i * 2_MiB | page_2m);
}

/// Everything of it, ready to be copied. `buffers` outlive the result.
inline OrRefusal<LoadedGuest> load_linux(const GuestFiles& files, std::uint64_t ram, LoadBuffers& buffers) {
  constexpr std::uint64_t tables_at = 0x9000;
  constexpr std::uint64_t parameters_at = 0x1'0000;
  constexpr std::uint64_t command_line_at = 0x2'0000;

  auto const image = parse_linux(files.kernel);
  if (!image) return Refusal{image.words()};
  auto const placement = place(*image, ram, files.initrd.size());
  if (!placement) return does_not_fit;
  auto const command_line = zero_terminated(files.command_line, buffers.command_line);
  if (!command_line || files.command_line.size() > image->longest_command_line)
    return Refusal{"the guest's command line is too long"};

  write_identity_tables(buffers.page_tables, tables_at);
  write_boot_params(buffers.parameters, *image, ram, command_line_at,
                    {slat::GuestPhys{placement->initrd}, files.initrd.size()});
  LoadedGuest guest;
  guest.start = {.mode = Start::Mode::long64, .rip = placement->kernel + bzimage::entry_64, .cr3 = tables_at};
  guest.registers.rsi = parameters_at;
  guest.add({slat::GuestPhys{tables_at}, buffers.page_tables});
  guest.add({slat::GuestPhys{parameters_at}, buffers.parameters});
  guest.add({slat::GuestPhys{command_line_at}, *command_line});
  guest.add({slat::GuestPhys{placement->kernel}, image->kernel});
  guest.add({slat::GuestPhys{placement->initrd}, files.initrd});
  return guest;
}

}  // namespace hv
