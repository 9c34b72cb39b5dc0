/* Functions of one element: tables over 8-bit values, and the crossing between float32 and int8. */
#ifndef KERNELS_ELEMENTWISE_H
#define KERNELS_ELEMENTWISE_H

#include <stdint.h>

#include "kernels/flash.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  int32_t elements;
  const KERNELS_FLASH uint8_t *table; /* 256 results, indexed by the input's byte taken as unsigned */
} kernels_table_params;

/* output[i] = table[input[i]], for signed and unsigned bytes alike. The output may be the input's memory. */
void kernels_table_8(const kernels_table_params *params, const void *input, void *output);

typedef struct {
  int32_t elements;
  float scale;
  int32_t zero_point;
} kernels_scale_params;

/* output[i] = input[i] / scale + zero_point, rounded to nearest, ties away from zero, clamped to -128..127; NaN gives
 * the zero point. The output may be the input's memory. */
void kernels_quantize_f32_s8(const kernels_scale_params *params, const float *input, int8_t *output);

/* output[i] = (input[i] - zero_point) * scale, correctly rounded. They must not overlap, unless no
 * element is overwritten before it was read; they are made in order. */
void kernels_dequantize_s8_f32(const kernels_scale_params *params, const int8_t *input, float *output);
void kernels_dequantize_u8_f32(const kernels_scale_params *params, const uint8_t *input, float *output);

#ifdef __cplusplus
}
#endif

#endif
