/* Fixed-point arithmetic of quantised inference: gemmlowp's double rounding, as TFLite Micro uses it.
 *
 * Right shifts of negative integers must be arithmetic and conversions to narrower signed integers must wrap, as they
 * do with every compiler this library is built with (gcc, clang). */
#ifndef KERNELS_FIXED_POINT_H
#define KERNELS_FIXED_POINT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* a + b modulo 2^32. Biases of channels with tiny scales reach the ends of int32. */
static inline int32_t fixed_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }

#if defined(__AVR__)

/* Functions there, see src/avr/fixed_point_avr.c; what they do stands below. */
int32_t fixed_high_mul(int32_t a, int32_t b);
int32_t fixed_rounding_shift(int32_t x, unsigned exponent);
int32_t fixed_multiply(int32_t x, int32_t multiplier, int shift);

#else

/* High half of 2*a*b, rounded to nearest, ties towards +infinity; a and b must not both be INT32_MIN. */
static inline int32_t fixed_high_mul(int32_t a, int32_t b) {
  return (int32_t)(((int64_t)a * b + ((int64_t)1 << 30)) >> 31);
}

/* x / 2^exponent, rounded to nearest, ties away from zero; exponent 0 to 31. x must not be INT32_MIN, nor INT32_MAX
 * with exponent 1: the products above never are. */
static inline int32_t fixed_rounding_shift(int32_t x, unsigned exponent) {
  if (exponent == 0) return x;
  /* Halves are rounded up; one less makes that down for negative numbers, and changes nothing else. */
  return (((x + (x >> 31)) >> (exponent - 1)) + 1) >> 1;
}

/* x * multiplier * 2^(shift - 31), rounded twice; multiplier in [0, 2^31), shift -31 to 30. x * 2^shift wraps. */
static inline int32_t fixed_multiply(int32_t x, int32_t multiplier, int shift) {
  if (shift >= 0) {
    return fixed_high_mul((int32_t)((uint32_t)x << (unsigned)shift), multiplier);
  }
  return fixed_rounding_shift(fixed_high_mul(x, multiplier), (unsigned)-shift);
}

#endif

/* fixed_multiply for shift = -2 - left_over with left_over 0 to 29, in fewer steps.
 *
 * Both roundings are floors of a sum, and a floor of a floor is one floor of the whole: with p = x * multiplier and
 * e = -shift it is floor((p + 2^30 + 2^31 * (y < 0 ? -1 : 0) + 2^(30+e)) / 2^(31+e)), y being the first rounding's
 * result. For y, x may be asked: they differ in sign only if y is 0, and then either gives 0. From e = 2 on 2^(30+e)
 * has no bit in the low word, which can be dropped before it is added. */
static inline int32_t fixed_multiply_right(int32_t x, int32_t multiplier, unsigned left_over) {
  /* +2^30, and -2^30 for a negative x */
  const uint32_t low = ((uint32_t)x & 0x80000000u) | 0x40000000u;
  const int64_t nudge = (int64_t)(((uint64_t)(uint32_t)(x >> 31) << 32) | low);
  const int32_t high = (int32_t)(((int64_t)x * multiplier + nudge) >> 32);
  return ((high >> left_over) + 1) >> 1;
}

static inline int32_t fixed_clamp(int32_t x, int32_t low, int32_t high) { return x < low ? low : x > high ? high : x; }

#ifdef __cplusplus
}
#endif

#endif
