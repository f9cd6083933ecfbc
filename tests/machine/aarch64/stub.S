// The guest: a handful of instructions at EL1 that EL2 copies into a guest page and enters one by one. Each does one
// thing with the addresses it finds in its registers and comes back by HVC.

  .section .rodata.stub, "a"
  .balign 8
  .global stub_begin, stub_end, stub_load, stub_store, stub_call, stub_read_on, stub_write_on, stub_vectors

stub_begin:

// x0 = what stands at x1
stub_load:
  ldr x0, [x1]
  hvc #0

// x2 goes to x1
stub_store:
  str x2, [x1]
  hvc #0

// calls x1, which answers in x0
stub_call:
  blr x1
  hvc #0

// For the second CPU. Mailbox at x3: rounds so far, the value last read, and a word that ends it. The round is counted
// after the access, so a count that goes on is an access that worked.
stub_read_on:
  ldr x2, [x1]
  str x2, [x3, #8]
  ldr x4, [x3]
  add x4, x4, #1
  str x4, [x3]
  ldr x5, [x3, #16]
  cbz x5, stub_read_on
  hvc #0

stub_write_on:
  ldr x4, [x3]
  add x4, x4, #1
  str x4, [x1]
  str x4, [x3]
  ldr x5, [x3, #16]
  cbz x5, stub_write_on
  hvc #0

// EL1's own vectors, for exceptions that EL2 gives to the guest. x0 = ESR_EL1, x1 = FAR_EL1, x2 = ELR_EL1.
  .balign 0x800
stub_vectors:
  .rept 16
  .balign 0x80
  mrs x0, esr_el1
  mrs x1, far_el1
  mrs x2, elr_el1
  hvc #0
  .endr

stub_end:
