#pragma once

// How a program asks Linux on x86_64 for something. The kernel keeps all registers but RAX, RCX and R11.

namespace guest {

enum Call : long {
  ioctl = 16,
  mount = 165,
  openat = 257,
  close = 3,
  read = 0,
  write = 1,
  pread64 = 17,
  nanosleep = 35,
  reboot = 169,
  sched_getaffinity = 204,
};

inline long call(Call number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  long result = number;
  asm volatile("syscall" : "+a"(result) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
  return result;
}

}  // namespace guest
