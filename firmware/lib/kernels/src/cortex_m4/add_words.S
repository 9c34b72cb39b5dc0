/* Sums of int8 tensors for the Cortex-M4's DSP extension, four elements at a time. See add.h for the contract.
 *
 * void kernels_m4_add_words(const int32_t factors[4], const int8_t *x, const int8_t *y, int8_t *output,
 *                           const int8_t *x_end); factors are a, b, offset, zero_point; x_end - x is a multiple of 4.
 *
 * SMLAWB and SMLAWT multiply 32 bits by a halfword and add the upper 32 of the 48 bits: with an input in the halfword's
 * upper byte that is (factor * input) >> 8. An AND brings two inputs of a word there at once. Words are read before
 * anything is stored over them.
 *
 * r0 x, r1 y, r2 output, r3 end of x, r4 a, r5 b, r6 offset, r7 mask, lr zero_point */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "requantize.inc"

  .syntax unified
  .thumb

.macro finish sum, ties
  .if \ties
  add \sum, \sum, \sum, asr #31
  add \sum, \sum, lr
  .endif
  ssat \sum, #8, \sum, asr #22
.endm

.macro words name, ties
  .section .text.\name, "ax", %progbits
  .global \name
  .type \name, %function
  .thumb_func
\name:
  push {r4-r11, lr}
  ldm r0, {r4-r6, lr}
  mov r0, r1
  mov r1, r2
  mov r2, r3
  ldr r3, [sp, #36]
  mov r7, #0xff00ff00
1:
  ldr r8, [r0], #4
  ldr r10, [r1], #4
  and r9, r7, r8, lsl #8       /* inputs 0 and 2 of x */
  and r8, r7, r8               /* 1 and 3 */
  and r11, r7, r10, lsl #8     /* of y */
  and r10, r7, r10
  smlawb r12, r4, r9, r6
  smlawt r9, r4, r9, r6
  smlawb r12, r5, r11, r12     /* sum 0 */
  smlawt r9, r5, r11, r9       /* sum 2 */
  smlawb r11, r4, r8, r6
  smlawt r8, r4, r8, r6
  smlawb r11, r5, r10, r11     /* sum 1 */
  smlawt r8, r5, r10, r8       /* sum 3 */
  finish r12, \ties
  finish r11, \ties
  finish r9, \ties
  finish r8, \ties
  strb r12, [r2], #4
  strb r11, [r2, #-3]
  strb r9, [r2, #-2]
  strb r8, [r2, #-1]
  cmp r0, r3
  bne 1b
  pop {r4-r11, pc}
  .size \name, . - \name
.endm

  words kernels_m4_add_words, 0
  words kernels_m4_add_words_ties, 1

/* void kernels_m4_add_words_table(const void *constants, const int8_t *x, const int8_t *y, int8_t *output,
 *                                 const int8_t *x_end); constants are factor, table, multiplier, rounding, shift.
 *
 * The doubled sum is x * factor + table[y], exact; from there see requantize.inc.
 *
 * r0 x, r1 y, r2 output, r3 end of x, r4 factor, r5 table, r6 multiplier, r7 rounding, r8 shift */
.macro sum_by_table x, y
  ldrsb \x, [r0], #1
  ldrb \y, [r1], #1
  ldr \y, [r5, \y, lsl #2]
  mla \x, \x, r4, \y
  REQUANTIZE linear, \x, r6, r7, r8, \y
  strb \x, [r2], #1
.endm

  .section .text.kernels_m4_add_words_table, "ax", %progbits
  .global kernels_m4_add_words_table
  .type kernels_m4_add_words_table, %function
  .thumb_func
kernels_m4_add_words_table:
  push {r4-r11, lr}
  ldm r0, {r4-r8}
  mov r0, r1
  mov r1, r2
  mov r2, r3
  ldr r3, [sp, #36]
1:
  .rept 4
  sum_by_table r9, r10
  .endr
  cmp r0, r3
  bne 1b
  pop {r4-r11, pc}
  .size kernels_m4_add_words_table, . - kernels_m4_add_words_table

#endif
