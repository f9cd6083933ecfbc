// What the hypervisor works out without hardware: where files go, what an abort was about, how one is injected, what
// its command line says.

#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "hv/aarch64/fault.hpp"
#include "hv/aarch64/guest_image.hpp"
#include "hv/aarch64/injection.hpp"
#include "hv/aarch64/options.hpp"

namespace hv {
namespace {

constexpr slat::GuestRange ram{0x4000'0000_gpa, 1_GiB};

std::vector<std::byte> image(std::uint64_t text_offset, std::uint64_t image_size) {
  std::vector<std::byte> file(4096);
  std::memcpy(&file[8], &text_offset, 8);
  std::memcpy(&file[16], &image_size, 8);
  std::memcpy(&file[56], "ARM\x64", 4);
  return file;
}

TEST(Place, AnImageGoesWhereItsHeaderSays) {
  auto const placement = place(ram, image(0, 32_MiB), 1_MiB);
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->kernel, 0x4000'0000_gpa);
  EXPECT_EQ(placement->initrd, ram.begin + 128_MiB);
  EXPECT_EQ(placement->tree, ram.begin + 130_MiB);
  EXPECT_EQ(place(ram, image(0x8'0000, 1_MiB), 0)->kernel, 0x4008'0000_gpa);
}

TEST(Place, NothingOverlapsWhatTheImageWillUse) {
  auto const placement = place(ram, image(0, 200_MiB + 1), 0);
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->initrd, ram.begin + 202_MiB);
}

TEST(Place, AFlatBinaryGoesTo512KiBWithItsTreeAbove) {
  std::vector<std::byte> const file(100);
  auto const placement = place({0x4000'0000_gpa, 64_MiB}, file, 0);
  ASSERT_TRUE(placement);
  EXPECT_EQ(placement->kernel, 0x4008'0000_gpa);
  EXPECT_EQ(placement->tree, ram.begin + 32_MiB);
}

TEST(Place, WhatDoesNotFitIsRefused) {
  std::vector<std::byte> const file(3_MiB);
  EXPECT_FALSE(place({0x4000'0000_gpa, 2_MiB}, file, 0)) << "the kernel";
  EXPECT_FALSE(place({0x4000'0000_gpa, 8_MiB}, file, 5_MiB)) << "the RAM disk";
  EXPECT_FALSE(place({0x4000'0000_gpa, 4_MiB}, file, 0)) << "the device tree";
  EXPECT_FALSE(place(ram, image(~0ull, 1_MiB), 0)) << "an offset past RAM";
  EXPECT_FALSE(place(ram, image(0, ~0ull), 0)) << "a size past RAM";
  EXPECT_FALSE(place(ram, file, ~0ull)) << "a size that wraps";
}

// Syndromes as hardware gives them: EC, IL, WnR, S1PTW, status.
constexpr std::uint64_t data(std::uint64_t iss) { return 0x24ull << 26 | 1u << 25 | iss; }
constexpr std::uint64_t fetch(std::uint64_t iss) { return 0x20ull << 26 | 1u << 25 | iss; }
constexpr std::uint64_t el1 = 0x3c5, el0 = 0x3c0;

TEST(Abort, SaysWhatTheGuestWanted) {
  using slat::Prot;
  EXPECT_EQ(decode_abort(data(0x07), el1).wanted, Prot::r);
  EXPECT_EQ(decode_abort(data(0x47), el1).wanted, Prot::w);
  EXPECT_EQ(decode_abort(fetch(0x07), el1).wanted, Prot::x_supervisor);
  EXPECT_EQ(decode_abort(fetch(0x07), el0).wanted, Prot::x_user);
  EXPECT_TRUE(decode_abort(fetch(0x07), el0).instruction);
}

TEST(Abort, AWalkReadsAndWithoutARightWantedToWrite) {
  using slat::Prot;
  EXPECT_EQ(decode_abort(fetch(0x87), el1).wanted, Prot::r);
  EXPECT_EQ(decode_abort(data(0x8f), el1).wanted, Prot::w);
  EXPECT_EQ(decode_abort(data(0xcf), el1).wanted, Prot::w);
}

TEST(Abort, Kinds) {
  using Kind = Abort::Kind;
  EXPECT_EQ(decode_abort(data(0x04), el1).kind, Kind::translation);
  EXPECT_EQ(decode_abort(data(0x0b), el1).kind, Kind::access_flag);
  EXPECT_EQ(decode_abort(data(0x0d), el1).kind, Kind::permission);
  EXPECT_EQ(decode_abort(data(0x30), el1).kind, Kind::conflict);
  EXPECT_EQ(decode_abort(data(0x10), el1).kind, Kind::other);
}

TEST(Abort, TheAddressComesFromHpfarButNotAfterALackOfRights) {
  auto const missing = decode_abort(data(0x07), el1);
  EXPECT_TRUE(has_fault_address(missing));
  EXPECT_EQ(fault_address(0x4'0012'3450, 0xffff'0000'0000'0678, missing), 0x400'1234'5678_gpa);
  EXPECT_FALSE(has_fault_address(decode_abort(data(0x4f), el1)));
  auto const walk = decode_abort(data(0x8f), el1);
  EXPECT_TRUE(has_fault_address(walk));
  EXPECT_EQ(fault_address(0x10, 0x678, walk), 0x1000_gpa) << "the offset is the virtual address's";
}

TEST(Abort, TheGuestsOwnTranslation) {
  EXPECT_EQ(translated(0xff00'0040'1234'5b80, 0xffff'0000'0000'0678), 0x40'1234'5678_gpa);
  EXPECT_FALSE(translated(1, 0));
}

TEST(Injection, GoesToTheVectorOfTheLevelThatItCameFrom) {
  auto const abort = decode_abort(data(0x07), el1);
  constexpr std::uint64_t vbar = 0x1000'0000, span = 1u << 23;
  EXPECT_EQ(external_abort(0x3c5, abort, vbar, span).pc, vbar + 0x200);
  EXPECT_EQ(external_abort(0x3c4, abort, vbar, span).pc, vbar + 0x000);
  EXPECT_EQ(external_abort(0x000, abort, vbar, span).pc, vbar + 0x400);
  EXPECT_EQ(external_abort(0x010, abort, vbar, span).pc, vbar + 0x600);
}

TEST(Injection, IsASynchronousExternalAbort) {
  constexpr std::uint64_t span = 1u << 23;
  EXPECT_EQ(external_abort(0x3c5, decode_abort(data(0x07), 0x3c5), 0, span).esr, 0x9600'0010u);
  EXPECT_EQ(external_abort(0x000, decode_abort(data(0x07), 0), 0, span).esr, 0x9200'0010u);
  EXPECT_EQ(external_abort(0x3c5, decode_abort(fetch(0x07), 0x3c5), 0, span).esr, 0x8600'0010u);
  EXPECT_EQ(external_abort(0x000, decode_abort(fetch(0x07), 0), 0, span).esr, 0x8200'0010u);
  EXPECT_EQ(external_abort(0x3c5, decode_abort(data(0x87), 0x3c5), 0, span).esr & 0x3f, 0x17u) << "on a walk";
}

TEST(Injection, KeepsFlagsAndSetsPanAsTheGuestAsks) {
  auto const abort = decode_abort(data(0x07), 0);
  constexpr std::uint64_t span = 1u << 23, pan = 1u << 22, nzcv = 0xfull << 28;
  EXPECT_EQ(external_abort(nzcv, abort, 0, span).pstate, nzcv | 0x3c5);
  EXPECT_EQ(external_abort(nzcv, abort, 0, 0).pstate, nzcv | pan | 0x3c5);
  EXPECT_EQ(external_abort(pan, abort, 0, span).pstate, pan | 0x3c5);
}

std::string refused(std::string_view line) {
  Options options;
  auto const word = first_refused(line, [&](auto key, auto value) { return options.set(key, value); });
  return std::string{word.value_or("")};
}

TEST(Options, AreWordsWithValues) {
  Options options;
  EXPECT_FALSE(first_refused("  guest-memory=512M granule=64k  populate=demand report=stderr",
                             [&](auto key, auto value) { return options.set(key, value); }));
  EXPECT_EQ(options.guest_memory, 512_MiB);
  EXPECT_EQ(options.granule, Granule::k64);
  EXPECT_EQ(options.populate, Populate::demand);
  EXPECT_FALSE(options.report_on_uart);
  EXPECT_EQ(word_for(options.granule, granule_words), "64k");
}

TEST(Options, WhatIsNotUnderstoodIsNamed) {
  EXPECT_EQ(refused(""), "");
  EXPECT_EQ(refused("granule=4k granul=4k"), "granul=4k");
  EXPECT_EQ(refused("granule=8k"), "granule=8k");
  EXPECT_EQ(refused("granule"), "granule");
  for (auto const* const size : {"0M", "1", "M", "1G", "1MM", "-1M", "99999999999999999999M", "1048576M"})
    EXPECT_EQ(refused(std::string{"guest-memory="} + size), std::string{"guest-memory="} + size);
}

}  // namespace
}  // namespace hv
