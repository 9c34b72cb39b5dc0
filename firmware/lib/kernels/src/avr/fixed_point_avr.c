/* The arithmetic of kernels/fixed_point.h and kernels/output_stage.h as functions: written out at each place they would
 * fill the flash. fixed_high_mul() is in high_mul.S. */
#if defined(__AVR__)

#include "kernels/output_stage.h"

int32_t fixed_rounding_shift(int32_t x, unsigned exponent) {
  if (exponent == 0) return x;
  x += x >> 31;
  exponent--;
  for (; exponent >= 8; exponent -= 8) x >>= 8;
  x >>= exponent;
  return (x + 1) >> 1;
}

int32_t fixed_multiply(int32_t x, int32_t multiplier, int shift) {
  if (shift >= 0) return fixed_high_mul((int32_t)((uint32_t)x << (unsigned)shift), multiplier);
  return fixed_rounding_shift(fixed_high_mul(x, multiplier), (unsigned)-shift);
}

int8_t kernels_output(const kernels_output_stage *stage, kernels_int channel, int32_t sum) {
  const kernels_int i = stage->channel_step ? channel : 0;
  const int32_t x = fixed_multiply(fixed_add(sum, stage->bias[channel]), stage->multiplier[i], stage->shift[i]);
  return (int8_t)fixed_clamp(fixed_add(x, stage->zero_point), stage->minimum, stage->maximum);
}

#endif
