#pragma once

#include <string_view>

namespace hv {

/// Says why and ends the machine with exit status 3: the hypervisor's own failure, not its guest's.
[[noreturn]] void die(std::string_view why);

}  // namespace hv
