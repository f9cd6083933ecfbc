#pragma once

// What assembly and C++ must agree on. static_asserts beside the C++ types check the offsets.

// hv::Registers
#define REGISTERS_RAX 0
#define REGISTERS_RCX 8
#define REGISTERS_RDX 16
#define REGISTERS_RBX 24
#define REGISTERS_RBP 32
#define REGISTERS_RSI 40
#define REGISTERS_RDI 48
#define REGISTERS_R8 56
#define REGISTERS_R9 64
#define REGISTERS_R10 72
#define REGISTERS_R11 80
#define REGISTERS_R12 88
#define REGISTERS_R13 96
#define REGISTERS_R14 104
#define REGISTERS_R15 112

// The VMCS field that vmx_entry.S writes.
#define VMCS_HOST_RSP 0x6c14

// hv::Cpu
#define CPU_STACK 0

// Selectors of the host's segments, and its descriptor table.
#define MOST_CPUS 8
#define CODE_SELECTOR 0x08
#define DATA_SELECTOR 0x10
#define CODE32_SELECTOR 0x18
#define TASK_SELECTOR 0x20
#define GDT_BYTES (TASK_SELECTOR + MOST_CPUS * 16)

// Where the other CPUs begin: a page below 1 MiB that no loader uses.
#define TRAMPOLINE 0x8000

#define BOOT_STACK_BYTES 0x40000

// The record in the ROM: multiboot information, then these words.
#define ROM_BEGIN 0xfffff000
#define ROM_RECORD 0xffffe000
#define RECORD_IMAGE 128
#define RECORD_FILES_BEGIN 132
#define RECORD_FILES_END 136
