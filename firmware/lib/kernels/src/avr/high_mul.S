/* int32_t fixed_high_mul(int32_t a, int32_t b): (a * b + 2^30) >> 31, a in r25..r22, b in r21..r18, result in r25..r22.
 *
 * The product of both as unsigned numbers, column by column: bytes 0 to 2 are only needed for what they carry. Then, for
 * a negative a, b is taken off the upper half, and the other way round. 140 cycles with call and return. */
#if defined(__AVR__)

#define ZERO r13

/* Adds a product to the three bytes of the sum of columns. */
.macro column a b s0 s1 s2
  mul \a, \b
  add \s0, r0
  adc \s1, r1
  adc \s2, ZERO
.endm

  .section .text.fixed_high_mul, "ax", @progbits
  .global fixed_high_mul
  .type fixed_high_mul, @function
fixed_high_mul:
  push r13
  push r14
  push r15
  push r16
  push r17
  clr ZERO
  mul r22, r18
  mov r26, r1
  clr r27
  clr r30

  column r22, r19, r26, r27, r30
  column r23, r18, r26, r27, r30
  clr r26

  column r22, r20, r27, r30, r26
  column r23, r19, r27, r30, r26
  column r24, r18, r27, r30, r26
  clr r27

  column r22, r21, r30, r26, r27
  column r23, r20, r30, r26, r27
  column r24, r19, r30, r26, r27
  column r25, r18, r30, r26, r27
  mov r31, r30 /* byte 3 */
  clr r30

  column r23, r21, r26, r27, r30
  column r24, r20, r26, r27, r30
  column r25, r19, r26, r27, r30
  mov r14, r26
  clr r26

  column r24, r21, r27, r30, r26
  column r25, r20, r27, r30, r26
  mov r15, r27

  mul r25, r21
  add r30, r0
  adc r26, r1
  mov r16, r30
  mov r17, r26

  tst r25
  brpl 1f
  sub r14, r18
  sbc r15, r19
  sbc r16, r20
  sbc r17, r21
1:
  tst r21
  brpl 2f
  sub r14, r22
  sbc r15, r23
  sbc r16, r24
  sbc r17, r25
2:
  ldi r27, 0x40
  add r31, r27
  adc r14, ZERO
  adc r15, ZERO
  adc r16, ZERO
  adc r17, ZERO
  lsl r31
  rol r14
  rol r15
  rol r16
  rol r17
  movw r22, r14
  movw r24, r16
  clr r1
  pop r17
  pop r16
  pop r15
  pop r14
  pop r13
  ret
  .size fixed_high_mul, . - fixed_high_mul

#endif
