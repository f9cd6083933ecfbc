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
