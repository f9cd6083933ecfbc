// The guest: a handful of instructions in long mode that the hypervisor copies into a guest page and enters one by one.
// Each does one thing with the addresses it finds in its registers and comes back by HLT, which is the same for both
// makers of CPUs.

  .section .rodata.stub, "a"
  .balign 8
  .global stub_begin, stub_end, stub_load, stub_store, stub_call, stub_read_on, stub_write_on, stub_vectors

stub_begin:

// RAX = what stands at RCX; 3 bytes
stub_load:
  movq (%rcx), %rax
  hlt

// RDX goes to RCX
stub_store:
  movq %rdx, (%rcx)
  hlt

// goes to RCX, which answers in RAX and comes back to RDX
stub_call:
  leaq 1f(%rip), %rdx
  jmp *%rcx
1:
  hlt

// For the second CPU. Mailbox at RBX: rounds so far, the value last read, and a word that ends it. The round is counted
// after the access, so a count that goes on is an access that worked.
stub_read_on:
  movq (%rcx), %rdx
  movq %rdx, 8(%rbx)
  incq (%rbx)
  cmpq $0, 16(%rbx)
  je stub_read_on
  hlt

stub_write_on:
  movq (%rbx), %rdx
  incq %rdx
  movq %rdx, (%rcx)
  movq %rdx, (%rbx)
  cmpq $0, 16(%rbx)
  je stub_write_on
  hlt

// What the guest's own exceptions go to: RAX = the error code, R8 = where it happened, RDX = CR2.
  .balign 16
stub_vectors:
  popq %rax
  movq (%rsp), %r8
  movq %cr2, %rdx
  hlt

stub_end:
