# Bare-metal AArch64 from Debian's cross packages: g++-aarch64-linux-gnu, or
# clang-16 with -DSLAT_BARE_COMPILER=clang (it borrows the headers and the
# linker of the former).

set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(SLAT_BARE_COMPILER gcc CACHE STRING "gcc or clang")
set_property(CACHE SLAT_BARE_COMPILER PROPERTY STRINGS gcc clang)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SLAT_BARE_COMPILER)

if(SLAT_BARE_COMPILER STREQUAL "clang")
  set(CMAKE_CXX_COMPILER clang++-16)
  set(CMAKE_ASM_COMPILER clang-16)
  set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
  set(CMAKE_ASM_COMPILER_TARGET aarch64-linux-gnu)
else()
  set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
  set(CMAKE_ASM_COMPILER aarch64-linux-gnu-gcc)
endif()
# The one that comes with the linker: clang alone brings none, and the machine's own may know no other architecture.
set(CMAKE_OBJCOPY aarch64-linux-gnu-objcopy CACHE FILEPATH "objcopy")

# Armv8.0 and nothing newer: with LSE atomics a Cortex-A53, A57 or A72 hangs in
# an undefined instruction, and out-of-line atomics want a runtime library.
# General registers only, because the vector registers belong to the guest.
# Strict alignment, because the first code runs with stage 1 off, where all
# memory is Device memory.
set(CMAKE_CXX_FLAGS_INIT
    "-march=armv8-a -mgeneral-regs-only -mstrict-align -mno-outline-atomics \
-ffreestanding -fno-exceptions -fno-rtti -fno-pic -fno-stack-protector -fno-threadsafe-statics \
-fno-use-cxa-atexit -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections")
set(CMAKE_ASM_FLAGS_INIT "-march=armv8-a -fno-pic")
set(CMAKE_EXE_LINKER_FLAGS_INIT
    "-nostdlib -static -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack")
