#include "kernels/normalize.h"

#include "kernels/fixed_point.h"

static int32_t shift_saturating(int32_t x, int exponent) {
  const int64_t y = (int64_t)x * ((int64_t)1 << exponent);
  return y > INT32_MAX ? INT32_MAX : y < INT32_MIN ? INT32_MIN : (int32_t)y;
}

/* 1 / sqrt(x) as multiplier * 2^(shift - 31); 0 counts as 1. Five steps of Newton-Raphson from the estimate 1, on x
 * brought to [1/4, 1) by a power of 4, in Q3.28. */
static int32_t inverse_square_root(int32_t x, int *shift) {
  if (x <= 1) {
    *shift = 0;
    return INT32_MAX;
  }
  int down = 11;
  for (; x >= (int32_t)1 << 29; down++) x /= 4;
  for (; x < (int32_t)1 << 27; down--) x *= 4;
  x >>= 1;
  const int32_t half = fixed_rounding_shift(x, 1);
  int32_t y = (int32_t)1 << 28;
  for (int i = 0; i < 5; i++) {
    const int32_t cube = shift_saturating(fixed_high_mul(fixed_high_mul(y, y), y), 6);
    y = shift_saturating(fixed_high_mul((int32_t)3 << 27, y) - fixed_high_mul(half, cube), 3);
  }
  y = fixed_high_mul(y, 1518500250); /* 1 / sqrt(2) as Q0.31 */
  if (down < 0) {
    *shift = 0;
    return (int32_t)((uint32_t)y << -down);
  }
  *shift = -down;
  return y;
}

void kernels_l2_normalize_s8(const kernels_l2_normalize_params *params, const int8_t *input, int8_t *output) {
  const int32_t depth = params->depth, offset = params->offset;
  for (int32_t r = 0; r < params->rows; r++) {
    int32_t sum = 0;
    for (int32_t i = 0; i < depth; i++) {
      sum += (input[i] + offset) * (input[i] + offset);
    }
    int shift;
    const int32_t multiplier = inverse_square_root(sum, &shift);
    for (int32_t i = 0; i < depth; i++) {
      output[i] = (int8_t)fixed_clamp(fixed_multiply(input[i] + offset, multiplier, shift + 7), INT8_MIN, INT8_MAX);
    }
    input += depth;
    output += depth;
  }
}
