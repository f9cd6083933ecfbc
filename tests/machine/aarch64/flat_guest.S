// A guest without an Image header: a flat binary, entered at its first byte with its device tree in x0. It says what it
// finds, reads one character from its UART, and does what that asks for:
//
//   o   turn the power off, by SMC          h   read from a hole, then turn the power off, by HVC
//   r   ask for a reset, by HVC

  .text
  .global _start
_start:
  adr x9, vectors
  msr vbar_el1, x9
  mov x20, #0x09000000

  // Big-endian magic of a device tree, which lies above this code.
  ldr w1, [x0]
  ldr w2, =0xedfe0dd0
  cmp w1, w2
  adr x19, no_tree
  b.ne say_and_hang
  adr x1, _start
  cmp x0, x1
  b.ls say_and_hang
  adr x19, tree
  bl say
  // 512 KiB into RAM.
  ldr x2, =0x40080000
  cmp x1, x2
  adr x19, elsewhere
  b.ne say_and_hang

0:
  ldr w1, [x20, #0x18]
  tbnz w1, #4, 0b
  ldr w1, [x20]
  and w1, w1, #0xff
  cmp w1, #'o'
  b.eq power_off
  cmp w1, #'h'
  b.eq hole
  adr x19, reset
  bl say
  ldr w0, =0x84000009
  hvc #0

say_and_hang:
  bl say
1:
  wfe
  b 1b

power_off:
  adr x19, off
  bl say
  ldr w0, =0x84000008
  smc #0
  b 1b

hole:
  mov x1, #0x10000000
  ldr x1, [x1]
  adr x19, answered
  b say_and_hang

// The exception that the hole must be: a synchronous external abort, of data, from this level, for that address.
aborted:
  mrs x1, esr_el1
  ldr x2, =0x96000010
  cmp x1, x2
  adr x19, strange
  b.ne say_and_hang
  mrs x1, far_el1
  mov x2, #0x10000000
  cmp x1, x2
  b.ne say_and_hang
  adr x19, abort
  bl say
  ldr w0, =0x84000008
  hvc #0

// The string at x19. Uses w3, w4.
say:
  ldrb w3, [x19], #1
  cbz w3, 3f
2:
  ldr w4, [x20, #0x18]
  tbnz w4, #5, 2b
  str w3, [x20]
  b say
3:
  ret

tree: .asciz "flat: here\n"
no_tree: .asciz "flat: no device tree\n"
elsewhere: .asciz "flat: not at RAM + 512 KiB\n"
off: .asciz "flat: off\n"
reset: .asciz "flat: reset\n"
answered: .asciz "flat: a hole answered\n"
strange: .asciz "flat: a strange exception\n"
abort: .asciz "flat: abort\n"

  .balign 0x800
vectors:
  .rept 16
  .balign 0x80
  b aborted
  .endr
