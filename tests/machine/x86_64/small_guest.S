// A guest of its own for what the shared stub does not do: 32-bit, without paging, so that its memory is what the test
// maps and nothing else. It comes back by HLT.

  .section .rodata.small_guest, "a"
  .code32
  .global small_guest_begin, small_guest_end
  .global small_guest_turn_on_vmx, small_guest_write, small_guest_write_on, small_guest_except, small_guest_interrupt, small_guest_excepted, small_guest_interrupted

small_guest_begin:

// Writes into ECX places, EDX bytes apart, from ESI on.
small_guest_write:
  incl (%esi)
  addl %edx, %esi
  loop small_guest_write
  hlt

// The same over and over, until there is something at EDI + 8. The rounds are counted at EDI.
small_guest_write_on:
  movl %esi, %eax
  movl %ecx, %ebx
0:
  incl (%eax)
  addl %edx, %eax
  loop 0b
  movl %ebx, %ecx
  incl (%edi)
  cmpl $0, 8(%edi)
  je small_guest_write_on
  hlt

// Takes the exception that it is given at the NOP. Its descriptors: ESI points to what LGDT and LIDT read. EBX counts. The
// handler goes on EBP bytes behind.
small_guest_except:
  lgdt (%esi)
  lidt 8(%esi)
  hlt
  nop
  hlt
small_guest_excepted:
  incl %ebx
  addl $4, %esp
  addl %ebp, (%esp)
  iretl

// Turns VMX on, and says in EAX what CR4 is then.
small_guest_turn_on_vmx:
  lgdt (%esi)
  lidt 8(%esi)
  movl %cr4, %eax
  orl $0x2000, %eax
  movl %eax, %cr4
  movl %cr4, %eax
  hlt

// Interrupts itself by the local interrupt controller, whose page is at EDI, and waits for it a while.
small_guest_interrupt:
  lgdt (%esi)
  lidt 8(%esi)
  sti
  movl $0x44000 + 0x50, 0x300(%edi)   // ICR: to itself, assert, vector 0x50
  movl $100000, %ecx
0:
  testl %ebx, %ebx
  jnz 1f
  loop 0b
1:
  hlt
small_guest_interrupted:
  incl %ebx
  movl $0, 0xb0(%edi)   // EOI
  iretl

small_guest_end:
