// The hypervisor's own end, when something happened that it has no plan for.

#include <cstdint>

#include "hv/aarch64/console.hpp"
#include "hv/aarch64/semihosting.hpp"
#include "hv/outcome.hpp"
#include "hv/print.hpp"

namespace hv {

inline constexpr std::uint64_t died = 3;

void say(std::string_view text) { console(text); }

void finish(std::uint64_t status) { semihosting::exit(status); }

void die(std::string_view why) {
  print(console, "hv: ", why, "\n");
  semihosting::exit(died);
}

/// An exception that EL2 took from itself, or one that it must not get from a guest.
extern "C" [[noreturn]] void hv_died(std::uint64_t esr, std::uint64_t elr, std::uint64_t far) {
  print(console, "hv: unexpected exception, ESR ", Hex{esr}, " ELR ", Hex{elr}, " FAR ", Hex{far}, "\n");
  semihosting::exit(died);
}

}  // namespace hv

// Where the compiler and libstdc++ end what cannot go on.
extern "C" void abort() { hv::die("abort"); }

namespace std {
// string_view::substr past the end.
void __throw_out_of_range_fmt(const char*, ...) { hv::die("out of range"); }
}  // namespace std
