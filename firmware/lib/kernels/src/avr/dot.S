/* Dot products of int8 rows in RAM with a row of weights in flash, for AVR processors with a multiplier.
 *
 * avr-gcc's calling convention: arguments from r25 downwards in pairs, an int32 result in r25..r22; r2 to r17, r28 and
 * r29 are the caller's, and r1 is 0 outside.
 *
 * A product's 16 bits are added to a sum of 24: 511 of them fit, whatever the values. */
#if defined(__AVR__)

/* Adds the product in r1:r0 to a2:a1:a0; `zero` holds 0. */
.macro accumulate a0 a1 a2 zero
  add \a0, r0
  adc \a1, r1
  adc \a2, \zero
  sbrc r1, 7
  dec \a2
.endm

.macro one_product
  ld r18, X+
  lpm r19, Z+
  muls r18, r19
  accumulate r22 r23 r24 r25
.endm

/* int32_t kernels_avr_dot(const int8_t *x, const __flash int8_t *w, uint16_t count), count 1 to 511:
 * r25:r24 = x, r23:r22 = w, r21:r20 = count. 12.75 cycles a product. */
  .section .text.kernels_avr_dot, "ax", @progbits
  .global kernels_avr_dot
  .type kernels_avr_dot, @function
kernels_avr_dot:
  movw r26, r24
  movw r30, r22
  clr r22 /* the sum: r24:r23:r22 */
  clr r23
  clr r24
  clr r25 /* 0 */
  sbrs r20, 0
  rjmp 1f
  one_product
1:
  sbrs r20, 1
  rjmp 2f
  one_product
  one_product
2:
  lsr r21
  ror r20
  lsr r20 /* fours that are left */
  breq 4f
3:
  one_product
  one_product
  one_product
  one_product
  dec r20
  brne 3b
4:
  clr r1
  sbrc r24, 7
  com r25
  ret
  .size kernels_avr_dot, . - kernels_avr_dot

.macro two_products
  ld r18, X+
  lpm r19, Z+
  muls r18, r19
  accumulate r20 r21 r22 r14
  ld r18, Y+
  muls r18, r19
  accumulate r23 r24 r25 r14
.endm

/* void kernels_avr_dot2(const int8_t *x0, const int8_t *x1, const __flash int8_t *w, uint16_t count, int32_t *sums):
 * the same for two rows, which share the loads of the weights.
 * r25:r24 = x0, r23:r22 = x1, r21:r20 = w, r19:r18 = count, r17:r16 = sums. 11.25 cycles a product. */
  .section .text.kernels_avr_dot2, "ax", @progbits
  .global kernels_avr_dot2
  .type kernels_avr_dot2, @function
kernels_avr_dot2:
  push r13
  push r14
  push r15
  push r28
  push r29
  movw r26, r24
  movw r28, r22
  movw r30, r20
  mov r13, r18
  lsr r19
  ror r18
  lsr r18
  mov r15, r18 /* fours */
  clr r14      /* 0 */
  clr r20      /* the sums: r22:r21:r20 and r25:r24:r23 */
  clr r21
  clr r22
  clr r23
  clr r24
  clr r25
  sbrs r13, 0
  rjmp 1f
  two_products
1:
  sbrs r13, 1
  rjmp 2f
  two_products
  two_products
2:
  tst r15
  breq 4f
3:
  two_products
  two_products
  two_products
  two_products
  dec r15
  brne 3b
4:
  clr r1
  movw r26, r16
  st X+, r20
  st X+, r21
  st X+, r22
  clr r18
  sbrc r22, 7
  com r18
  st X+, r18
  st X+, r23
  st X+, r24
  st X+, r25
  clr r18
  sbrc r25, 7
  com r18
  st X, r18
  pop r29
  pop r28
  pop r15
  pop r14
  pop r13
  ret
  .size kernels_avr_dot2, . - kernels_avr_dot2

#endif
