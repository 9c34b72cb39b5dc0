/* Instructions of Arm's DSP extension that C has no operator for.
 *
 * arm_acle.h has them in GCC since version 10; Arduino's platform for the Nano 33 BLE compiles with GCC 7, where they
 * are written out (KERNELS_M4_WITHOUT_ACLE, to be defined for any compiler that has none). A word holds four bytes or
 * two halfwords, the first ones lowest. */
#ifndef KERNELS_CORTEX_M4_DSP_H
#define KERNELS_CORTEX_M4_DSP_H

#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && __ARM_FEATURE_DSP

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 10 && !defined(KERNELS_M4_WITHOUT_ACLE)
#define KERNELS_M4_WITHOUT_ACLE
#endif

#ifndef KERNELS_M4_WITHOUT_ACLE
#include <arm_acle.h>

/* SSUB8 leaves in flags which differences of signed bytes are not negative, and SEL chooses by them: the larger of each
 * two bytes, and the smaller. */
static inline uint32_t kernels_m4_max_s8x4(uint32_t a, uint32_t b) {
  (void)__ssub8((int8x4_t)a, (int8x4_t)b);
  return __sel(a, b);
}

static inline uint32_t kernels_m4_min_s8x4(uint32_t a, uint32_t b) {
  (void)__ssub8((int8x4_t)a, (int8x4_t)b);
  return __sel(b, a);
}

/* Bytes 0 and 2 of `x` as signed halfwords; the same added to the halfwords of `sum`. */
static inline int32_t kernels_m4_sxtb16(uint32_t x) { return __sxtb16((int8x4_t)x); }
static inline int32_t kernels_m4_add_even(int32_t sum, uint32_t x) { return __sxtab16(sum, (int8x4_t)x); }

/* (a * the lower halfword of x >> 16) + b, the product in 48 bits; the same with the upper halfword. */
static inline int32_t kernels_m4_smlawb(int32_t a, int32_t x, int32_t b) { return __smlawb(a, x, b); }
static inline int32_t kernels_m4_smlawt(int32_t a, int32_t x, int32_t b) { return __smlawt(a, x, b); }

#else

static inline uint32_t kernels_m4_max_s8x4(uint32_t a, uint32_t b) {
  uint32_t difference, result;
  __asm__("ssub8 %0, %2, %3\n\tsel %1, %2, %3" : "=&r"(difference), "=r"(result) : "r"(a), "r"(b) : "cc");
  return result;
}

static inline uint32_t kernels_m4_min_s8x4(uint32_t a, uint32_t b) {
  uint32_t difference, result;
  __asm__("ssub8 %0, %2, %3\n\tsel %1, %3, %2" : "=&r"(difference), "=r"(result) : "r"(a), "r"(b) : "cc");
  return result;
}

static inline int32_t kernels_m4_sxtb16(uint32_t x) {
  int32_t result;
  __asm__("sxtb16 %0, %1" : "=r"(result) : "r"(x));
  return result;
}

static inline int32_t kernels_m4_add_even(int32_t sum, uint32_t x) {
  int32_t result;
  __asm__("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sum), "r"(x));
  return result;
}

static inline int32_t kernels_m4_smlawb(int32_t a, int32_t x, int32_t b) {
  int32_t result;
  __asm__("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(x), "r"(b));
  return result;
}

static inline int32_t kernels_m4_smlawt(int32_t a, int32_t x, int32_t b) {
  int32_t result;
  __asm__("smlawt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(x), "r"(b));
  return result;
}

#endif

/* Adds bytes 1 and 3 of `x`, as kernels_m4_add_even() does bytes 0 and 2; arm_acle.h has no such rotation. */
static inline int32_t kernels_m4_add_odd(int32_t sum, uint32_t x) {
  int32_t result;
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sum), "r"(x));
  return result;
}

/* Bytes 1 and 3 of `x` as signed halfwords. */
static inline int32_t kernels_m4_sxtb16_odd(uint32_t x) {
  int32_t result;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(x));
  return result;
}

/* Lower halfword of x times that of y, plus `sum`; the same with the upper halfword of x. Written out since compilers
 * make a shift and a multiplication of the second. */
static inline int32_t kernels_m4_smlabb(int32_t x, int32_t y, int32_t sum) {
  int32_t result;
  __asm__("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
  return result;
}

static inline int32_t kernels_m4_smlatb(int32_t x, int32_t y, int32_t sum) {
  int32_t result;
  __asm__("smlatb %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
  return result;
}

#endif
#endif
