// Where CPUs come in: the boot CPU from a multiboot loader (QEMU's, or rom.S), the others from a startup IPI. Both end
// in long mode with every address below 4 GiB being itself. [amd/vol2] "Processor Initialization and Long Mode
// Activation"

#include "hv/x86_64/layout.h"

#define MULTIBOOT_MAGIC 0x1badb002
#define MULTIBOOT_FLAGS 0x00010003 /* modules on pages, memory sizes, the addresses below */

#define EFER 0xc0000080
#define EFER_LME_NXE 0x900
#define CR4_PAE 0x20
#define CR0_LONG 0x80010033 /* PG WP NE ET MP PE */

#define PRESENT_WRITE 0x3
#define LARGE_PRESENT_WRITE 0x83

  .section .boot, "ax"
  .code32

// The addresses are those of the flat binary: neither loader looks at an ELF header.
  .balign 8
multiboot:
  .long MULTIBOOT_MAGIC
  .long MULTIBOOT_FLAGS
  .long -(MULTIBOOT_MAGIC + MULTIBOOT_FLAGS)
  .long multiboot
  .long hv_image_begin
  .long hv_load_end
  .long hv_image_end
  .long _start

// EAX = the loader's magic number, EBX = what it has to say; protected mode, no paging, interrupts off.
  .global _start
_start:
  cld
  movl %eax, %edx
  movl $hv_bss_begin, %edi
  movl $hv_bss_end, %ecx
  subl %edi, %ecx
  shrl $2, %ecx
  xorl %eax, %eax
  rep stosl

  // One root, one table of gigabytes, four of 2 MiB pages.
  movl $page_tables + 0x1000 + PRESENT_WRITE, page_tables
  movl $page_tables + 0x2000 + PRESENT_WRITE, %eax
  movl $page_tables + 0x1000, %edi
  movl $4, %ecx
0:
  movl %eax, (%edi)
  addl $0x1000, %eax
  addl $8, %edi
  loop 0b
  movl $LARGE_PRESENT_WRITE, %eax
  movl $page_tables + 0x2000, %edi
  movl $2048, %ecx
0:
  movl %eax, (%edi)
  addl $0x200000, %eax
  addl $8, %edi
  loop 0b

  xorl %ebp, %ebp

// EBP = the hv::Cpu that starts, 0 for the boot CPU, for which EDX and EBX go on.
enter_long_mode:
  lgdt hv_gdt_pointer
  movl %cr4, %eax
  orl $CR4_PAE, %eax
  movl %eax, %cr4
  movl $page_tables, %eax
  movl %eax, %cr3
  movl %edx, %esi
  movl $EFER, %ecx
  rdmsr
  orl $EFER_LME_NXE, %eax
  wrmsr
  movl $CR0_LONG, %eax
  movl %eax, %cr0
  ljmp $CODE_SELECTOR, $long_mode

  .code64
long_mode:
  movl $DATA_SELECTOR, %eax
  movl %eax, %ds
  movl %eax, %es
  movl %eax, %ss
  xorl %eax, %eax
  movl %eax, %fs
  movl %eax, %gs
  testl %ebp, %ebp
  jnz 1f
  leaq boot_stack_end(%rip), %rsp
  movl %esi, %edi
  movl %ebx, %esi
  call hv_boot
  ud2
1:
  movl %ebp, %edi
  movq CPU_STACK(%rdi), %rsp
  xorl %ebp, %ebp
  call hv_boot_second
  ud2

// What a startup IPI runs, in real mode, at TRAMPOLINE, to where it is copied. The last word is the Cpu.
  .code16
  .balign 16
  .global hv_trampoline_begin, hv_trampoline_end, hv_trampoline_cpu
hv_trampoline_begin:
  cli
  cld
  movw %cs, %ax
  movw %ax, %ds
  lgdtl trampoline_gdt_pointer - hv_trampoline_begin
  movl hv_trampoline_cpu - hv_trampoline_begin, %ebp
  movl $1, %eax
  movl %eax, %cr0
  ljmpl $CODE32_SELECTOR, $trampoline_protected - hv_trampoline_begin + TRAMPOLINE
  .code32
trampoline_protected:
  movl $DATA_SELECTOR, %eax
  movl %eax, %ds
  movl %eax, %ss
  movl $enter_long_mode, %eax
  jmp *%eax
  .balign 8
trampoline_gdt_pointer:
  .word GDT_BYTES - 1
  .long hv_gdt
  .balign 8
hv_trampoline_cpu:
  .quad 0
hv_trampoline_end:

// Code and data of all CPUs; behind them a task state for each, which board.cpp fills in. A 32-bit code segment for the
// way of the others.
  .data
  .balign 16
  .global hv_gdt, hv_gdt_pointer
hv_gdt:
  .quad 0
  .quad 0x00af9b000000ffff
  .quad 0x00cf93000000ffff
  .quad 0x00cf9b000000ffff
  .space GDT_BYTES - TASK_SELECTOR
  .balign 4
  .word 0
hv_gdt_pointer:
  .word GDT_BYTES - 1
  .quad hv_gdt

  .section .bss.boot, "aw", @nobits
  .balign 4096
page_tables:
  .space 6 * 4096
  .space BOOT_STACK_BYTES
boot_stack_end:
