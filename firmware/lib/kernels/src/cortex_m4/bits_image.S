/* The first layer of a network of bits on a Cortex-M4: windows of 3x3 int16, 32 outputs each. See bits.c for the call.
 *
 * kernels_m4_bits_image_row(image, row, table, output, count, step, blank): `count` words of 32 outputs, `step` bytes
 * from one to the next, of windows that begin at `image` and lie 2 bytes apart, with `row` bytes from one row of the
 * image to the next; `blank` is the word of a window of zeros, of which pictures have many. The table holds for each
 * output, the last one first, six words: minus the limit, and the weights in pairs: (0, 1) of each of the three rows, then
 * 2 of the first and of the second row, then 2 of the third one.
 *
 * Two products a SMLAD; the sign of sum - limit is shifted out and, by way of the carry, into the word. */
#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

  .syntax unified
  .thumb

/* On the stack: the first four arguments, nine registers, the others. */
#define IMAGE 0
#define ROW 4
#define TABLE 8
#define OUTPUT 12
#define COUNT 52
#define STEP 56
#define BLANK 60

  .section .text.kernels_m4_bits_image_row, "ax", %progbits
  .global kernels_m4_bits_image_row
  .type kernels_m4_bits_image_row, %function
  .thumb_func
kernels_m4_bits_image_row:
  push {r4-r11, lr}
  push {r0-r3}
1:
  ldrd r0, r1, [sp, #IMAGE]
  ldr r4, [r0]
  ldrh r7, [r0, #4]
  ldr r5, [r0, r1]
  add r8, r0, r1
  ldrh r9, [r8, #4]
  ldr r6, [r8, r1]
  add r8, r8, r1
  ldrh r3, [r8, #4]
  adds r0, #2
  str r0, [sp, #IMAGE]
  orr r7, r7, r9, lsl #16
  orr r8, r4, r5
  orr r9, r6, r7
  orr r8, r8, r9
  orrs r8, r8, r3
  ldr r2, [sp, #TABLE]
  beq 3f
.rept 32
  ldm r2!, {r0, r8-r11, lr}
  smlad r0, r4, r8, r0
  smlad r0, r5, r9, r0
  smlad r0, r6, r10, r0
  smlad r0, r7, r11, r0
  smlad r0, r3, lr, r0
  adds r0, r0, r0
  adc r12, r12, r12
.endr
  mvn r0, r12
2:
  ldr r1, [sp, #OUTPUT]
  ldrd r2, r3, [sp, #COUNT]
  str r0, [r1]
  add r1, r1, r3
  str r1, [sp, #OUTPUT]
  subs r2, #1
  str r2, [sp, #COUNT]
  bne 1b
  add sp, #16
  pop {r4-r11, pc}
3:
  ldr r0, [sp, #BLANK]
  b 2b
  .size kernels_m4_bits_image_row, . - kernels_m4_bits_image_row

#endif
