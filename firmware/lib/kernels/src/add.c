#include "kernels/add.h"

#include "kernels/fixed_point.h"

#define HEADROOM ((int32_t)1 << 20)

static int32_t rescale(const kernels_add_input *input, int32_t x) {
  const int32_t product = fixed_high_mul((x + input->offset) * HEADROOM, input->multiplier);
  return fixed_rounding_shift(product, (unsigned)-input->shift);
}

/* a + sign * b, with a sign of 1 or -1. */
static inline void add_row(const kernels_add_params *p, int32_t sign, const int8_t *a, const int8_t *b,
                           int8_t *output) {
  const int32_t a_step = p->a.strides[3], b_step = p->b.strides[3];
  for (int32_t i = 0; i < p->shape[3]; i++) {
    int32_t sum = rescale(&p->a, *a) + sign * rescale(&p->b, *b);
    sum = fixed_rounding_shift(fixed_high_mul(sum, p->multiplier), (unsigned)-p->shift) + p->zero_point;
    output[i] = (int8_t)fixed_clamp(sum, p->minimum, p->maximum);
    a += a_step;
    b += b_step;
  }
}

static inline void add(const kernels_add_params *params, int32_t sign, const int8_t *a, const int8_t *b,
                       int8_t *output) {
  const int32_t *shape = params->shape;
  const int32_t *s = params->a.strides, *t = params->b.strides;
  for (int32_t i = 0; i < shape[0]; i++) {
    for (int32_t j = 0; j < shape[1]; j++) {
      for (int32_t k = 0; k < shape[2]; k++) {
        add_row(params, sign, a + i * s[0] + j * s[1] + k * s[2], b + i * t[0] + j * t[1] + k * t[2], output);
        output += shape[3];
      }
    }
  }
}

void kernels_add_s8(const kernels_add_params *params, const int8_t *a, const int8_t *b, int8_t *output) {
  add(params, 1, a, b, output);
}

void kernels_sub_s8(const kernels_add_params *params, const int8_t *a, const int8_t *b, int8_t *output) {
  add(params, -1, a, b, output);
}
