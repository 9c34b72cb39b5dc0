/* Dense layers for the Cortex-M4's DSP extension: four output channels at a time. See dense.h for the contract and
 * dense.c for the calls.
 *
 * The stream of a block of four channels c0..c3 lies in flash in the order in which it is read:
 *   4 words   starting values {256*b1 + b0, b0, 256*b3 + b2, b2}, b the folded biases, modulo 2^32
 *   depth     words, one for two inputs of two channels: halfwords 256*w1[i] + w0[i] and 256*w1[j] + w0[j]
 *   12 words  only per channel: {multiplier, R, s} of each
 *
 * Why the sums are exact. SMLAD with a word as it lies gives, besides the start, 256*S1 + S0 (S = the sum over inputs of
 * x*w). SXTB16 of the word leaves w0[i] and w0[j], whose SMLAD gives S0 (borrows of negative w0 went into the upper
 * bytes when the word was made). All of it modulo 2^32; the difference of the two is 256*(S1 + b1), and exact because
 * |S1 + b1| < 2^23 was checked when the stream was made. Its ASR #7 is twice the accumulator, as is the other's LSL #1.
 *
 * Why the output is exact: see requantize.inc, whose x is the doubled accumulator, and which explains linear and relu.
 *
 * "long": the input comes in two parts, so that sums in the upper bytes fit. Between them S1 + b1 of the first is put
 * aside and the raw sum starts anew at S0 + b0. The second part is a multiple of 32 inputs.
 *
 * Frame, built by the caller, copied to the stack since no register is left to point to it:
 *   0 multiplier, 4 R, 8 s (read per tensor only), 12 output, 16 its end, 20 input, 24 its end, 28 where to enter the
 *   unrolled loop, 32 stream, 36 only "long": the input's end, 24 being then where its second part begins. Blocks: (end - output) / 4, at least one. Returns the stream's place behind them.
 */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#include "requantize.inc"

  .syntax unified
  .thumb

/* Registers of the sums:
 *   r0 raw sum of channels 0 and 1, r1 sum of channel 0; r2 raw sum of 2 and 3, r3 sum of 2
 *   r12 stream, lr input */

/* Two inputs (word \x, as two int16) by four channels (words \a of 0 and 1, \b of 2 and 3): 8 products. */
.macro products x, a, b
  smlad r0, \a, \x, r0
  smlad r2, \b, \x, r2
  sxtb16 \a, \a
  sxtb16 \b, \b
  smlad r1, \a, \x, r1
  smlad r3, \b, \x, r3
.endm

/* Eight inputs by four channels in 27 instructions of 4 bytes each; the input is widened. */
.macro widened_eight
  ldm lr!, {r4-r7}
  ldm r12!, {r8-r11}
  products r4, r8, r9
  products r5, r10, r11
  ldm r12!, {r8-r11}
  products r6, r8, r9
  products r7, r10, r11
.endm

/* The same from int8 in 31 instructions: words are widened in passing. */
.macro direct_eight
  ldrd r4, r5, [lr], #8
  ldm r12!, {r8-r11}
  sxtb16 r6, r4
  products r6, r8, r9
  sxtb16 r4, r4, ror #8
  products r4, r10, r11
  ldm r12!, {r8-r11}
  sxtb16 r6, r5
  products r6, r8, r9
  sxtb16 r5, r5, ror #8
  products r5, r10, r11
.endm

/* Twice an accumulator in \x becomes a stored byte. */
.macro output x, variant
  REQUANTIZE \variant, \x, r4, r5, r6, r9
  strb \x, [r7], #1
.endm

.macro dense name, eight, size, channel, variant, long=0
  .section .text.\name, "ax", %progbits
  .global \name
  .type \name, %function
  .thumb_func
  .balign 4
\name:
  push {r4-r11, lr}
  ldr r12, [r0, #32]
  ldm r0, {r4-r11}
  .if \long
  ldr r3, [r0, #36]
  sub sp, #20                 /* 32 the input's end, 36 its second part, 40 and 44 what is put aside */
  strd r3, r10, [sp]
  .else
  sub sp, #4                  /* keeps the stack aligned to 8 bytes */
  .endif
  push {r4-r11}
  adr.w r4, 2f + 1            /* the loop's body for a part of 32 inputs is entered behind what it leaves out */
  add r4, r4, r11
  str r4, [sp, #28]
  ldr lr, [sp, #20]
1:
  ldm r12!, {r0-r3}
  ldr pc, [sp, #28]
  .balign 4
2:
  .rept 4
  \eight
  .endr
3:
  .if 3b - 2b - 4 * \size
  .error "the size of a step of eight inputs is wrong"
  .endif
  ldr r4, [sp, #24]
  cmp lr, r4
  bne 2b
  sub r0, r0, r1
  sub r2, r2, r3
  .if \long
  ldrd r4, r5, [sp, #32]
  cmp lr, r4
  beq 4f
  asr r0, r0, #8
  asr r2, r2, #8
  strd r0, r2, [sp, #40]
  mov r0, r1
  mov r2, r3
  str r4, [sp, #24]
  b 2b
4:
  str r5, [sp, #24]
  ldrd r4, r5, [sp, #40]
  asr r0, r0, #7
  asr r2, r2, #7
  add r0, r0, r4, lsl #1
  add r2, r2, r5, lsl #1
  .else
  asr r0, r0, #7
  asr r2, r2, #7
  .endif
  lsl r1, r1, #1
  lsl r3, r3, #1
  .if \channel
  ldrd r7, r8, [sp, #12]
  ldr lr, [sp, #20]
  ldm r12!, {r4-r6}
  output r1, \variant
  ldm r12!, {r4-r6}
  output r0, \variant
  ldm r12!, {r4-r6}
  output r3, \variant
  ldm r12!, {r4-r6}
  output r2, \variant
  .else
  ldm sp, {r4-r8, lr}         /* multiplier, R, s, output, its end, input */
  output r1, \variant
  output r0, \variant
  output r3, \variant
  output r2, \variant
  .endif
  str r7, [sp, #12]
  cmp r7, r8
  bne 1b
  .if \long
  add sp, #52
  .else
  add sp, #36
  .endif
  mov r0, r12
  pop {r4-r11, pc}
  .size \name, . - \name
.endm

  dense kernels_m4_dense_blocks_tensor, widened_eight, 108, 0, linear
  dense kernels_m4_dense_blocks_tensor_relu, widened_eight, 108, 0, relu
  dense kernels_m4_dense_blocks_channel, widened_eight, 108, 1, linear
  dense kernels_m4_dense_blocks_channel_relu, widened_eight, 108, 1, relu
  dense kernels_m4_dense_direct_blocks_tensor, direct_eight, 124, 0, linear
  dense kernels_m4_dense_direct_blocks_tensor_relu, direct_eight, 124, 0, relu
  dense kernels_m4_dense_direct_blocks_channel, direct_eight, 124, 1, linear
  dense kernels_m4_dense_direct_blocks_channel_relu, direct_eight, 124, 1, relu
  dense kernels_m4_dense_long_blocks_tensor, direct_eight, 124, 0, linear, 1
  dense kernels_m4_dense_long_blocks_tensor_relu, direct_eight, 124, 0, relu, 1
  dense kernels_m4_dense_long_blocks_channel, direct_eight, 124, 1, linear, 1
  dense kernels_m4_dense_long_blocks_channel_relu, direct_eight, 124, 1, relu, 1

/* const int8_t *kernels_m4_dense_widen(const int8_t *input, int16_t *to, int32_t eights): 8 * eights int8 become int16,
 * four at a time in the order 0, 2, 1, 3, as SXTB16 gives them. Any alignment of the input; `to` is word-aligned. */
  .section .text.kernels_m4_dense_widen, "ax", %progbits
  .global kernels_m4_dense_widen
  .type kernels_m4_dense_widen, %function
  .thumb_func
kernels_m4_dense_widen:
  push {r4, r5}
1:
  ldr r3, [r0], #4
  ldr r5, [r0], #4
  sxtb16 r12, r3, ror #8
  sxtb16 r3, r3
  sxtb16 r4, r5
  sxtb16 r5, r5, ror #8
  strd r3, r12, [r1], #8
  strd r4, r5, [r1], #8
  subs r2, #1
  bne 1b
  pop {r4, r5}
  bx lr
  .size kernels_m4_dense_widen, . - kernels_m4_dense_widen

#endif
