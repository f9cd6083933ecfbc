// The gdbstub's side is played by a thread that knows as much of the protocol as QEMU's does, and by others that break
// it.

#include <gtest/gtest.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "tests/tool/images.hpp"
#include "tools/gather.hpp"
#include "tools/gdb_link.hpp"
#include "tools/gdb_memory.hpp"
#include "tools/source.hpp"
#include "tools/words.hpp"

namespace slat::test {
namespace {

using namespace slat::tool;

constexpr const char* memory_map =
    "FlatView #0\n AS \"I/O\", root: io\n Root memory region: io\n"
    "  0000000000000000-000000000000ffff (prio 0, ram): not.the.cpus\n\n"
    "FlatView #1\n AS \"memory\", root: system\n AS \"cpu-memory-0\", root: system\n Root memory region: system\n"
    "  0000000000000000-0000000003ffffff (prio 0, romd): virt.flash0\n"
    "  0000000009000000-0000000009000fff (prio 0, i/o): pl011\n"
    "  0000000080000000-0000000080003fff (prio 0, ram): mach-virt.ram\n"
    "  0000000080004000-000000008000ffff (prio 0, ram): mach-virt.ram @0000000000004000\n"
    "  0000000090000000-0000000090000fff (prio 0, ram): other\n\n"
    "FlatView #2\n AS \"x\", root: (none)\n Root memory region: (none)\n  No rendered FlatView\n\n";

/// Answers a request, or nothing for "unknown".
using Answers = std::function<std::optional<std::string>(const std::string&)>;

std::string framed(const std::string& text) {
  unsigned sum = 0;
  for (char const c : text) sum += static_cast<unsigned char>(c);
  auto const check = static_cast<char>(sum & 255);
  return "$" + text + "#" + to_hex({&check, 1});
}

class Stub {
 public:
  /// `raw` takes a framed answer and may spoil it.
  explicit Stub(Answers answers, std::function<std::string(std::string)> raw = {})
      : answers_{std::move(answers)}, raw_{std::move(raw)}, listener_{socket(AF_INET, SOCK_STREAM, 0)} {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) std::abort();
    listen(listener_, 1);
    socklen_t length = sizeof address;
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length);
    where = "127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread{[this] { serve(); }};
  }
  Stub(const Stub&) = delete;
  Stub& operator=(const Stub&) = delete;
  ~Stub() {
    shutdown(listener_, SHUT_RDWR);
    thread_.join();
    close(listener_);
  }

  std::string where;
  std::atomic<unsigned> reads{0};
  std::atomic<bool> detached{false};
  /// The last of them are to be looked at when the other side is gone.
  std::vector<std::string> asked() {
    std::lock_guard const lock{mutex_};
    return asked_;
  }

 private:
  void serve() {
    auto const peer = accept(listener_, nullptr, nullptr);
    if (peer < 0) return;
    // That it stopped, as QEMU says unasked.
    auto const stopped = framed("T02thread:01;");
    send(peer, stopped.data(), stopped.size(), MSG_NOSIGNAL);
    std::string input;
    std::array<char, 4096> buffer{};
    for (ssize_t got; (got = recv(peer, buffer.data(), buffer.size(), 0)) > 0;) {
      input.append(buffer.data(), static_cast<std::size_t>(got));
      for (;;) {
        auto const begin = input.find('$');
        auto const end = input.find('#', begin == std::string::npos ? 0 : begin);
        if (begin == std::string::npos || end == std::string::npos || end + 2 >= input.size()) break;
        answer(peer, input.substr(begin + 1, end - begin - 1));
        input.erase(0, end + 3);
      }
    }
    close(peer);
  }
  void answer(int peer, const std::string& request) {
    if (request[0] == 'm') ++reads;
    if (request == "D") detached = true;
    {
      std::lock_guard const lock{mutex_};
      asked_.push_back(request);
    }
    auto const text = answers_(request);
    std::string out = "+";
    if (request.starts_with("qRcmd,") && text) {
      // In pieces, as a monitor prints.
      for (std::size_t at = 0; at < text->size(); at += 100) out += framed("O" + to_hex(text->substr(at, 100)));
      out += framed("OK");
    } else {
      out += framed(text.value_or(""));
    }
    if (raw_) out = raw_(out);
    send(peer, out.data(), out.size(), MSG_NOSIGNAL);
  }

  Answers answers_;
  std::function<std::string(std::string)> raw_;
  int listener_;
  std::mutex mutex_;
  std::vector<std::string> asked_;
  std::thread thread_;
};

/// 64 KiB of an image at 0x80000000, as QEMU shows it.
std::optional<std::string> qemu(Image& image, const std::string& request) {
  if (request.starts_with("qSupported")) return "PacketSize=1000;qXfer:features:read+";
  if (request == "qRcmd," + to_hex("info status")) return "VM status: paused\r\n";
  if (request == "qRcmd," + to_hex("info mtree -f")) return memory_map;
  if (request == "Hg1" || request.starts_with("Qqemu.PhyMemMode:") || request == "D") return "OK";
  if (request == "Hg2") return "E22";
  if (request[0] == 'm') {
    auto const comma = request.find(',');
    auto const at = number("0x" + request.substr(1, comma - 1), "at");
    auto const count = number("0x" + request.substr(comma + 1), "count");
    if (count > 2048) return "E22";
    auto const bytes = std::as_bytes(image.words());
    std::string out(count, '\0');
    if (at - Image::base < bytes.size()) std::memcpy(out.data(), bytes.data() + (at - Image::base), count);
    return to_hex(out);
  }
  return {};
}

/// And the registers of an Arm CPU, in two documents, the second longer than a packet asks for.
std::optional<std::string> arm(Image& image, const std::string& request, std::uint64_t hcr) {
  auto const document = [&](const std::string& text) {
    auto const comma = request.rfind(',');
    auto const colon = request.rfind(':');
    auto const at = number("0x" + request.substr(colon + 1, comma - colon - 1), "offset");
    auto const rest = text.substr(std::min(at, text.size()), 0x800);
    return (at + rest.size() == text.size() ? "l" : "m") + rest;
  };
  if (request.starts_with("qXfer:features:read:target.xml:"))
    return document(
        R"(<?xml version="1.0"?><target><xi:include href="core.xml"/><xi:include href="sys.xml"/></target>)");
  if (request.starts_with("qXfer:features:read:core.xml:"))
    return document(R"(<feature name="core"><reg name="x0" bitsize="64"/><reg name="pc" bitsize="64"/></feature>)");
  if (request.starts_with("qXfer:features:read:sys.xml:"))
    return document("<feature name=\"sys\">" + std::string(3000, ' ') +
                    R"(<reg name="HCR_EL2" bitsize="64" regnum="100"/><reg name="VTCR_EL2" bitsize="64"/>)"
                    R"(<reg name="VTTBR_EL2" bitsize="64" regnum="200"/></feature>)");
  auto const value = [](std::uint64_t v) { return to_hex({reinterpret_cast<const char*>(&v), sizeof v}); };
  if (request == "p64") return value(hcr);
  if (request == "p65") return value(0x8005'3559);
  if (request == "pc8") return value(0x0007'0000'0000'0001 | Image::base);  // a VMID, and CnP
  return qemu(image, request);
}

TEST(GdbTest, RamIsWhatTheMemoryMapCallsSo) {
  EXPECT_EQ(ram_in(memory_map), (std::vector<Extent>{{0x8000'0000, 0x1'0000}, {0x9000'0000, 0x1000}}));
  EXPECT_TRUE(ram_in("").empty());
  auto const complaint = [](const char* line) {
    return complaint_of([&] { ram_in("FlatView #1\n AS \"memory\"\n  " + std::string{line} + "\n"); });
  };
  EXPECT_EQ(complaint("0-1 (prio 0, i/o): x"), "");
  EXPECT_NE(complaint("zz-1 (prio 0, ram): x").find("QEMU's memory map"), std::string::npos);
  EXPECT_NE(complaint("2-1 (prio 0, ram): x").find("ends before it begins"), std::string::npos);
}

TEST(GdbTest, TheTablesOfALiveArmMachineAreFoundByItsRegisters) {
  Image image{16};
  image.at(0, 0) = Image::page(1) | 3;
  image.at(1, 0) = Image::page(2) | 3;
  image.at(1, 1) = 0x9100'0000 | 3;  // there is no RAM
  for (std::size_t i = 0; i != 512; ++i) image.at(2, i) = 0x4000'0000 | i << 12 | 0x7ff;
  Stub stub{[&](auto& request) { return arm(image, request, 1); }};
  {
    SourceOptions options;
    options.gdb = stub.where;
    auto memory = open_source(options);
    auto const scheme = find_scheme(memory, {});
    EXPECT_EQ(scheme.root.raw(), std::uint64_t{Image::base});
    auto const gathered = gather(memory, scheme);
    EXPECT_EQ(gathered.leaves.size(), 512u);
    EXPECT_EQ(gathered.findings.counts().at("missing-table"), 1u);
    // Whole pages in packets of 2 KiB, each once, and none where there is no RAM.
    EXPECT_EQ(stub.reads, 2u * 3);
  }
  EXPECT_TRUE(stub.detached);
}

TEST(GdbTest, StageTwoThatIsOffIsSaid) {
  Image image{1};
  Stub stub{[&](auto& request) { return arm(image, request, 0); }};
  HostMemory memory{GdbMemory{stub.where, 1, false}};
  EXPECT_NE(complaint_of([&] { find_scheme(memory, {}); }).find("HCR_EL2.VM is 0"), std::string::npos);
}

TEST(GdbTest, StageTwoIsOnWhereItsDefaultCacheabilityIs) {
  Image image{1};
  Stub stub{[&](auto& request) { return arm(image, request, 1 << 12); }};  // HCR_EL2.DC
  HostMemory memory{GdbMemory{stub.where, 1, false}};
  EXPECT_EQ(complaint_of([&] { find_scheme(memory, {}); }), "");
}

TEST(GdbTest, ARootAbove48BitsIsNotLookedForBelow) {
  Image image{1};
  auto const value = [](std::uint64_t v) { return to_hex({reinterpret_cast<const char*>(&v), sizeof v}); };
  Stub stub{[&](auto& request) -> std::optional<std::string> {
    if (request == "p65") return value(0x8006'7558);        // 64K, 52 bits
    if (request == "pc8") return value(0x8000'0000 | 0x4);  // bit 48 of the root
    return arm(image, request, 1);
  }};
  HostMemory memory{GdbMemory{stub.where, 1, false}};
  EXPECT_NE(complaint_of([&] { find_scheme(memory, {}); }).find("FEAT_LPA"), std::string::npos);
}

TEST(GdbTest, AMachineThatHadNotBegunIsLeftAsItIs) {
  Image image{1};
  Stub stub{[&](auto& request) {
    return request == "qRcmd," + to_hex("info status") ? "VM status: paused (prelaunch)\r\n" : qemu(image, request);
  }};
  { GdbMemory const memory{stub.where, 1, false}; }
  EXPECT_FALSE(stub.detached);
}

using Requests = std::vector<std::string>;

TEST(GdbTest, WhatTheNextDebuggerReadsIsNotPhysicalBecauseThisOneDid) {
  Image image{1};
  for (auto const* const before : {"0", "1"}) {
    Stub stub{[&](auto& request) -> std::optional<std::string> {
      if (request == "qqemu.PhyMemMode") return before;
      return qemu(image, request);
    }};
    { GdbMemory const memory{stub.where, 1, false}; }
    auto const asked = stub.asked();
    ASSERT_GE(asked.size(), 2u);
    EXPECT_EQ(asked.back(), "D");
    EXPECT_EQ(asked[asked.size() - 2] == "Qqemu.PhyMemMode:0", *before == '0');
  }
}

TEST(GdbTest, WhoIsInterruptedLetsTheMachineRunOn) {
  Image image{16};
  Stub stub{[&](auto& request) {
    // Asked for a page, it is in the middle of many.
    if (request == "m80003000,800") std::raise(SIGINT);
    return qemu(image, request);
  }};
  auto const before = std::signal(SIGINT, SIG_DFL);
  EXPECT_NE(complaint_of([&] {
              GdbMemory memory{stub.where, 1, false};
              std::vector<std::byte> bytes(0x1'0000);
              memory.read(HostPhys{Image::base}, bytes);
            }).find("interrupted"),
            std::string::npos);
  EXPECT_EQ(std::signal(SIGINT, before), SIG_DFL);
  EXPECT_TRUE(stub.detached);
}

TEST(GdbTest, DocumentsThatIncludeEachOtherEnd) {
  Image image{1};
  std::atomic<unsigned> documents{0};
  Stub stub{[&](auto& request) -> std::optional<std::string> {
    if (!request.starts_with("qXfer")) return qemu(image, request);
    ++documents;
    return R"(l<xi:include href="a.xml"/><xi:include href="b.xml"/><xi:include href="c.xml"/>)";
  }};
  GdbMemory memory{stub.where, 1, false};
  EXPECT_FALSE(memory.reg("VTCR_EL2"));
  EXPECT_LE(documents, 64u);
}

std::string complaint_about(Answers answers, std::function<std::string(std::string)> raw = {}) {
  Stub stub{std::move(answers), std::move(raw)};
  return complaint_of([&] {
    GdbMemory memory{stub.where, 1, false};
    std::array<std::byte, 64> bytes{};
    memory.read(HostPhys{Image::base}, bytes);
  });
}

TEST(GdbTest, AStubThatBreaksTheProtocolIsNamed) {
  Image image{16};
  auto const good = [&](auto& request) { return qemu(image, request); };
  EXPECT_EQ(complaint_about(good), "");
  auto const except = [&](const std::string& prefix, const std::string& instead) {
    return [=, &image](const std::string& request) -> std::optional<std::string> {
      if (request.starts_with(prefix)) return instead;
      return qemu(image, request);
    };
  };
  EXPECT_NE(complaint_about(except("Hg", "E22")).find("has no CPU 1"), std::string::npos);
  EXPECT_NE(complaint_about(except("Qqemu", "")).find("PhyMemMode"), std::string::npos);
  EXPECT_NE(complaint_about(except("m8", "E14")).find("answered m80000000,800 with 'E14'"), std::string::npos);
  EXPECT_NE(complaint_about(except("m8", "00")).find("answered"), std::string::npos);
  EXPECT_NE(complaint_about(except("m8", std::string(4096, 'z'))).find("hex digits"), std::string::npos);
  EXPECT_NE(complaint_about(except("qRcmd," + to_hex("info mtree"), "nothing")).find("where its RAM is"),
            std::string::npos);
  EXPECT_NE(complaint_about(except("qSupported", "PacketSize=zz")).find("PacketSize"), std::string::npos);
  EXPECT_NE(complaint_about(good, [](std::string text) { return text.back() ^= 1, text; }).find("wrong checksum"),
            std::string::npos);
  EXPECT_NE(complaint_about(good, [](const std::string&) { return "$" + std::string(2 << 20, 'a'); }).find("mebibyte"),
            std::string::npos);
  auto const many = [](const std::string& text) {
    return [text](const std::string&) {
      std::string out;
      while (out.size() < 3 << 20) out += text;
      return out;
    };
  };
  EXPECT_NE(complaint_about(good, many("+")).find("talks without end"), std::string::npos);
  EXPECT_NE(complaint_about(good, many(framed("T02thread:01;"))).find("talks without end"), std::string::npos);
}

TEST(GdbTest, AStubThatIsNotThereOrGoesAwayIsNamed) {
  EXPECT_NE(complaint_of([] { GdbLink link{"127.0.0.1:1"}; }).find("cannot connect"), std::string::npos);
  EXPECT_NE(complaint_of([] { GdbLink link{"127.0.0.1:"}; }).find("HOST:PORT"), std::string::npos);
  auto const gone = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(gone, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(gone, 1), 0);
  socklen_t length = sizeof address;
  getsockname(gone, reinterpret_cast<sockaddr*>(&address), &length);
  std::thread closes{[&] { close(accept(gone, nullptr, nullptr)); }};
  auto const complaint = complaint_of([&] {
    GdbMemory{"127.0.0.1:" + std::to_string(ntohs(address.sin_port)), 1, false};
  });
  closes.join();
  close(gone);
  EXPECT_TRUE(complaint.find("closed the connection") != complaint.npos ||
              complaint.find("went away") != complaint.npos || complaint.find("did not") != complaint.npos)
      << complaint;
}

}  // namespace
}  // namespace slat::test
