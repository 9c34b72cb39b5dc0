#include "kernels/softmax.h"

#include "kernels/fixed_point.h"

static int32_t saturate(int64_t x) { return x > INT32_MAX ? INT32_MAX : x < INT32_MIN ? INT32_MIN : (int32_t)x; }

/* 1 / (1 + x) for x in [0, 1), both Q0.31: three steps of Newton-Raphson division on (1 + x) / 2, in Q2.29, from the
 * usual linear estimate 48/17 - 32/17 * d. */
static int32_t reciprocal_of_one_plus(int32_t x) {
  const int32_t half = (int32_t)(((int64_t)x + INT32_MAX + 1) / 2);
  int32_t y = 1515870810 + fixed_high_mul(-1010580540, half);
  for (int i = 0; i < 3; i++) {
    const int32_t error = ((int32_t)1 << 29) - fixed_high_mul(half, y);
    y = (int32_t)(y + saturate((int64_t)fixed_high_mul(error, y) * 4));
  }
  return saturate((int64_t)y * 2);
}

/* Leading zeros of a positive number. */
static int leading_zeros(uint32_t x) {
  int n = 0;
  while (x < 0x80000000u) {
    x <<= 1;
    n++;
  }
  return n;
}

void kernels_softmax_s8(const kernels_softmax_params *params, const int8_t *input, int8_t *output) {
  const int32_t depth = params->depth;
  for (int32_t r = 0; r < params->rows; r++) {
    int32_t best = INT8_MIN;
    int32_t sum = 0; /* Q12.19 */
    for (int32_t i = 0; i < depth; i++) {
      if (input[i] > best) best = input[i];
    }
    for (int32_t i = 0; i < depth; i++) {
      const int32_t d = best - input[i];
      if (d < params->exponentials_count) sum += fixed_rounding_shift(params->exponentials[d], 12);
    }
    const int zeros = leading_zeros((uint32_t)sum);
    const int32_t scale = reciprocal_of_one_plus((int32_t)(((uint32_t)sum << zeros) - 0x80000000u));
    const int exponent = 12 - zeros + 23;
    for (int32_t i = 0; i < depth; i++) {
      const int32_t d = best - input[i];
      int32_t x = 0;
      if (d < params->exponentials_count && exponent <= 31) {
        x = fixed_rounding_shift(fixed_high_mul(scale, params->exponentials[d]), (unsigned)exponent);
      }
      output[i] = (int8_t)fixed_clamp(x + INT8_MIN, INT8_MIN, INT8_MAX);
    }
    input += depth;
    output += depth;
  }
}
