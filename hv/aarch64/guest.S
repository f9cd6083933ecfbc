// Into the guest and out of it again, as one call: hv_run_guest returns when
// the guest comes back to EL2. A C++ loop around it reads like any other loop.

#include "hv/aarch64/layout.h"

  .text

// void hv_run_guest(hv::Vcpu*)
  .global hv_run_guest
hv_run_guest:
  stp x29, x30, [sp, #-96]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  msr tpidr_el2, x0
  ldp x1, x2, [x0, #VCPU_PC]
  msr elr_el2, x1
  msr spsr_el2, x2
  ldp x2, x3, [x0, #VCPU_X + 16]
  ldp x4, x5, [x0, #VCPU_X + 32]
  ldp x6, x7, [x0, #VCPU_X + 48]
  ldp x8, x9, [x0, #VCPU_X + 64]
  ldp x10, x11, [x0, #VCPU_X + 80]
  ldp x12, x13, [x0, #VCPU_X + 96]
  ldp x14, x15, [x0, #VCPU_X + 112]
  ldp x16, x17, [x0, #VCPU_X + 128]
  ldp x18, x19, [x0, #VCPU_X + 144]
  ldp x20, x21, [x0, #VCPU_X + 160]
  ldp x22, x23, [x0, #VCPU_X + 176]
  ldp x24, x25, [x0, #VCPU_X + 192]
  ldp x26, x27, [x0, #VCPU_X + 208]
  ldp x28, x29, [x0, #VCPU_X + 224]
  ldr x30, [x0, #VCPU_X + 240]
  ldp x0, x1, [x0, #VCPU_X]
  eret
  // Straight-line speculation past an exception return stops here.
  dsb nsh
  isb

// From the vector of a lower level: all registers are the guest's, SP is ours.
guest_exit:
  stp x0, x1, [sp, #-16]!
  mrs x0, tpidr_el2
  stp x2, x3, [x0, #VCPU_X + 16]
  stp x4, x5, [x0, #VCPU_X + 32]
  stp x6, x7, [x0, #VCPU_X + 48]
  stp x8, x9, [x0, #VCPU_X + 64]
  stp x10, x11, [x0, #VCPU_X + 80]
  stp x12, x13, [x0, #VCPU_X + 96]
  stp x14, x15, [x0, #VCPU_X + 112]
  stp x16, x17, [x0, #VCPU_X + 128]
  stp x18, x19, [x0, #VCPU_X + 144]
  stp x20, x21, [x0, #VCPU_X + 160]
  stp x22, x23, [x0, #VCPU_X + 176]
  stp x24, x25, [x0, #VCPU_X + 192]
  stp x26, x27, [x0, #VCPU_X + 208]
  stp x28, x29, [x0, #VCPU_X + 224]
  str x30, [x0, #VCPU_X + 240]
  ldp x1, x2, [sp], #16
  stp x1, x2, [x0, #VCPU_X]
  mrs x1, elr_el2
  mrs x2, spsr_el2
  stp x1, x2, [x0, #VCPU_PC]
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp x29, x30, [sp], #96
  ret

// Anything that is not a synchronous exception of an AArch64 guest is the
// hypervisor's own death: interrupts and SErrors go to the guest (HCR_EL2 says
// so), and EL2 itself takes no exception on purpose.
  .macro dies
  .balign 0x80
  mrs x0, esr_el2
  mrs x1, elr_el2
  mrs x2, far_el2
  b hv_died
  .endm

  .balign 0x800
  .global el2_vectors
el2_vectors:
  .rept 8
  dies
  .endr
  .balign 0x80
  b guest_exit
  .rept 7
  dies
  .endr
