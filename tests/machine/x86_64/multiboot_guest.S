// A 32-bit multiboot kernel as a guest. It says what it was given, and then does what the first character of its
// command line asks for:
//
//   o   turn the power off by port 604     r   reset by port CF9
//   s   the same by port 8900              k   reset by the keyboard controller
//   h   the same by HLT without interrupts t   a triple fault
//   g   read from and write to a hole, which must be #GP, then as o
//   e   take events of every kind on stacks whose pages were never touched, then as h
//   w   wait for timer interrupts in HLT, then as h
//   l   go to long mode, where EFER and CPUID must show no virtualisation, then as o

#define MAGIC 0x1badb002
#define FLAGS 0x3 /* modules on pages, memory sizes */

#define SERIAL 0x3f8
#define HOLE 0x80000000
#define FRESH 0x400000 /* stacks: pages of RAM that nobody has touched */

  .text
image: // at 1 MiB
  .long MAGIC
  .long FLAGS
  .long -(MAGIC + FLAGS)

  .global _start
_start:
  mov $stack, %esp
  mov $wrong_magic, %esi
  cmp $0x2badb002, %eax
  jne say_and_stop
  lgdt gdt_pointer
  ljmp $8, $1f
1:
  mov $16, %eax
  mov %eax, %ds
  mov %eax, %es
  mov %eax, %ss
  lidt idt_pointer

  mov $here, %esi
  call say
  mov 16(%ebx), %esi
  call say
  mov $new_line, %esi
  call say
  // The first module, if there is one: a text.
  testl $8, (%ebx)
  jz 2f
  mov 24(%ebx), %edi
  mov 4(%edi), %ebp
  mov (%edi), %edi
  mov $module, %esi
  call say
1:
  cmp %ebp, %edi
  jae 2f
  mov (%edi), %al
  call put
  inc %edi
  jmp 1b
2:
  // RAM as both the sizes and the map tell it.
  mov $wrong_memory, %esi
  cmpl $636, 4(%ebx)
  jne say_and_stop
  mov 8(%ebx), %eax
  mov 48(%ebx), %edi
  mov 48 + 12(%edi), %ecx // the size of the third area
  shr $10, %ecx
  cmp %ecx, %eax
  jne say_and_stop

  mov 16(%ebx), %esi
  mov (%esi), %al
  cmp $'o', %al
  je off_604
  cmp $'s', %al
  je off_8900
  cmp $'h', %al
  je off_hlt
  cmp $'r', %al
  je reset_cf9
  cmp $'k', %al
  je reset_64
  cmp $'t', %al
  je triple_fault
  cmp $'g', %al
  je hole
  cmp $'e', %al
  je events
  cmp $'w', %al
  je wait_for_timer
  cmp $'l', %al
  je long_mode
  mov $wrong_word, %esi

say_and_stop:
  call say
1:
  jmp 1b

off_604:
  mov $off, %esi
  call say
  mov $0x604, %edx
  mov $0x2000, %eax
  out %ax, %dx
  jmp survived

off_8900:
  mov $off, %esi
  call say
  mov $0x8900, %edx
  mov $shutdown, %esi
1:
  lodsb
  test %al, %al
  jz survived
  out %al, %dx
  jmp 1b

off_hlt:
  mov $off, %esi
  call say
  cli
  hlt
  jmp survived

reset_cf9:
  mov $reset, %esi
  call say
  mov $0xcf9, %edx
  mov $6, %al
  out %al, %dx
  jmp survived

reset_64:
  mov $reset, %esi
  call say
  mov $0xfe, %al
  out %al, $0x64
  jmp survived

triple_fault:
  mov $triple, %esi
  call say
  lidt no_idt
  int3

survived:
  mov $alive, %esi
  jmp say_and_stop

hole:
  movl $after_read, resume
  mov HOLE, %eax
  jmp answered
after_read:
  movl $after_write, resume
  mov %eax, HOLE
answered:
  mov $hole_answered, %esi
  jmp say_and_stop
after_write:
  mov $hole_faulted, %esi
  call say
  jmp off_604

// Each event in turn finds ESP at the top of another fresh page.
  .macro on_fresh_stack number
  mov $FRESH + 0x2000 * \number + 0x1000, %esp
  .endm

events:
  on_fresh_stack 0
  int3
  on_fresh_stack 1
  int $0x30
  on_fresh_stack 2
  ud2
  on_fresh_stack 3
  movl $after_fault, resume
  mov $0x58, %eax
  mov %eax, %fs
after_fault:
  // An interrupt from outside, and one that this CPU sends itself.
  call start_timer
  on_fresh_stack 4
  sti
1:
  hlt
  cmpl $0, ticks
  je 1b
  cli
  mov $0xff, %al
  out %al, $0x21
  on_fresh_stack 5
  movl $0x1ff, 0xfee000f0
  movl $0x44040, 0xfee00300
  sti
1:
  pause
  cmpl $0, ipis
  je 1b
  cli
  mov $stack, %esp
  mov $not_all, %esi
  cmpl $63, marks
  jne say_and_stop
  mov $seen, %esi
  call say
  jmp off_hlt

wait_for_timer:
  call start_timer
  sti
1:
  hlt
  cmpl $20, ticks
  jb 1b
  mov $waited, %esi
  call say
  jmp off_hlt

// The first GiB is itself, in pages of 2 MiB.
long_mode:
  mov $root + 0x1003, %eax
  mov %eax, root
  mov $root + 0x2003, %eax
  mov %eax, root + 0x1000
  mov $root + 0x2000, %edi
  mov $0x83, %eax
1:
  mov %eax, (%edi)
  add $8, %edi
  add $0x200000, %eax
  cmp $root + 0x3000, %edi
  jne 1b
  mov $root, %eax
  mov %eax, %cr3
  mov %cr4, %eax
  or $0x20, %eax
  mov %eax, %cr4
  mov $0xc0000080, %ecx
  mov $0x901, %eax // NXE, LME, SCE: all that a kernel wants
  xor %edx, %edx
  wrmsr
  mov %cr0, %eax
  or $0x80000000, %eax
  mov %eax, %cr0
  ljmp $24, $in_long_mode
  .code64
in_long_mode:
  mov $0xc0000080, %ecx
  rdmsr
  mov $wrong_efer, %esi
  cmp $0xd01, %eax
  jne 2f
  mov $1, %eax
  cpuid
  mov $shows, %esi
  test $0x20, %ecx
  jnz 2f
  mov $0x80000001, %eax
  cpuid
  test $4, %ecx
  jnz 2f
  // Registers of 64 bits.
  mov $1, %r8
  shl $32, %r8
  mov $long, %esi
  shr $32, %r8
  cmp $1, %r8
  je 2f
  mov $strange, %esi
2:
  mov $0x3fd, %edx
1:
  in %dx, %al
  test $0x20, %al
  jz 1b
  mov $0x3f8, %edx
  lodsb
  test %al, %al
  jz 3f
  out %al, %dx
  jmp 2b
3:
  mov $0x604, %edx
  mov $0x2000, %eax
  out %ax, %dx
4:
  jmp 4b
  .code32

// Interrupt controllers at vectors 20 and 28, all off but the timer; that ticks 100 times a second.
start_timer:
  .macro send port value
  mov $\value, %al
  out %al, $\port
  .endm
  send 0x20 0x11
  send 0xa0 0x11
  send 0x21 0x20
  send 0xa1 0x28
  send 0x21 4
  send 0xa1 2
  send 0x21 1
  send 0xa1 1
  send 0x21 0xfe
  send 0xa1 0xff
  send 0x43 0x34
  send 0x40 0x9c
  send 0x40 0x2e
  ret

breakpoint:
  orl $1, marks
  iret
called:
  orl $2, marks
  iret
undefined:
  orl $4, marks
  addl $2, (%esp)
  iret
// #GP: with an error code, and with the place to go on at in `resume`.
protection:
  pop %ecx
  cmp $0x58, %ecx
  jne 1f
  orl $8, marks
1:
  mov resume, %ecx
  mov %ecx, (%esp)
  iret
tick:
  push %eax
  incl ticks
  mov $0x20, %al
  out %al, $0x20
  pop %eax
  orl $16, marks
  iret
ipi:
  incl ipis
  movl $0, 0xfee000b0
  orl $32, marks
  iret
unexpected:
  mov $stack, %esp
  mov $strange, %esi
  jmp say_and_stop

// The string at ESI.
say:
  lodsb
  test %al, %al
  jz 1f
  call put
  jmp say
1:
  ret
// AL. Uses DX, AH.
put:
  mov %al, %ah
  mov $SERIAL + 5, %edx
1:
  in %dx, %al
  test $0x20, %al
  jz 1b
  mov $SERIAL, %edx
  mov %ah, %al
  out %al, %dx
  ret

here: .asciz "multiboot: here, with "
module: .asciz "multiboot: module "
new_line: .asciz "\n"
off: .asciz "multiboot: off\n"
reset: .asciz "multiboot: reset\n"
triple: .asciz "multiboot: triple fault\n"
alive: .asciz "multiboot: still there\n"
not_all: .asciz "multiboot: an event is missing\n"
seen: .asciz "multiboot: six events\n"
long: .asciz "multiboot: in long mode\n"
wrong_efer: .asciz "multiboot: another EFER\n"
shows: .asciz "multiboot: CPUID shows virtualisation\n"
waited: .asciz "multiboot: waited\n"
hole_faulted: .asciz "multiboot: holes fault\n"
hole_answered: .asciz "multiboot: a hole answered\n"
wrong_magic: .asciz "multiboot: wrong magic number\n"
wrong_memory: .asciz "multiboot: sizes and map differ\n"
wrong_word: .asciz "multiboot: what shall I do?\n"
strange: .asciz "multiboot: unexpected exception\n"
shutdown: .asciz "Shutdown"

  .data
  .balign 8
gdt:
  .quad 0
  .quad 0x00cf9b000000ffff
  .quad 0x00cf93000000ffff
  .quad 0x00af9b000000ffff
gdt_pointer:
  .word . - gdt - 1
  .long gdt
  .balign 4
no_idt:
  .word 0
  .long 0

// All handlers lie in the first 64 KiB above 1 MiB.
  .macro gate handler
  .word \handler - image
  .word 8
  .word 0x8e00
  .word 0x10
  .endm
  .macro gates count
  .rept \count
  gate unexpected
  .endr
  .endm
  .balign 8
idt:
  gates 3
  gate breakpoint
  gates 2
  gate undefined
  gates 6
  gate protection
  gates 18
  gate tick
  gates 15
  gate called
  gates 15
  gate ipi
idt_pointer:
  .word . - idt - 1
  .long idt

  .balign 4
resume: .long unexpected
marks: .long 0
ticks: .long 0
ipis: .long 0

  .bss
  .balign 4096
root: .space 0x3000
  .space 4096
stack:
