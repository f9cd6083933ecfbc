// What the x86 hypervisor tells its guest about the CPU, lets it reach, and takes for the power switch.

#include <array>
#include <string_view>

#include <gtest/gtest.h>

#include "hv/x86_64/cpuid_policy.hpp"
#include "hv/x86_64/msr_policy.hpp"
#include "hv/x86_64/port_policy.hpp"

namespace hv {
namespace {

constexpr CpuidLeaf everything{~0u, ~0u, ~0u, ~0u};
constexpr bool has(std::uint32_t word, unsigned n) { return (word >> n & 1) != 0; }

TEST(Cpuid, HidesBothKindsOfVirtualisation) {
  EXPECT_FALSE(has(guest_cpuid(1, 0, everything, 0).ecx, 5)) << "VMX";
  EXPECT_FALSE(has(guest_cpuid(0x8000'0001, 0, everything, 0).ecx, 2)) << "SVM";
  EXPECT_EQ(guest_cpuid(0x8000'000a, 0, everything, 0), CpuidLeaf{});
}

TEST(Cpuid, SaysWhoseGuestItIs) {
  EXPECT_TRUE(has(guest_cpuid(1, 0, {}, 0).ecx, 31));
  EXPECT_EQ(guest_cpuid(0x4000'0000, 0, everything, 0),
            (CpuidLeaf{0x4000'0000, 0x7461'6c73, 0x7461'6c73, 0x7461'6c73}));
  EXPECT_EQ(guest_cpuid(0x4000'0001, 0, everything, 0), CpuidLeaf{}) << "nothing of a hypervisor below";
}

TEST(Cpuid, FollowsTheGuestsOwnCr4) {
  constexpr std::uint64_t osxsave = 1u << 18, pke = 1u << 22;
  EXPECT_FALSE(has(guest_cpuid(1, 0, everything, pke).ecx, 27));
  EXPECT_TRUE(has(guest_cpuid(1, 0, {}, osxsave).ecx, 27));
  EXPECT_FALSE(has(guest_cpuid(7, 0, everything, osxsave).ecx, 4));
  EXPECT_TRUE(has(guest_cpuid(7, 0, everything, pke).ecx, 4));
  EXPECT_FALSE(has(guest_cpuid(7, 0, {}, pke).ecx, 4)) << "where there are no protection keys";
}

TEST(Cpuid, KeepsWhatA64BitKernelNeeds) {
  auto const one = guest_cpuid(1, 0, everything, 0);
  for (unsigned const n : {0u, 3u, 4u, 5u, 6u, 8u, 9u, 11u, 13u, 15u, 16u, 19u, 23u, 24u, 25u, 26u})
    EXPECT_TRUE(has(one.edx, n)) << n;
  for (unsigned const n : {0u, 13u, 20u, 24u, 26u}) EXPECT_TRUE(has(one.ecx, n)) << n;
  auto const extended = guest_cpuid(0x8000'0001, 0, everything, 0);
  for (unsigned const n : {11u, 20u, 26u, 27u, 29u}) EXPECT_TRUE(has(extended.edx, n)) << n;
  CpuidLeaf const vendor{0x16, 1, 2, 3};
  EXPECT_EQ(guest_cpuid(0, 0, vendor, 0), vendor);
  EXPECT_EQ(guest_cpuid(0xd, 0, vendor, 0), vendor);
}

TEST(Cpuid, HidesFeaturesWhoseMsrsAreNotPassed) {
  auto const one = guest_cpuid(1, 0, everything, 0);
  struct Feature {
    unsigned bit;
    std::uint32_t msr;
  };
  for (auto const& [bit, index] : {Feature{7, 0x179}, Feature{12, 0x2ff}, Feature{14, 0x179}}) {
    EXPECT_FALSE(has(one.edx, bit)) << bit;
    EXPECT_FALSE(passes_msr(index, Direction::read));
  }
  EXPECT_FALSE(has(one.ecx, 21)) << "x2APIC";
  EXPECT_FALSE(passes_msr(0x802, Direction::read));
  EXPECT_TRUE(has(one.ecx, 24)) << "TSC deadline";
  EXPECT_TRUE(passes_msr(0x6e0, Direction::write));
  auto const seven = guest_cpuid(7, 0, everything, 0);
  for (unsigned const n : {26u, 27u, 28u, 29u, 31u}) EXPECT_FALSE(has(seven.edx, n)) << n;
  EXPECT_FALSE(passes_msr(0x48, Direction::write));
  EXPECT_EQ(guest_cpuid(0xa, 0, everything, 0), CpuidLeaf{});
}

TEST(Cpuid, CountsOneCpu) {
  EXPECT_EQ(guest_cpuid(1, 0, everything, 0).ebx, 0xff01'ffffu);
  EXPECT_FALSE(has(guest_cpuid(1, 0, everything, 0).edx, 28));
  EXPECT_EQ(guest_cpuid(4, 0, everything, 0).eax, 0x3fffu);
  EXPECT_EQ(guest_cpuid(0xb, 0, everything, 0), CpuidLeaf{});
  EXPECT_EQ(guest_cpuid(0x8000'0008, 0, everything, 0).ecx, 0u);
}

TEST(Msr, PassesTheStateOfTheGuestsCpuAlone) {
  for (std::uint32_t const index : {0x10u, 0x174u, 0x175u, 0x176u, 0x277u, 0x6e0u, 0xda0u, 0xc000'0080u, 0xc000'0081u,
                                    0xc000'0084u, 0xc000'0100u, 0xc000'0103u}) {
    EXPECT_TRUE(passes_msr(index, Direction::read)) << index;
    EXPECT_TRUE(passes_msr(index, Direction::write)) << index;
  }
  for (std::uint32_t const index : {0x3au, 0x177u, 0x480u, 0xc000'0085u, 0xc000'0104u, 0xc001'0114u, 0xc001'0117u, 0u})
    EXPECT_FALSE(passes_msr(index, Direction::read)) << index;
  EXPECT_TRUE(passes_msr(0x1b, Direction::read));
  EXPECT_FALSE(passes_msr(0x1b, Direction::write));
}

TEST(Msr, TheLocalApicStaysWhereItIs) {
  EXPECT_EQ(written_msr(0x1b, 0xfee0'0900, 0xfee0'0900), MsrAnswer::ignore);
  EXPECT_EQ(written_msr(0x1b, 0x1000'0900, 0xfee0'0900), MsrAnswer::fault);
  EXPECT_EQ(written_msr(0x1b, 0xfee0'0d00, 0xfee0'0900), MsrAnswer::fault) << "x2APIC mode";
  EXPECT_EQ(written_msr(0x3a, 5, 5), MsrAnswer::fault);
}

TEST(Msr, WhatKernelsAskWithoutCareIsZeroAndStaysSo) {
  for (std::uint32_t const index : {0x8bu, 0xc001'0055u}) {
    EXPECT_EQ(read_msr_as(index), 0u);
    EXPECT_EQ(written_msr(index, 1, 0), MsrAnswer::ignore);
  }
  EXPECT_EQ(read_msr_as(0x3a), std::nullopt);
  EXPECT_EQ(read_msr_as(0xc001'0114), std::nullopt);
}

TEST(Xcr, HoldsWhatHardwareWouldTake) {
  constexpr std::uint64_t all = 0xff;
  for (std::uint64_t const value : {0x1u, 0x3u, 0x7u, 0x1bu, 0xe7u, 0xffu})
    EXPECT_TRUE(valid_xcr(0, value, all)) << value;
  for (std::uint64_t const value : {0x0u, 0x2u, 0x5u, 0xbu, 0x27u, 0xe3u, 0x103u})
    EXPECT_FALSE(valid_xcr(0, value, all)) << value;
  EXPECT_FALSE(valid_xcr(0, 7, 3)) << "what the CPU lacks";
  EXPECT_FALSE(valid_xcr(1, 1, all)) << "no such register";
}

constexpr PortAccess out(std::uint16_t port, std::uint32_t value, std::uint8_t bytes = 1) {
  return {port, bytes, false, value};
}
constexpr PortAccess in(std::uint16_t port) { return {port, 1, true}; }

TEST(Ports, PassTheDevicesOfAnOldPc) {
  for (auto const port :
       std::to_array<std::uint16_t>({0x20, 0x21, 0xa0, 0xa1, 0x40, 0x43, 0x61, 0x70, 0x71, 0x80, 0x3f8, 0x3ff}))
    EXPECT_TRUE(passes_port(port)) << port;
}

TEST(Ports, TrapPowerResetPciDmaAndTheHypervisorsOwn) {
  constexpr std::array<std::uint16_t, 6> switches{0x604, 0x8900, 0xcf9, 0x60, 0x64, 0x92};
  constexpr std::array<std::uint16_t, 7> memory_access{0xcf8, 0xcfc, 0xcff, 0x0, 0xf, 0xc0, 0x3f7};
  constexpr std::array<std::uint16_t, 7> others{0xe9, 0xf4, 0x2f8, 0x510, 0x1f0, 0x400, 0xffff};
  for (auto const port : switches) EXPECT_FALSE(passes_port(port)) << port;
  for (auto const port : memory_access) EXPECT_FALSE(passes_port(port)) << port;
  for (auto const port : others) EXPECT_FALSE(passes_port(port)) << port;
}

TEST(Ports, ThreeWordsTurnThePowerOff) {
  PortPolicy ports;
  EXPECT_EQ(ports.serve(out(0x604, 0x2000, 2)), PortAnswer::power_off);
  EXPECT_EQ(ports.serve(out(0x604, 0x2001, 4)), PortAnswer::power_off);
  EXPECT_EQ(ports.serve(out(0x604, 0x2000, 1)), PortAnswer::absent);
  EXPECT_EQ(ports.serve(out(0x604, 0x0001, 2)), PortAnswer::absent);
  EXPECT_EQ(ports.serve(out(0x604, 0x2400, 2)), PortAnswer::absent) << "another sleep";
  EXPECT_EQ(ports.serve(in(0x604)), PortAnswer::absent);
}

PortAnswer spell(PortPolicy& ports, std::string_view word) {
  auto answer = PortAnswer::absent;
  for (char const c : word) answer = ports.serve(out(0x8900, static_cast<unsigned char>(c)));
  return answer;
}

TEST(Ports, SpellingShutdownTurnsThePowerOff) {
  PortPolicy ports;
  EXPECT_EQ(spell(ports, "Shutdow"), PortAnswer::absent);
  EXPECT_EQ(spell(ports, "n"), PortAnswer::power_off);
  EXPECT_EQ(spell(ports, "Shutup"), PortAnswer::absent);
  EXPECT_EQ(spell(ports, "down"), PortAnswer::absent);
  EXPECT_EQ(spell(ports, "ShShutdown"), PortAnswer::power_off) << "a false start may be the right one's first letter";
}

TEST(Ports, ResetIsNoPowerOff) {
  PortPolicy ports;
  EXPECT_EQ(ports.serve(out(0xcf9, 0x06)), PortAnswer::reset);
  EXPECT_EQ(ports.serve(out(0xcf9, 0x02)), PortAnswer::absent) << "chooses the kind";
  EXPECT_EQ(ports.serve(out(0x64, 0xfe)), PortAnswer::reset);
  EXPECT_EQ(ports.serve(out(0x64, 0xf0)), PortAnswer::reset);
  EXPECT_EQ(ports.serve(out(0x64, 0xff)), PortAnswer::forward);
  EXPECT_EQ(ports.serve(out(0x92, 0x01)), PortAnswer::reset);
  EXPECT_EQ(ports.serve(out(0x92, 0x02)), PortAnswer::absent);
}

TEST(Ports, TheKeyboardsOutputPortHasTheResetLineToo) {
  PortPolicy ports;
  EXPECT_EQ(ports.serve(out(0x60, 0)), PortAnswer::forward);
  EXPECT_EQ(ports.serve(out(0x64, 0xd1)), PortAnswer::absent);
  EXPECT_EQ(ports.serve(in(0x64)), PortAnswer::forward);
  EXPECT_EQ(ports.serve(out(0x60, 0xdf)), PortAnswer::absent) << "A20 alone";
  EXPECT_EQ(ports.serve(out(0x60, 0)), PortAnswer::forward);
  ports.serve(out(0x64, 0xd1));
  EXPECT_EQ(ports.serve(out(0x60, 0xfe)), PortAnswer::reset);
  ports.serve(out(0x64, 0xd1));
  ports.serve(out(0x64, 0xad));
  EXPECT_EQ(ports.serve(out(0x60, 0)), PortAnswer::forward) << "another command came between";
}

TEST(Ports, WhatIsNotThereSwallowsAndReadsAsOnes) {
  PortPolicy ports;
  EXPECT_EQ(ports.serve(in(0xcfc)), PortAnswer::absent);
  EXPECT_EQ(ports.serve(out(0xcf8, 0x8000'0000, 4)), PortAnswer::absent);
  EXPECT_EQ(ports.serve(in(0x1f7)), PortAnswer::absent);
}

}  // namespace
}  // namespace hv
