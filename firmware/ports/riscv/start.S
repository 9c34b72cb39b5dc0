/* Entry of a 32-bit RISC-V core in machine mode: pointers, trap vector, then C. Interrupts stay off. */
  .option arch, +zicsr

/* Where a chip's ROM wants a header before the first instruction, the linker script puts it there. */
  .section .text.start, "ax"
  .globl _start
_start:
  csrci mstatus, 8
  .option push
  .option norelax /* gp itself cannot be addressed relative to gp */
  la gp, __global_pointer$
  .option pop
  la sp, __stack_top
  la tp, __tls_base
  la t0, trap_entry
  csrw mtvec, t0
  j riscv_start

/* mtvec holds an address whose low bits are the mode; the ESP32-C3 takes the upper 24 bits alone. The stack may be what
 * is wrong, hence a new one. */
  .section .text.trap, "ax"
  .balign 256
trap_entry:
  la sp, __stack_top
  csrr a0, mepc
  csrr a1, mcause
  csrr a2, mtval
  mv a3, ra
  j riscv_trap
