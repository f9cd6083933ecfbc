#pragma once

#include "hv/x86_64/boot_info.hpp"

/// The program: on the boot CPU, with interrupts on.
extern "C" [[noreturn]] void hv_main(const hv::BootInfo& boot);
