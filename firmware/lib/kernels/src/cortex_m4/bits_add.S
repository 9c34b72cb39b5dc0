/* Bit-sliced counters of kernels/bits.h on a Cortex-M4, and its list of set bits. See bits.c for the calls.
 *
 * kernels_m4_bits_add(planes, weights, list, count): adds `count` words, weights + list[i] bytes each, to the counters.
 * Planes 0 to 3 (ones, twos, fours, eights) stay in registers. Sixteen words take 15 full adders of 5 instructions, 24
 * loads, and a carry that ripples through the planes in memory until no bit is left of it; what remains of the list
 * goes by 8, 4, 2 and 1 words.
 *
 * kernels_m4_bits_list(word, at, 4, list): appends at + 4 * i for each set bit i, lowest first; returns the end.
 * kernels_m4_bits_list_pairs(word, at, 8, list): at + 8 * i and at + 8 * i + 4. */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

  .syntax unified
  .thumb

  planes .req r0
  weights .req r1
  list .req r2
  count .req r3
  ones .req r4
  twos .req r5
  fours .req r6
  eights .req r7
  wa .req r8
  wb .req r9
  wt .req r10

/* The next two words. */
.macro two_words
  ldm list!, {wa, wb}
  ldr wa, [weights, wa]
  ldr wb, [weights, wb]
.endm

/* Adds \x and \y to \low; the carry is left in \high, which may be \x, not \y. Spoils wt and \y. */
.macro full_adder high, low, x, y
  eor wt, \x, \y
  and \high, \x, \y
  and \y, wt, \low
  eor \low, \low, wt
  orr \high, \high, \y
.endm

/* Four words: the carry into fours is left in \high, which is not wa or wb. Spoils r11. */
.macro four_words high
  two_words
  full_adder r11, ones, wa, wb
  two_words
  full_adder wa, ones, wa, wb
  full_adder \high, twos, r11, wa
.endm

/* Adds \x to a plane in a register; \x becomes the carry. Spoils wt. */
.macro half_adder low, x
  and wt, \low, \x
  eor \low, \low, \x
  mov \x, wt
.endm

  .section .text.kernels_m4_bits_add, "ax", %progbits
  .global kernels_m4_bits_add
  .type kernels_m4_bits_add, %function
  .thumb_func
kernels_m4_bits_add:
  push {r4-r11, lr}
  ldm planes, {ones, twos, fours, eights}
  adds planes, #16
  subs count, #16
  blt 3f
1:
  four_words r12
  four_words r11
  full_adder r12, fours, r12, r11
  /* r12: carry into eights of the first eight words. */
  four_words lr
  four_words r11
  full_adder lr, fours, lr, r11
  full_adder wa, eights, r12, lr
  /* wa: carry of 16. */
  mov lr, planes
2:
  ldr wb, [lr]
  ands wt, wa, wb
  eor wb, wb, wa
  str wb, [lr], #4
  mov wa, wt
  bne 2b
  subs count, #16
  bge 1b
3:
  /* count: what is left, less 16; its lower four bits say what is left. Each part's carry goes to `ripple`. */
  tst count, #8
  beq 4f
  four_words r12
  four_words r11
  full_adder wa, fours, r12, r11
  half_adder eights, wa
  bl 8f
4:
  tst count, #4
  beq 5f
  four_words r12
  half_adder fours, r12
  mov wa, r12
  half_adder eights, wa
  bl 8f
5:
  tst count, #2
  beq 6f
  two_words
  full_adder wa, ones, wa, wb
  half_adder twos, wa
  half_adder fours, wa
  half_adder eights, wa
  bl 8f
6:
  tst count, #1
  beq 7f
  ldr wa, [list]
  ldr wa, [weights, wa]
  half_adder ones, wa
  half_adder twos, wa
  half_adder fours, wa
  half_adder eights, wa
  bl 8f
7:
  subs planes, #16
  stm planes, {ones, twos, fours, eights}
  pop {r4-r11, pc}

/* Carries wa from plane 4 on. */
8:
  cmp wa, #0
  beq 10f
  mov r12, planes
9:
  ldr wb, [r12]
  ands wt, wa, wb
  eor wb, wb, wa
  str wb, [r12], #4
  mov wa, wt
  bne 9b
10:
  bx lr
  .size kernels_m4_bits_add, . - kernels_m4_bits_add

/* r0 word, r1 at, r2 step, r3 list. */
.macro list_bits name, pairs
  .section .text.\name, "ax", %progbits
  .global \name
  .type \name, %function
  .thumb_func
\name:
  cbz r0, 2f
  push {r4, lr}
  rbit r0, r0
  mov lr, #0x80000000
1:
  clz r12, r0
  lsr r4, lr, r12
  eors r0, r4
  mla r12, r12, r2, r1
  str r12, [r3], #4
.if \pairs
  add r12, r12, #4
  str r12, [r3], #4
.endif
  bne 1b
  mov r0, r3
  pop {r4, pc}
2:
  mov r0, r3
  bx lr
  .size \name, . - \name
.endm

  list_bits kernels_m4_bits_list, 0
  list_bits kernels_m4_bits_list_pairs, 1

#endif
