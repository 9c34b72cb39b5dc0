#include "kernels/elementwise.h"

#include "kernels/fixed_point.h"

void kernels_table_8(const kernels_table_params *params, const void *input, void *output) {
  const uint8_t *from = (const uint8_t *)input;
  const KERNELS_FLASH uint8_t *table = params->table;
  uint8_t *to = (uint8_t *)output;
  for (int32_t i = 0; i < params->elements; i++) {
    to[i] = table[from[i]];
  }
}

/* Nearest integer, ties away from zero, for |x| < 2^23; the difference below is exact. */
static int32_t nearest(float x) {
  const int32_t whole = (int32_t)x;
  const float rest = x - (float)whole;
  return rest >= 0.5f ? whole + 1 : rest <= -0.5f ? whole - 1 : whole;
}

void kernels_quantize_f32_s8(const kernels_scale_params *params, const float *input, int8_t *output) {
  /* Beyond this every zero point saturates; clamping first keeps the conversion to an integer defined. */
  const float limit = 1024.0f;
  for (int32_t i = 0; i < params->elements; i++) {
    float x = input[i] / params->scale;
    if (x > limit) x = limit;
    if (x < -limit) x = -limit;
    if (x != x) x = 0.0f;
    output[i] = (int8_t)fixed_clamp(nearest(x) + params->zero_point, INT8_MIN, INT8_MAX);
  }
}

void kernels_dequantize_s8_f32(const kernels_scale_params *params, const int8_t *input, float *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = params->scale * (float)(input[i] - params->zero_point);
  }
}

void kernels_dequantize_u8_f32(const kernels_scale_params *params, const uint8_t *input, float *output) {
  for (int32_t i = 0; i < params->elements; i++) {
    output[i] = params->scale * (float)(input[i] - params->zero_point);
  }
}
