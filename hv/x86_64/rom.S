// The end of a ROM for a machine without firmware, and as much of a multiboot loader as it takes: RAM is filled from
// this ROM and the processor handed over as the Multiboot Specification says. The launcher (hv/x86_64/machine) puts
// together
//
//   the flat binary, which begins with its multiboot header | ... | the record | this page
//
// where the record is the multiboot information itself, at ROM_RECORD, and behind it what only this code wants to know.

#include "hv/x86_64/layout.h"

  .section .rom, "ax"
  .code32
  .global rom_begin
rom_begin:

// Bochs places RAM in the order in which it is touched first, in blocks of 128 KiB, and puts an image that it loads
// into RAM into consecutive blocks: so these are touched first, in ascending order, and before any other RAM.
protected:
  movl $DATA_SELECTOR, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  movl ROM_RECORD + RECORD_FILES_BEGIN, %esi
0:
  cmpl ROM_RECORD + RECORD_FILES_END, %esi
  jae 1f
  movl (%esi), %eax
  addl $0x20000, %esi
  jmp 0b
1:
  movl ROM_RECORD + RECORD_IMAGE, %esi
  movl 16(%esi), %edi   // load_addr
  movl 20(%esi), %ecx   // load_end_addr
  movl 28(%esi), %edx   // entry_addr
  subl %edi, %ecx
  cld
  rep movsb
  movl $0x2badb002, %eax
  movl $ROM_RECORD, %ebx
  jmp *%edx

  .balign 16
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff
  .quad 0x00cf93000000ffff
gdt_pointer:
  .word . - gdt - 1
  .long gdt

  .code16
real:
  cli
  lgdtl %cs:gdt_pointer - 0xffff0000
  movl $1, %eax
  movl %eax, %cr0
  ljmpl $CODE_SELECTOR, $protected

// A processor begins 16 bytes before 4 GiB.
  .org 0xff0
  jmp real
  .org 0x1000
