#include "kernels/elementwise16.h"

#include "kernels/fixed_point.h"
#include "kernels/sigmoid16.h"

#define HEADROOM ((int32_t)1 << 15)

static int32_t rescale(const kernels_add_input *input, int32_t x) {
  return fixed_rounding_shift(fixed_high_mul(x * HEADROOM, input->multiplier), (unsigned)-input->shift);
}

/* a + sign * b, with a sign of 1 or -1. */
static void add_row(const kernels_add_params *p, int32_t sign, const int16_t *a, const int16_t *b, int16_t *output) {
  for (int32_t i = 0; i < p->shape[3]; i++) {
    const int32_t sum = rescale(&p->a, a[i * p->a.strides[3]]) + sign * rescale(&p->b, b[i * p->b.strides[3]]);
    const int32_t x = fixed_rounding_shift(fixed_high_mul(sum, p->multiplier), (unsigned)-p->shift);
    output[i] = (int16_t)fixed_clamp(x, p->minimum, p->maximum);
  }
}

static void add(const kernels_add_params *params, int32_t sign, const int16_t *a, const int16_t *b, int16_t *output) {
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

void kernels_add_s16(const kernels_add_params *params, const int16_t *a, const int16_t *b, int16_t *output) {
  add(params, 1, a, b, output);
}

void kernels_sub_s16(const kernels_add_params *params, const int16_t *a, const int16_t *b, int16_t *output) {
  add(params, -1, a, b, output);
}

void kernels_mul_s16(const kernels_mul_params *params, const int16_t *a, const int16_t *b, int16_t *output) {
  const kernels_mul_params *p = params;
  const int32_t *shape = p->broadcast.shape, *s = p->broadcast.a_strides, *t = p->broadcast.b_strides;
  for (int32_t i = 0; i < shape[0]; i++) {
    for (int32_t j = 0; j < shape[1]; j++) {
      for (int32_t k = 0; k < shape[2]; k++) {
        const int16_t *x = a + i * s[0] + j * s[1] + k * s[2], *y = b + i * t[0] + j * t[1] + k * t[2];
        for (int32_t l = 0; l < shape[3]; l++) {
          const int32_t z = fixed_multiply((int32_t)x[l * s[3]] * y[l * t[3]], p->multiplier, p->shift);
          *output++ = (int16_t)fixed_clamp(z, p->minimum, p->maximum);
        }
      }
    }
  }
}

void kernels_slopes_s16(const kernels_slopes_s16_params *params, const int16_t *input, int16_t *output) {
  const kernels_slopes_s16_params *p = params;
  for (int32_t i = 0; i < p->elements; i++) {
    const int32_t x = input[i];
    const int32_t y = x >= 0 ? fixed_multiply(x, p->multiplier, p->shift)
                             : p->below_sign * fixed_multiply(x, p->below_multiplier, p->below_shift);
    output[i] = (int16_t)fixed_clamp(y, p->minimum, p->maximum);
  }
}

static int32_t steps(const kernels_sigmoid_s16_params *p, int32_t x) {
  const int32_t half = p->shift > 0 ? (int32_t)((uint32_t)1 << (p->shift - 1)) : 0;
  return (x * p->multiplier + half) >> p->shift;
}

void kernels_logistic_s16(const kernels_sigmoid_s16_params *params, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = kernels_logistic_q15(params->table, steps(params, input[i]));
  }
}

void kernels_tanh_s16(const kernels_sigmoid_s16_params *params, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = kernels_tanh_q15(params->table, steps(params, input[i]));
  }
}

static int32_t requantize(const kernels_requantize_params *p, int32_t x) {
  return fixed_add(fixed_multiply(x - p->input_zero_point, p->multiplier, p->shift), p->zero_point);
}

void kernels_requantize_s8_s16(const kernels_requantize_params *params, const int8_t *input, int16_t *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = (int16_t)fixed_clamp(requantize(params, input[i]), INT16_MIN, INT16_MAX);
  }
}

void kernels_requantize_s16_s8(const kernels_requantize_params *params, const int16_t *input, int8_t *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = (int8_t)fixed_clamp(requantize(params, input[i]), INT8_MIN, INT8_MAX);
  }
}

void kernels_requantize_s16_s16(const kernels_requantize_params *params, const int16_t *input, int16_t *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = (int16_t)fixed_clamp(requantize(params, input[i]), INT16_MIN, INT16_MAX);
  }
}

/* Nearest integer, ties away from zero, for |x| < 2^23; the difference below is exact. */
static int32_t nearest(float x) {
  const int32_t whole = (int32_t)x;
  const float rest = x - (float)whole;
  return rest >= 0.5f ? whole + 1 : rest <= -0.5f ? whole - 1 : whole;
}

void kernels_quantize_f32_s16(const kernels_scale_params *params, const float *input, int16_t *output) {
  /* Beyond this every zero point saturates; clamping first keeps the conversion to an integer defined. */
  const float limit = 131072.0f;
  for (int32_t i = 0; i < params->elements; i++) {
    float x = input[i] / params->scale;
    if (x > limit) x = limit;
    if (x < -limit) x = -limit;
    if (x != x) x = 0.0f;
    output[i] = (int16_t)fixed_clamp(nearest(x) + params->zero_point, INT16_MIN, INT16_MAX);
  }
}

void kernels_dequantize_s16_f32(const kernels_scale_params *params, const int16_t *input, float *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = params->scale * (float)(input[i] - params->zero_point);
  }
}
