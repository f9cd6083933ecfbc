// One entry for each of the 256 interrupt vectors, 16 bytes apart; all come together with the same frame on the stack,
// hv::InterruptFrame.

#include "hv/x86_64/layout.h"

  .text
  .balign 16
  .global hv_vectors
hv_vectors:
  .set vector, 0
  .rept 256
  .balign 16
  // These vectors push an error code themselves.
  .if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
  pushq $0
  .endif
  pushq $vector
  jmp interrupted
  .set vector, vector + 1
  .endr

interrupted:
  pushq %r11
  pushq %r10
  pushq %r9
  pushq %r8
  pushq %rdi
  pushq %rsi
  pushq %rdx
  pushq %rcx
  pushq %rax
  cld
  // Interrupts align the stack to 16 bytes and push 5 words; with ours that makes 16.
  movq %rsp, %rdi
  call hv_interrupted
  popq %rax
  popq %rcx
  popq %rdx
  popq %rsi
  popq %rdi
  popq %r8
  popq %r9
  popq %r10
  popq %r11
  addq $16, %rsp
  iretq
