#pragma once

// GDB's remote serial protocol, as far as it asks and is answered: packets over TCP. What the other side sends is not
// trusted: checksums are compared, lengths are bounded, and silence ends after ten seconds.
//
// While there is one, SIGINT, SIGTERM and SIGHUP make it throw instead of ending the program: a machine that is stopped
// by a connection stays so when that ends without a word.
//
// Requests may be sent before the answers to earlier ones have come: QEMU's stub, which is what this is for, reads them
// one after the other. ["Debugging with GDB", appendix "GDB Remote Serial Protocol", "Overview"]

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace slat::tool {

class GdbLink {
 public:
  /// `where` is HOST:PORT. Throws Failure, as all members do.
  explicit GdbLink(const std::string& where);
  GdbLink(const GdbLink&) = delete;
  GdbLink& operator=(const GdbLink&) = delete;
  /// Detaches, which lets the machine run on, unless it is to be left as it stands.
  ~GdbLink();

  void leave_paused() { detaches_ = false; }
  /// A request for the end, before detaching.
  void at_the_end(std::string request) { last_words_.push_back(std::move(request)); }
  const std::string& where() const { return where_; }

  /// The answer to one request; empty where the stub does not know it.
  std::string ask(std::string_view request);
  /// The answers to many, in order, with a bounded number of them under way.
  void ask_all(std::span<const std::string> requests, const std::function<void(std::size_t, std::string)>& answer);
  /// What QEMU's monitor prints in answer to a command; empty where there is no monitor.
  std::string monitor(std::string_view command);

 private:
  void send(std::string_view bytes);
  char next();
  std::string receive();
  std::string rest_of_packet();
  [[noreturn]] void fail(const std::string& why) const;

  class Interrupts;

  std::string where_;
  std::unique_ptr<Interrupts> interrupts_;
  int socket_ = -1;
  int patience_ms_ = 10'000;
  bool detaches_ = true;
  bool is_closing_ = false;
  std::size_t unanswered_ = 0;
  std::vector<std::string> last_words_;
  std::string buffer_;
  std::size_t used_ = 0;
};

/// Two hex digits for each byte, and back; throws Failure for what is not hex.
std::string to_hex(std::string_view bytes);
std::string from_hex(std::string_view digits);

}  // namespace slat::tool
