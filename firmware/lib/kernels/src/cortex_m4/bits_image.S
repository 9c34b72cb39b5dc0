/* The first layer of a network of bits on a Cortex-M4: 32 outputs of a window of 3x3 int16. See bits.c for the call.
 *
 * kernels_m4_bits_image_word(image, row, table): returns the word of the 32 outputs whose window begins at `image`, with
 * `row` bytes from one row to the next. The table holds for each output, the last one first, six words: minus the limit,
 * and the weights in pairs: (0, 1) of each of the three rows, then 2 of the first and second row, then 2 of the third one.
 *
 * Two products a SMLAD; the sign of sum - limit is shifted out and, by way of the carry, into the word. */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

  .syntax unified
  .thumb

  .section .text.kernels_m4_bits_image_word, "ax", %progbits
  .global kernels_m4_bits_image_word
  .type kernels_m4_bits_image_word, %function
  .thumb_func
kernels_m4_bits_image_word:
  push {r4-r11, lr}
  ldrh r7, [r0, #4]
  ldr r4, [r0]
  add r0, r0, r1
  ldrh r8, [r0, #4]
  ldr r5, [r0]
  add r0, r0, r1
  ldrh r3, [r0, #4]
  ldr r6, [r0]
  orr r7, r7, r8, lsl #16
  mov r12, #0
  movs r1, #8
1:
.rept 4
  ldm r2!, {r0, r8-r11, lr}
  smlad r0, r4, r8, r0
  smlad r0, r5, r9, r0
  smlad r0, r6, r10, r0
  smlad r0, r7, r11, r0
  smlad r0, r3, lr, r0
  adds r0, r0, r0
  adc r12, r12, r12
.endr
  subs r1, #1
  bne 1b
  mvn r0, r12
  pop {r4-r11, pc}
  .size kernels_m4_bits_image_word, . - kernels_m4_bits_image_word

#endif
