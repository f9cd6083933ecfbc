// Into the guest and out of it again, as one call: hv_svm_enter returns when the guest exits. [amd/vol2] "VMRUN
// instruction", "Global interrupt flag, STGI and CLGI instructions"

#include "hv/x86_64/layout.h"

  .section .text, "ax"

// void hv_svm_enter(hv::Registers*, physical address of the guest's VMCB, of one for what of the host's VMLOAD loads,
//                   bool interrupts)
//
// Called with interrupts off. With `interrupts` they are let in behind the global flag, which is what the guest's exits
// for them go by: one that is pending now makes the guest exit at once. It is served behind the exit. RAX is in the
// VMCB.
  .global hv_svm_enter
hv_svm_enter:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rdx
  pushq %rdi
  movq %rdx, %rax
  vmsave %rax
  clgi
  testl %ecx, %ecx
  jz 1f
  sti
1:
  movq %rsi, %rax
  movq REGISTERS_RCX(%rdi), %rcx
  movq REGISTERS_RDX(%rdi), %rdx
  movq REGISTERS_RBX(%rdi), %rbx
  movq REGISTERS_RBP(%rdi), %rbp
  movq REGISTERS_RSI(%rdi), %rsi
  movq REGISTERS_R8(%rdi), %r8
  movq REGISTERS_R9(%rdi), %r9
  movq REGISTERS_R10(%rdi), %r10
  movq REGISTERS_R11(%rdi), %r11
  movq REGISTERS_R12(%rdi), %r12
  movq REGISTERS_R13(%rdi), %r13
  movq REGISTERS_R14(%rdi), %r14
  movq REGISTERS_R15(%rdi), %r15
  movq REGISTERS_RDI(%rdi), %rdi
  vmload %rax
  vmrun %rax
  vmsave %rax
  pushq %rdi
  movq 8(%rsp), %rdi
  movq %rcx, REGISTERS_RCX(%rdi)
  movq %rdx, REGISTERS_RDX(%rdi)
  movq %rbx, REGISTERS_RBX(%rdi)
  movq %rbp, REGISTERS_RBP(%rdi)
  movq %rsi, REGISTERS_RSI(%rdi)
  movq %r8, REGISTERS_R8(%rdi)
  movq %r9, REGISTERS_R9(%rdi)
  movq %r10, REGISTERS_R10(%rdi)
  movq %r11, REGISTERS_R11(%rdi)
  movq %r12, REGISTERS_R12(%rdi)
  movq %r13, REGISTERS_R13(%rdi)
  movq %r14, REGISTERS_R14(%rdi)
  movq %r15, REGISTERS_R15(%rdi)
  popq REGISTERS_RDI(%rdi)
  movq 8(%rsp), %rax
  vmload %rax
  stgi
  nop
  cli
  addq $16, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret
