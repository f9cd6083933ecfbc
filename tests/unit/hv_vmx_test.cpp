// What the hypervisor works out about VMX without hardware: control words, why a guest exited, what is delivered again,
// how a guest and its host begin.

#include <algorithm>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

#include "hv/x86_64/msr_bitmap.hpp"
#include "hv/x86_64/page_log.hpp"
#include "hv/x86_64/vmx_event.hpp"
#include "hv/x86_64/vmx_exit.hpp"
#include "hv/x86_64/vmx_guest_state.hpp"
#include "hv/x86_64/vmx_host_state.hpp"

namespace hv::vmx {
namespace {

using slat::Prot;
using namespace slat::literals;

// Bochs 2.7, corei7_skylake_x.
constexpr Capabilities skylake{.pin = 0x7f'0000'0016,
                               .primary = 0xf7f9'fffe'0400'6172,
                               .secondary = 0x0217'7fff'0000'0000,
                               .exit = 0x007f'ffff'0003'6dfb,
                               .entry = 0xffff'0000'11fb};

TEST(VmxControls, AreWhatIsWantedAndWhatTheCpuInsistsOn) {
  EXPECT_EQ(controls(0x0000'00ff'0000'0016, 1), (Controls{0x17, 0}));
  EXPECT_EQ(controls(0x0000'00ff'0000'0016, 0), (Controls{0x16, 0}));
  EXPECT_EQ(controls(~0ull << 32, ~0u), (Controls{~0u, 0}));
}

TEST(VmxControls, WhatTheCpuLacksIsNamed) {
  auto const word = controls(0x0000'00ff'0000'0016, 0x301);
  EXPECT_FALSE(word);
  EXPECT_EQ(word.missing, 0x300u);
}

TEST(VmxControls, WhatIsOnlyWishedForIsLeftOut) {
  EXPECT_EQ(controls(0x0000'00ff'0000'0016, 1, 0x320), (Controls{0x37, 0}));
}

TEST(VmxControls, WordsForBochs) {
  auto const words = control_words(skylake, {}, secondary::ept);
  EXPECT_TRUE(words.lacking().empty()) << words.lacking();
  EXPECT_EQ(words.pin.value, 0x17u);
  EXPECT_EQ(words.primary.value, 0x9500'61f2u);
  EXPECT_EQ(words.secondary.value, 0x10'108au);
  EXPECT_EQ(words.exit.value, 0x3f'6fffu & ~0x8000u) << "an exit must not acknowledge the interrupt that it is for";
  EXPECT_EQ(words.entry.value, 0xd1ffu);
}

TEST(VmxControls, GuestsMayHaveInterruptsAndPortsToThemselves) {
  PortBitmap const ports;
  auto const words = control_words(skylake, {.interrupts = false, .halt = false, .ports = &ports}, secondary::ept);
  EXPECT_EQ(words.pin.value, 0x16u);
  EXPECT_EQ(words.primary.value, 0x9600'6172u);
}

TEST(VmxControls, WhatTheTablesNeedIsAskedFor) {
  EXPECT_EQ(control_words(skylake, {}, secondary::ept | secondary::page_modification_log).secondary.value, 0x12'108au);
  auto const words = control_words(skylake, {}, secondary::ept | secondary::mode_based_execute);
  EXPECT_EQ(words.lacking(), "secondary controls");
  EXPECT_EQ(words.missing(), secondary::mode_based_execute);
}

TEST(VmxControls, EachWordThatLacksSomethingIsNamed) {
  auto cpu = skylake;
  cpu.entry = 0;
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).lacking(), "VM-entry controls");
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).missing(), 0xc004u);
  cpu.exit = 0;
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).lacking(), "VM-exit controls");
  cpu.secondary = 0;
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).lacking(), "secondary controls");
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).missing(), 0x82u) << "INVPCID and the like are only wished for";
  cpu.primary = 0;
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).lacking(), "processor-based controls");
  cpu.pin = 0;
  EXPECT_EQ(control_words(cpu, {}, secondary::ept).lacking(), "pin-based controls");
}

TEST(VmxControls, TheTrueCapabilitiesAreReadWhereTheyExist) {
  EXPECT_EQ(capability_msrs(0x00d8'1000'0000'002b), (CapabilityMsrs{0x48d, 0x48e, 0x48b, 0x48f, 0x490})) << "Bochs";
  EXPECT_EQ(capability_msrs(0x0058'1000'0000'002b), (CapabilityMsrs{0x481, 0x482, 0x48b, 0x483, 0x484}));
}

// ---- exits ---------------------------------------------------------------------------------------------------------

Exit violation(std::uint64_t qualification, bool user = false) {
  return decode({.reason = 48, .qualification = qualification, .guest_physical = 0x4'0000'1238, .user = user});
}

TEST(VmxExit, AViolationSaysWhatWasWantedAndWhetherAnythingIsThere) {
  auto const read = violation(0x181);
  EXPECT_EQ(read.why, Why::memory);
  EXPECT_EQ(read.at, 0x4'0000'1238_gpa);
  EXPECT_EQ(read.wanted, Prot::r);
  EXPECT_TRUE(read.absent);
  EXPECT_FALSE(read.instruction);
  EXPECT_FALSE(read.guest_walk);

  auto const write = violation(0x18a);
  EXPECT_EQ(write.wanted, Prot::w);
  EXPECT_FALSE(write.absent);

  auto const fetch = violation(0x19c);
  EXPECT_EQ(fetch.wanted, Prot::x_supervisor);
  EXPECT_TRUE(fetch.instruction);
  EXPECT_FALSE(fetch.absent);
  EXPECT_EQ(violation(0x19c, true).wanted, Prot::x_user);
}

TEST(VmxExit, ThereIsSomethingIfAnyRightIsThere) {
  EXPECT_FALSE(violation(0x182 | 1u << 3).absent);
  EXPECT_FALSE(violation(0x182 | 1u << 4).absent);
  EXPECT_FALSE(violation(0x182 | 1u << 5).absent);
  EXPECT_FALSE(violation(0x182 | 1u << 6).absent) << "executable by the user level alone";
  EXPECT_TRUE(violation(0x182).absent);
}

TEST(VmxExit, AWalkThatCountsAsAWriteWantsToWrite) {
  auto const absent = violation(0x82);
  EXPECT_TRUE(absent.guest_walk);
  EXPECT_TRUE(absent.absent);
  EXPECT_EQ(absent.wanted, Prot::w);
  auto const read_only = violation(0xaa);
  EXPECT_TRUE(read_only.guest_walk);
  EXPECT_FALSE(read_only.absent);
  EXPECT_EQ(read_only.wanted, Prot::w);
  EXPECT_EQ(violation(0xab).wanted, Prot::w) << "as other CPUs than Bochs say it";
  EXPECT_EQ(violation(0x81).wanted, Prot::r) << "without A/D bits";
}

TEST(VmxExit, WithoutALinearAddressItIsNoKnownWalk) { EXPECT_FALSE(violation(0x001).guest_walk); }

TEST(VmxExit, AMisconfigurationHasAnAddressAndNoRight) {
  auto const exit = decode({.reason = 49, .guest_physical = 0x5000});
  EXPECT_EQ(exit.why, Why::misconfigured);
  EXPECT_EQ(exit.at, 0x5000_gpa);
  EXPECT_EQ(exit.wanted, Prot::none);
}

TEST(VmxExit, Ports) {
  auto const out = decode({.reason = 30, .qualification = 0x604'0001, .length = 2});
  EXPECT_EQ(out.why, Why::port);
  EXPECT_EQ(out.port, 0x604);
  EXPECT_EQ(out.bytes, 2);
  EXPECT_FALSE(out.in);
  EXPECT_FALSE(out.string);
  EXPECT_EQ(out.length, 2);
  auto const in = decode({.reason = 30, .qualification = 0x3fd'0048, .length = 1});
  EXPECT_EQ(in.port, 0x3fd);
  EXPECT_EQ(in.bytes, 1);
  EXPECT_TRUE(in.in);
  EXPECT_FALSE(in.string) << "bit 6 is about how the port was given";
  EXPECT_TRUE(decode({.reason = 30, .qualification = 0x604'0010}).string);
  EXPECT_EQ(decode({.reason = 30, .qualification = 0xffff'0003}).bytes, 4);
}

TEST(VmxExit, ReasonsThatHaveANameOfTheirOwn) {
  auto const why = [](std::uint32_t reason) { return decode({.reason = reason}).why; };
  EXPECT_EQ(why(1), Why::interrupt);
  EXPECT_EQ(why(2), Why::shutdown);
  EXPECT_EQ(why(10), Why::cpuid);
  EXPECT_EQ(why(12), Why::halt);
  EXPECT_EQ(why(18), Why::hypercall);
  EXPECT_EQ(why(31), Why::read_msr);
  EXPECT_EQ(why(32), Why::write_msr);
  EXPECT_EQ(why(55), Why::xsetbv);
  EXPECT_EQ(why(62), Why::log_full);
  for (std::uint32_t const other : {0u, 7u, 9u, 16u, 28u, 40u, 47u, 56u}) EXPECT_EQ(why(other), Why::other) << other;
}

TEST(VmxExit, KeepsTheHardwaresWords) {
  auto const exit = decode({.reason = 28, .qualification = 0x304, .length = 3});
  EXPECT_EQ(exit.code, 28u);
  EXPECT_EQ(exit.details, 0x304u);
  EXPECT_EQ(exit.length, 3);
}

TEST(VmxExit, TheLengthIsAnInstructionsOnly) {
  for (std::uint32_t const by : {10u, 12u, 18u, 28u, 30u, 31u, 32u, 55u})
    EXPECT_EQ(decode({.reason = by, .length = 3}).length, 3) << by;
  for (std::uint32_t const not_by : {1u, 2u, 48u, 49u, 62u})
    EXPECT_EQ(decode({.reason = not_by, .length = 3}).length, 0) << not_by;
}

TEST(VmxExit, ControlRegisterAccesses) {
  using Kind = ControlRegisterAccess::Kind;
  ControlRegisterAccess const write{0x604};
  EXPECT_EQ(write.number, 4);
  EXPECT_EQ(write.kind, Kind::write);
  EXPECT_EQ(write.general, 6);
  EXPECT_EQ(ControlRegisterAccess{0x913}.kind, Kind::read);
  EXPECT_EQ(ControlRegisterAccess{0x913}.number, 3);
  EXPECT_EQ(ControlRegisterAccess{0x913}.general, 9);
  EXPECT_EQ(ControlRegisterAccess{0x20}.kind, Kind::clear_task_switched);
  EXPECT_EQ(ControlRegisterAccess{0x30}.kind, Kind::load_machine_status);
}

TEST(VmxExit, OnlyAWriteOfCr4AsksForVmx) {
  EXPECT_TRUE(asks_for_vmx({.reason = 28, .qualification = 0x004}));
  EXPECT_TRUE(asks_for_vmx({.reason = 28, .qualification = 0xf04}));
  EXPECT_FALSE(asks_for_vmx({.reason = 28, .qualification = 0x014})) << "a read";
  EXPECT_FALSE(asks_for_vmx({.reason = 28, .qualification = 0x000})) << "CR0";
  EXPECT_FALSE(asks_for_vmx({.reason = 30, .qualification = 0x004})) << "a port";
}

// ---- events --------------------------------------------------------------------------------------------------------

TEST(VmxEvent, AnExitOutsideOfDeliveryPutsNothingBack) {
  EXPECT_EQ(cut_short({.reason = 48, .length = 2, .vectoring = 0x30, .vectoring_error = 7}), Event{});
}

TEST(VmxEvent, AnInterruptIsDeliveredAgain) {
  EXPECT_EQ(cut_short({.reason = 48, .length = 2, .vectoring = 0x8000'0030, .vectoring_error = 7}),
            (Event{0x8000'0030, 0, 0}));
}

TEST(VmxEvent, AnUndefinedBitDoesNotReachTheEntry) {
  EXPECT_EQ(cut_short({.vectoring = 0x8000'1030}).information, 0x8000'0030u);
  EXPECT_EQ(cut_short({.vectoring = 0xffff'f030}).information, 0x8000'0030u);
}

TEST(VmxEvent, AnExceptionKeepsItsErrorCode) {
  EXPECT_EQ(cut_short({.length = 2, .vectoring = 0x8000'0b0e, .vectoring_error = 0x15}), (Event{0x8000'0b0e, 0x15, 0}));
}

TEST(VmxEvent, WhatAnInstructionRaisedKeepsItsLength) {
  EXPECT_EQ(cut_short({.length = 2, .vectoring = 0x8000'0480}), (Event{0x8000'0480, 0, 2}));
  EXPECT_EQ(cut_short({.length = 1, .vectoring = 0x8000'0501}), (Event{0x8000'0501, 0, 1}));
  EXPECT_EQ(cut_short({.length = 1, .vectoring = 0x8000'0603}), (Event{0x8000'0603, 0, 1}));
  EXPECT_EQ(cut_short({.length = 1, .vectoring = 0x8000'0202}), (Event{0x8000'0202, 0, 0})) << "an NMI has none";
}

TEST(VmxEvent, ExceptionsForTheGuest) {
  EXPECT_EQ(exception(13, 0), (Event{0x8000'0b0d, 0, 0}));
  EXPECT_EQ(exception(14, 6), (Event{0x8000'0b0e, 6, 0}));
  EXPECT_EQ(exception(6, std::nullopt), (Event{0x8000'0306, 0, 0}));
}

TEST(VmxEvent, NmisStayBlockedWhenTheirIretComesAgain) {
  EXPECT_TRUE(blocks_nmi_again({.reason = 48, .qualification = 0x1181}));
  EXPECT_TRUE(blocks_nmi_again({.reason = 62, .qualification = 0x1000}));
  EXPECT_FALSE(blocks_nmi_again({.reason = 48, .qualification = 0x181}));
  EXPECT_FALSE(blocks_nmi_again({.reason = 30, .qualification = 0x1000}));
  EXPECT_FALSE(blocks_nmi_again({.reason = 48, .qualification = 0x1181, .vectoring = 0x8000'0030}))
      << "undefined while an event is delivered";
}

// ---- the two halves of a VMCS --------------------------------------------------------------------------------------

template <class Fields>
std::uint64_t value_of(const Fields& fields, Field field) {
  auto const at = std::ranges::find(fields, field, &FieldValue::field);
  EXPECT_NE(at, fields.end()) << std::hex << static_cast<unsigned>(field);
  return at == fields.end() ? 0 : at->value;
}

TEST(VmxGuestState, LongMode) {
  auto const fields = guest_state({.mode = Start::Mode::long64, .rip = 0x1000, .rsp = 0x2000, .cr3 = 0x3000});
  EXPECT_EQ(value_of(fields, Field::guest_cr0), 0x8000'0031u);
  EXPECT_EQ(value_of(fields, Field::guest_cr3), 0x3000u);
  EXPECT_EQ(value_of(fields, Field::guest_cr4), 0x2020u);
  EXPECT_EQ(value_of(fields, Field::cr4_mask), 0x2000u);
  EXPECT_EQ(value_of(fields, Field::cr4_shadow), 0x20u);
  EXPECT_EQ(value_of(fields, Field::guest_efer), 0x500u);
  EXPECT_EQ(value_of(fields, Field::guest_cs_access), 0xa09bu);
  EXPECT_EQ(value_of(fields, Field::guest_ss_access), 0xc093u);
  EXPECT_EQ(value_of(fields, Field::guest_tr_access), 0x8bu);
  EXPECT_EQ(value_of(fields, Field::guest_ldtr_access), 0x10000u);
  EXPECT_EQ(value_of(fields, Field::guest_rip), 0x1000u);
  EXPECT_EQ(value_of(fields, Field::guest_rsp), 0x2000u);
  EXPECT_EQ(value_of(fields, Field::guest_rflags), 2u);
  EXPECT_EQ(value_of(fields, Field::vmcs_link_pointer), ~0ull);
}

TEST(VmxGuestState, FlatProtectedModeWithoutPaging) {
  auto const fields = guest_state({.mode = Start::Mode::flat32, .rip = 0x10'0000, .cr3 = 0x3000, .rflags = 0x200});
  EXPECT_EQ(value_of(fields, Field::guest_cr0), 0x31u);
  EXPECT_EQ(value_of(fields, Field::guest_cr3), 0u);
  EXPECT_EQ(value_of(fields, Field::guest_cr4), 0x2000u);
  EXPECT_EQ(value_of(fields, Field::cr4_shadow), 0u);
  EXPECT_EQ(value_of(fields, Field::guest_efer), 0u);
  EXPECT_EQ(value_of(fields, Field::guest_cs_access), 0xc09bu);
  EXPECT_EQ(value_of(fields, Field::guest_cs_limit), 0xffff'ffffu);
  EXPECT_EQ(value_of(fields, Field::guest_rflags), 0x202u);
}

TEST(VmxGuestState, NoFieldIsGivenTwice) {
  std::vector<Field> seen;
  for (auto const& [field, value] : guest_state({})) seen.push_back(field);
  for (auto const& [field, value] : host_state({})) seen.push_back(field);
  std::ranges::sort(seen);
  EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end());
}

TEST(VmxGuestState, ThePrivilegeLevelIsThatOfTheStack) {
  EXPECT_EQ(privilege(0xc093), 0u);
  EXPECT_EQ(privilege(0xc0f3), 3u);
}

TEST(VmxHostState, VmxMayHaveToBeUnlocked) {
  EXPECT_EQ(permission(0), Permission::ours_to_give);
  EXPECT_EQ(permission(4), Permission::ours_to_give) << "not locked, so not yet in force";
  EXPECT_EQ(permission(5), Permission::given);
  EXPECT_EQ(permission(1), Permission::refused);
  EXPECT_EQ(permission(permit_and_lock), Permission::given);
}

TEST(VmxHostState, FixedBits) {
  EXPECT_EQ(with_fixed_bits(0x8000'0011, 0x8000'0021, 0xffff'ffff), 0x8000'0031u);
  EXPECT_EQ(with_fixed_bits(0x1'0000'0001, 1, 0xffff'ffff), 1u);
}

TEST(VmxHostState, TheBaseOfATaskStateIsInFourPieces) {
  EXPECT_EQ(task_base(0x1200'8934'5678'0067, 0xffff'8000), 0xffff'8000'1234'5678u);
}

TEST(VmxHostState, SelectorsHaveNoPrivilegeAndNoLocalTable) {
  auto const fields = host_state({.cs = 0x0b, .tr = 0x2c});
  EXPECT_EQ(value_of(fields, Field::host_cs_selector), 0x08u);
  EXPECT_EQ(value_of(fields, Field::host_tr_selector), 0x28u);
}

// ---- bitmaps and the log -------------------------------------------------------------------------------------------

TEST(MsrBitmap, TrapsReadsAndWritesOfTheseAlone) {
  MsrBitmap bitmap;
  bitmap.trap_only(std::array<std::uint32_t, 1>{0x3a});
  bitmap.trap_only(std::array<std::uint32_t, 4>{0x277, 0xc000'0080, 0x1fff, 0x4000'0000});
  std::vector<std::pair<std::size_t, unsigned>> set;
  for (std::size_t i = 0; i != 4096; ++i)
    if (bitmap.bytes()[i] != 0) set.emplace_back(i, bitmap.bytes()[i]);
  EXPECT_EQ(set, (std::vector<std::pair<std::size_t, unsigned>>{
                     {0x4e, 0x80}, {0x3ff, 0x80}, {0x410, 1}, {0x84e, 0x80}, {0xbff, 0x80}, {0xc10, 1}}));
}

std::vector<slat::GuestPhys> drained(const PageLog& log, std::uint16_t index) {
  std::vector<slat::GuestPhys> pages;
  log.drain(index, [&](slat::GuestPhys page) { pages.push_back(page); });
  return pages;
}

TEST(PageLog, OldestFirstAndWithoutOffsets) {
  PageLog log;
  log.log[511] = 0x1000;
  log.log[510] = 0x2fff;
  log.log[509] = 0x3000;  // of an earlier turn
  EXPECT_EQ(drained(log, 509), (std::vector{0x1000_gpa, 0x2000_gpa}));
  EXPECT_TRUE(drained(log, PageLog::empty).empty());
}

TEST(PageLog, AFullOneHasAllEntries) {
  PageLog log;
  log.log[0] = 0x7000;
  EXPECT_EQ(drained(log, 0).size(), 511u) << "the last entry is still free";
  EXPECT_EQ(drained(log, 0xffff).size(), 512u);
  EXPECT_EQ(drained(log, 0xffff).back(), 0x7000_gpa);
}

}  // namespace
}  // namespace hv::vmx
