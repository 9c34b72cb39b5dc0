/* Products of 32-bit data and Q15 constants, rounded once, to nearest, ties towards +infinity. Constants are unsigned
 * and reach 1.0 = 32768, so that a rotation by nothing is exact.
 *
 * Both ways give the same bits; the second one needs no 64-bit product, which small cores lack. */
#ifndef FEATURES_MULTIPLY_H
#define FEATURES_MULTIPLY_H

#include <stdint.h>

#if !defined(FEATURES_SPLIT_PRODUCTS) && \
    (defined(__AVR__) || defined(__XTENSA__) || defined(__ARM_ARCH_6M__) || defined(__ARM_ARCH_8M_BASE__))
#define FEATURES_SPLIT_PRODUCTS 1
#endif

#ifdef FEATURES_SPLIT_PRODUCTS

/* a * c / 2^15; |a| <= 2^30, c in Q15. */
static inline int32_t features_multiply(int32_t a, uint16_t c) {
  const uint32_t low = ((uint32_t)a & 0x7FFFu) * c + 0x4000u;
  return (a >> 15) * (int32_t)c + (int32_t)(low >> 15);
}

/* (a * c + b * s) / 2^15; |a|, |b| <= 2^30, c and s in Q15 with c + s <= 46341 (a point of the unit circle). */
static inline int32_t features_multiply_add(int32_t a, uint16_t c, int32_t b, uint16_t s) {
  const uint32_t low = ((uint32_t)a & 0x7FFFu) * c + ((uint32_t)b & 0x7FFFu) * s + 0x4000u;
  return (a >> 15) * (int32_t)c + (b >> 15) * (int32_t)s + (int32_t)(low >> 15);
}

/* (a * c - b * s) / 2^15; as above. */
static inline int32_t features_multiply_sub(int32_t a, uint16_t c, int32_t b, uint16_t s) {
  const int32_t low = (int32_t)(((uint32_t)a & 0x7FFFu) * c) - (int32_t)(((uint32_t)b & 0x7FFFu) * s) + 0x4000;
  return (a >> 15) * (int32_t)c - (b >> 15) * (int32_t)s + (low >> 15);
}

#else

static inline int32_t features_multiply(int32_t a, uint16_t c) { return (int32_t)(((int64_t)a * c + 0x4000) >> 15); }

static inline int32_t features_multiply_add(int32_t a, uint16_t c, int32_t b, uint16_t s) {
  return (int32_t)(((int64_t)a * c + (int64_t)b * s + 0x4000) >> 15);
}

static inline int32_t features_multiply_sub(int32_t a, uint16_t c, int32_t b, uint16_t s) {
  return (int32_t)(((int64_t)a * c - (int64_t)b * s + 0x4000) >> 15);
}

#endif

#endif
