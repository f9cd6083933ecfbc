// How the x86 hypervisor loads a guest: a bzImage or a multiboot kernel becomes pieces in guest RAM and a first
// instruction.

#include <algorithm>
#include <cstring>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "hv/x86_64/guest_image.hpp"

namespace hv {
namespace {

using File = std::vector<std::byte>;

constexpr std::uint64_t ram = 256_MiB;

void put(File& file, std::size_t at, std::size_t bytes, std::uint64_t value) { put_number(file, at, bytes, value); }

const Piece* piece_at(const LoadedGuest& guest, std::uint64_t at) {
  for (auto const& piece : guest.pieces())
    if (piece.at.raw() == at) return &piece;
  return nullptr;
}
std::uint64_t guest_word(const LoadedGuest& guest, std::uint64_t at, std::size_t bytes = 4) {
  for (auto const& piece : guest.pieces())
    if (slat::GuestRange{piece.at, piece.bytes.size()}.contains(slat::GuestRange{slat::GuestPhys{at}, bytes}))
      return number(piece.bytes, at - piece.at.raw(), bytes);
  ADD_FAILURE() << "nothing at " << at;
  return 0;
}
std::string guest_text(const LoadedGuest& guest, std::uint64_t at) {
  std::string text;
  while (auto const c = static_cast<char>(guest_word(guest, at++, 1))) text.push_back(c);
  return text;
}

class Loading : public ::testing::Test {
 protected:
  /// What is loaded points into the files: they stay here.
  OrRefusal<LoadedGuest> load(File kernel, File initrd = {}, std::string_view words = {}, std::uint64_t size = ram) {
    auto const& kept_kernel = files_.emplace_back(std::move(kernel));
    auto const& kept_initrd = files_.emplace_back(std::move(initrd));
    return load_guest({kept_kernel, kept_initrd, words}, size, buffers_);
  }
  std::string refusal(const File& kernel, const File& initrd = {}, std::string_view words = {},
                      std::uint64_t size = ram) {
    auto const guest = load(kernel, initrd, words, size);
    return guest ? "loaded" : std::string{guest.words()};
  }

 private:
  LoadBuffers buffers_;
  std::deque<File> files_;
};

// ---- Linux ----

/// A bzImage of one setup sector after the first and 1000 bytes of protected-mode part.
File bzimage_file() {
  File file(1024 + 1000, std::byte{0x77});
  put(file, 0x1f1, 1, 1);
  put(file, 0x1fe, 2, 0xaa55);
  put(file, 0x200, 2, 0x66eb);  // the header ends at 0x268
  std::memcpy(&file[0x202], "HdrS", 4);
  put(file, 0x206, 2, 0x20f);
  put(file, 0x211, 1, 1);
  put(file, 0x218, 8, 0);
  put(file, 0x22c, 4, 0x7fff'ffff);
  put(file, 0x230, 4, 2_MiB);
  put(file, 0x234, 1, 1);
  put(file, 0x236, 2, 1);
  put(file, 0x238, 4, 2047);
  put(file, 0x258, 8, 16_MiB);
  put(file, 0x260, 4, 40_MiB);
  return file;
}

class LinuxGuest : public Loading {};

TEST_F(LinuxGuest, ProtectedModePartGoesWhereItLikesAndIsEnteredAt64Bits) {
  auto const guest = load(bzimage_file());
  ASSERT_TRUE(guest) << guest.words();
  EXPECT_EQ(guest->start.mode, Start::Mode::long64);
  EXPECT_EQ(guest->start.rip, 16_MiB + 0x200);
  EXPECT_EQ(guest->start.rflags & 0x200, 0u) << "interrupts are off";
  EXPECT_EQ(guest->registers.rsi, 0x1'0000u);
  auto const* const kernel = piece_at(*guest, 16_MiB);
  ASSERT_TRUE(kernel);
  EXPECT_EQ(kernel->bytes.size(), 1000u) << "all of the file behind its setup sectors";
}

TEST_F(LinuxGuest, ZeroSetupSectorsAreFour) {
  auto file = bzimage_file();
  file.resize(5 * 512 + 10);
  put(file, 0x1f1, 1, 0);
  EXPECT_EQ(piece_at(*load(file), 16_MiB)->bytes.size(), 10u);
}

TEST_F(LinuxGuest, ParametersHoldTheHeaderTheMemoryAndTheCommandLine) {
  auto const guest = load(bzimage_file(), {}, "console=ttyS0");
  ASSERT_TRUE(guest);
  constexpr std::uint64_t at = 0x1'0000;
  EXPECT_EQ(guest_word(*guest, at + 0x202), 0x5372'6448u);
  EXPECT_EQ(guest_word(*guest, at + 0x260), 40_MiB);
  EXPECT_EQ(guest_word(*guest, at + 0x1f0, 1), 0u) << "nothing of what precedes the header";
  EXPECT_EQ(guest_word(*guest, at + 0x268, 1), 0u) << "nothing of what follows it";
  EXPECT_EQ(guest_word(*guest, at + 0x210, 1), 0xffu);
  EXPECT_EQ(guest_text(*guest, guest_word(*guest, at + 0x228)), "console=ttyS0");
  EXPECT_EQ(guest_word(*guest, at + 0x1e8, 1), 2u);
  EXPECT_EQ(guest_word(*guest, at + 0x2d0, 8), 0u);
  EXPECT_EQ(guest_word(*guest, at + 0x2d8, 8), 0x9'f000u);
  EXPECT_EQ(guest_word(*guest, at + 0x2e0), 1u);
  EXPECT_EQ(guest_word(*guest, at + 0x2e4, 8), 1_MiB);
  EXPECT_EQ(guest_word(*guest, at + 0x2ec, 8), 255_MiB);
  EXPECT_EQ(guest_word(*guest, at + 0x2f4), 1u);
  EXPECT_EQ(guest_word(*guest, at + 0x218), 0u) << "no RAM disk";
}

TEST_F(LinuxGuest, RamDiskGoesAsHighAsTheKernelReads) {
  File const initrd(5000);
  auto file = bzimage_file();
  auto const at_end = load(file, initrd);
  EXPECT_TRUE(piece_at(*at_end, 256_MiB - 8192));
  EXPECT_EQ(guest_word(*at_end, 0x1'0218), 256_MiB - 8192);
  EXPECT_EQ(guest_word(*at_end, 0x1'021c), 5000u);
  put(file, 0x22c, 4, 128_MiB - 1);
  EXPECT_EQ(guest_word(*load(file, initrd), 0x1'0218), 128_MiB - 8192);
}

TEST_F(LinuxGuest, MovesWhereItsPreferenceDoesNotFit) {
  auto file = bzimage_file();
  put(file, 0x260, 4, 20_MiB);
  auto const guest = load(file, {}, {}, 32_MiB);
  ASSERT_TRUE(guest) << guest.words();
  EXPECT_EQ(guest->start.rip, 2_MiB + 0x200);
  put(file, 0x234, 1, 0);
  EXPECT_EQ(refusal(file, {}, {}, 32_MiB), does_not_fit.words) << "unless it cannot be moved";
}

TEST_F(LinuxGuest, TablesMapFourGibibytesToThemselves) {
  auto const guest = load(bzimage_file());
  auto const walk = [&](std::uint64_t va) {
    auto const entry = [&](std::uint64_t table, unsigned shift) {
      return guest_word(*guest, (table & ~0xfffull) + (va >> shift & 511) * 8, 8);
    };
    auto const pml4e = entry(guest->start.cr3, 39);
    EXPECT_EQ(pml4e & 0xfff, 3u);
    auto const pdpte = entry(pml4e, 30);
    EXPECT_EQ(pdpte & 0xfff, 3u);
    auto const pde = entry(pdpte, 21);
    EXPECT_EQ(pde & 0xfff, 0x83u);
    return (pde & ~0xfffull) + va % 2_MiB;
  };
  for (std::uint64_t const va : {0x0ull, 0x20'0000ull, 0x100'0200ull, 0x4000'0000ull, 0xfee0'0030ull, 0xffff'ffffull})
    EXPECT_EQ(walk(va), va);
}

TEST_F(LinuxGuest, PiecesDoNotOverlap) {
  auto const guest = load(bzimage_file(), File(1_MiB), "quiet");
  auto const pieces = guest->pieces();
  for (std::size_t i = 0; i != pieces.size(); ++i)
    for (std::size_t j = 0; j != i; ++j)
      EXPECT_FALSE((slat::GuestRange{pieces[i].at, pieces[i].size()}.overlaps({pieces[j].at, pieces[j].size()})));
}

TEST_F(LinuxGuest, RefusesWhatItCannotBoot) {
  constexpr auto* no_entry = "the guest's kernel has no 64-bit entry";
  constexpr auto* senseless = "the guest's kernel has a header that makes no sense";
  auto const changed = [](std::size_t at, std::size_t bytes, std::uint64_t value) {
    auto file = bzimage_file();
    put(file, at, bytes, value);
    return file;
  };
  EXPECT_EQ(refusal(changed(0x206, 2, 0x20b)), no_entry);
  EXPECT_EQ(refusal(changed(0x236, 2, 0)), no_entry);
  EXPECT_EQ(refusal(changed(0x211, 1, 0)), no_entry);
  EXPECT_EQ(refusal(changed(0x1f1, 1, 10)), "the guest's kernel is cut short");
  EXPECT_EQ(refusal(changed(0x201, 1, 0x10)), senseless) << "a header that ends too early";
  EXPECT_EQ(refusal(changed(0x201, 1, 0x90)), senseless) << "a header that would cover what follows";
  EXPECT_EQ(refusal(changed(0x230, 4, 3)), senseless);
  EXPECT_EQ(refusal(bzimage_file(), {}, std::string(2048, 'x')), "the guest's command line is too long");
  EXPECT_EQ(refusal(changed(0x238, 4, 9999), {}, std::string(4096, 'x')), "the guest's command line is too long");
  EXPECT_EQ(refusal(bzimage_file(), {}, {}, 40_MiB), does_not_fit.words);
  EXPECT_EQ(refusal(bzimage_file(), File(220_MiB)), does_not_fit.words);
  EXPECT_EQ(refusal(bzimage_file(), {}, {}, 1_MiB), does_not_fit.words);
  EXPECT_EQ(refusal(changed(0x260, 4, 0xffff'ffff)), does_not_fit.words);
  EXPECT_EQ(refusal(changed(0x258, 8, ~0ull)), "loaded") << "a preference that cannot be met is only that";
  EXPECT_EQ(refusal(bzimage_file(), {}, {}, 4_GiB), "a guest has 3 GiB of RAM at most: above are its devices");
}

// ---- multiboot ----

void put_header(File& file, std::size_t at, std::uint64_t flags) {
  put(file, at, 4, 0x1bad'b002);
  put(file, at + 4, 4, flags);
  put(file, at + 8, 4, 0u - 0x1bad'b002u - flags);
}

struct Segment {
  std::uint64_t virt, phys, in_file, in_memory;
  std::uint64_t type = 1;
};
/// An ELF32 whose segments' contents begin at 0x1000, one page each; the header at 0x400.
File elf(std::uint64_t entry, const std::vector<Segment>& segments, std::uint64_t flags = 3) {
  File file(0x1000 + 0x1000 * segments.size(), std::byte{0x55});
  std::fill_n(file.begin(), 0x1000, std::byte{0});
  std::memcpy(file.data(), "\177ELF\1\1\1", 7);
  put(file, 16, 2, 2);
  put(file, 18, 2, 3);
  put(file, 24, 4, entry);
  put(file, 28, 4, 52);
  put(file, 42, 2, 32);
  put(file, 44, 2, segments.size());
  for (std::size_t i = 0; i != segments.size(); ++i) {
    auto const& s = segments[i];
    std::size_t n = 52 + 32 * i;
    for (auto const value : {s.type, 0x1000 + 0x1000 * i, s.virt, s.phys, s.in_file, s.in_memory, 7ul, 0x1000ul}) {
      put(file, n, 4, value);
      n += 4;
    }
  }
  put_header(file, 0x600, flags);
  return file;
}

class Multiboot : public Loading {};

TEST_F(Multiboot, SegmentsGoToTheirPhysicalAddresses) {
  auto const guest = load(elf(0x10'0010, {{0x10'0000, 0x10'0000, 100, 5000}, {0x20'0000, 0x30'0000, 8, 8}}));
  ASSERT_TRUE(guest) << guest.words();
  auto const* const first = piece_at(*guest, 0x10'0000);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->bytes.size(), 100u);
  EXPECT_EQ(first->zeros, 4900u);
  EXPECT_EQ(guest_word(*guest, 0x30'0000), 0x5555'5555u);
}

TEST_F(Multiboot, IsEnteredAsByGrub) {
  auto const guest = load(elf(0x10'0010, {{0x10'0000, 0x10'0000, 100, 100}}));
  EXPECT_EQ(guest->start.mode, Start::Mode::flat32);
  EXPECT_EQ(guest->start.rip, 0x10'0010u);
  EXPECT_EQ(guest->start.rflags & 0x200, 0u);
  EXPECT_EQ(guest->registers.rax, 0x2bad'b002u);
  EXPECT_EQ(guest_word(*guest, guest->registers.rbx) & 1, 1u);
}

TEST_F(Multiboot, EntryOfAHigherHalfKernelIsWhereItsSegmentWent) {
  auto const guest = load(elf(0xc010'0010, {{0xc010'0000, 0x10'0000, 100, 100}}));
  EXPECT_EQ(guest->start.rip, 0x10'0010u);
}

TEST_F(Multiboot, InfoTellsMemoryCommandLineAndLoader) {
  auto const guest = load(elf(0x10'0000, {{0x10'0000, 0x10'0000, 100, 100}}), {}, "one two");
  auto const info = guest->registers.rbx;
  EXPECT_EQ(guest_word(*guest, info), 0x245u) << "memory, command line, map, loader";
  EXPECT_EQ(guest_word(*guest, info + 4), 636u);
  EXPECT_EQ(guest_word(*guest, info + 8), 255u * 1024);
  EXPECT_EQ(guest_text(*guest, guest_word(*guest, info + 16)), "one two");
  EXPECT_EQ(guest_text(*guest, guest_word(*guest, info + 64)), "slat");
  EXPECT_EQ(guest_word(*guest, info + 20), 0u) << "no modules";
}

TEST_F(Multiboot, MapIsOfAPc) {
  auto const guest = load(elf(0x10'0000, {{0x10'0000, 0x10'0000, 100, 100}}));
  auto const info = guest->registers.rbx;
  auto at = guest_word(*guest, info + 48);
  auto const end = at + guest_word(*guest, info + 44);
  std::string map;
  while (at != end) {
    auto const text = [&](std::uint64_t n) { return std::to_string(n) + " "; };
    map +=
        text(guest_word(*guest, at + 4, 8)) + text(guest_word(*guest, at + 12, 8)) + text(guest_word(*guest, at + 20));
    at += 4 + guest_word(*guest, at);
  }
  EXPECT_EQ(map, "0 651264 1 651264 397312 2 1048576 267386880 1 ");
}

TEST_F(Multiboot, ModuleIsOnAPageBehindTheKernel) {
  File const module(5000, std::byte{0x66});
  auto const guest = load(elf(0x10'0000, {{0x10'0000, 0x10'0000, 100, 5000}}), module);
  auto const info = guest->registers.rbx;
  EXPECT_EQ(guest_word(*guest, info) & 8, 8u);
  EXPECT_EQ(guest_word(*guest, info + 20), 1u);
  auto const entry = guest_word(*guest, info + 24);
  EXPECT_EQ(guest_word(*guest, entry), 0x10'2000u);
  EXPECT_EQ(guest_word(*guest, entry + 4), 0x10'2000u + 5000);
  EXPECT_EQ(guest_text(*guest, guest_word(*guest, entry + 8)), "");
  EXPECT_EQ(guest_word(*guest, 0x10'2000), 0x6666'6666u);
}

TEST_F(Multiboot, InfoAvoidsAKernelInLowMemory) {
  auto const guest = load(elf(0x1'0000, {{0x1'0000, 0x1'0000, 100, 0x2'0000}}));
  ASSERT_TRUE(guest) << guest.words();
  EXPECT_EQ(guest->registers.rbx, 0x3'0000u);
  EXPECT_EQ(refusal(elf(0x1'0000, {{0x1'0000, 0x1'0000, 100, 0x8'e000}})), does_not_fit.words);
}

/// A file without ELF header that says itself where it goes.
File flat(std::uint64_t load_end, std::uint64_t bss_end) {
  File file(3000, std::byte{0x44});
  put_header(file, 0x100, 0x1'0000);
  std::size_t at = 0x10c;
  for (auto const value : {0x20'0100ull - 0x80, 0x20'0000ull, 0ull + load_end, 0ull + bss_end, 0x20'0080ull}) {
    put(file, at, 4, value);
    at += 4;
  }
  return file;
}

TEST_F(Multiboot, AddressFieldsSayWhatIsLoaded) {
  auto const guest = load(flat(0x20'0400, 0x20'1000));
  ASSERT_TRUE(guest) << guest.words();
  EXPECT_EQ(guest->start.rip, 0x20'0080u);
  auto const* const piece = piece_at(*guest, 0x20'0000);
  EXPECT_EQ(piece->bytes.size(), 0x400u);
  EXPECT_EQ(piece->zeros, 0xc00u);
  EXPECT_EQ(guest_word(*guest, 0x20'0080), 0x1bad'b002u) << "the part begins 0x80 bytes before the header";
  auto const all = load(flat(0, 0));
  auto const* const whole = piece_at(*all, 0x20'0000);
  EXPECT_EQ(whole->bytes.size(), 3000u - 0x80);
  EXPECT_EQ(whole->zeros, 0u);
}

TEST_F(Multiboot, AddressFieldsWinOverAnElfHeader) {
  auto file = elf(0x10'0000, {{0x10'0000, 0x10'0000, 100, 100}}, 0x1'0003);
  std::size_t at = 0x60c;
  for (auto const value : {0x20'0600ull, 0x20'0000ull, 0ull, 0ull, 0x20'0700ull}) {
    put(file, at, 4, value);
    at += 4;
  }
  EXPECT_EQ(load(file)->start.rip, 0x20'0700u);
}

TEST_F(Multiboot, RefusesWhatItCannotLoad) {
  constexpr auto* neither = "the guest is neither a bzImage nor a 32-bit multiboot kernel";
  constexpr auto* senseless = "the guest's multiboot header has addresses that make no sense";
  constexpr auto* cut_short = "the guest's ELF file is cut short";
  Segment const text{0x10'0000, 0x10'0000, 100, 100};
  EXPECT_EQ(refusal({}), neither);
  EXPECT_EQ(refusal(File(10000)), neither);
  auto moved = elf(0x10'0000, {text, text, text});
  put(moved, 0x600, 4, 0);
  put_header(moved, 0x2000, 3);
  EXPECT_EQ(refusal(moved), neither) << "the header is past the first 8192 bytes";
  put_header(moved, 0x1ff4, 3);
  EXPECT_EQ(refusal(moved), "loaded") << "its last place";
  auto checksum = elf(0x10'0000, {text});
  put(checksum, 0x608, 4, 7);
  EXPECT_EQ(refusal(checksum), neither);
  EXPECT_EQ(refusal(elf(0x10'0000, {text}, 7)),
            "the guest's multiboot header demands what is not there, such as a video mode");

  auto const changed = [&](std::size_t at, std::size_t bytes, std::uint64_t value) {
    auto file = elf(0x10'0000, {text});
    put(file, at, bytes, value);
    return file;
  };
  constexpr auto* other_elf =
      "the guest has a multiboot header, but neither is it a 32-bit ELF for x86 nor says where it goes";
  EXPECT_EQ(refusal(changed(4, 1, 2)), other_elf) << "64 bits";
  EXPECT_EQ(refusal(changed(18, 2, 40)), other_elf) << "Arm";
  EXPECT_EQ(refusal(changed(16, 2, 1)), other_elf) << "an object";
  EXPECT_EQ(refusal(changed(28, 4, 0xffff'fff0)), cut_short);
  EXPECT_EQ(refusal(changed(44, 2, 0)), cut_short);
  EXPECT_EQ(refusal(changed(52 + 4, 4, 0xffff'ff00)), cut_short) << "a segment past the end of the file";
  EXPECT_EQ(refusal(changed(52 + 16, 4, 200)), cut_short) << "more in the file than in memory";

  EXPECT_EQ(refusal(elf(0, {{0, 0xf'f000, 16, 16}})), "loaded") << "in the hole below 1 MiB, where linkers put headers";
  EXPECT_EQ(refusal(elf(0, {{0, 255_MiB, 16, 2_MiB}})), does_not_fit.words);
  EXPECT_EQ(refusal(elf(0, {{0, 0xffff'f000, 16, 0x2000}})), does_not_fit.words);
  EXPECT_EQ(refusal(elf(0x10'0000, {text}), File(255_MiB)), does_not_fit.words);
  EXPECT_EQ(refusal(elf(0x10'0000, std::vector<Segment>(25, text))),
            "the guest's ELF file has more segments than can be loaded");
  EXPECT_EQ(refusal(elf(0x10'0000, std::vector<Segment>(23, text))),
            "the guest's ELF file has more segments than can be loaded")
      << "no room for what is loaded beside it";

  EXPECT_EQ(refusal(flat(0x1f'0000, 0)), senseless) << "ends before it begins";
  EXPECT_EQ(refusal(flat(0x20'0400, 0x20'0300)), senseless) << "bss before the end of what is loaded";
  EXPECT_EQ(refusal(flat(0x20'1000, 0)), senseless) << "past the end of the file";
  auto early = flat(0, 0);
  put(early, 0x10c, 4, 0x20'0200);
  EXPECT_EQ(refusal(early), senseless) << "begins before the file does";
}

}  // namespace
}  // namespace hv
