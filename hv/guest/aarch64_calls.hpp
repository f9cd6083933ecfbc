#pragma once

// How a program asks Linux on AArch64 for something. The kernel keeps all registers but X0.

namespace guest {

enum Call : long {
  ioctl = 29,
  mount = 40,
  openat = 56,
  close = 57,
  read = 63,
  write = 64,
  pread64 = 67,
  nanosleep = 101,
  reboot = 142,
  sched_getaffinity = 123,
};

inline long call(Call number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0) {
  register long x8 asm("x8") = number;
  register long x0 asm("x0") = a;
  register long x1 asm("x1") = b;
  register long x2 asm("x2") = c;
  register long x3 asm("x3") = d;
  register long x4 asm("x4") = e;
  asm volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
  return x0;
}

}  // namespace guest
