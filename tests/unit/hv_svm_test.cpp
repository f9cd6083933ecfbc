// What the hypervisor works out about SVM without hardware: what a VMCB says, why a guest exited, what is delivered
// again; and what a multiboot loader left.

#include <array>
#include <bit>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "hv/x86_64/boot_info.hpp"
#include "hv/x86_64/svm_event.hpp"
#include "hv/x86_64/svm_exit.hpp"
#include "hv/x86_64/svm_guest_state.hpp"
#include "hv/x86_64/svm_msr_map.hpp"

namespace hv::svm {
namespace {

using slat::GuestPhys;
using slat::HostPhys;
using slat::Prot;

/// The 64-bit word of a VMCB at an offset of the manual's.
std::uint64_t word(const Vmcb& vmcb, std::size_t at) {
  std::uint64_t value;
  std::memcpy(&value, reinterpret_cast<const std::byte*>(&vmcb) + at, sizeof value);
  return value;
}

constexpr Pointers pointers{.nested_cr3 = 0x12'3000, .port_map = HostPhys{0x4'5000}, .msr_map = HostPhys{0x6'7000}};

TEST(SvmControls, WhatAGuestDoesNotGetToItself) {
  auto const vmcb = controls({}, pointers);
  // INTR 0, CPUID 18, HLT 24, INVLPGA 26, IOIO 27, MSR 28, shutdown 31; VMRUN to SKINIT, XSETBV.
  EXPECT_EQ(word(vmcb, 0x08), std::uint64_t{0x9d04'0001} << 32);
  EXPECT_EQ(word(vmcb, 0x10) & 0xffff'ffff, 0x207fu);
  EXPECT_EQ(word(vmcb, 0x40), 0x4'5000u);
  EXPECT_EQ(word(vmcb, 0x48), 0x6'7000u);
  EXPECT_EQ(word(vmcb, 0x60), 1u << 24) << "the guest's IF masks the host's interrupts";
  EXPECT_EQ(word(vmcb, 0x90), 1u);
  EXPECT_EQ(word(vmcb, 0xb0), 0x12'3000u);
  EXPECT_EQ(word(vmcb, 0xc0), 0u) << "nothing is as it was before";
}

TEST(SvmControls, AGuestMayHaveInterruptsAndHalt) {
  auto const vmcb = controls({.interrupts = false, .halt = false}, pointers);
  EXPECT_EQ(word(vmcb, 0x08) >> 32, 0x9c04'0000u);
  EXPECT_EQ(word(vmcb, 0x60), 0u);
}

TEST(SvmGuestState, BeginsInLongMode) {
  Vmcb vmcb = controls({}, pointers);
  begin(vmcb, {.rip = 0x1000, .rsp = 0x2000, .cr3 = 0x3000, .rflags = 0x200});
  EXPECT_EQ(word(vmcb, 0x410), 0xffff'ffff'0a9b'0008) << "64-bit code";
  EXPECT_EQ(word(vmcb, 0x420), 0xffff'ffff'0c93'0010) << "stack";
  EXPECT_EQ(word(vmcb, 0x490), 0x0000'0067'008b'0018u) << "task state";
  EXPECT_EQ(word(vmcb, 0x4d0), 0x1500u) << "SVME, LMA, LME";
  EXPECT_EQ(word(vmcb, 0x548), 0x20u) << "PAE";
  EXPECT_EQ(word(vmcb, 0x550), 0x3000u);
  EXPECT_EQ(word(vmcb, 0x558), 0x8000'0031u) << "PG, NE, ET, PE";
  EXPECT_EQ(word(vmcb, 0x570), 0x202u);
  EXPECT_EQ(word(vmcb, 0x578), 0x1000u);
  EXPECT_EQ(word(vmcb, 0x5d8), 0x2000u);
  EXPECT_EQ(word(vmcb, 0x668), 0x0007'0406'0007'0406u);
}

TEST(SvmGuestState, BeginsWithoutPaging) {
  Vmcb vmcb = controls({}, pointers);
  begin(vmcb, {.mode = Start::Mode::flat32, .rip = 0x10'0000, .cr3 = 0x3000});
  EXPECT_EQ(word(vmcb, 0x410), 0xffff'ffff'0c9b'0008) << "32-bit code";
  EXPECT_EQ(word(vmcb, 0x4d0), 0x1000u) << "SVME alone";
  EXPECT_EQ(word(vmcb, 0x548), 0u);
  EXPECT_EQ(word(vmcb, 0x550), 0u);
  EXPECT_EQ(word(vmcb, 0x558), 0x31u);
  EXPECT_EQ(word(vmcb, 0x570), 2u);
}

TEST(SvmGuestState, NothingOfAnEarlierGuestIsLeft) {
  Vmcb vmcb = controls({}, pointers);
  begin(vmcb, {});
  auto const fresh = std::bit_cast<std::array<std::byte, sizeof(Vmcb)>>(vmcb);
  vmcb.gdtr = vmcb.idtr = {1, 2, 3, 4};
  vmcb.rax = vmcb.cr2 = vmcb.lstar = vmcb.star = vmcb.kernel_gs_base = vmcb.sysenter_eip = 5;
  vmcb.event = vmcb.interrupt_shadow = 6;
  vmcb.privilege = 3;
  begin(vmcb, {});
  auto const again = std::bit_cast<std::array<std::byte, sizeof(Vmcb)>>(vmcb);
  EXPECT_EQ(again, fresh);
}

Exit nested_fault(std::uint64_t info) {
  Vmcb vmcb{};
  vmcb.exit_code = 0x400;
  vmcb.exit_info_1 = info;
  vmcb.exit_info_2 = 0x5000'0123;
  return decode(vmcb);
}

// The values are those that QEMU and Bochs were seen to give.
TEST(SvmExit, NestedPageFaults) {
  auto const read = nested_fault(0x1'0000'0004);
  EXPECT_EQ(read.why, Why::memory);
  EXPECT_EQ(read.at, GuestPhys{0x5000'0123});
  EXPECT_EQ(read.wanted, Prot::r);
  EXPECT_TRUE(read.absent);
  EXPECT_FALSE(read.instruction);
  EXPECT_FALSE(read.guest_walk);

  auto const write = nested_fault(0x1'0000'0007);
  EXPECT_EQ(write.wanted, Prot::w);
  EXPECT_FALSE(write.absent);

  auto const fetch = nested_fault(0x1'0000'0015);
  EXPECT_EQ(fetch.wanted, Prot::x);
  EXPECT_TRUE(fetch.instruction);
  EXPECT_FALSE(fetch.absent);

  auto const walk = nested_fault(0x2'0000'0006);
  EXPECT_EQ(walk.wanted, Prot::w);
  EXPECT_TRUE(walk.absent);
  EXPECT_TRUE(walk.guest_walk);
}

TEST(SvmExit, AReservedBitIsAMisconfigurationWhateverThePresentBitSays) {
  for (std::uint64_t const info : {0x1'0000'000dull, 0x1'0000'000cull}) {
    auto const exit = nested_fault(info);
    EXPECT_EQ(exit.why, Why::misconfigured);
    EXPECT_FALSE(exit.absent);
    EXPECT_EQ(exit.at, GuestPhys{0x5000'0123});
  }
}

TEST(SvmExit, Ports) {
  Vmcb vmcb{};
  vmcb.exit_code = 0x7b;
  vmcb.rip = 0x1000;
  vmcb.exit_info_2 = 0x1002;
  vmcb.exit_info_1 = 0x0604'0020;  // OUT of 16 bits
  auto const out = decode(vmcb);
  EXPECT_EQ(out.why, Why::port);
  EXPECT_EQ(out.port, 0x604u);
  EXPECT_EQ(out.bytes, 2u);
  EXPECT_FALSE(out.in);
  EXPECT_FALSE(out.string);
  EXPECT_EQ(out.length, 2u);
  vmcb.exit_info_1 = 0x00e9'0015;  // INS of 8 bits
  auto const in = decode(vmcb);
  EXPECT_EQ(in.port, 0xe9u);
  EXPECT_EQ(in.bytes, 1u);
  EXPECT_TRUE(in.in);
  EXPECT_TRUE(in.string);
}

TEST(SvmExit, TheRest) {
  struct Case {
    std::uint64_t code, info;
    Why why;
    unsigned length;
  };
  for (auto const& one :
       {Case{0x60, 0, Why::interrupt, 0}, Case{0x72, 0, Why::cpuid, 2}, Case{0x78, 0, Why::halt, 1},
        Case{0x7c, 0, Why::read_msr, 2}, Case{0x7c, 1, Why::write_msr, 2}, Case{0x7f, 0, Why::shutdown, 0},
        Case{0x81, 0, Why::hypercall, 3}, Case{0x8d, 0, Why::xsetbv, 3}, Case{0x80, 0, Why::other, 0}}) {
    Vmcb vmcb{};
    vmcb.exit_code = one.code;
    vmcb.exit_info_1 = one.info;
    auto const exit = decode(vmcb);
    EXPECT_EQ(exit.why, one.why) << std::hex << one.code;
    EXPECT_EQ(exit.length, one.length) << std::hex << one.code;
    EXPECT_EQ(exit.code, one.code);
    EXPECT_EQ(exit.details, one.info);
  }
}

TEST(SvmEvent, ExceptionsAreInjected) {
  EXPECT_EQ(exception(6, {}), 0x8000'0306u);
  EXPECT_EQ(exception(14, 5), 0x5'8000'0b0eu);
}

TEST(SvmEvent, WhatWasCutShortIsDeliveredAgain) {
  EXPECT_EQ(again(0x8000'0030), 0x8000'0030u) << "external interrupt";
  EXPECT_EQ(again(0x8000'0202), 0x8000'0202u) << "NMI";
  EXPECT_EQ(again(0x7'8000'0b0e), 0x7'8000'0b0eu) << "page fault with its error code";
  EXPECT_EQ(again(0x7'8000'0306), 0x8000'0306u) << "the error code of an exception that has none";
}

TEST(SvmEvent, AnExceptionOfAnInterruptsVectorIsAnInterrupt) { EXPECT_EQ(again(0x8000'0330), 0x8000'0030u); }

TEST(SvmEvent, NothingIsDeliveredThatWasNotCutShort) { EXPECT_EQ(again(0x7'0000'0b0e), 0u); }

TEST(SvmEvent, WhatAnInstructionRaisesComesByItself) {
  EXPECT_EQ(again(0x8000'0480), 0u) << "INT 80h";
  EXPECT_EQ(again(0x8000'0303), 0u) << "INT3";
  EXPECT_EQ(again(0x8000'0304), 0u) << "INTO";
}

TEST(SvmMsrMap, TwoBitsForEachThatExits) {
  MsrMap map;
  map.trap_only(std::array<std::uint32_t, 3>{0x1b, 0xc000'0080, 0x4000'0000});
  auto const bytes = map.bytes();
  EXPECT_EQ(bytes[0x1b / 4], 3u << 6);
  EXPECT_EQ(bytes[0x800 + 0x80 / 4], 3u);
  // VM_CR to VM_HSAVE_PA are the host's own.
  EXPECT_EQ(bytes[0x1000 + 0x114 / 4], 0xffu);
  std::size_t set = 0;
  for (auto const byte : bytes) set += static_cast<std::size_t>(std::popcount(byte));
  EXPECT_EQ(set, 2u * 6);
}

/// Multiboot information put together by hand, at 0x100 of a small memory.
struct Loader {
  std::vector<std::byte> memory = std::vector<std::byte>(0x1000);

  void put(std::size_t at, std::uint32_t value) { std::memcpy(&memory[at], &value, 4); }
  void put(std::size_t at, const std::string& text) { std::memcpy(&memory[at], text.c_str(), text.size() + 1); }
  BootInfo info() const { return BootInfo{0x100, memory.data()}; }

  Loader() {
    put(0x100, 1 | 1 << 2 | 1 << 3);
    put(0x100 + 8, 127 * 1024);  // KiB above 1 MiB
    put(0x100 + 16, 0x200);
    put(0x200, "image test=map omit=hook");
    put(0x100 + 20, 2);
    put(0x100 + 24, 0x300);
    put(0x300, 0x10'0000), put(0x304, 0x20'0001), put(0x308, 0x400);
    put(0x310, 0x20'1000), put(0x314, 0x30'0000), put(0x318, 0x410);
    put(0x400, "kernel");
    put(0x410, "initrd");
  }
};

TEST(BootInfo, CommandLineRamAndFiles) {
  Loader const loader;
  auto const info = loader.info();
  EXPECT_EQ(info.command_line(), "test=map omit=hook");
  EXPECT_EQ(info.ram().begin, HostPhys{0x10'0000});
  EXPECT_EQ(info.ram().end, HostPhys{0x800'0000});
  EXPECT_EQ(info.file_count(), 2u);
  ASSERT_TRUE(info.file("initrd"));
  EXPECT_EQ(info.file("initrd")->begin, HostPhys{0x20'1000});
  EXPECT_EQ(info.file("kernel")->size(), 0x10'0001u);
  EXPECT_FALSE(info.file("init"));
  EXPECT_EQ(info.end_of_files(HostPhys{0}), HostPhys{0x30'0000});
  EXPECT_EQ(info.end_of_files(HostPhys{0x40'0000}), HostPhys{0x40'0000});
}

TEST(BootInfo, WhatTheLoaderDidNotGiveIsEmpty) {
  Loader loader;
  loader.put(0x100, std::uint32_t{0});
  auto const info = loader.info();
  EXPECT_EQ(info.command_line(), "");
  EXPECT_EQ(info.ram().size(), 0u);
  EXPECT_EQ(info.file_count(), 0u);
  EXPECT_FALSE(info.file("kernel"));
  loader.put(0x100, 1 << 2);
  loader.put(0x200, "image");
  EXPECT_EQ(info.command_line(), "") << "no word but the program's name";
}

}  // namespace
}  // namespace hv::svm
