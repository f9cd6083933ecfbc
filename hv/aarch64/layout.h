#pragma once

// What assembly and C++ must agree on: offsets into Cpu and Vcpu (which
// static_asserts beside them check), and EL2's stage-1 registers.

#define CPU_STACK 0

#define VCPU_X 0
#define VCPU_PC 248
#define VCPU_PSTATE 256

// Attribute 0: Normal write-back; attribute 1: Device-nGnRE.
#define EL2_MAIR 0x04ff
// 39-bit input from a level-1 table of 4K granule, inner shareable write-back
// walks, output as wide as 48 bits, TBI off, RES1 bits 23 and 31.
#define EL2_TCR 0x80853519
// M, C, I on, WXN off; the rest is RES1.
#define EL2_SCTLR 0x30c51835
