// The hypervisor's reader and writer of device trees, against each other and against bytes written by hand.

#include <array>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "hv/aarch64/guest_tree.hpp"
#include "hv/aarch64/machine.hpp"
#include "hv/device_tree.hpp"
#include "hv/device_tree_writer.hpp"

namespace hv {
namespace {

using namespace slat::literals;

std::vector<std::byte> bytes(const std::string& text) {
  std::vector<std::byte> all(text.size());
  std::memcpy(all.data(), text.data(), text.size());
  return all;
}

// / { a = <1 2>; NOP; n@5 { s = "x", "yz"; }; m { }; };
std::string by_hand() {
  using namespace std::string_literals;
  auto const structure =
      "\0\0\0\1\0\0\0\0"s                            // begin ""
      "\0\0\0\3\0\0\0\x08\0\0\0\0\0\0\0\1\0\0\0\2"s  // a
      "\0\0\0\4"s                                    // nop
      "\0\0\0\1n@5\0"s                               // begin
      "\0\0\0\3\0\0\0\5\0\0\0\2x\0yz\0\0\0\0"s       // s
      "\0\0\0\2"s                                    // end
      "\0\0\0\1m\0\0\0"s
      "\0\0\0\2"s             // m, empty
      "\0\0\0\2\0\0\0\x09"s;  // end, end of all
  auto const strings = "a\0s\0"s;
  auto const header_size = 40u;
  auto const number = [](std::size_t n) {
    return std::string{'\0', '\0', static_cast<char>(n >> 8), static_cast<char>(n)};
  };
  auto const total = header_size + structure.size() + strings.size();
  return "\xd0\x0d\xfe\xed"s + number(total) + number(header_size) + number(header_size + structure.size()) +
         number(header_size) + number(17) + number(16) + number(0) + number(strings.size()) + number(structure.size()) +
         structure + strings;
}

TEST(DeviceTree, ReadsNodesPropertiesAndSiblings) {
  auto const blob = bytes(by_hand());
  EXPECT_EQ(DeviceTree::size_at(blob.data()), blob.size());
  auto const tree = DeviceTree::at(blob);
  ASSERT_TRUE(tree);
  auto const root = tree->root();
  EXPECT_EQ(root.property("a").cell_count(), 2u);
  EXPECT_EQ(root.property("a").cells(0, 1), 1u);
  EXPECT_EQ(root.property("a").cells(0, 2), 0x1'0000'0002u);
  EXPECT_EQ(root.property("a").cells(1, 2), 0u) << "past the end";
  EXPECT_FALSE(root.property("s")) << "a child's";

  auto const n = root.first_child();
  ASSERT_TRUE(n);
  EXPECT_EQ(n.name(), "n@5");
  EXPECT_TRUE(n.is("n"));
  EXPECT_EQ(n.property("s").text(), "x");
  EXPECT_TRUE(n.property("s").lists("yz"));
  EXPECT_FALSE(n.property("s").lists("y"));
  EXPECT_FALSE(n.first_child());
  EXPECT_EQ(n.next_sibling().name(), "m");
  EXPECT_FALSE(n.next_sibling().next_sibling());
  EXPECT_TRUE(root.child("m"));
  EXPECT_FALSE(root.child("o"));
  EXPECT_FALSE(root.child("o").property("a"));
}

TEST(DeviceTree, RefusesWhatIsNone) {
  EXPECT_FALSE(DeviceTree::at({}));
  auto blob = bytes(by_hand());
  EXPECT_FALSE(DeviceTree::at(std::span{blob}.first(blob.size() - 1)));
  blob[0] = std::byte{0};
  EXPECT_FALSE(DeviceTree::at(blob));
  EXPECT_EQ(DeviceTree::size_at(blob.data()), 0u);
}

void read_all(DeviceTree::Node node, unsigned depth = 0) {
  if (depth == 20) return;
  for (; node; node = node.next_sibling()) {
    (void)node.property("none").text();
    read_all(node.first_child(), depth + 1);
  }
}

TEST(DeviceTree, IsNeverReadPastItsEndHoweverDamaged) {
  auto const whole = bytes(by_hand());
  for (std::size_t at = 0; at != whole.size(); ++at) {
    for (auto const value : {0x00, 0x01, 0x03, 0x7f, 0xff}) {
      auto blob = whole;  // of its exact size, so that the sanitizers see the end
      blob[at] = static_cast<std::byte>(value);
      if (auto const tree = DeviceTree::at(blob)) read_all(tree->root());
    }
  }
}

TEST(DeviceTreeWriter, WhatDoesNotFitIsNoTree) {
  auto const write = [](std::span<std::byte> into) {
    DeviceTreeWriter tree{into};
    tree.begin("");
    tree.text("name", "value");
    tree.end();
    return tree.finish();
  };
  std::vector<std::byte> enough(200);
  auto const size = write(enough);
  ASSERT_TRUE(size);
  for (std::size_t less = 56; less != *size; ++less) {
    std::vector<std::byte> little(less);
    EXPECT_FALSE(write(little)) << less;
  }
  std::vector<std::byte> exact(*size);
  EXPECT_TRUE(write(exact));
}

TEST(GuestTree, SaysWhatTheGuestHas) {
  std::vector<std::byte> buffer(16384);
  std::array<std::uint64_t, 2> const cpus{0, 0x101};
  auto const size = guest_tree::write(buffer, {.ram = {0x4000'0000_gpa, 3_GiB},
                                               .cpus = cpus,
                                               .initrd = {0x4800'0000_gpa, 0x1234},
                                               .command_line = "console=ttyAMA0 quiet"});
  ASSERT_TRUE(size);
  auto const tree = DeviceTree::at(std::span{buffer}.first(*size));
  ASSERT_TRUE(tree);
  auto const root = tree->root();
  EXPECT_EQ(root.child("memory").name(), "memory@40000000");
  EXPECT_EQ(reg(root.child("memory")).size(), 3_GiB);
  EXPECT_EQ(root.child("chosen").property("bootargs").text(), "console=ttyAMA0 quiet");
  EXPECT_EQ(root.child("chosen").property("linux,initrd-end").cells(0, 2), 0x4800'1234u);
  auto const second = root.child("cpus").first_child().next_sibling();
  EXPECT_EQ(second.name(), "cpu@101");
  EXPECT_EQ(second.property("reg").cells(0, 2), 0x101u);
  EXPECT_EQ(root.child("interrupt-controller").property("reg").cells(6, 2), 2 * board::gic_redistributor_stride);
  EXPECT_TRUE(root.child("interrupt-controller").property("interrupt-controller"));
  EXPECT_TRUE(root.child("serial").property("compatible").lists("arm,pl011"));
}

TEST(GuestTree, WithoutInitrdOrRoom) {
  std::vector<std::byte> buffer(16384);
  std::array<std::uint64_t, 1> const cpus{0};
  GuestDescription const guest{.ram = {0x4000'0000_gpa, 64_MiB}, .cpus = cpus, .initrd = {}, .command_line = ""};
  auto const size = guest_tree::write(buffer, guest);
  ASSERT_TRUE(size);
  auto const tree = DeviceTree::at(buffer);
  ASSERT_TRUE(tree);
  EXPECT_FALSE(tree->root().child("chosen").property("linux,initrd-start"));
  EXPECT_FALSE(guest_tree::write(std::span{buffer}.first(*size - 1), guest));
}

TEST(Machine, IsWhatTheTreeSays) {
  std::vector<std::byte> buffer(4096);
  DeviceTreeWriter writer{buffer};
  writer.begin("");
  writer.begin("memory@40000000");
  writer.pairs("reg", {0x4000'0000, 2_GiB});
  writer.end();
  writer.begin("cpus");
  writer.cells("#address-cells", {1});
  writer.begin("cpu-map");
  writer.end();
  for (auto const* const name : {"cpu@0", "cpu@1"}) {
    writer.begin(name);
    writer.cells("reg", {static_cast<std::uint32_t>(name[4] - '0')});
    writer.end();
  }
  writer.end();
  writer.begin("chosen");
  writer.text("bootargs", "granule=4k");
  writer.begin("module@45000000");
  writer.texts("compatible", {"multiboot,module", "multiboot,kernel"});
  writer.pairs("reg", {0x4500'0000, 1000});
  writer.text("bootargs", "quiet");
  writer.end();
  writer.begin("module@46000000");
  writer.texts("compatible", {"multiboot,module", "multiboot,ramdisk"});
  writer.pairs("reg", {0x4600'0000, 2000});
  writer.end();
  writer.end();
  writer.end();
  ASSERT_TRUE(writer.finish());
  auto const tree = DeviceTree::at(buffer);
  ASSERT_TRUE(tree);
  auto const machine = describe(*tree);
  EXPECT_EQ(machine.ram.size(), 2_GiB);
  ASSERT_EQ(machine.cpus, 2u);
  EXPECT_EQ(machine.mpidr[1], 1u);
  EXPECT_EQ(machine.command_line, "granule=4k");
  ASSERT_TRUE(machine.kernel && machine.initrd);
  EXPECT_EQ(machine.kernel->size(), 1000u);
  EXPECT_EQ(machine.kernel_command_line, "quiet");
  EXPECT_EQ(machine.initrd->begin, 0x4600'0000_hpa);
}

}  // namespace
}  // namespace hv
