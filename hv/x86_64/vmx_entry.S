// Into the guest and out of it again, as one call: hv_vmx_enter returns when the guest exits, or when it could not be
// entered. A C++ loop around it reads like any other loop.

#include "hv/x86_64/layout.h"

  .section .text, "ax"

// unsigned hv_vmx_enter(hv::Registers*, bool launched)
// 0: the guest ran and exited. 1: the instruction failed, with an error number in the VMCS. 2: there is no VMCS.
  .global hv_vmx_enter
hv_vmx_enter:
  pushq %rbx
  pushq %rbp
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  pushq %rdi
  movl $VMCS_HOST_RSP, %eax
  vmwrite %rsp, %rax
  // The loads below leave the flags as they are: Z says whether this VMCS is launched for the first time.
  testb %sil, %sil
  movq REGISTERS_RAX(%rdi), %rax
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
  jnz 1f
  vmlaunch
  jmp 2f
1:
  vmresume
  // Only a failure comes here: carry without a VMCS, zero with one.
2:
  movl $2, %eax
  jc 3f
  movl $1, %eax
  jmp 3f

// The host's RIP of every VMCS: all registers but RSP are the guest's.
  .global hv_vmx_exit
hv_vmx_exit:
  pushq %rdi
  movq 8(%rsp), %rdi
  movq %rax, REGISTERS_RAX(%rdi)
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
  xorl %eax, %eax
3:
  popq %rdi
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbp
  popq %rbx
  ret
