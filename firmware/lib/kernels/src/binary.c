#include "kernels/binary.h"

#include "kernels/fixed_point.h"

/* A row of the output; the steps are 0 or 1. */
typedef void (*row_function)(const void *params, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                             int32_t count, int8_t *output);

static void each_row(const kernels_broadcast *p, const void *params, const int8_t *a, const int8_t *b, int8_t *output,
                     row_function row) {
  const int32_t *s = p->a_strides, *t = p->b_strides;
  for (int32_t i = 0; i < p->shape[0]; i++) {
    for (int32_t j = 0; j < p->shape[1]; j++) {
      for (int32_t k = 0; k < p->shape[2]; k++) {
        row(params, a + i * s[0] + j * s[1] + k * s[2], s[3], b + i * t[0] + j * t[1] + k * t[2], t[3], p->shape[3],
            output);
        output += p->shape[3];
      }
    }
  }
}

static void mul_row(const void *params, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step, int32_t count,
                    int8_t *output) {
  const kernels_mul_params *p = (const kernels_mul_params *)params;
  for (int32_t i = 0; i < count; i++) {
    const int32_t x = (*a + p->a_offset) * (*b + p->b_offset);
    const int32_t y = fixed_add(fixed_multiply(x, p->multiplier, p->shift), p->zero_point);
    output[i] = (int8_t)fixed_clamp(y, p->minimum, p->maximum);
    a += a_step;
    b += b_step;
  }
}

void kernels_mul_s8(const kernels_mul_params *params, const int8_t *a, const int8_t *b, int8_t *output) {
  each_row(&params->broadcast, params, a, b, output, mul_row);
}

static void squared_difference_row(const void *params, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                                   int32_t count, int8_t *output) {
  const kernels_squared_difference_params *p = (const kernels_squared_difference_params *)params;
  for (int32_t i = 0; i < count; i++) {
    const int32_t x = fixed_multiply((*a + p->a_offset) * 128, p->a_multiplier, p->a_shift);
    const int32_t difference = x - fixed_multiply((*b + p->b_offset) * 128, p->b_multiplier, p->b_shift);
    const int32_t y = fixed_multiply(difference * difference, p->multiplier, p->shift);
    output[i] = (int8_t)fixed_clamp(fixed_add(y, p->zero_point), INT8_MIN, INT8_MAX);
    a += a_step;
    b += b_step;
  }
}

void kernels_squared_difference_s8(const kernels_squared_difference_params *params, const int8_t *a, const int8_t *b,
                                   int8_t *output) {
  each_row(&params->broadcast, params, a, b, output, squared_difference_row);
}

static void maximum_row(const void *params, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                        int32_t count, int8_t *output) {
  (void)params;
  for (int32_t i = 0; i < count; i++) {
    output[i] = *a > *b ? *a : *b;
    a += a_step;
    b += b_step;
  }
}

void kernels_maximum_s8(const kernels_broadcast *params, const int8_t *a, const int8_t *b, int8_t *output) {
  each_row(params, params, a, b, output, maximum_row);
}

static void minimum_row(const void *params, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                        int32_t count, int8_t *output) {
  (void)params;
  for (int32_t i = 0; i < count; i++) {
    output[i] = *a < *b ? *a : *b;
    a += a_step;
    b += b_step;
  }
}

void kernels_minimum_s8(const kernels_broadcast *params, const int8_t *a, const int8_t *b, int8_t *output) {
  each_row(params, params, a, b, output, minimum_row);
}

static void prelu_row(const void *params, const int8_t *a, int32_t a_step, const int8_t *b, int32_t b_step,
                      int32_t count, int8_t *output) {
  const kernels_prelu_params *p = (const kernels_prelu_params *)params;
  for (int32_t i = 0; i < count; i++) {
    int32_t x = *a + p->offset;
    if (x >= 0) {
      x = fixed_multiply(x, p->multiplier, p->shift);
    } else {
      x = fixed_multiply(x * (*b + p->slope_offset), p->slope_multiplier, p->slope_shift);
    }
    output[i] = (int8_t)fixed_clamp(fixed_add(x, p->zero_point), INT8_MIN, INT8_MAX);
    a += a_step;
    b += b_step;
  }
}

void kernels_prelu_s8(const kernels_prelu_params *params, const int8_t *input, const int8_t *slope, int8_t *output) {
  each_row(&params->broadcast, params, input, slope, output, prelu_row);
}
