#include "tools/gdb_link.hpp"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>

#include "tools/failure.hpp"

namespace slat::tool {

namespace {

constexpr std::size_t longest_packet = 1 << 20;
volatile std::sig_atomic_t interrupted = 0;

std::string framed(std::string_view request) {
  unsigned sum = 0;
  for (char const c : request) sum += static_cast<unsigned char>(c);
  auto const check = static_cast<char>(sum & 0xff);
  return "$" + std::string{request} + "#" + to_hex({&check, 1});
}

/// What the transport adds: '}' before an escaped byte, '*' before a count of repetitions.
std::string unpacked(std::string_view raw) {
  std::string out;
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (raw[i] == '}' && i + 1 < raw.size())
      out += static_cast<char>(raw[++i] ^ 0x20);
    else if (raw[i] == '*' && i + 1 < raw.size() && !out.empty() && raw[i + 1] >= ' ' + 3)
      out.append(static_cast<std::size_t>(raw[++i] - 29), out.back());
    else
      out += raw[i];
  }
  return out;
}

/// More than 15 for what is none.
constexpr unsigned hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
  auto const lower = static_cast<char>(c | 0x20);
  return lower >= 'a' && lower <= 'f' ? static_cast<unsigned>(lower - 'a') + 10 : 16;
}

}  // namespace

std::string to_hex(std::string_view bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (char const c : bytes) {
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

std::string from_hex(std::string_view digits) {
  auto const bad = [&] {
    return Failure{"the gdbstub sent '" + std::string{digits.substr(0, 40)} + "' for hex digits"};
  };
  if (digits.size() % 2 != 0) throw bad();
  std::string out(digits.size() / 2, '\0');
  for (std::size_t i = 0; i != out.size(); ++i) {
    auto const high = hex_digit(digits[2 * i]);
    auto const low = hex_digit(digits[2 * i + 1]);
    if ((high | low) > 15) throw bad();
    out[i] = static_cast<char>(high << 4 | low);
  }
  return out;
}

/// Whoever is interrupted has something to say first. What came too late to be heeded is raised again.
class GdbLink::Interrupts {
 public:
  Interrupts() {
    interrupted = 0;
    struct sigaction note {};
    note.sa_handler = [](int number) { interrupted = number; };
    for (std::size_t i = 0; i != numbers.size(); ++i) sigaction(numbers[i], &note, &before_[i]);
  }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;
  ~Interrupts() {
    for (std::size_t i = 0; i != numbers.size(); ++i) sigaction(numbers[i], &before_[i], nullptr);
    if (interrupted != 0 && !is_heeded) std::raise(interrupted);
  }

  bool is_heeded = false;

 private:
  static constexpr std::array numbers{SIGINT, SIGTERM, SIGHUP};
  std::array<struct sigaction, numbers.size()> before_{};
};

GdbLink::GdbLink(const std::string& where) : where_{where} {
  auto const colon = where.rfind(':');
  if (colon == std::string::npos || colon + 1 == where.size())
    throw Failure{"--gdb wants HOST:PORT, such as localhost:1234, not '" + where + "'"};
  auto const host = colon == 0 ? std::string{"localhost"} : where.substr(0, colon);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (auto const error = getaddrinfo(host.c_str(), where.c_str() + colon + 1, &hints, &found); error != 0)
    throw Failure{"--gdb " + where + ": " + gai_strerror(error)};
  auto why = 0;
  for (auto const* to = found; to != nullptr && socket_ < 0; to = to->ai_next) {
    auto const tried = socket(to->ai_family, to->ai_socktype | SOCK_CLOEXEC, to->ai_protocol);
    if (tried >= 0 && connect(tried, to->ai_addr, to->ai_addrlen) == 0)
      socket_ = tried;
    else
      why = errno;
    if (tried >= 0 && socket_ != tried) close(tried);
  }
  freeaddrinfo(found);
  if (socket_ < 0)
    throw Failure{"cannot connect to " + where + ": " + std::strerror(why) + ". Was QEMU started with -gdb tcp::PORT?"};
  // A request is one small segment, and waits for nothing.
  int const on = 1;
  setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  interrupts_ = std::make_unique<Interrupts>();
}

GdbLink::~GdbLink() {
  if (detaches_) last_words_.emplace_back("D");
  is_closing_ = true;
  try {
    // Where something failed, answers to earlier requests are still to come.
    for (auto const& request : last_words_) {
      send(framed(request));
      for (auto answers = unanswered_ + 1; answers != 0 && receive() != "OK"; --answers) continue;
    }
  } catch (const std::exception&) {
    detaches_ = false;  // it went away: there is nothing to let run
  }
  close(socket_);
}

void GdbLink::fail(const std::string& why) const { throw Failure{"the gdbstub at " + where_ + " " + why}; }

void GdbLink::send(std::string_view bytes) {
  while (!bytes.empty()) {
    auto const sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) fail(std::string{"went away: "} + std::strerror(errno));
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

char GdbLink::next() {
  if (used_ == buffer_.size()) {
    if (interrupted != 0 && !is_closing_) {
      interrupts_->is_heeded = true;
      throw Failure{"interrupted"};
    }
    pollfd wait{socket_, POLLIN, 0};
    auto const ready = poll(&wait, 1, patience_ms_);
    if (ready < 0 && errno == EINTR) return next();
    if (ready <= 0) {
      patience_ms_ = 0;
      fail("did not answer for ten seconds. Is another debugger connected to it?");
    }
    buffer_.resize(1 << 16);
    auto const got = recv(socket_, buffer_.data(), buffer_.size(), 0);
    buffer_.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    used_ = 0;
    if (got <= 0) fail("closed the connection");
  }
  return buffer_[used_++];
}

std::string GdbLink::receive() {
  // That the machine stopped, because this connection came, is said unasked, and no answer looks like it.
  std::string packet;
  std::size_t skipped = 0;
  do {
    for (; next() != '$'; ++skipped)  // acknowledgements, mostly
      if (skipped > longest_packet) fail("talks without end");
    packet = rest_of_packet();
    skipped += packet.size() + 1;
    if (skipped > 2 * longest_packet) fail("talks without end");
  } while (packet.starts_with('T') || packet.starts_with('S'));
  return unpacked(packet);
}

std::string GdbLink::rest_of_packet() {
  std::string raw;
  unsigned sum = 0;
  for (char c = next(); c != '#'; c = next()) {
    if (raw.size() == longest_packet) fail("sent a packet of more than a mebibyte");
    raw += c;
    sum += static_cast<unsigned char>(c);
  }
  std::array<char, 2> const check{next(), next()};
  if (static_cast<unsigned char>(from_hex({check.data(), 2})[0]) != (sum & 0xff)) fail("sent a wrong checksum");
  return raw;
}

std::string GdbLink::ask(std::string_view request) {
  std::array const one{std::string{request}};
  std::string out;
  ask_all(one, [&](std::size_t, std::string answer) { out = std::move(answer); });
  return out;
}

void GdbLink::ask_all(std::span<const std::string> requests,
                      const std::function<void(std::size_t, std::string)>& answer) {
  // So few that all of them fit into the buffers between here and there, whatever becomes of the answers.
  constexpr std::size_t under_way = 64;
  std::size_t sent = 0;
  for (std::size_t i = 0; i != requests.size(); ++i) {
    std::string batch;
    // Half a window at a time: a call of the system for each would take longer than the answers do.
    if (sent - i <= under_way / 2)
      for (; sent != requests.size() && sent - i < under_way; ++sent) batch += framed(requests[sent]);
    send(batch);
    unanswered_ = sent - i;
    auto got = receive();
    --unanswered_;
    answer(i, std::move(got));
  }
}

std::string GdbLink::monitor(std::string_view command) {
  std::string out;
  for (auto part = ask("qRcmd," + to_hex(command));; part = receive()) {
    if (part == "OK" || part.empty() || part[0] == 'E') return out;
    if (part[0] != 'O') fail("answered a monitor command with '" + part.substr(0, 40) + "'");
    out += from_hex(std::string_view{part}.substr(1));
    if (out.size() > longest_packet) fail("talks without end");
  }
}

}  // namespace slat::tool
