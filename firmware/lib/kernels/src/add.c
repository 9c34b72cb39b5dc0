#include "kernels/add.h"

#include "kernels/fixed_point.h"

#define HEADROOM ((int32_t)1 << 20)

static inline int32_t rescale(int32_t x, int32_t multiplier, int32_t shift) {
  return fixed_rounding_shift(fixed_high_mul(x, multiplier), (unsigned)-shift);
}

/* A sum of rescaled inputs as an output. */
static inline int8_t finish(const kernels_add_params *p, int32_t sum) {
  return (int8_t)fixed_clamp(rescale(sum, p->multiplier, p->shift) + p->zero_point, p->minimum, p->maximum);
}

/* a + sign * b, with a sign of 1 or -1. */
static inline void add_row(const kernels_add_params *params, int32_t sign, const int8_t *a, const int8_t *b,
                           int8_t *output) {
  const kernels_add_params p = *params; /* a copy that no store of an int8 can change spares loads */
  const int32_t a_step = p.a.strides[3], b_step = p.b.strides[3];
  for (int32_t i = p.shape[3]; i > 0; i--) {
    const int32_t x = rescale((*a + p.a.offset) * HEADROOM, p.a.multiplier, p.a.shift);
    const int32_t y = rescale((*b + p.b.offset) * HEADROOM, p.b.multiplier, p.b.shift);
    *output++ = finish(&p, x + sign * y);
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
