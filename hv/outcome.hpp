#pragma once

// How a program on the bare machine speaks and ends, on every architecture. Its board defines these.

#include <cstdint>
#include <string_view>

namespace hv {

/// On the hypervisor's own console.
void say(std::string_view text);

/// Ends the machine, and with it the emulator, with this exit status, 0 to 3.
[[noreturn]] void finish(std::uint64_t status);

/// Says why and ends the machine with exit status 3: the hypervisor's own failure, not its guest's.
[[noreturn]] void die(std::string_view why);

}  // namespace hv
