/* Entry of an Xtensa core with the call0 ABI. Where the core is and how it was reset makes no difference: the first
 * instruction of the image is the first to run, or the entry of the ELF file is. */
  .section .text.start, "ax"
  .globl reset
reset:
  j _start

  .align 4
  .literal_position
  .globl _start
_start:
  /* No interrupts, no register windows; an exception goes to the kernel's vector. */
  movi a2, 0xf
  wsr a2, ps
  rsync
  movi a2, vectors
  wsr a2, vecbase
  movi a1, __stack_top
  movi a0, 0
  call0 xtensa_start
hang:
  j hang

/* One table for two layouts: the LX106 has its exceptions at 0x30 (kernel), 0x50 (user) and 0x70 (double), the LX6 and
 * LX7 of the ESP32 family at 0x300, 0x340 and 0x3C0. */
  .section .text.vectors, "ax"
  .balign 1024
  .globl vectors
vectors:
  .org vectors + 0x30
  j exception
  .org vectors + 0x50
  j exception
  .org vectors + 0x70
  j exception
  .org vectors + 0x300
  j exception
  .org vectors + 0x340
  j exception
  .org vectors + 0x3C0
  j exception

/* The stack may be what is wrong, hence a new one. */
  .align 4
  .literal_position
exception:
  movi a1, __stack_top
  movi a2, 0xf
  wsr a2, ps
  rsync
  mov a5, a0
  rsr a2, epc1
  rsr a3, exccause
  rsr a4, excvaddr
  call0 xtensa_exception
  j exception
