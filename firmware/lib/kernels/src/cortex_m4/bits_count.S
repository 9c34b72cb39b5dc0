/* Bit-sliced counters of kernels/bits.h on a Cortex-M4, and its list of set bits. See bits.c for the calls.
 *
 * kernels_m4_bits_count(planes, weights, list, count, start, depth): sets `depth` planes of counters to `start` and adds
 * the `count` words that lie weights + list[i] bytes. The arguments' last two come on the stack.
 *
 * Planes 0 to 3 (ones, twos, fours, eights) stay in registers. Sixteen words take 15 full adders of 5 instructions and 24
 * loads; two carries of 16 go into plane 4 with another adder, and what that carries ripples through the planes in
 * memory until no bit is left of it. The rest of the list goes by 16, 8, 4, 2 and 1 words.
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

/* Sixteen words: the carry of 16 is left in wa. Spoils r11, r12, lr. */
.macro sixteen_words
  four_words r12
  four_words r11
  full_adder r12, fours, r12, r11
  four_words lr
  four_words r11
  full_adder lr, fours, lr, r11
  full_adder wa, eights, r12, lr
.endm

/* Carries wa into the planes from \plane on. Spoils \plane. */
.macro ripple plane
1:
  ldr wb, [\plane]
  ands wt, wa, wb
  eor wb, wb, wa
  str wb, [\plane], #4
  beq 2f
  ldr wb, [\plane]
  ands wa, wt, wb
  eor wb, wb, wt
  str wb, [\plane], #4
  bne 1b
2:
.endm

/* Plane \n begins as bit \n of wa. */
.macro start_plane n
  sbfx wt, wa, #\n, #1
  str wt, [planes, #4 * \n]
.endm

  .section .text.kernels_m4_bits_count, "ax", %progbits
  .global kernels_m4_bits_count
  .type kernels_m4_bits_count, %function
  .thumb_func
kernels_m4_bits_count:
  push {r4-r11, lr}
  ldrd wa, wb, [sp, #36]
  sbfx ones, wa, #0, #1
  sbfx twos, wa, #1, #1
  sbfx fours, wa, #2, #1
  sbfx eights, wa, #3, #1
  start_plane 4
  start_plane 5
  start_plane 6
  start_plane 7
  start_plane 8
  subs wb, wb, #9
  ble 12f
  add r12, planes, #36
11:
  lsr wa, wa, #1
  sbfx wt, wa, #8, #1
  str wt, [r12], #4
  subs wb, wb, #1
  bgt 11b
12:
  adds planes, #16
  subs count, #32
  blt 14f
13:
  sixteen_words
  push {wa}
  sixteen_words
  pop {r12}
  ldr r11, [planes]
  full_adder wa, r11, wa, r12
  add r12, planes, #4
  str r11, [planes]
  ripple r12
  subs count, #32
  bge 13b
14:
  /* count: what is left, less 32; its lower five bits say what is left. */
  tst count, #16
  beq 15f
  sixteen_words
  mov r12, planes
  ripple r12
15:
  tst count, #8
  beq 16f
  four_words r12
  four_words r11
  full_adder r12, fours, r12, r11
  mov wa, r12
  half_adder eights, wa
  mov r12, planes
  ripple r12
16:
  tst count, #4
  beq 17f
  four_words r12
  half_adder fours, r12
  mov wa, r12
  half_adder eights, wa
  mov r12, planes
  ripple r12
17:
  tst count, #2
  beq 18f
  two_words
  full_adder wa, ones, wa, wb
  half_adder twos, wa
  half_adder fours, wa
  half_adder eights, wa
  mov r12, planes
  ripple r12
18:
  tst count, #1
  beq 19f
  ldr wa, [list]
  ldr wa, [weights, wa]
  half_adder ones, wa
  half_adder twos, wa
  half_adder fours, wa
  half_adder eights, wa
  mov r12, planes
  ripple r12
19:
  subs planes, #16
  stm planes, {ones, twos, fours, eights}
  pop {r4-r11, pc}
  .size kernels_m4_bits_count, . - kernels_m4_bits_count

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
