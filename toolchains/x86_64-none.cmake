# Bare-metal x86_64 from Debian's g++, or clang-16 with
# -DSLAT_BARE_COMPILER=clang.

set(CMAKE_SYSTEM_NAME Generic)
set(CMAKE_SYSTEM_PROCESSOR x86_64)
set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY)

set(SLAT_BARE_COMPILER gcc CACHE STRING "gcc or clang")
set_property(CACHE SLAT_BARE_COMPILER PROPERTY STRINGS gcc clang)
list(APPEND CMAKE_TRY_COMPILE_PLATFORM_VARIABLES SLAT_BARE_COMPILER)

# The vector registers belong to the guest. Under -mgeneral-regs-only clang
# rejects the long double in libstdc++'s <algorithm>; it gets the same by name.
if(SLAT_BARE_COMPILER STREQUAL "clang")
  set(CMAKE_CXX_COMPILER clang++-16)
  set(CMAKE_ASM_COMPILER clang-16)
  set(CMAKE_CXX_COMPILER_TARGET x86_64-linux-gnu)
  set(CMAKE_ASM_COMPILER_TARGET x86_64-linux-gnu)
  set(slat_no_vectors "-mno-sse -mno-mmx")
else()
  set(CMAKE_CXX_COMPILER x86_64-linux-gnu-g++)
  set(CMAKE_ASM_COMPILER x86_64-linux-gnu-gcc)
  set(slat_no_vectors "-mgeneral-regs-only")
endif()
# The one that comes with the linker: clang alone brings none, and the machine's own may know no other architecture.
set(CMAKE_OBJCOPY x86_64-linux-gnu-objcopy CACHE FILEPATH "objcopy")

# No red zone: an interrupt at the same privilege would write into it. Address
# 0 is a guest-physical address like any other, so it is no null pointer.
set(CMAKE_CXX_FLAGS_INIT
    "${slat_no_vectors} -mno-red-zone -fno-delete-null-pointer-checks \
-ffreestanding -fno-exceptions -fno-rtti -fno-pic -fno-stack-protector -fno-threadsafe-statics \
-fno-use-cxa-atexit -fno-asynchronous-unwind-tables -ffunction-sections -fdata-sections")
set(CMAKE_ASM_FLAGS_INIT "-fno-pic")
set(CMAKE_EXE_LINKER_FLAGS_INIT
    "-nostdlib -static -Wl,--gc-sections -Wl,--build-id=none -Wl,-z,max-page-size=4096 -Wl,-z,noexecstack")
