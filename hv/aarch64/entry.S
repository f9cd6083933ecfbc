// Where CPUs come in: the boot CPU from QEMU's loader, the others from the
// firmware's PSCI CPU_ON. Both turn on EL2's own stage 1 before any C++ that
// shares data: atomics need cacheable memory, and so do the walks of tables
// that other CPUs write. QEMU would let it pass.

#include "hv/aarch64/layout.h"

  .section .text.entry, "ax"

  .global _start
_start:
  mrs x1, CurrentEL
  cmp x1, #(2 << 2)
  b.ne wrong_level
  // Only one CPU is expected here. A firmware that sends all of them in gets
  // the others parked.
  mrs x1, mpidr_el1
  and x1, x1, #0xffffff
  cbnz x1, park

  mov x19, x0
  adr x1, hv_bss_begin_address
  ldp x2, x3, [x1]
0:
  cmp x2, x3
  b.hs 1f
  stp xzr, xzr, [x2], #16
  b 0b
1:
  adrp x1, boot_stack_end
  add x1, x1, :lo12:boot_stack_end
  mov sp, x1
  bl prepare_cpu
  mov x0, x19
  bl hv_describe_memory
  bl enable_stage1
  mov x0, x19
  bl hv_main
  b park

// PSCI enters here with x0 = the context that CPU_ON was given: a Cpu, whose
// first word is its stack.
  .global hv_secondary_entry
hv_secondary_entry:
  mov x19, x0
  bl prepare_cpu
  adrp x0, hv_stage1_root
  ldr x0, [x0, :lo12:hv_stage1_root]
  bl enable_stage1
  ldr x1, [x19, #CPU_STACK]
  mov sp, x1
  mov x0, x19
  bl hv_secondary_main
park:
  wfe
  b park

// At EL3 or EL1 there is nothing that this program could do: say so to a
// debugger or an emulator by its exit status.
wrong_level:
  adr x1, wrong_level_block
  mov w0, #0x18
  hlt #0xf000
  b park

// Exceptions and EL2's own controls. Touches x1 only.
prepare_cpu:
  msr daifset, #0xf
  msr hcr_el2, xzr
  adrp x1, el2_vectors
  add x1, x1, :lo12:el2_vectors
  msr vbar_el2, x1
  isb
  ret

// x0: the root of EL2's stage 1. The register values stand in layout.h.
enable_stage1:
  msr ttbr0_el2, x0
  ldr x1, =EL2_MAIR
  msr mair_el2, x1
  ldr x1, =EL2_TCR
  msr tcr_el2, x1
  // What a TLB holds after a reset is unknown, of guests too.
  tlbi alle2
  tlbi alle1
  ic iallu
  dsb nsh
  isb
  ldr x1, =EL2_SCTLR
  msr sctlr_el2, x1
  isb
  ret

  .balign 8
hv_bss_begin_address:
  .quad hv_bss_begin, hv_bss_end
wrong_level_block:
  .quad 0x20026, 3

  .section .bss.boot_stack, "aw", @nobits
  .balign 16
  .space 0x8000
boot_stack_end:
