#include "kernels/softmax16.h"

#include "kernels/fixed_point.h"

static int32_t interpolate(const KERNELS_FLASH int16_t *table, int32_t x) {
  x = fixed_clamp(x, INT16_MIN, INT16_MAX);
  const KERNELS_FLASH int16_t *at = table + 256 + (x >> 7);
  return (int16_t)(at[0] + (((int16_t)(at[1] - at[0]) * (x & 127) + 64) >> 7));
}

void kernels_softmax_s16(const kernels_softmax_s16_params *params, const int16_t *input, int16_t *output) {
  const kernels_softmax_s16_params *p = params;
  for (int32_t r = 0; r < p->rows; r++) {
    int32_t best = INT16_MIN;
    int32_t sum = 0; /* Q16.15 */
    for (int32_t i = 0; i < p->depth; i++) {
      if (input[i] > best) best = input[i];
    }
    for (int32_t i = 0; i < p->depth; i++) {
      const int32_t x = fixed_multiply(input[i] - best, p->multiplier, p->shift);
      output[i] = (int16_t)interpolate(p->exponential, fixed_add(x, INT16_MAX));
      sum += output[i];
    }
    int zeros = 0; /* leading; the largest element alone makes the sum positive */
    while (((uint32_t)sum << zeros) < 0x80000000u) zeros++;
    /* The sum as Q2.16 in [1, 2), less 1, about the middle of the table. */
    const int32_t normal = (int32_t)((((int64_t)sum << (zeros - 1)) + ((int32_t)1 << 13)) >> 14);
    const int32_t scale = interpolate(p->reciprocal, normal - 0x18000);
    const int shift = 31 - zeros;
    for (int32_t i = 0; i < p->depth; i++) {
      const int32_t x = (int32_t)(((int64_t)output[i] * scale + ((int64_t)1 << (shift - 1))) >> shift);
      output[i] = (int16_t)fixed_clamp(x, 0, INT16_MAX);
    }
    input += p->depth;
    output += p->depth;
  }
}
